"""Labels of the users' own data: words become classes by what training holds. Imports no torch."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING

from xmodal.errors import MissingError, UsageError
from xmodal.paths import given
from xmodal.types import SplitName

if TYPE_CHECKING:
    import numpy as np


WORDS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test",),
}
"""What data sets call each split."""
_DIGITS = 20
"""From so many digits on, a label is no number but a word."""


def classes_of(labels: Sequence[str]) -> list[str]:
    """The labels of a training split in their order: by value where all are whole numbers, else by letters."""
    found = set(labels)
    if all(label.isascii() and label.isdigit() and len(label) < _DIGITS for label in found):
        return sorted(found, key=lambda label: (int(label), label))
    return sorted(found)


def split_of(word: str) -> SplitName | None:
    """The split that data sets call so."""
    return next((split for split, words in WORDS.items() if word.lower() in words), None)


def refuse_unclear(labels: Sequence[str], places: Sequence[str]) -> None:
    """Checks that labels which look alike are alike.

    Raises:
        UsageError: one begins or ends with a blank, has a character that does not print, or has letters and accents
            apart that Unicode writes as one; it is `nan`, which programs write for nothing; or it is the number that
            another is, written otherwise.
    """
    why = "it would be a class of its own, beside one that looks the same"
    written: dict[float, str] = {}
    for label, place in zip(labels, places, strict=True):
        if not unicodedata.is_normalized("NFC", label):
            what = f"the label '{label}' has an accent apart from its letter"
            raise UsageError(what, where=place, why=why, fix="save the labels in Unicode's composed form, NFC")
        if label != label.strip() or not label.isprintable():
            what = f"the label {label!r} has a blank at an end, or a character that does not print"
            raise UsageError(what, where=place, why=why, fix="take that character out")
        value = _value(label)
        if value is not None and isnan(value):
            why, fix = "it stands for a number that is not there", "take the sample out, or call the class otherwise"
            raise UsageError(f"the label '{label}' is no label", where=place, why=why, fix=fix)
        if value is not None and written.setdefault(value, label) != label:
            what = f"the labels '{written[value]}' and '{label}' are one number"
            raise UsageError(what, where=place, why="they would be two classes", fix="write all labels in one way")


def _value(label: str) -> float | None:
    """Of `nan` and of what is written as a whole number; 1.1 and 1.10 may be two places in a hierarchy."""
    with suppress(ValueError):
        value = float(label) if len(label) < _DIGITS and label.isascii() and "_" not in label else inf
        return value if isnan(value) or value.is_integer() else None
    return None


def unseen(labels: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Labels that are none of the classes, each once, in the order of `classes_of`."""
    return classes_of(sorted(set(labels) - set(classes)))


def numbers_of(labels: Sequence[str], classes: Sequence[str], *, where: str, fix: str = "") -> np.ndarray:
    """The class index of each label, `[n]`.

    Raises:
        UsageError: a label is none of the classes.
    """
    import numpy as np

    if strange := unseen(labels, classes):
        raise UsageError(
            f"training never saw the label '{strange[0]}'",
            where=where,
            why=f"{len(strange)} of its labels are in no training sample: {', '.join(strange[:5])}",
            fix=fix or "take these samples out, or put samples with the label into the training split",
        )
    index = {label: number for number, label in enumerate(classes)}
    return np.array([index[label] for label in labels], dtype=np.int64)


def at_least_two(classes: Sequence[str], where: str) -> int:
    """Number of classes.

    Raises:
        UsageError: there are not two.
    """
    if len(classes) < 2:
        count = "no classes" if not classes else "one class"
        why, fix = "there must be two at least", "give training samples of another class"
        raise UsageError(f"training has {count}", where=where, why=why, fix=fix)
    return len(classes)


def existing(path: str, what: str) -> Path:
    """The file or folder that a recipe names.

    Raises:
        MissingError: it is not there, or may not be read.
        UsageError: it is neither: to read a pipe or a device may never end.
    """
    place = given(path, what)
    if not os.path.exists(place):
        nearest = next(above for above in place.absolute().parents if os.path.exists(above))
        if os.access(nearest, os.X_OK):  # else it may be there, and cannot be seen
            why = "nothing has that name, seen from the folder that this runs in"
            raise MissingError(f"no such {what}", where=path, why=why, fix="name it: -o task.path=PATH")
    _must_open(place)
    if not place.is_file() and not place.is_dir():
        raise UsageError(f"the {what} is neither a file nor a folder", where=path, fix="name it: -o task.path=PATH")
    return place


def _must_open(place: Path) -> None:
    if not os.access(place, os.R_OK | (os.X_OK if os.path.isdir(place) else 0)):
        why, fix = "this user has no right to read it", "ask its owner for that right, or copy what is yours"
        raise MissingError(f"{place.name or place} cannot be opened", where=str(place), why=why, fix=fix)


def inside(files: Iterable[Path], folder: Path) -> list[Path]:
    """The files, if they lie in the folder when all links are followed: it may be another's, with links to yours.

    Raises:
        UsageError: one leads out of the folder, or nowhere.
        MissingError: one may not be read.
    """
    found, outer = list(files), folder.resolve()
    for file in found:
        there = Path(os.path.realpath(file))  # which, unlike `resolve`, takes links in a circle
        if not there.is_relative_to(outer):
            kind = "folder" if file.is_dir() else "file"
            raise UsageError("the path leads out of the folder", where=str(file), fix=f"copy the {kind} instead")
        if not os.path.exists(there):
            raise UsageError("the link leads nowhere", where=str(file), fix="copy the file instead, or take it out")
        _must_open(there)
    return found


def leave_some(val: float, test: float) -> None:
    """Checks the shares of validation and test.

    Raises:
        UsageError: nothing is left to train on.
    """
    if val + test >= 1:
        what = f"shares of {val:g} and {test:g} leave nothing to train on"
        raise UsageError(what, where="task.val", fix="set task.val or task.test lower")


def each_once(columns: Sequence[str]) -> None:
    """Checks the names of columns.

    Raises:
        UsageError: one is named twice.
    """
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise UsageError(f"the column '{twice[0]}' is named twice", where="task.columns", fix="name each column once")
