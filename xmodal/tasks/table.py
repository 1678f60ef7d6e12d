"""The users' own tables: a column of sequences or several of numbers, and a column of labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xmodal.errors import MissingError, UsageError
from xmodal.tasks.labels import (
    at_least_two,
    classes_of,
    each_once,
    existing,
    inside,
    leave_some,
    numbers_of,
    refuse_unclear,
    split_of,
)
from xmodal.tasks.lengths import TooLong, fit
from xmodal.tasks.numbers import deviation_of, number, standardised
from xmodal.tasks.options import TaskOptions
from xmodal.tasks.rows import SUFFIXES, Rows, read_rows
from xmodal.types import SPLITS, Classes, Continuous, SampleSpec, SplitName, Symbols, TargetSpec

if TYPE_CHECKING:
    from xmodal.types import Task


class TableOptions(TaskOptions):
    """Your own CSV or Parquet table: a column of sequences, or several of numbers, and a column of labels.

    `path` is a folder with `train`, `val` and `test` as .csv or .parquet, or one such file, which is split by the
    words in the column `split`, or by seed and shares. `valid`, `validation` and `dev` stand for `val`, too.
    """

    name: Literal["table"] = "table"
    """Which task."""
    path: str
    """The file, or the folder of three."""
    column: str | None = None
    """Column whose cells are sequences of letters, one symbol each."""
    columns: list[str] | None = Field(default=None, min_length=1)
    """Columns of numbers; a sample is one row of them, standardised by training."""
    label: str = "label"
    """Column of the labels. Classes are the labels of training, in order."""
    split: str | None = None
    """Column that says `train`, `val` or `test`; for one file."""
    val: float = Field(default=0.1, gt=0, lt=1)
    """Share of one file that is validation, drawn by seed."""
    test: float = Field(default=0.1, gt=0, lt=1)
    """Share of one file that is the test split, drawn by seed."""
    alphabet: str | None = Field(default=None, min_length=1)
    """The letters that may occur; null takes those of the training split, or of the whole file where the split is drawn
    by seed."""
    max_length: int | None = Field(default=None, ge=1)
    """Most letters in a sample; null takes the longest of all splits."""
    too_long: TooLong = "error"
    """What becomes of longer samples; what was cut or left out stands in the result's coverage."""

    def sample(self) -> SampleSpec:
        """Symbols of the alphabet, or a row of numbers."""
        self._check()
        if self.columns:
            trained = self._trained()
            for name in self.columns:
                trained.index(name)
            return Continuous((1, len(self.columns)))
        longest = self.max_length or max(len(word) for rows in self._tables() for word in rows.column(self._column()))
        # Symbol 0 is padding, and takes no part.
        return Symbols(vocabulary=len(self.letters()) + 1, max_length=longest, fixed=False)

    def target(self) -> TargetSpec:
        """The labels of training."""
        return Classes(at_least_two(self.classes(), self.path))

    def classes(self) -> list[str]:
        """Labels of training; of the whole file where seed and shares split it, so that no seed changes the shape."""
        return classes_of(self._trained().column(self.label))

    def letters(self) -> str:
        """The alphabet, in order."""
        return self.alphabet or "".join(
            sorted({letter for word in self._trained().column(self._column()) for letter in word})
        )

    def tables(self, seed: int) -> dict[SplitName, Rows]:
        """The rows of each split.

        Raises:
            MissingError: a file is not there.
            UsageError: a row is wrong.
        """
        place = existing(self.path, "table")
        if place.is_dir():
            return {name: read_rows(file) for name, file in self._files(place).items()}
        rows = read_rows(place)
        if self.split:
            return {name: _chosen(rows, self._marked(rows, name)) for name in SPLITS}
        from xmodal.tasks.held import by_shares

        return {
            name: _chosen(rows, part.tolist())
            for name, part in by_shares(len(rows.cells), self.val, self.test, seed, self.path).items()
        }

    def _check(self) -> None:
        if bool(self.column) == bool(self.columns):
            raise UsageError(
                "a table needs either column or columns",
                where="task",
                fix="name a column of sequences as task.column, or columns of numbers as task.columns",
            )
        each_once(self.columns or ())
        for name in (self.label, self.split):
            if name and name in (self.column, *(self.columns or ())):
                fix = "take it out of task.column or task.columns"
                raise UsageError(
                    f"the column '{name}' would tell the answer", where="task", why="it is an input", fix=fix
                )
        self._check_shares()
        if self.alphabet and len(set(self.alphabet)) < len(self.alphabet):
            fix = "write each letter once"
            raise UsageError("a letter stands twice in the alphabet", where="task.alphabet", fix=fix)

    def _check_shares(self) -> None:
        leave_some(self.val, self.test)

    def _column(self) -> str:
        self._check()
        assert self.column
        return self.column

    def _files(self, folder: Path) -> dict[SplitName, Path]:
        if self.split:
            why = f"{folder} is a folder, and its files say the split"
            raise UsageError("a column says the split", where="task.split", why=why, fix="drop it, or name one file")
        tables = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()]
        found = {}
        for name in SPLITS:
            files = sorted(file for file in tables if split_of(file.stem) == name)
            if len(files) > 1:
                raise UsageError(f"two files for {name}", where=str(folder), fix="leave one")
            if not files:
                there = ", ".join(sorted(file.name for file in tables)) or "no table"
                why, fix = f"the folder has {there}", f"call one {name}.csv or {name}.parquet, or name a single file"
                raise MissingError(f"no table for {name}", where=str(folder), why=why, fix=fix)
            found[name] = inside(files, folder)[0]
        return found

    def _marked(self, rows: Rows, name: SplitName) -> list[int]:
        assert self.split
        words = rows.column(self.split)
        marks = [split_of(word) for word in words]
        if wrong := [index for index, mark in enumerate(marks) if mark is None]:
            what = f"'{words[wrong[0]]}' is no split"
            why, fix = f"there are {', '.join(SPLITS)}", f"write one of these in the column '{self.split}'"
            raise UsageError(what, where=rows.places[wrong[0]], why=why, fix=fix)
        found = [index for index, mark in enumerate(marks) if mark == name]
        if not found:
            what, fix = f"no row is marked '{name}'", f"mark some in the column '{self.split}', or leave task.split out"
            raise UsageError(what, where=self.path, fix=fix)
        return found

    def _trained(self) -> Rows:
        place = existing(self.path, "table")
        if place.is_dir():
            return read_rows(self._files(place)["train"])
        rows = read_rows(place)
        return _chosen(rows, self._marked(rows, "train")) if self.split else rows

    def _tables(self) -> list[Rows]:
        place = existing(self.path, "table")
        return [read_rows(file) for file in (self._files(place).values() if place.is_dir() else [place])]


