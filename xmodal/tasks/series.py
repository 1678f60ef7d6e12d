"""The users' own time series: windows over the columns of a numeric CSV."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xmodal.errors import UsageError
from xmodal.tasks.labels import each_once, existing, leave_some
from xmodal.tasks.numbers import deviation_of, number, standardised
from xmodal.tasks.options import TaskOptions
from xmodal.tasks.rows import Rows, read_rows
from xmodal.types import Classes, Continuous, SplitName, TargetSpec

if TYPE_CHECKING:
    import numpy as np

    from xmodal.types import Split, Task


class SeriesOptions(TaskOptions):
    """Where a column of your own CSV will go: windows over numbers in time, oldest first.

    The oldest rows train, the next validate, the newest test; no window or label reaches into another split. A label is
    the change of `target_column` from the end of the window to `horizon` rows later, in classes of equal size on
    training, unless many changes are the same. Windows of validation and test are at least `horizon` rows apart, so
    that no two labels share a change.
    """

    name: Literal["series"] = "series"
    """Which task."""
    path: str
    """The CSV file, in order of time."""
    columns: list[str] = Field(min_length=1)
    """Columns of numbers that a window holds, standardised by training."""
    target_column: str
    """Column whose change is asked for."""
    window: int = Field(default=96, ge=1)
    """Rows in a window."""
    horizon: int = Field(default=24, ge=1)
    """Rows from the end of a window to what is asked for."""
    stride: int = Field(default=1, ge=1)
    """Rows from one window to the next; in validation and test the horizon, if that is more."""
    classes: int = Field(default=3, ge=2, le=100)
    """Number of classes; 3 are down, flat and up."""
    val: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows, behind those of training, that is validation."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows, the newest, that is the test split."""

    def sample(self) -> Continuous:
        """A row for each column, `window` numbers long.

        Raises:
            MissingError: the file is not there.
            UsageError: it is no table, or has not the columns; or the shares leave nothing to train on.
        """
        each_once(self.columns)
        leave_some(self.val, self.test)
        rows = read_rows(existing(self.path, "series"))
        for name in (*self.columns, self.target_column):
            rows.index(name)
        return Continuous((len(self.columns), self.window))

    def target(self) -> TargetSpec:
        """The classes of the change."""
        return Classes(self.classes)


def build(options: SeriesOptions, seed: int) -> Task:
    """The task of these options; the seed only draws a fraction.

    Raises:
        MissingError: the file is not there.
        UsageError: a cell is no number, a split is too short for a window, or the changes are too alike.
    """
    import numpy as np

    from xmodal.tasks.held import HeldTask, Stacked

    leave_some(options.val, options.test)
    rows = read_rows(existing(options.path, "series"))
    names = [*options.columns, options.target_column]
    _refuse_backwards(rows, names)
    cells = [list(zip(rows.column(name), rows.places, strict=True)) for name in names]
    values = np.array([[number(word, name, place) for word, place in c] for name, c in zip(names, cells, strict=True)])
    ends = [round(len(rows.cells) * share) for share in (1 - options.val - options.test, 1 - options.test)]
    spans: dict[SplitName, tuple[int, int]] = {
        "train": (0, ends[0]),
        "val": (ends[0], ends[1]),
        "test": (ends[1], len(rows.cells)),
    }
    cut: dict[SplitName, tuple[np.ndarray, np.ndarray]] = {
        name: _windows(values[:, start:end], options, name) for name, (start, end) in spans.items()
    }
    edges = np.quantile(cut["train"][1], np.arange(1, options.classes) / options.classes)
    trained = values[:-1, : ends[0]]
    mean, deviation = trained.mean(axis=1)[:, None], deviation_of(trained, 1)[:, None]
    labels: dict[SplitName, np.ndarray] = {
        name: np.searchsorted(edges, change, side="right").astype(np.int64) for name, (_, change) in cut.items()
    }
    if len(np.unique(labels["train"])) < options.classes:
        why = f"more than a share of 1/{options.classes} of the changes are the same"
        fix = "set task.classes lower, or task.horizon longer"
        raise UsageError(f"training does not fill {options.classes} classes", where="task.classes", why=why, fix=fix)
    splits: dict[SplitName, Split] = {
        name: Stacked(standardised((seen - mean) / deviation, options.columns, 1, options.path), labels[name])
        for name, (seen, _) in cut.items()
    }
    return HeldTask(
        options, seed, splits, labels, floors=_floors(values[-1, ends[1] :], labels["test"], edges, options)
    )


