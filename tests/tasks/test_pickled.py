"""Pickles are read as data: what numpy writes passes, whatever would run is refused, and nothing has run."""

from __future__ import annotations

import builtins
import copyreg
import io
import os
import pickle
import pickletools
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xmodal.errors import DamagedError, UsageError
from xmodal.tasks.pickled import MOST_BYTES, MOST_STEPS, Inert, read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
ARRAYS = {
    "float32": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "strided": np.arange(12)[::2],
    "empty": np.zeros((0, 20), np.float32),
    "nothing": np.array(1.5),
    "bool": np.array([True, False]),
    "named": np.zeros(2, [("a", "i4"), ("b", "f8")]),
    "objects": np.array([None, "AC", 3], dtype=object),
    "scalar": np.float32(2.5),
}
READ_ONLY = np.arange(5)
READ_ONLY.flags.writeable = False


def by_numpy_1(record: bytes) -> bytes:
    """The record as numpy 1 wrote it: its core had another name."""
    for part in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + part, b"numpy.core." + part
        record = record.replace(b"\x8c" + bytes([len(new)]) + new, b"\x8c" + bytes([len(old)]) + old)
        record = record.replace(b"c" + new, b"c" + old)
    return pickletools.optimize(record)  # mends the lengths of frames


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("wrote", [bytes, by_numpy_1])
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_pass_and_are_not_read(name: str, wrote: Callable[[bytes], bytes], protocol: int) -> None:
    said = {"primary": "ACD", "evolutionary": ARRAYS[name], "same": READ_ONLY, "id": b"d1", "fold_label": 3}
    record = wrote(pickle.dumps(said, protocol))
    assert (b"numpy._core" in record, b"numpy.core" in record) == ((True, False) if wrote is bytes else (False, True))
    with warnings.catch_warnings(action="ignore"):
        assert pickle.loads(record)["fold_label"] == 3
    arrays = dict.fromkeys(("evolutionary", "same", "id"), Inert.VALUE)
    assert read_pickle(record, "here") == {"primary": "ACD", **arrays, "fold_label": 3}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_come_out_as_they_are(protocol: int) -> None:
    inner = {"x": 1.5, "y": "Å𝄞", "z": None, "w": {}, "v": -5, "u": 2**40}
    said = {"a": inner, "b": inner, "yes": True, "no": False, "n": 300, 7: "a key without a name"}
    assert read_pickle(pickle.dumps(said, protocol), "here") == {key: said[key] for key in said if key != 7}
    held = {
        "list": [1, [2]],
        "empty": [],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "bytes": b"\xff" * 300,
    }
    if protocol >= 2:
        assert read_pickle(pickle.dumps(held, protocol), "here") == dict.fromkeys(held, Inert.VALUE)
    if protocol >= 4:
        sets = {"set": {1, 2}, "none": set(), "frozen": frozenset({3})}
        assert read_pickle(pickle.dumps(sets, protocol), "here") == dict.fromkeys(sets, Inert.VALUE)
    assert read_pickle(pickle.dumps(12312, protocol), "here") == 12312


class Evil:
    """Pickles as a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def touch(mark: Path) -> str:
    return f"open({str(mark)!r}, 'w').close()"


CALLS: dict[str, Callable[[Path], Evil]] = {
    "system": lambda mark: Evil(os.system, (f"touch '{mark}'",)),
    "exec": lambda mark: Evil(exec, (touch(mark),)),
    "eval": lambda mark: Evil(eval, (touch(mark),)),
    "open": lambda mark: Evil(builtins.open, (str(mark), "w")),
    "call": lambda mark: Evil(subprocess.call, (["touch", str(mark)],)),
    "_reconstructor": lambda mark: Evil(copyreg._reconstructor, (object, object, Evil(exec, (touch(mark),)))),
    "getattr": lambda mark: Evil(getattr, (Evil(exec, (touch(mark),)), "x")),
    "tofile": lambda mark: Evil(np.ndarray.tofile, (np.zeros(1), str(mark))),
    "save": lambda mark: Evil(np.save, (str(mark), np.zeros(1))),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_refused_by_name_and_not_made(name: str, protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    record = pickle.dumps({"primary": "AC", "fold_label": 1, "more": [CALLS[name](mark)]}, protocol)
    with pytest.raises(UsageError) as error:
        read_pickle(record, "train.lmdb:key 4")
    # Old protocols spell modules as Python 2 did, and fetch a method by getattr.
    assert re.fullmatch(rf"the record asks for \w+\.(ndarray\.)?({name}|getattr), which is refused", error.value.what)
    assert error.value.where == "train.lmdb:key 4"
    assert error.value.why
    assert error.value.fix
    assert list(tmp_path.iterdir()) == []


def test_the_calls_would_run(tmp_path: Path) -> None:
    for number, name in enumerate(("system", "exec", "eval", "open")):
        mark = tmp_path / str(number)
        made = pickle.loads(pickle.dumps(CALLS[name](mark)))
        if isinstance(made, io.IOBase):
            made.close()
        assert mark.exists()


def text(word: str) -> bytes:
    return b"\x8c" + bytes([len(word)]) + word.encode()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (b"cos\nsystem\n(S'touch ran'\ntR.", "os.system"),
        (b"\x80\x02cposix\nsystem\nX\x09\x00\x00\x00touch ran\x85R.", "posix.system"),
        (b"\x80\x04" + text("os") + text("system") + b"\x93" + text("touch ran") + b"\x85R.", "os.system"),
        (b"(S'touch ran'\nios\nsystem\n.", "os.system"),
        (b"(inumpy\nndarray\n.", "numpy.ndarray"),
        (b"(cos\nsystem\nS'touch ran'\no.", "os.system"),
        (b"(cnumpy\nndarray\nK\x01o.", "an object to be built"),
        (b"\x80\x04" + text("numpy") + text("ndarray") + b"\x93)}\x92.", "an object to be built"),
        (b"\x80\x02cos\nsystem\n)\x81.", "os.system"),
        (b"Ptouch ran\n.", "a persistent id"),
        (b"X\x01\x00\x00\x00xQ.", "a persistent id"),
        (b"\x80\x02\x82\x01.", "an extension code"),
        (b"\x80\x02\x83\x01\x00.", "an extension code"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "an extension code"),
        (b"\x80\x05\x97.", "a buffer outside of it"),
        (b"\x80\x04" + text("numpy") + text("ndarray.tofile") + b"\x93.", "numpy.ndarray.tofile"),
        (b"\x80\x04" + text("numpy.core.multiarray") + text("fromfile") + b"\x93.", "numpy.core.multiarray.fromfile"),
        (b"\x80\x04" + text("_codecs") + text("decode") + b"\x93.", "_codecs.decode"),
        (b"\x80\x04" + text("\x1b[2J\n") + text("x" * 90) + b"\x93.", "\\x1b[2J\\n.xxx"),
    ],
)
def test_every_other_way_to_name_code_is_refused(record: bytes, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read_pickle(record, "here")
    assert error.value.what.startswith(f"the record asks for {said}")
    assert len(error.value.what) < 140
    assert not Path("ran").exists()


WATCHED = """
import sys
from xmodal.tasks.pickled import read_pickle
records, events = [bytes.fromhex(word) for word in sys.argv[1:]], []
read_pickle(records[0], "here")  # what Python itself loads at the first use, such as a codec
sys.addaudithook(lambda event, _: events.append(event))
for record in records:
    read_pickle(record, "here")
