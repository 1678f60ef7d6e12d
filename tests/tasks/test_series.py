"""Windows over time: borders that nothing crosses, statistics of training alone, and bad cells named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from xmodal.errors import MissingError, UsageError
from xmodal.tasks import build_task
from xmodal.tasks.series import SeriesOptions
from xmodal.types import Classes, Continuous, Split, Task


def series(path: Path, **said: object) -> Task:
    said = {"columns": ["a", "b"], "target_column": "a", "window": 4, "horizon": 2, **said}
    return build_task(SeriesOptions.model_validate({"path": str(path), **said}), 0)


def write(folder: Path, count: int = 100, **changes: object) -> Path:
    a = np.random.default_rng(0).normal(size=count).cumsum()
    lines = [f"day {n},{a[n]},{changes.get(f'b{n}', n)}" for n in range(count)]
    (folder / "s.csv").write_text("\n".join(["date,a,b", *lines]) + "\n")
    return folder / "s.csv"


def whole(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    batch = split.batch(torch.arange(len(split)))
    return batch.samples, batch.targets


def test_windows_stay_within_their_split(tmp_path: Path) -> None:
    task = series(write(tmp_path))
    assert (task.sample, task.target) == (Continuous((2, 4)), Classes(3))
    assert [len(task.split(name)) for name in ("train", "val", "test")] == [55, 8, 8]
    mean, deviation = np.arange(60).mean(), np.arange(60).std()
    for name, start, end in (("train", 0, 60), ("val", 60, 80), ("test", 80, 100)):
        rows = whole(task.split(name))[0][:, 1] * deviation + mean  # column b is the number of the row
        assert rows.round().min() == start
        assert rows.round().max() == end - 1 - 2  # the label lies two rows behind


def test_labels_are_quantiles_of_training(tmp_path: Path) -> None:
    counts = whole(series(write(tmp_path)).split("train"))[1].bincount()
    assert counts.max() - counts.min() <= 2


def test_later_rows_change_nothing_in_training(tmp_path: Path) -> None:
    before = series(write(tmp_path)).split("train").digest()
    assert series(write(tmp_path, b99=-5000, b65=1e6)).split("train").digest() == before
    assert series(write(tmp_path, b5=9)).split("train").digest() != before


def test_labels_of_test_do_not_overlap(tmp_path: Path) -> None:
    task = series(write(tmp_path), horizon=5)
    seen = whole(task.split("test"))[0][:, 1] * np.arange(60).std() + np.arange(60).mean()
    assert seen[:, -1].round().tolist() == [83, 88, 93]
    assert len(series(write(tmp_path), horizon=2, stride=6).split("test")) == 3


def test_floors_are_what_the_newest_rows_give_away(tmp_path: Path) -> None:
    floors = series(write(tmp_path)).floors()
    a = np.random.default_rng(0).normal(size=100).cumsum()
    edges = np.quantile(a[5:60] - a[3:58], [1 / 3, 2 / 3])
    ends = np.arange(83, 98, 2)
    truth, guess = (
        np.searchsorted(edges, change, side="right") for change in (a[ends + 2] - a[ends], a[ends] - a[ends - 2])
    )
    assert floors == {"majority": max(np.bincount(truth)) / 8, "persistence": (truth == guess).mean()}
    assert "persistence" not in series(write(tmp_path), window=2).floors()


def test_a_stride_leaves_windows_out(tmp_path: Path) -> None:
    assert len(series(write(tmp_path), stride=10).split("train")) == 6


@pytest.mark.parametrize(
    ("changes", "said", "message"),
    [
        ({"b7": "x"}, {}, "s.csv:9: 'x' in column 'b' is not a number"),
        ({"b7": "nan"}, {}, "s.csv:9: 'nan' in column 'b' is not a number"),
        ({"b7": ""}, {}, "s.csv:9: '' in column 'b' is not a number"),
        ({"b7": "-1e308"}, {}, "s.csv:9: '-1e308' in column 'b' is beyond 1e+100"),
        ({"b97": "1e99"}, {}, "column 'b' has a number that is"),
        ({}, {"window": 40}, "the split val has 20 rows"),
        ({}, {"target_column": "c"}, "no column 'c'"),
        ({}, {"val": 0.6, "test": 0.5}, "nothing to train on"),
    ],
)
def test_bad_series_are_named(
    tmp_path: Path, changes: dict[str, object], said: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        series(write(tmp_path, **changes), **said)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"columns": ["a", "d"]}, "no column 'd'"),
        ({"target_column": "c"}, "no column 'c'"),
        ({"val": 0.6, "test": 0.5}, "nothing to train on"),
    ],
)
def test_columns_and_shares_are_looked_at_before_anything_is_built(
    tmp_path: Path, said: dict[str, object], message: str
) -> None:
    options = {"path": str(write(tmp_path)), "columns": ["a", "b"], "target_column": "a", **said}
    with pytest.raises(UsageError, match=message):
        SeriesOptions.model_validate(options).sample()


@pytest.mark.parametrize(
    ("dates", "row"),
    [
        (lambda n: f"2024-01-01T{23 - n // 60:02}:{59 - n % 60:02}", 3),  # the newest first
        (lambda n: f"2024-01-{1 + n % 28:02}", 30),  # one series after another
        (lambda n: "2024-01-01 or n/a" if n == 1 else f"2024-01-01T{23 - n // 60:02}:{59 - n % 60:02}", 4),
        (lambda n: f"2024-01-01T{23 - n // 60:02}:{59 - n % 60:02}+01:00", 3),
    ],
)
def test_time_that_runs_backwards_is_refused(tmp_path: Path, dates: Callable[[int], str], row: int) -> None:
    file = write(tmp_path)
    head, *lines = file.read_text().splitlines()
    file.write_text("\n".join([head, *(line.replace(f"day {n}", dates(n)) for n, line in enumerate(lines))]))
    with pytest.raises(UsageError, match="time runs backwards") as error:
        series(file)
    assert error.value.where.endswith(f"s.csv:{row}")
    assert error.value.why.startswith("in column 'date' it is 2024-01-01")


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("date", lambda n: f"{31 - n // 60:02}/12/2020 {23 - n % 60 // 3:02}:{59 - n % 3:02}"),
        ("date", lambda n: f"12/{31 - n // 60:02}/2020"),
        ("unix_time", lambda n: str(1_700_000_000 - n)),
        ("year", lambda n: f"{2400 - n}"),
    ],
)
def test_time_that_runs_backwards_in_other_words_is_refused(
    tmp_path: Path, name: str, times: Callable[[int], str]
) -> None:
    file = write(tmp_path)
    head, *lines = file.read_text().splitlines()
    rows = (line.replace(f"day {n}", times(n)) for n, line in enumerate(lines))
    file.write_text("\n".join([head.replace("date", name), *rows]))
    with pytest.raises(UsageError, match="time runs backwards"):
        series(file)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("day", lambda n: str(1 + n % 28)),  # they begin again
        ("left", lambda n: str(500 - n)),  # no time
        ("date", lambda n: f"{1 + n // 40:02}/{1 + n % 40 // 4:02}/2020"),  # forwards, read the other way
    ],
)
def test_what_falls_and_is_no_time_is_fine(tmp_path: Path, name: str, times: Callable[[int], str]) -> None:
    file = write(tmp_path)
    head, *lines = file.read_text().splitlines()
    rows = (line.replace(f"day {n}", times(n)) for n, line in enumerate(lines))
    file.write_text("\n".join([head.replace("date", name), *rows]))
    assert len(series(file).split("train")) == 55


def test_time_that_runs_forwards_is_fine(tmp_path: Path) -> None:
    file = write(tmp_path)
    head, *lines = file.read_text().splitlines()
    dated = (line.replace(f"day {n}", f"2024-01-01T{n // 60:02}:{n % 60:02}") for n, line in enumerate(lines))
    file.write_text("\n".join([head, *dated]))
    assert len(series(file).split("train")) == 55


def test_changes_that_are_too_alike(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="training does not fill 3 classes"):
        series(write(tmp_path), target_column="b")


def test_a_series_that_is_not_there() -> None:
    with pytest.raises(MissingError) as error:
        SeriesOptions(path="nowhere.csv", columns=["a"], target_column="a").sample()
    assert error.value.exit_code == 3


def test_a_column_that_is_constant_but_for_rounding_is_not_blown_up(tmp_path: Path) -> None:
    steady = {f"b{n}": 0.1 if n < 60 else 0.11 for n in range(100)}
    assert np.array([0.1] * 60).std() > 0  # what rounding leaves of it
    seen = whole(series(write(tmp_path, **steady)).split("test"))[0][:, 1]
    assert seen.abs().max() < 1


def test_a_change_that_is_an_edge_falls_to_the_class_above_it(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("date,a,b\n" + "".join(f"d,{n * (n % 3)},0\n" for n in range(100)))
    task = series(tmp_path / "s.csv", classes=2, horizon=1, window=1)
    change = np.diff([n * (n % 3) for n in range(60)])
    assert whole(task.split("train"))[1].tolist() == (change >= np.median(change)).astype(int).tolist()
