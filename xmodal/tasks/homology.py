"""Remote homology: the fold of a protein whose relatives training never saw (TAPE, Rao 2019; Lu 2021, section 3.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.tasks.labels import at_least_two, classes_of, existing, inside, numbers_of, refuse_unclear, unseen
from xmodal.tasks.lengths import TooLong, fit
from xmodal.tasks.options import TaskOptions
from xmodal.tasks.records import read_records
from xmodal.tasks.rows import read_rows
from xmodal.types import SPLITS, Classes, Letters, SplitName, TargetSpec

if TYPE_CHECKING:
    from xmodal.types import Task

_WORDS: dict[SplitName, set[str]] = {"train": {"train"}, "val": {"val", "valid", "validation"}, "test": {"test"}}
_HOLDOUTS = {"fold", "superfamily", "family"}
_FASTA = {".fa", ".faa", ".fas", ".fasta"}
_ENDINGS = (".csv", ".json", ".lmdb", *sorted(_FASTA))
_FIELDS = {"class": 1, "fold": 2, "superfamily": 3, "family": 4}
_MEND = "mend it, or take the protein out"
Examples = list[tuple[str, str, str]]
"""Sequence, label, and file and line."""


class RemoteHomologyOptions(TaskOptions):
    """Which fold a protein has (TAPE's remote homology; Lu 2021, section 3.1), from its sequence of amino acids.

    `path` is a folder with one file for each split, told by the words `train`, `valid` and `test` in their names, and
    for the hold-out by `fold`, `superfamily` or `family`: TAPE's LMDB or JSON as released (`primary`, `fold_label`),
    CSV (`seq,label`), or FASTA whose headers are an identifier and a SCOP class (`>d1dlwa_ a.1.1.1`). A test file that
    names no hold-out is the fold hold-out.
    """

    name: Literal["remote-homology"] = "remote-homology"
    """Which task."""
    path: str
    """Folder of the files."""
    holdout: Literal["fold", "superfamily", "family"] = "fold"
    """Which of TAPE's three test sets: unseen superfamilies within known folds (`fold`), unseen families, or new
    members of known families."""
    level: Literal["class", "fold", "superfamily", "family"] = "fold"
    """What the label is. CSV files have one `label`, which is taken as it is; to choose another is refused."""
    max_length: int = Field(default=1024, ge=1)
    """Most residues in a sample."""
    too_long: TooLong = "error"
    """What becomes of longer samples; what was cut or left out stands in the result's coverage."""
    unseen: Literal["error", "keep"] = "error"
    """What becomes of validation and test samples whose label no training sample has: `keep` counts them as wrong
    unless an untrained class is guessed."""
    classes: int | None = Field(default=None, ge=2)
    """Number of classes; null counts those of the files. Said, the recipe can be checked without them."""

    def sample(self) -> Letters:
        """Up to `max_length` residues."""
        return Letters(self.max_length)

    def target(self) -> TargetSpec:
        """One of the folds that training has."""
        return Classes(self.classes or at_least_two(self.labels(), self.path or "task.path"))

    def labels(self) -> list[str]:
        """The classes: those of training, and behind them what `unseen: keep` adds."""
        classes = classes_of([label for _, label, _ in self.examples("train")])
        if self.unseen == "keep":
            others = [label for split in ("val", "test") for _, label, _ in self.examples(split)]
            classes += unseen(others, classes)
        return classes

    def examples(self, split: SplitName) -> Examples:
        """What the file of a split holds.

        Raises:
            MissingError: it is not there, or is an LMDB, and the package lmdb is not installed.
            DamagedError: it cannot be read.
            UsageError: it holds something else, or two files could be meant.
        """
        file = self.file(split)
        if file.suffix == ".json":
            found = [_labelled(record, self.level, place) for place, record in _json(file)]
        elif file.suffix == ".lmdb":
            found = [_labelled(record, self.level, place) for place, record in read_records(file)]
        elif file.suffix == ".csv":
            if self.level != "fold":
                what, fix = f"{file.name} has one label, and no {self.level} to choose", "leave task.level out"
                raise UsageError(what, where="task.level", why=f"{file} is a CSV file", fix=fix)
            rows = read_rows(file)
            found = list(zip(rows.column("seq"), rows.column("label"), rows.places, strict=True))
        else:
            found = list(_fasta(file, self.level))
        if not found:
            raise UsageError(
                f"{file.name} has no proteins", where=str(file), fix="put some there, or get the file again"
            )
        for sequence, label, place in found:
            if strange := re.search(r"[^A-Za-z]", sequence):
                raise UsageError(f"{strange[0]!r} is no letter of a protein", where=place, fix=_MEND)
            if not sequence or not label:
                raise UsageError(f"the {'label' if sequence else 'sequence'} is empty", where=place, fix=_MEND)
        refuse_unclear([label for _, label, _ in found], [place for _, _, place in found])
        return found

    def file(self, split: SplitName) -> Path:
        """The file of a split. Raises as `examples`."""
        folder = existing(self.path, "folder of remote homology")
        if not folder.is_dir():
            raise UsageError(f"{folder.name} is not a folder", where=str(folder), fix="give the folder of the files")
        files = {
            file: set(re.split(r"[^a-z]+", file.stem.lower()))
            for file in sorted(folder.iterdir())
            if file.is_file() or file.suffix == ".lmdb"
        }
        files = {file: words for file, words in files.items() if words & _WORDS[split]}
        here = [file for file in files if file.suffix in _ENDINGS]
        if split == "test":
            here = [file for file in here if self.holdout in files[file]] or [
                file for file in here if self.holdout == "fold" and not files[file] & _HOLDOUTS
            ]
        if len(here) == 1:
            return inside(here, folder)[0]
        wanted = f"{split} file" if split != "test" else f"test file of the {self.holdout} hold-out"
        if here:
            names = ", ".join(file.name for file in here)
            raise UsageError(f"more than one {wanted}", where=str(folder), why=names, fix="leave one in the folder")
        others = f"the folder has {', '.join(file.name for file in files)}, and " if files else ""
        why = f"{others}a file ends in {', '.join(_ENDINGS)}"
        fix = "put it there" + ", or set task.holdout to one that is there" * (split == "test")
        raise MissingError(f"no {wanted}", where=str(folder), why=why, fix=fix)


def build(options: RemoteHomologyOptions, seed: int) -> Task:
    """The task of these options.

    Raises:
        MissingError: a file is not there.
        UsageError: a sample is too long, or has a label that training never saw, and the options do not allow it.
    """
    import numpy as np

    from xmodal.tasks.held import HeldTask, Ragged

    held: dict[SplitName, Examples] = {split: options.examples(split) for split in SPLITS}
    classes = options.labels()
    if options.classes is not None and len(classes) > options.classes:
        raise UsageError(
            f"{options.path} has {len(classes)} classes, and the recipe says {options.classes}",
            where="task.classes",
            fix=f"set task.classes to {len(classes)}",
        )
    splits, labels, coverage = {}, {}, {}
    for split, examples in held.items():
        lengths, places = [len(sequence) for sequence, _, _ in examples], [place for _, _, place in examples]
        kept, counts = fit(lengths, options.max_length, options.too_long, places)
        examples = [examples[index] for index in kept]
        words = [label for _, label, _ in examples]
        if split == "train":
            at_least_two(sorted(set(words)), str(options.file(split)))
        labels[split] = numbers_of(
            words, classes, where=str(options.file(split)), fix="set task.unseen to keep, or take them out"
        )
        # Case says nothing of a residue: files write stretches that were masked in small letters.
        codes = [
            np.frombuffer(sequence[: options.max_length].upper().encode(), np.uint8) for sequence, _, _ in examples
        ]
        splits[split] = Ragged(codes, labels[split])
        coverage[split] = counts
    return HeldTask(options, seed, splits, labels, coverage)


def _json(file: Path) -> Iterator[tuple[str, object]]:
    try:
        records = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        fix = "get the file again, or mend it there"
        raise DamagedError(f"{file.name} is not JSON", where=str(file), why=str(error), fix=fix) from None
    if not isinstance(records, list):
        raise UsageError(
            f"{file.name} is not a list of proteins", where=str(file), fix="write it as TAPE does: [{...}, ...]"
        )
    for number, record in enumerate(records, start=1):
        yield f"{file}:record {number}", record


def _labelled(record: object, level: str, place: str) -> tuple[str, str, str]:
    found = record if isinstance(record, dict) else {}
    sequence, label = found.get("primary"), found.get(f"{level}_label")
    if sequence is None or label is None:
        fix = f"give it {level}_label and primary, the sequence, or set task.level to a label that it has"
        raise UsageError(f"the record lacks primary or {level}_label", where=place, fix=fix)
    if not isinstance(sequence, str) or not isinstance(label, int | str) or isinstance(label, bool):
        wrong = f"{level}_label is no number or text" if isinstance(sequence, str) else "primary is no text"
        raise UsageError(f"the record's {wrong}", where=place, fix=_MEND)
    return sequence, str(label), place


def _fasta(file: Path, level: str) -> Iterator[tuple[str, str, str]]:
    label, place, lines = "", "", list[str]()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise DamagedError(
            f"{file.name} is not text", where=str(file), why=str(error), fix="save it as UTF-8"
        ) from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(">"):
            if place:
                yield "".join(lines), label, place
            words = line[1:].split()
            place, lines = f"{file}:{number}", []
            if len(words) < 2 or not re.fullmatch(r"[a-z](\.[0-9]+){3}", words[1]):
                fix = "write an identifier and the class: >d1dlwa_ a.1.1.1"
                raise UsageError("the header has no SCOP class", where=place, fix=fix)
            label = ".".join(words[1].split(".")[: _FIELDS[level]])
        elif line.strip():
            if not place:
                what, fix = "there are letters in front of the first header", "put their header there: >d1dlwa_ a.1.1.1"
                raise UsageError(what, where=f"{file}:{number}", fix=fix)
            lines.append(line.strip())
    if place:
        yield "".join(lines), label, place
