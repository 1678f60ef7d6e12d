"""How runs of a study are made at the same time: in processes, or in one pass through the body that they share."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from xmodal.engine import company
from xmodal.errors import DamagedError
from xmodal.run.bare import resolve
from xmodal.run.result import is_sealed, sealed
from xmodal.run.whole import write_json
from xmodal.study.attempts import cores
from xmodal.study.design import Design
from xmodal.study.study import file_of

SPARE = 2**30
"""Bytes that a process needs beside its model: Python, torch and a batch."""
MOST_WORKERS = 8
"""Most processes unless more are asked for."""
MOST_TOGETHER = 16
"""Most runs in a pass unless more are asked for."""
FILE = "way.json"


@dataclass(frozen=True)
class Way:
    """How many at a time.

    Attributes:
        workers: processes; 0 makes runs in this one.
        together: runs that take their steps in one pass, at most; 0 makes one after another.
    """

    workers: int
    together: int = 0


def suitable(design: Design) -> int:
    """How many processes suit this machine: one for each core, as far as memory holds; one for an accelerator."""
    recipes = [arm.recipe for arm in design.arms.arms]
    if any(resolve(recipe).device != "cpu" for recipe in recipes):
        return 1
    threads = max(recipe.threads or 1 for recipe in recipes)
    # Parameters, gradients and two moments of Adam, all in float32 and of all of them: more than is ever needed.
    each = 16 * max(arm.total for arm in design.arms.arms) + SPARE
    return max(1, min(cores() // threads, _free_memory() // each, MOST_WORKERS))


def companions(design: Design) -> int:
    """How many runs could share a pass at a time, as far as memory holds; less than two is none.

    It is asked of the whole study, not of what it lacks, so that one that goes on is made in the same groups.
    """
    groups = Counter((key, trial.purpose, trial.share) for trial in design.trials() if (key := company(trial.recipe)))
    most = max(groups.values(), default=0)
    if most < 2:
        return 0
    arms = [arm for arm in design.arms.arms if company(arm.recipe)]
    whole, own = (max(getattr(arm, size) for arm in arms) for size in ("total", "trainable"))
    return max(0, min(most, MOST_TOGETHER, (_free_memory() - 16 * whole) // (16 * own + SPARE)))


def begun(design: Design, out: Path) -> int | None:
    """How many runs share a pass in the study that was begun in `out`; None where none was.

    Raises:
        DamagedError: what says so was changed, or cannot be read.
    """
    file = _file(design, out)
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if not is_sealed(said):
            raise ValueError("it was changed: its digest is not that of what it says")
        return int(said["together"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        fix = "put it back as it was; or delete it, and what is missing is made as is quickest, with other last bits"
        raise DamagedError("cannot be read", where=str(file), why=str(error), fix=fix) from None


def begin(design: Design, out: Path, together: int) -> None:
    """Puts down how many runs share a pass, so that a study that goes on does so too: the last bits depend on it.

    Raises:
        UnwrittenError: the disk is full, or the folder cannot be written.
    """
    write_json(_file(design, out), sealed({"together": together}))


def _file(design: Design, out: Path) -> Path:
    return file_of(design, out).with_name(FILE)


def _free_memory() -> int:
    """Bytes; as much as anybody could want where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return 2**62
