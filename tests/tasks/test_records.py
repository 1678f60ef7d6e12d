"""TAPE's LMDB: the records come out in order, the folder stays as it was, and damage of any kind is named."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
from lmdbs import put, write_lmdb

from xmodal.errors import DamagedError, MissingError, UsageError, XmodalError
from xmodal.tasks.pickled import MOST_BYTES, Inert
from xmodal.tasks.records import read_records

RECORDS = [{"primary": "ACD" * number, "evolutionary": np.zeros((number, 20))} for number in range(1, 13)]
LAST_PAGE = 16 + 120
"""Where each of the two first pages says which the last page is."""


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        file.name: (file.stat().st_size, file.stat().st_mtime_ns, file.read_bytes())
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("subdir", [True, False])
@pytest.mark.parametrize("locked", [True, False])
def test_records_are_read_in_order_and_nothing_is_written(tmp_path: Path, subdir: bool, locked: bool) -> None:
    place = write_lmdb(tmp_path / "train.lmdb", RECORDS, subdir=subdir)
    if locked:  # TAPE's folders have one beside the data
        lmdb.open(str(place), subdir=subdir).close()
    for folder in (place, tmp_path):
        folder.chmod(0o555 if folder.is_dir() else 0o444)
    before = state(tmp_path)
    found = read_records(place)
    assert state(tmp_path) == before
    assert sorted({"data.mdb", "lock.mdb"} & before.keys()) == ["data.mdb", "lock.mdb"][: subdir * (1 + locked)]
    tmp_path.chmod(0o755)
    file = place / "data.mdb" if subdir else place
    assert [where for where, _ in found] == [f"{file}:key {number}" for number in range(12)]
    assert [record for _, record in found] == [
        {"primary": "ACD" * number, "evolutionary": Inert.VALUE} for number in range(1, 13)
    ]
    assert read_records(place) == found  # it was closed


def test_a_large_file_that_was_written_twice(tmp_path: Path) -> None:
    # Larger than LMDB maps by itself, values of many pages, and pages that are free.
    records = [{"primary": "AC", "evolutionary": np.zeros((4000, 20)), "fold_label": n} for n in range(40)]
    place = write_lmdb(tmp_path / "train.lmdb", records)
    write_lmdb(place, records)
    assert (place / "data.mdb").stat().st_size > 20 << 20
    assert [record["fold_label"] for _, record in read_records(place) if isinstance(record, dict)] == list(range(40))


@pytest.mark.parametrize("module", ["lmdb", "lmdb.verify"])
def test_without_lmdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingError, match=r"needs the package lmdb, 3\.0 or newer") as error:
        read_records(tmp_path / "train.lmdb")
    assert error.value.where == str(tmp_path / "train.lmdb")
    assert error.value.fix == "pip install 'xmodal[lmdb]', or take the same records as JSON"


@pytest.mark.parametrize(
    ("changes", "kind", "where", "what", "why"),
    [
        ({"num_examples": None}, UsageError, "", "there is no num_examples", "how many records"),
        ({"num_examples": "3"}, UsageError, ":key num_examples", "num_examples is no number", ""),
        ({"num_examples": True}, UsageError, ":key num_examples", "num_examples is no number", ""),
        ({"num_examples": -1}, UsageError, ":key num_examples", "num_examples is no number", ""),
        ({"num_examples": b"12"}, DamagedError, ":key num_examples", "the record is no whole pickle", ""),
        ({"num_examples": 13}, DamagedError, ":key num_examples", "has not the 13 records", "13 entries in all"),
        ({"num_examples": 2**63}, DamagedError, ":key num_examples", "has not the 9223372036854775808", ""),
        ({"num_examples": 11}, DamagedError, ":key num_examples", "has not the 11 records", "13 entries"),
        ({"5": None, "keys": 1}, DamagedError, ":key 5", "the record is missing", ""),
        ({"7": pickle.dumps({"primary": "AC"})[:-3]}, DamagedError, ":key 7", "the record is no whole pickle", ""),
        ({"7": b"N" * (MOST_BYTES + 1)}, DamagedError, ":key 7", "the record is no whole pickle", "at most 16777216"),
        ({"7": b"cos\nsystem\n(S'exit 1'\ntR."}, UsageError, ":key 7", "the record asks for os.system", "run"),
    ],
)
def test_records_that_are_not_right_are_named(
    tmp_path: Path, changes: dict[str, object], kind: type[XmodalError], where: str, what: str, why: str
) -> None:
    place = write_lmdb(tmp_path / "train.lmdb", RECORDS, **changes)
    for _ in range(2):  # an error leaves nothing open
        with pytest.raises(XmodalError) as error:
            read_records(place)
        assert type(error.value) is kind
        assert error.value.where == f"{place / 'data.mdb'}{where}"
        assert what in error.value.what
        assert why in error.value.why
        assert error.value.fix


@pytest.mark.parametrize("content", [b"", b"no", b"\0" * 8192, b"x" * 100_000])
def test_what_is_no_lmdb(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "train.lmdb"
    place.write_bytes(content)
    with pytest.raises(DamagedError, match=r"train\.lmdb is not an LMDB") as error:
        read_records(place)
    assert error.value.where == str(place)
    assert error.value.why
    assert error.value.fix


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"has no file data\.mdb"):
        read_records(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_anywhere_is_damage(tmp_path: Path) -> None:
    """LMDB maps the file, and would end the process where a page is missing."""
    place = write_lmdb(tmp_path / "train.lmdb", RECORDS, subdir=False)
    whole = place.read_bytes()
    for end in range(0, len(whole), 1024):
        place.write_bytes(whole[:end])
        with pytest.raises(DamagedError) as error:
            read_records(place)
        assert error.value.where == str(place)


def test_pages_that_point_astray_are_damage(tmp_path: Path) -> None:
    place = write_lmdb(tmp_path / "train.lmdb", RECORDS, subdir=False)
    whole = place.read_bytes()
    for start in range(2 * 4096, len(whole), 4096):  # the heads of all pages but the first two
        place.write_bytes(whole[:start] + b"\xff" * 64 + whole[start + 64 :])
        try:
            found = read_records(place)
        except XmodalError as error:
            assert isinstance(error, DamagedError)
            assert error.why
        else:  # a page that is free
            assert len(found) == len(RECORDS)
    place.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(DamagedError, match=r"train\.lmdb is damaged"):
        read_records(place)


def test_a_page_that_nothing_refers_to_is_no_damage(tmp_path: Path) -> None:
    place = write_lmdb(tmp_path / "train.lmdb", RECORDS, subdir=False)
    data = bytearray(place.read_bytes())
    pages = max(int.from_bytes(data[start : start + 8], "little") for start in (LAST_PAGE, 4096 + LAST_PAGE)) + 1
    for start in (LAST_PAGE, 4096 + LAST_PAGE):
        data[start : start + 8] = pages.to_bytes(8, "little")
    place.write_bytes(bytes(data[: pages * 4096]) + bytes(4096))
    assert len(read_records(place)) == len(RECORDS)


def test_a_file_that_is_being_written(tmp_path: Path) -> None:
    place = write_lmdb(tmp_path / "train.lmdb", RECORDS)
    with lmdb.open(str(place)) as environment:
        put(environment, {"num_examples": 12, "0": {"primary": "W"}})
        # The same process may not map a file twice, and says so.
        with pytest.raises(DamagedError, match=r"train\.lmdb cannot be read|already open"):
            read_records(place)
