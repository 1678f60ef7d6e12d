"""ListOps: nested MIN, MAX, MED and SM (Nangia 2018), by the rules of the Long Range Arena (Tay 2020; Lu 2021)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from xmodal import sources
from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.sources.cache import digest
from xmodal.tasks.labels import existing, inside
from xmodal.tasks.lengths import TooLong, fit
from xmodal.tasks.options import TaskOptions
from xmodal.types import SPLITS, Classes, SampleSpec, SplitName, Symbols, TargetSpec

if TYPE_CHECKING:
    import numpy as np

    from xmodal.types import Task

GENERATOR = 1
"""Rises when the generator draws other expressions from the same seed."""
_ROOTS = 4096
_FILES: dict[SplitName, str] = {"train": "basic_train.tsv", "val": "basic_val.tsv", "test": "basic_test.tsv"}


class ListOpsOptions(TaskOptions):
    """ListOps (Nangia 2018; Tay 2020): what a nested expression of MIN, MAX, MED and SM over digits is worth, 0 to 9.

    Expressions are drawn by the rules of the Long Range Arena, once for each seed, and kept in the cache; no expression
    occurs twice, in one split or in two. A token is a digit, an operator with its bracket, or the bracket that closes
    it.
    """

    name: Literal["listops"] = "listops"
    """Which task."""
    path: str | None = None
    """Folder with LRA's own `basic_train.tsv`, `basic_val.tsv` and `basic_test.tsv`, in the place of our generator."""
    train: int = Field(default=96_000, ge=1, le=10_000_000)
    """Number of training samples; files are taken whole."""
    val: int = Field(default=2000, ge=1, le=1_000_000)
    """Number of validation samples."""
    test: int = Field(default=2000, ge=1, le=1_000_000)
    """Number of test samples."""
    longer_than: int = Field(default=500, ge=2, le=100_000)
    """An expression has more tokens than this."""
    shorter_than: int = Field(default=2000, ge=4, le=100_000)
    """An expression has fewer tokens than this."""
    max_length: int | None = Field(default=None, ge=4)
    """Most tokens that a sample may have; null is as many as an expression can have."""
    too_long: TooLong = "error"
    """What becomes of longer samples: `truncate` keeps their first tokens; what was cut or left out stands in the
    result's coverage."""

    def sample(self) -> SampleSpec:
        """Up to `max_length` symbols out of 16, padding among them.

        Raises:
            UsageError: no expression can have such a length.
            MissingError: `path` lacks a file.
        """
        if self.path:
            _files(existing(self.path, "folder of ListOps"))
        if self.shorter_than < self.longer_than + 2:
            raise UsageError(
                f"no length is over {self.longer_than} and under {self.shorter_than}",
                where="task.shorter_than",
                fix="set task.shorter_than at least two above task.longer_than",
            )
        return Symbols(vocabulary=16, max_length=self.max_length or self.shorter_than - 1, fixed=False)

    def target(self) -> TargetSpec:
        """Ten classes."""
        return Classes(10)


def build(options: ListOpsOptions, seed: int, *, without_brackets: bool = False) -> Task:
    """The task, its expressions drawn or read once and then taken from the cache.

    Args:
        options: what a recipe says.
        seed: draws the expressions.
        without_brackets: drops every `]` before samples are cut, as `legacy.listops_tokens` says.

    Raises:
        UsageError: a sample is too long, and the policy is `error`.
        MissingError: `path` lacks a file.
        DamagedError: a line of a file is no expression, or not worth what it says.
    """
    import numpy as np

    from xmodal.tasks.expressions import CLOSER
    from xmodal.tasks.held import HeldTask, Ragged

    given = existing(options.path, "folder of ListOps") if options.path else None
    folder = _read_once(given) if given else _draw_once(options, seed)
    most = options.max_length or options.shorter_than - 1
    splits: dict[SplitName, Ragged] = {}
    labels: dict[SplitName, np.ndarray] = {}
    coverage: dict[SplitName, dict[str, int]] = {}
    for split in SPLITS:
        tokens, ends, worth = (
            np.load(folder / f"{split}-{what}.npy", allow_pickle=False) for what in ("tokens", "ends", "labels")
        )
        if without_brackets:
            kept = tokens != CLOSER
            tokens, ends = tokens[kept], np.cumsum(kept)[ends - 1]
        starts = np.concatenate([[0], ends[:-1]])
        where = f"{given / _FILES[split]}:" if given else f"task, split {split}, sample "
        first = 1 + _has_header(given / _FILES[split]) if given else 0
        names = [f"{where}{number}" for number in range(first, first + len(ends))]
        kept, counts = fit((ends - starts).tolist(), most, options.too_long, names)
        pieces = [tokens[starts[index] : min(int(ends[index]), int(starts[index]) + most)] for index in kept]
        labels[split] = worth[kept].astype(np.int64)
        splits[split] = Ragged(pieces, labels[split], symbols=True)
        if counts["truncated"] or counts["skipped"]:
            coverage[split] = counts
    return HeldTask(options, seed, splits, labels, coverage)


