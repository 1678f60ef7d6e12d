"""Runs of a study side by side: those on one frozen body take their steps in one pass through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path

from xmodal.engine import company
from xmodal.run.drive import Steps, together
from xmodal.run.events import Event
from xmodal.run.result import beside
from xmodal.study.attempts import NO_MEMORY, Attempt, Happening, Job, attempt, attempting


@dataclass
class Beside:
    """In this process, up to `most` at a time; runs that have no company are made one after another."""

    out: Path
    stop: Callable[[], bool]
    listen: Callable[[int, Event], None]
    most: int

    def follow(self, jobs: Sequence[Job]) -> Iterator[Happening]:
        """As `Attempts`; events go to `listen` as they happen, since nothing else can be done meanwhile."""
        for group in groups(jobs, self.most):
            if self.stop():
                return
            for number in group:
                yield number, None
            again = []
            runs = {number: self._run(number, jobs[number], len(group) - 1) for number in group}
            for number, made in together(runs, partial(_until, len(group) - 1)):
                if len(group) > 1 and made.error.startswith(NO_MEMORY):
                    again.append(number)  # it may have room for itself
                else:
                    yield number, made
            for number in again:
                if self.stop():
                    return
                yield number, attempt(jobs[number], self.out, self._listener(number), self.stop)

    def close(self) -> None:
        """As `Attempts`: nothing runs any more."""

    def _run(self, number: int, job: Job, beside: int) -> Steps[Attempt]:
        return attempting(job, self.out, self._listener(number), self.stop, beside)

    def _listener(self, number: int) -> Callable[[Event], None]:
        return lambda event: self.listen(number, event)


def _until(others: int, made: Attempt) -> float:
    """Before which step a run took part in the passes of its group: of as many others, as far as its folder says."""
    run = made.run
    if not run or (not run.ran and beside(run.folder) != [others]):
        return 0
    if run.result.status == "interrupted":
        return inf
    # One that diverged took no step with the last gradients that it asked for.
    return run.result.steps + (run.result.status == "diverged")


def groups(jobs: Sequence[Job], most: int) -> list[list[int]]:
    """Numbers of jobs that can train together, at most so many in a group, in the order of the first of each."""
    alike: dict[str, list[int]] = {}
    for number, (recipe, _) in enumerate(jobs):
        alike.setdefault(company(recipe) or f"alone {number}", []).append(number)
    return [those[start : start + most] for those in alike.values() for start in range(0, len(those), most)]
