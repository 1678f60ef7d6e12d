"""A data set of the Hugging Face hub: its tables, read as the users' own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from xmodal.errors import MissingError, UsageError
from xmodal.sources.hub import find_dataset
from xmodal.tasks.labels import WORDS, existing, inside
from xmodal.tasks.rows import SUFFIXES, Rows, read_rows
from xmodal.tasks.table import TableOptions
from xmodal.types import SPLITS, SplitName

_SHARD = re.compile(r"(.*?)-?(\d+)-of-(\d+)(-[0-9a-f]+)?")
"""A part of a split, as the hub names it: `train-00000-of-00003`, of old with a digest behind it."""


class HubOptions(TableOptions):
    """A data set of the Hugging Face hub, by its name, from its Parquet and CSV files; no code of it is run.

    The words `train`, `validation` and `test` in the names of the files say the split, and a split may have several
    files. `xmodal get data hub:ORG/NAME` fetches it.
    """

    name: Literal["hub"] = "hub"  # pyright: ignore[reportIncompatibleVariableOverride]
    """Which task."""
    dataset: str
    """Its name on the hub, ORG/NAME."""
    path: str = ""
    """Folder with its files, where they are not in the cache."""
    config: str | None = None
    """Which of its configurations, a folder of that name, where it has several."""
    split: None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Not used: the names of the files say the split."""
    val: None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Not used: validation is the files that are called so."""
    test: None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Not used: the test split is the files that are called so."""

    def tables(self, seed: int) -> dict[SplitName, Rows]:
        """The rows of each split; `seed` draws none of them. Raises as `TableOptions.tables`."""
        return {name: self._joined(name) for name in SPLITS}

    def _joined(self, split: SplitName) -> Rows:
        folder = existing(self.path, "folder of the data set") if self.path else find_dataset(self.dataset)
        if not folder.is_dir():
            fix = "give the folder of the files, or take one file as the task table"
            raise UsageError(f"{folder.name} is not a folder", where="task.path", fix=fix)
        every = (file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file())
        files = [file for file in every if not any(part.startswith(".") for part in _parts(file, folder))]
        configs = {file: _config_of(file, folder) for file in files}
        known = sorted(set(configs.values()))
        if self.config is None and len(known) > 1:
            raise UsageError(
                f"{self.dataset} has several configurations",
                where=str(folder),
                why=f"there are {', '.join(name or 'files beside them' for name in known)}",
                fix="name one: task.config",
            )
        if self.config is not None and self.config not in known:
            raise UsageError(
                f"{self.dataset} has no configuration '{self.config}'",
                where="task.config",
                why=f"there are {', '.join(filter(None, known)) or 'none'}",
                fix="name one of these, or none",
            )
        files = inside((file for file in files if self.config in (None, configs[file])), folder)
        chosen = [file for file in files if _split_of(file, folder) == split]
        _refuse_several(chosen, folder, split)
        _refuse_half(chosen, split)
        parts = [read_rows(file) for file in chosen]
        if not parts:
            raise MissingError(
                f"{self.dataset} has no files for {split}",
                where=str(folder),
                why=f"the files are {', '.join(file.name for file in files) or 'none'}",
                fix="take a data set with three splits, or one file of it as the task table, which splits by seed",
            )
        for part in parts:
            if part.columns != parts[0].columns:
                what, why = f"the files for {split} have different columns", f"{parts[0].places[0]} is of another table"
                raise UsageError(what, where=part.places[0], why=why, fix="name one table of the data set: task.config")
        cells, places = ([each for part in parts for each in getattr(part, key)] for key in ("cells", "places"))
        return replace(parts[0], cells=cells, places=places)

    def _check_shares(self) -> None:
        """There are none."""

    def _trained(self) -> Rows:
        return self._joined("train")

    def _tables(self) -> list[Rows]:
        return [self._joined(name) for name in SPLITS]


def _parts(file: Path, folder: Path) -> list[str]:
    """Folders and name of a file on the hub; in the cache `--` stands for what divides them."""
    whole = file.relative_to(folder)
    return [part for piece in (*whole.parts[:-1], whole.stem) for part in piece.split("--")]


def _words(part: str) -> set[str]:
    return set(re.split(r"[^a-z]+", part.lower()))


def _config_of(file: Path, folder: Path) -> str:
    """The folders of a file that say neither its split nor that it is data."""
    known = {"data", *(word for words in WORDS.values() for word in words)}
    return "/".join(part for part in _parts(file, folder)[:-1] if not known & _words(part))


def _split_of(file: Path, folder: Path) -> SplitName | None:
    """What its name says; where that says nothing, the innermost of its folders that does.

    Raises:
        UsageError: it says two.
    """
    for part in reversed(_parts(file, folder)):
        found: list[SplitName] = [split for split, known in WORDS.items() if _words(part) & {*known}]
        if len(found) > 1:
            what, why = f"{file.name} is of two splits", f"'{part}' says {' and '.join(found)}"
            raise UsageError(what, where=str(file), why=why, fix="give it a name that says one, or take it out")
        if found:
            return found[0]
    return None


def _refuse_several(files: list[Path], folder: Path, split: SplitName) -> None:
    """Checks that the files of a split are parts of one.

    Raises:
        UsageError: they lie in different folders, and may hold the same rows twice; or their names are those of
            different splits, as `validation_matched` and `validation_mismatched`.
    """
    places = sorted({"/".join(_parts(file, folder)[:-1]) or "." for file in files})
    if len(places) > 1:
        why = f"they are in {', '.join(places)}, and may hold the same rows twice"
        raise UsageError(f"several folders for {split}", where=str(folder), why=why, fix="leave one")
    names = sorted({_unnumbered(_parts(file, folder)[-1]) for file in files})
    if len(names) > 1:
        why = f"there are {', '.join(names)}"
        fix = f"give as task.path a folder with those of one, or name it {split} alone"
        raise UsageError(f"several splits could be {split}", where=str(folder), why=why, fix=fix)


def _unnumbered(name: str) -> str:
    """The name of a file less what only counts the parts of a split: `train-00000-of-00003`, `train_0`, `train1`."""
    match = _SHARD.fullmatch(name)
    pieces = re.split(r"[-_. ]+", match[1] if match else name)
    known = {"part", "shard", "chunk", "file", *(word for words in WORDS.values() for word in words)}
    bare = [re.sub(r"\d+$", "", piece) for piece in pieces]
    kept = [one if one.lower() in known else piece for one, piece in zip(bare, pieces, strict=True) if one]
    return "_".join(kept)


def _refuse_half(files: list[Path], split: SplitName) -> None:
    """Checks that the files of a split are all of it, and once.

    Raises:
        UsageError: there are two kinds of files.
        MissingError: their names say that there are more.
    """
    if len({file.suffix.lower() for file in files}) > 1:
        why, fix = "they may hold the same rows twice", "leave those of one kind"
        raise UsageError(f"CSV and Parquet files for {split}", where=str(files[0].parent), why=why, fix=fix)
    shards: dict[tuple[Path, int], set[int]] = {}
    for file in files:
        if match := _SHARD.fullmatch(file.stem):
            shards.setdefault((file.parent / match[1], int(match[3])), set()).add(int(match[2]))
    for (name, count), here in shards.items():
        if absent := sorted(set(range(count)) - here):
            what = f"{len(absent)} of the {count} files for {split} are not there"
            why, fix = f"number {absent[0]} of {name.name} is missing, for one", "get the data set again"
            raise MissingError(what, where=str(name.parent), why=why, fix=fix)
