"""Reads tables: CSV by the standard library, Parquet by pyarrow. Imports no torch and runs nothing that it reads."""

from __future__ import annotations

import csv
from dataclasses import dataclass
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
    """

    columns: list[str]
    cells: list[list[str]]
    places: list[str]

    def column(self, name: str) -> list[str]:
        """The words of one column.

        Raises:
            UsageError: there is none of that name.
        """
        return [row[self.index(name)] for row in self.cells]

    def index(self, name: str) -> int:
        """Where the column stands. Raises as `column`."""
        if name not in self.columns:
            where = self.places[0].rpartition(":")[0] if self.places else ""
            raise UsageError(
                f"no column '{name}'", where=where, why=f"there are {', '.join(self.columns)}", fix="name one of these"
            )
        return self.columns.index(name)


def read_rows(file: Path) -> Rows:
    """All rows of a CSV (with a header) or Parquet file.

    Raises:
        UsageError: a row is empty or ragged, a cell is empty, there is no row, or it is neither kind of file.
        MissingError: the file is Parquet, and pyarrow is not installed.
        DamagedError: it cannot be read.
    """
    if file.suffix == ".parquet":
        rows = _parquet(file)
    elif file.suffix == ".csv":
        rows = _csv(file)
    else:
        raise UsageError(
            f"{file.name or file} is neither CSV nor Parquet",
            where=str(file),
            why="it is told by its ending",
            fix="name a file that ends in .csv or .parquet",
        )
    if not rows.cells:
        raise UsageError(
            f"{file.name} has no rows", where=str(file), fix="put some below its header, or name another file"
        )
    return rows


def _csv(file: Path) -> Rows:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            columns = next(reader, [])
            if len(set(columns)) < len(columns):
                why = f"there are {', '.join(columns)}"
                raise UsageError("two columns have one name", where=f"{file}:1", why=why, fix="give each its own")
            cells, places = [], []
            for row in reader:
                place = f"{file}:{reader.line_num}"
                if not any(row):
                    raise UsageError("the row is empty", where=place, fix="take it out")
                if len(row) != len(columns):
                    why = f"the header has {len(columns)} columns"
                    raise UsageError(f"the row has {len(row)} cells", where=place, why=why, fix="mend or remove it")
                cells.append(row)
                places.append(place)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        fix = "save it again as CSV, in UTF-8"
        raise DamagedError(f"{file.name} is not a CSV file", where=str(file), why=str(error), fix=fix) from None
    return Rows(columns, cells, places)


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
        table = parquet.read_table(file)
    except (ArrowException, OSError) as error:
        fix = "write it again, or save the table as CSV"
        raise DamagedError(f"{file.name} is not a Parquet file", where=str(file), why=str(error), fix=fix) from None
    for field in table.schema:
        if types.is_nested(field.type) or types.is_binary(field.type) or types.is_large_binary(field.type):
            raise UsageError(
                f"the column '{field.name}' holds {field.type}, not text or numbers",
                where=str(file),
                why="a cell is one text or one number",
                fix="write it as text or numbers, or take the column out",
            )
    columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    cells = [list(row) for row in zip(*columns, strict=True)]
    return Rows(list(table.column_names), cells, [f"{file}:row {number + 1}" for number in range(len(cells))])


def _cell(value: object) -> str:
    """Text; empty for what is missing, which in a column of floating-point numbers is no number."""
    return "" if value is None or value != value else str(value)
