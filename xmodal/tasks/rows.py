"""Reads tables: CSV by the standard library, Parquet by pyarrow. Imports no torch and runs nothing that it reads."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xmodal.errors import DamagedError, MissingError, UsageError

SUFFIXES = (".csv", ".parquet")

csv.field_size_limit(2**31 - 1)  # a cell may be a genome; the module's own limit is 131,072 letters


@dataclass(frozen=True)
class Rows:
    """A table as words.

    Attributes:
        columns: names, in the order of the file.
        cells: one list of words for each row.
        places: file and line (for Parquet: file and row) of each row.
        unread: columns whose cells are neither text nor numbers, or cannot be read, with what they are.
    """

    columns: list[str]
    cells: list[list[str]]
    places: list[str]
    unread: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> list[str]:
        """The words of one column.

        Raises:
            UsageError: there is none of that name, or its cells are neither text nor numbers.
        """
        return [row[self.index(name)] for row in self.cells]

    def index(self, name: str) -> int:
        """Where the column stands. Raises as `column`."""
        if name not in self.columns:
            where = self.places[0].rpartition(":")[0] if self.places else ""
            if name in self.unread:
                what = f"the column '{name}' holds {self.unread[name]}, not text or numbers"
                fix = "write it as text or numbers, or name another column"
                raise UsageError(what, where=where, why="a cell is one text or one number", fix=fix)
            why, fix = _undivided(self.columns) or (f"there are {', '.join(self.columns)}", "name one of these")
            raise UsageError(f"no column '{name}'", where=where, why=why, fix=fix)
        return self.columns.index(name)


def read_rows(file: Path) -> Rows:
    """All rows of a CSV (with a header) or Parquet file.

    Raises:
        UsageError: a row is empty or ragged, a cell is empty, there is no row, or it is neither kind of file.
        MissingError: the file is Parquet, and pyarrow is not installed.
        DamagedError: it cannot be read.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        rows = _parquet(file)
    elif suffix == ".csv":
        rows = _csv(file)
    else:
        raise UsageError(
            f"{file.name or file} is neither CSV nor Parquet",
            where=str(file),
            why="it is told by its ending",
            fix="name a file that ends in .csv or .parquet",
        )
    if not rows.cells:
        fix = "put some below its header, or name another file"
        raise UsageError("there are no rows", where=str(file), fix=fix)
    return rows


def _csv(file: Path) -> Rows:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            columns = next(reader, [])
            _refuse_twice(columns, f"{file}:1")
            cells, places = [], []
            for row in reader:
                place = f"{file}:{reader.line_num}"
                if not any(row):
                    raise UsageError("the row is empty", where=place, fix="take it out")
                if len(row) != len(columns):
                    known = f"the header has {len(columns)} columns", "mend or remove it"
                    why, fix = _undivided(columns) or known
                    raise UsageError(f"the row has {len(row)} cells", where=place, why=why, fix=fix)
                cells.append(row)
                places.append(place)
    except UnicodeDecodeError:
        place, why = _not_utf8(file)
        raise DamagedError("this is not UTF-8", where=place, why=why, fix="save it again as CSV, in UTF-8") from None
    except (csv.Error, OSError) as error:
        fix = "save it again as CSV, in UTF-8"
        raise DamagedError(f"{file.name} is not a CSV file", where=str(file), why=str(error), fix=fix) from None
    return Rows(columns, cells, places)


def _not_utf8(file: Path) -> tuple[str, str]:
    """The first line that cannot be decoded, and why."""
    raw = file.read_bytes()
    try:
        raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return f"{file}:{raw[: error.start].count(10) + 1}", str(error.reason)
    return str(file), "it changes while it is read"


def _parquet(file: Path) -> Rows:
    try:
        from pyarrow import ArrowException, parquet, types
    except ImportError:
        raise MissingError(
            "Parquet needs pyarrow, which is not installed",
            where=str(file),
            fix="pip install 'xmodal[parquet]', or save the table as CSV",
        ) from None
    try:
        with parquet.ParquetFile(file) as opened:
            schema = opened.schema_arrow
            _refuse_twice(schema.names, str(file))
            strange = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
            unread = {one.name: str(one.type) for one in schema if any(is_so(one.type) for is_so in strange)}
            table = opened.read([name for name in schema.names if name not in unread])
    except (ArrowException, OSError) as error:
        fix = "write it again, or save the table as CSV"
        raise DamagedError(f"{file.name} is not a Parquet file", where=str(file), why=str(error), fix=fix) from None
    columns: dict[str, list[str]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            columns[name] = [_cell(value) for value in column.to_pylist()]
        except (ArrowException, ArithmeticError, ValueError) as error:  # nanoseconds, text that is no UTF-8, ...
            unread[name] = f"{column.type} that cannot be read ({str(error).splitlines()[0]})"
    cells = [list(row) for row in zip(*columns.values(), strict=True)]
    places = [f"{file}:row {number + 1}" for number in range(len(cells))]
    return Rows(list(columns), cells, places, unread)


def _undivided(columns: list[str]) -> tuple[str, str] | None:
    """Why, and what to do, where a header is one cell because something else than commas divides it."""
    mark = next((mark for mark in ";\t|" if mark in columns[0]), "") if len(columns) == 1 else ""
    return (f"the header is one cell, {columns[0]!r}", f"write commas between cells, not {mark!r}") if mark else None


def _refuse_twice(columns: list[str], where: str) -> None:
    if len(set(columns)) < len(columns):
        why = f"there are {', '.join(columns)}"
        raise UsageError("two columns have one name", where=where, why=why, fix="give each its own")


def _cell(value: object) -> str:
    """Text; empty for what is missing, which in a column of floating-point numbers is no number."""
    return "" if value is None or value != value else str(value)