assert not events, events
assert "numpy" not in sys.modules
"""


def test_known_names_do_nothing() -> None:
    """Python reports what it imports, opens, compiles and calls in the system; a reading does none of it."""
    records = [pickle.dumps([np.arange(3), READ_ONLY, np.float32(1)], protocol).hex() for protocol in (2, 3, 4, 5)]
    done = subprocess.run([sys.executable, "-c", WATCHED, *records], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A known name with arguments of any kind, and with any state, is a stand-in and stays one.
    assert read_pickle(b"cnumpy\ndtype\n(K\x01}tR}b.", "here") is Inert.VALUE


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return b"\x80\x02" + opening * depth + closing * (depth - 1) + b"."


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b".",
        b"\x80",
        b"\x80\x06N.",
        b"\x80\xffN.",
        b"N",
        b"NN.",
        b"(N.",
        b"K\x01a.",
        b"0.",
        b"1.",
        b"2.",
        b"t.",
        b"\x87.",
        b"]K\x01s.",
        b"}K\x01s.",
        b"}(K\x01u.",
        b"(K\x01d.",
        b"]}R.",
        b"N)R.",
        b"}Nb.",
        b"N)\x81.",
        b"cnumpy\ndtype\n.",
        b"cnumpy\ndtype\nNa.",
        b"K\x01K\x02\x93.",
        b"h\x05.",
        b"q\x00.",
        b"\xff",
        b"hello",
        b"I1x\n.",
        b"L" + b"9" * 5000 + b"L\n.",
        b"F1.5.2\n.",
        b"S'\\q\n.",
        b"S'\\q'\n",
        b"cnumpy\n",
        b"X\xff\x00\x00\x00AC.",
        b"X\x03\x00\x00\x00\xed\xa0\x80.",  # half a surrogate pair
        b"\x8a\x64" + b"\x7f" * 100 + b".",  # a number of 800 bits
        b"Nr\xff\xff\xff\x7f.",  # a memo of two thousand million
        b"Np2305843009213693951\n.",  # numbers that all hash alike
        b"Np-1\n.",
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x3f.",  # bytes without end
        b"\x80\x04\x8d" + b"\xff" * 7 + b"\x3f.",
        b"\x80\x05\x96" + b"\xff" * 7 + b"\x3f.",
        b"\x8b\xff\xff\xff\x7f.",
        b"N" + b"2" * MOST_STEPS + b".",
        b"(" * 1000,
        b"N" * (MOST_BYTES + 1),
    ],
    ids=lambda record: repr(record[:16]),
)
def test_broken_pickles_are_damage(record: bytes) -> None:
    with pytest.raises(DamagedError, match="no whole pickle") as error:
        read_pickle(record, "train.lmdb:key 7")
    assert error.value.where == "train.lmdb:key 7"
    assert 0 < len(error.value.why) <= 200
    assert error.value.fix
    assert error.value.exit_code == 3


def test_a_record_cut_anywhere_is_damage() -> None:
    record = pickle.dumps({"primary": "ACD", "evolutionary": np.zeros((3, 2)), "fold_label": 3}, 4)
    for end in range(len(record)):
        with pytest.raises(DamagedError):
            read_pickle(record[:end], "here")


def test_depth_and_references_cost_nothing() -> None:
    # As deep as a record may be, and a value that would have 2**100000 items if it were written out.
    assert read_pickle(nested(b"]", b"a", 100_000), "here") is Inert.VALUE
    assert read_pickle(nested(b"]K\x01", b"0", 1)[:-1] + b"0" + b"2\x86" * 100_000 + b".", "here") is Inert.VALUE
    deep = read_pickle(b"}" + b"X\x01\x00\x00\x00a}" * 50_000 + b"s" * 50_000 + b".", "here")
    for _ in range(50_000):
        assert isinstance(deep, dict)
        deep = deep["a"]
    assert deep == {}
