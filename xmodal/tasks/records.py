"""Reads the records of an LMDB as TAPE releases them. Imports no torch and runs nothing that it reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.tasks.pickled import read_pickle

if TYPE_CHECKING:
    from lmdb import Transaction

_COUNT = "num_examples"
_AGAIN = "get the file again"


def read_records(place: Path) -> list[tuple[str, object]]:
    """The records of an LMDB in the order of their keys `0`, `1`, ..., each with its place: file and key.

    The file is checked page by page in Python before LMDB maps it, for LMDB trusts what it maps. It is opened for
    reading without a lock, so nothing is written. Records are pickles, read by `read_pickle`.

    Args:
        place: the folder with `data.mdb` in it, or that file under another name.

    Raises:
        MissingError: lmdb is not installed, or the folder has no `data.mdb`.
        DamagedError: it is no LMDB, pages or records of it are broken, or there are not as many as it says.
        UsageError: it does not say how many records there are, or a record asks for more than plain data.
    """
    try:
        import lmdb
        from lmdb.verify import VerifyError, verify
    except ImportError:
        raise MissingError(
            "LMDB needs the package lmdb, 3.0 or newer, which is not installed",
            where=str(place),
            fix="pip install 'xmodal[lmdb]', or take the same records as JSON",
        ) from None
    file = place / "data.mdb" if place.is_dir() else place
    if not file.is_file():
        raise MissingError(f"{place.name} has no file data.mdb", where=str(place), fix="put all of the LMDB there")
    try:
        # Pages that nothing refers to, which a writer may leave behind, harm no reader.
        problems = [problem for problem in verify(str(file), subdir=False) if "-- a leak" not in problem]
    except (VerifyError, ArithmeticError, LookupError, MemoryError, RecursionError, ValueError) as error:
        raise DamagedError(f"{place.name} is not an LMDB", where=str(file), why=str(error), fix=_AGAIN) from None
    if problems:
        raise DamagedError(f"{place.name} is damaged", where=str(file), why=problems[0], fix=_AGAIN)
    try:
        with (
            lmdb.open(str(file), subdir=False, readonly=True, lock=False, create=False) as environment,
            environment.begin(buffers=True) as transaction,
        ):
            count = _count(transaction, file, environment.stat()["entries"])
            return [(f"{file}:key {key}", _record(transaction, file, str(key))) for key in range(count)]
    except lmdb.Error as error:
        raise DamagedError(f"{place.name} cannot be read", where=str(file), why=str(error), fix=_AGAIN) from None


def _count(transaction: Transaction, file: Path, entries: int) -> int:
    if transaction.get(_COUNT.encode()) is None:
        why = "TAPE's files say under this key how many records there are"
        raise UsageError(f"there is no {_COUNT}", where=str(file), why=why, fix="take the file from TAPE's release")
    where = f"{file}:key {_COUNT}"
    count = _record(transaction, file, _COUNT)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise UsageError(f"{_COUNT} is no number of records", where=where, fix="take the file from TAPE's release")
    if count >= entries or transaction.get(str(count).encode()) is not None:
        why = f"it has {entries} entries in all"
        raise DamagedError(f"the file has not the {count} records that it says", where=where, why=why, fix=_AGAIN)
    return count


def _record(transaction: Transaction, file: Path, key: str) -> object:
    where = f"{file}:key {key}"
    found = transaction.get(key.encode())
    if found is None:
        raise DamagedError("the record is missing", where=where, fix=_AGAIN)
    return read_pickle(found, where)