def build(options: TableOptions, seed: int) -> Task:
    """The task of these options.

    Raises:
        MissingError: a file is not there.
        UsageError: a cell is empty, no number, or has a letter outside the alphabet; a label is not one of training.
    """
    import numpy as np

    from xmodal.tasks.held import HeldTask, Ragged, Stacked

    tables, sample = options.tables(seed), options.sample()
    splits, labels, coverage, arrays = {}, {}, {}, {}
    classes = classes_of(tables["train"].column(options.label))
    at_least_two(classes, options.path)
    by_seed = not options.split and Path(options.path).expanduser().is_file()
    drawn = "say with task.split which rows train, or take out labels of very few rows" if by_seed else ""
    letters = options.letters() if isinstance(sample, Symbols) else ""
    for name, rows in tables.items():
        _refuse_empty(rows, [options.label, *(options.columns or [options.column or ""])])
        refuse_unclear(rows.column(options.label), rows.places)
        if not isinstance(sample, Symbols):
            arrays[name] = np.array(_numbers(rows, options.columns or []))[:, None]
        else:
            words = rows.column(options.column or "")
            kept, coverage[name] = fit([len(word) for word in words], sample.max_length, options.too_long, rows.places)
            rows = _chosen(rows, kept)
            if name == "train":
                at_least_two(classes_of(rows.column(options.label)), options.path)
            arrays[name] = _codes(rows, options, letters, sample.max_length)
        labels[name] = numbers_of(rows.column(options.label), classes, where=f"{options.path} ({name})", fix=drawn)
    for name, array in arrays.items():
        if isinstance(sample, Symbols):
            splits[name] = Ragged(array, labels[name])
        else:
            standard = (array - arrays["train"].mean(axis=0)) / deviation_of(arrays["train"], 0)
            numbers = standardised(standard, options.columns or [], 2, f"{options.path} ({name})")
            splits[name] = Stacked(numbers, labels[name])
    return HeldTask(options, seed, splits, labels, coverage)


def _chosen(rows: Rows, indices: list[int]) -> Rows:
    cells, places = ([all_[index] for index in indices] for all_ in (rows.cells, rows.places))
    return replace(rows, cells=cells, places=places)


def _refuse_empty(rows: Rows, columns: list[str]) -> None:
    for column in columns:
        for word, place in zip(rows.column(column), rows.places, strict=True):
            if not word.strip():
                raise UsageError(
                    f"the cell in column '{column}' is empty", where=place, fix="fill it, or remove the row"
                )


def _numbers(rows: Rows, columns: list[str]) -> list[list[float]]:
    return [
        [number(cells[rows.index(column)], column, place) for column in columns]
        for cells, place in zip(rows.cells, rows.places, strict=True)
    ]


def _codes(rows: Rows, options: TableOptions, letters: str, longest: int) -> list:
    import numpy as np

    column, alphabet = options.column or "", options.alphabet
    index = {letter: code for code, letter in enumerate(letters, start=1)}
    codes = []
    for word, place in zip(rows.column(column), rows.places, strict=True):
        if not alphabet and not word.isprintable():
            what = f"{word[:40]!r} has a character that does not print"
            raise UsageError(what, where=place, why="it would be a letter", fix="mend the cell, or set task.alphabet")
        if strange := next((letter for letter in word if letter not in index), None):
            why = f"it is '{letters}'" if len(letters) < 60 else f"it has {len(letters)} letters"
            raise UsageError(
                f"'{strange}' is not in the alphabet", where=place, why=why, fix="set task.alphabet, or mend the cell"
            )
        codes.append(np.array([index[letter] for letter in word[:longest]], dtype=np.int64))
    return codes