def _draw_once(options: ListOpsOptions, seed: int) -> Path:
    said = [GENERATOR, seed, options.train, options.val, options.test, options.longer_than, options.shorter_than]
    name = f"listops-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]}"

    def fill(place: Path) -> dict[str, Any]:
        counts = (options.train, options.val, options.test)
        every = _distinct(sum(counts), seed, options.longer_than, options.shorter_than)
        for split, count in zip(SPLITS, counts, strict=True):
            _write(place, split, [next(every) for _ in range(count)])
        return {"route": "generated", "origin": f"listops/{GENERATOR}", "about": f"ListOps drawn from seed {seed}"}

    return sources.install("data", name, fill)


def _distinct(count: int, seed: int, shortest: int, longest: int) -> Iterator[tuple[np.ndarray, int]]:
    """`count` expressions, none twice. Each batch of trees has a stream of its own."""
    from xmodal import seeds
    from xmodal.tasks.expressions import draw

    seen: set[bytes] = set()
    batch = barren = 0
    while len(seen) < count:
        before = len(seen)
        drawn = draw(_ROOTS, seeds.numpy_generator("data", seed, "listops", batch), shortest, longest)
        for tokens, label in drawn.each():
            digest = hashlib.blake2b(tokens.tobytes(), digest_size=16).digest()
            if digest not in seen and len(seen) < count:
                seen.add(digest)
                yield tokens, label
        batch, barren = batch + 1, barren + 1 if len(seen) == before else 0
        if barren == 50:
            raise UsageError(
                f"{count} different expressions of more than {shortest} and fewer than {longest} tokens were not found",
                where="task.longer_than",
                why=f"the last {barren * _ROOTS} trees gave no new one",
                fix="ask for fewer samples, or for a wider range of lengths",
            )


def _read_once(folder: Path) -> Path:
    """LRA's files, each line checked, in the cache; they are read again when a byte of them changes."""
    digests = [digest(file) for file in _files(folder)]
    name = f"listops-{hashlib.sha256(' '.join(digests).encode()).hexdigest()[:12]}"

    def fill(place: Path) -> dict[str, Any]:
        for split, file in _FILES.items():
            lines = list(_lines(folder / file))
            if not lines:
                raise DamagedError(f"{file} has no expressions", where=str(folder / file), fix="get the file again")
            _write(place, split, lines)
        return {"route": "path", "origin": f"path:{folder.absolute()}", "about": "ListOps in LRA's format"}

    return sources.install("data", name, fill)


def _files(folder: Path) -> list[Path]:
    for file in _FILES.values():
        if not (folder / file).is_file():
            fix = f"give a folder with {', '.join(_FILES.values())}"
            raise MissingError(f"no {file}", where=str(folder), why="task.path names that folder", fix=fix)
    return inside((folder / file for file in _FILES.values()), folder)


def _has_header(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        return stream.readline().split("\t")[0].strip() == "Source"


def _lines(file: Path) -> Iterator[tuple[np.ndarray, int]]:
    from xmodal.tasks.expressions import encode, evaluate

    header = _has_header(file)
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            if number == 1 and header:
                continue
            try:
                source, tab, target = line.rstrip("\r\n").partition("\t")
                if not tab:
                    raise ValueError("there is no tab between expression and target")
                tokens = encode(source)
                if str(worth := evaluate(tokens)) != target.strip():
                    raise ValueError(f"the expression is worth {worth}, and the target is {target.strip()[:20]!r}")
            except ValueError as error:
                fix = "get the file again, or correct the line"
                raise DamagedError("not a line of ListOps", where=f"{file}:{number}", why=str(error), fix=fix) from None
            yield tokens, worth


def _write(place: Path, split: SplitName, samples: list[tuple[np.ndarray, int]]) -> None:
    import numpy as np

    np.save(place / f"{split}-tokens.npy", np.concatenate([tokens for tokens, _ in samples]), allow_pickle=False)
    np.save(place / f"{split}-ends.npy", np.cumsum([len(tokens) for tokens, _ in samples]), allow_pickle=False)
    labels = np.array([label for _, label in samples], dtype=np.uint8)
    np.save(place / f"{split}-labels.npy", labels, allow_pickle=False)
