"""Laws of the reader of pickles: it agrees with Python's on plain data, and no bytes surprise it."""

from __future__ import annotations

import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xmodal.errors import DamagedError, UsageError
from xmodal.tasks.pickled import Inert, read_pickle

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.sets(SCALARS) | st.dictionaries(st.text(), inner),
)
RECORDS = st.builds(pickle.dumps, st.dictionaries(st.text(), VALUES), st.integers(2, pickle.HIGHEST_PROTOCOL))
PARTS = st.sampled_from(
    [bytes([code]) for code in range(256)] + [b"cnumpy\ndtype\n", b"cos\nsystem\n", b"X\x01\x00\x00\x00a", b"K\x01"]
)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return Inert.VALUE if isinstance(value, list | tuple | set | bytes) else value


@given(st.dictionaries(st.text(), VALUES), st.integers(4, pickle.HIGHEST_PROTOCOL))
def test_plain_data_are_read_as_python_reads_them(said: dict[str, object], protocol: int) -> None:
    assert read_pickle(pickle.dumps(said, protocol), "here") == plain(said)


def survives(record: bytes) -> None:
    try:
        read_pickle(record, "here")
    except (DamagedError, UsageError) as error:
        assert error.where == "here"
        str(error).encode()


@given(st.binary() | st.lists(PARTS).map(lambda parts: b"".join(parts) + b"."))
def test_any_bytes_are_data_damage_or_refused(record: bytes) -> None:
    survives(record)


@given(RECORDS, st.data())
def test_a_record_with_changed_bytes_is_data_damage_or_refused(record: bytes, data: st.DataObject) -> None:
    changed = bytearray(record)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(changed))
