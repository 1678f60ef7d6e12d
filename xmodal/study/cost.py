"""What a study will take on this machine, from a few steps of every arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from xmodal.engine import company
from xmodal.errors import MissingError
from xmodal.recipe import Recipe
from xmodal.run.bare import bare_loop, endless, step_beside, task_of
from xmodal.run.events import Evaluating, Stepped
from xmodal.run.threads import threads
from xmodal.study.attempts import cores, there
from xmodal.study.design import EXTENSIONS, Design, Trial, extended
from xmodal.study.study import lacking
from xmodal.study.ways import Way, begun, companions, suitable

STEPS, BATCHES = 3, 2
"""Most steps, and batches of evaluation, that are timed for an arm; before each one is taken that is not."""
LONG = 2.0
"""Seconds after which enough of an arm has been seen."""
WORTH = 1.25
"""How much sooner a study must end whose runs share passes, for them to do so unasked."""


def preview_of(design: Design, out: Path, way: Way | None = None) -> dict[str, Any]:
    """`design.preview()`, and in `cost` what is missing of it: runs, seconds and bytes of checkpoints.

    A few steps of every arm are timed, and nothing is written. Seconds are at most so many, if no run stops before its
    last step and the grid is not extended. Where data or weights are missing they are null, and `unknown` says why.

    Args:
        design: what is to be run.
        out: folder of all runs, of which those that are finished cost nothing.
        way: how runs are made at the same time. None is as the study was begun; for a new one, as many processes as
            suit this machine, or passes that are shared, if a study of these would end sooner by `WORTH`. In `cost` it
            says which, as `workers` and `together`; `sharing` of the arms share a pass then.
    """
    ways = [way] if way else _open(design, out)
    said: dict[str, Any] = {"runs": None, "seconds": None, "disk": None, "unknown": ""}
    chosen = ways[0]
    try:
        missing = _missing(design, out) or lacking(design, out)
        seconds = [_seconds(missing, each) for each in ways]
        if missing and seconds[-1] * WORTH < seconds[0]:
            chosen = ways[-1]
        # The best parameters once, the last ones with the two moments of Adam.
        disk = sum(4 * 4 * trial.arm.trainable for trial in missing)
        said |= {"runs": len(missing), "seconds": round(seconds[ways.index(chosen)], 1), "disk": disk}
    except MissingError as error:
        said["unknown"] = str(error).splitlines()[0]
    sharing = sum(bool(company(arm.recipe)) for arm in design.arms.arms) if chosen.together > 1 else None
    said |= {"workers": max(chosen.workers, 1), "together": chosen.together, "sharing": sharing}
    return design.preview() | {"cost": said}


def _open(design: Design, out: Path) -> list[Way]:
    """The ways that a study may be made in of which nobody said how: the ordinary one first."""
    alone, count = Way(suitable(design)), companions(design)
    before = begun(design, out)
    if before is not None:
        return [Way(0, before) if before > 1 else alone]
    return [alone, *([Way(0, count)] if count > 1 else [])]


def _seconds(missing: Sequence[Trial], way: Way) -> float:
    """Of what is missing, made in this way; an arm whose runs share no pass after all makes them one after another."""
    seconds, workers = 0.0, max(way.workers, 1)
    for arm in {trial.arm.name: trial.arm for trial in missing}.values():
        ours = [trial for trial in missing if trial.arm is arm]
        with threads(arm.recipe.threads or max(1, cores() // workers)):
            times = _times(arm.recipe)
            if way.together > 1 and company(arm.recipe) and isfinite(each := _beside(arm.recipe, way.together)):
                times = replace(times, step=each)
        seconds += sum(trial.share * times.train(trial.recipe) for trial in ours)
        seconds += sum(times.test for trial in ours if trial.purpose != "tuning")
    return seconds / workers


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


@dataclass(frozen=True)
class _Times:
    """Seconds of a run: until it is ready, of a step, of a look at validation, and of the test."""

    ready: float
    step: float
    look: float
    test: float

    def train(self, recipe: Recipe) -> float:
        options = recipe.train
        return self.ready + options.steps * self.step + ceil(options.steps / options.eval_every) * self.look


def _times(recipe: Recipe) -> _Times:
    began = perf_counter()
    task = task_of(recipe)
    with TemporaryDirectory() as folder:  # one that diverges saves itself
        loop = bare_loop(endless(recipe), task, Path(folder))
        ready = perf_counter() - began
        step = _each(loop.events(), Stepped, STEPS)
    val, test, size = loop.job.val, task.split("test"), recipe.train.eval_batch_size
    batch = _each(loop.evaluate(val, "val"), Evaluating, BATCHES)
    return _Times(ready, step, ceil(len(val) / size) * batch, ceil(len(test) / size) * batch)


def _beside(recipe: Recipe, count: int) -> float:
    """Seconds of a step of one of so many that share a pass; infinite where they share none, or have no room."""
    try:
        step = step_beside(endless(recipe), task_of(recipe), count)
        if step():
            return inf
        began = perf_counter()
        taken = 0
        while taken < STEPS and perf_counter() - began < LONG:
            step()
            taken += 1
        return (perf_counter() - began) / taken / count
    except (MemoryError, torch.OutOfMemoryError):
        return inf


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