def _refuse_backwards(rows: Rows, names: Sequence[str]) -> None:
    """Checks that time runs forwards in every other column that holds dates, or numbers and is called after time.

    Cells that are no dates are passed over. Dates that could be read in two ways must run backwards in both, and
    numbers all the way: those of a day or an hour begin again.

    Raises:
        UsageError: a row is older than the one before it: the newest come first, or it is the start of another series.
    """
    for name in rows.columns:
        if name in names:
            continue
        words = rows.column(name)
        falls = [_first_fall(times) for read in _DATES if 2 * len(times := _times(words, read)) > len(words)]
        if not falls and _TIMES & {*re.split(r"[^a-z]+", name.lower())}:
            times = _times(words, float)
            falls = [_first_fall(times) if all(two <= one for one, two in pairwise(times.values())) else None]
        if falls and (first := falls[0]) and all(falls):
            before, row = first
            why = f"in column '{name}' it is {words[row]}, after {words[before]}"
            fix = "sort the rows, the oldest first; give each of several series a file of its own"
            raise UsageError("time runs backwards", where=rows.places[row], why=why, fix=fix)


def _iso(word: str, *, zone: bool) -> float:
    time = datetime.fromisoformat(word)
    if bool(time.tzinfo) != zone:
        raise ValueError("times with a zone and without cannot be compared")
    return (time if zone else time.replace(tzinfo=UTC)).timestamp()


def _written(word: str, form: str) -> float:
    day, _, hour = word.partition(" ")
    time = datetime.strptime(day, form).replace(tzinfo=UTC)
    return datetime.fromisoformat(f"{time.date().isoformat()} {hour}+00:00" if hour else time.isoformat()).timestamp()


_DATES: tuple[Callable[[str], float], ...] = (
    partial(_iso, zone=False),
    partial(_iso, zone=True),
    *(partial(_written, form=form) for form in ("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d.%m.%Y")),
)
"""How dates are read, in seconds: as ISO 8601 writes them, or in other ways that are common."""
_TIMES = {"date", "datetime", "day", "epoch", "time", "timestamp", "ts", "unix", "year"}
"""Words in the names of columns whose numbers are times."""


def _times(words: Sequence[str], read: Callable[[str], float]) -> dict[int, float]:
    """Those cells that can be read so, by row."""
    found = {}
    for row, word in enumerate(words):
        with suppress(ValueError, OverflowError):
            found[row] = read(word.strip())
    return found


def _first_fall(times: dict[int, float]) -> tuple[int, int] | None:
    """The first row that is older than the one before it, behind that one."""
    return next(((before, row) for (before, one), (row, other) in pairwise(times.items()) if other < one), None)


def _floors(series: np.ndarray, labels: np.ndarray, edges: np.ndarray, options: SeriesOptions) -> dict[str, float]:
    """What needs no learning on the newest rows: the commonest class there, since training has no commonest, and with
    `persistence` the class of the last change that a window shows, where a window is longer than the horizon."""
    import numpy as np

    floors = {"majority": float(np.bincount(labels).max() / len(labels))}
    if options.window > options.horizon:
        last = _starts(len(series), options, "test") + options.window - 1
        guess = np.searchsorted(edges, series[last] - series[last - options.horizon], side="right")
        floors["persistence"] = float((guess == labels).mean())
    return floors


def _starts(rows: int, options: SeriesOptions, name: SplitName) -> np.ndarray:
    """The first row of each window of a split with so many rows."""
    import numpy as np

    stride = options.stride if name == "train" else max(options.stride, options.horizon)
    return np.arange(0, rows - options.window - options.horizon + 1, stride)


def _windows(values: np.ndarray, options: SeriesOptions, name: SplitName) -> tuple[np.ndarray, np.ndarray]:
    """Windows of one split, `[n columns window]`, and the change behind each, `[n]`."""
    import numpy as np

    starts = _starts(values.shape[1], options, name)
    if not len(starts):
        raise UsageError(
            f"the split {name} has {values.shape[1]} rows",
            where=options.path,
            why=f"a window and its label take {options.window + options.horizon}",
            fix="make task.window or task.horizon smaller, or the split's share larger",
        )
    last = starts + options.window - 1
    windows = np.lib.stride_tricks.sliding_window_view(values[:-1], options.window, axis=1)[:, starts]
    return windows.transpose(1, 0, 2), values[-1, last + options.horizon] - values[-1, last]
