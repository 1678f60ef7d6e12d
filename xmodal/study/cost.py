"""What a study will take on this machine, from a few steps of every arm."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from xmodal.engine import company
from xmodal.errors import MissingError
from xmodal.recipe import Recipe
from xmodal.run.bare import bare_loop, endless, resolve
from xmodal.run.events import Evaluating, Stepped
from xmodal.run.session import task_of
from xmodal.run.threads import threads
from xmodal.study.attempts import cores, there
from xmodal.study.design import EXTENSIONS, Design, Trial, extended
from xmodal.study.study import lacking

STEPS, BATCHES = 3, 2
"""Most steps, and batches of evaluation, that are timed for an arm; before each one is taken that is not."""
LONG = 2.0
"""Seconds after which enough of an arm has been seen."""
SPARE = 2**30
"""Bytes that a process needs beside its model: Python, torch and a batch."""
MOST_WORKERS = 8
"""Most processes unless more are asked for."""


def preview_of(design: Design, out: Path, workers: int, together: int = 0) -> dict[str, Any]:
    """`design.preview()`, and in `cost` what is missing of it: runs, seconds and bytes of checkpoints.

    A few steps of every arm are timed, and nothing is written. Seconds are at most so many, if no run stops before its
    last step and the grid is not extended. Where data or weights are missing they are null, and `unknown` says why.

    Args:
        design: what is to be run.
        out: folder of all runs, of which those that are finished cost nothing.
        workers: processes that will share the work.
        together: runs that will share a pass, as far as their arms can, which `sharing` of them can; the seconds are
            those of one after another.
    """
    said: dict[str, Any] = {"workers": max(workers, 1), "together": together, "runs": None, "seconds": None}
    said |= {"disk": None, "unknown": "", "sharing": None}
    if together > 1:
        said["sharing"] = sum(bool(company(arm.recipe)) for arm in design.arms.arms)
    try:
        said |= _cost(design, out, max(workers, 1))
    except MissingError as error:
        said["unknown"] = str(error).splitlines()[0]
    return design.preview() | {"cost": said}


def suitable(design: Design) -> int:
    """How many processes suit this machine: one for each core, as far as memory holds; one for an accelerator."""
    recipes = [arm.recipe for arm in design.arms.arms]
    if any(resolve(recipe).device != "cpu" for recipe in recipes):
        return 1
    threads = max(recipe.threads or 1 for recipe in recipes)
    # Parameters, gradients and two moments of Adam, all in float32 and of all of them: more than is ever needed.
    each = 16 * max(arm.total for arm in design.arms.arms) + SPARE
    return max(1, min(cores() // threads, _free_memory() // each, MOST_WORKERS))


def _free_memory() -> int:
    """Bytes; as much as anybody could want where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return 2**62


def _cost(design: Design, out: Path, workers: int) -> dict[str, Any]:
    missing = _missing(design, out) or lacking(design, out)
    seconds = 0.0
    for arm in design.arms.arms:
        ours = [trial for trial in missing if trial.arm is arm]
        if ours:
            with threads(arm.recipe.threads or max(1, cores() // workers)):
                train, test = _seconds(arm.recipe)
            seconds += (
                sum(trial.share for trial in ours) * train + sum(trial.purpose != "tuning" for trial in ours) * test
            )
    # The best parameters once, the last ones with the two moments of Adam.
    disk = sum(4 * 4 * trial.arm.trainable for trial in missing)
    return {"runs": len(missing), "seconds": round(seconds / workers, 1), "disk": disk}


def _missing(design: Design, out: Path) -> list[Trial]:
    """What is not there; a report run is, at whatever rate tuning may have chosen for it."""
    if not any((out / arm.recipe.name).is_dir() for arm in design.arms.arms):
        return list(design.trials())  # no run of any of these names, so that no digest need be made
    chosen = design.rates
    for _ in range(EXTENSIONS * design.swept):
        chosen = extended(chosen, ["high", "low"])

    def is_there(trial: Trial) -> bool:
        rates = chosen if trial.purpose == "report" else (trial.rate,)
        return any(there(replace(trial, rate=rate).recipe, out) for rate in rates)

    return [trial for trial in design.trials() if not is_there(trial)]


def _seconds(recipe: Recipe) -> tuple[float, float]:
    """Of training with its looks at validation, and of the test."""
    began = perf_counter()
    options, task = recipe.train, task_of(recipe)
    with TemporaryDirectory() as folder:  # one that diverges saves itself
        loop = bare_loop(endless(recipe), task, Path(folder))
        ready = perf_counter() - began
        step = _each(loop.events(), Stepped, STEPS)
    val, test = loop.job.val, task.split("test")
    batch = _each(loop.evaluate(val, "val"), Evaluating, BATCHES)
    size, looks = options.eval_batch_size, ceil(options.steps / options.eval_every)
    return ready + options.steps * step + looks * ceil(len(val) / size) * batch, ceil(len(test) / size) * batch


def _each(events: Any, kind: type, most: int) -> float:
    """Seconds from one event of a kind to the next; the first is a warm-up."""
    began = end = first = perf_counter()
    seen = 0
    for event in events:
        if isinstance(event, kind):
            end, seen = perf_counter(), seen + 1
            first = first if seen > 1 else end
            if seen > most or (seen > 1 and end - began > LONG):
                break
    return (end - first) / (seen - 1) if seen > 1 else end - began
