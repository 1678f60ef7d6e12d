"""Runs a study, one run after another, in the ordinary run folders: nothing runs twice, and what broke off goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from xmodal.errors import MissingError, UsageError
from xmodal.run import session
from xmodal.run.events import Listener
from xmodal.run.result import made_with, sealed
from xmodal.run.whole import write_json
from xmodal.study.design import EXTENSIONS, Design, Trial, extended
from xmodal.study.reading import SEAL, STUDIES, STUDY
from xmodal.study.result import Outcome, summary
from xmodal.study.sweep import Choice, choose


@dataclass(frozen=True)
class Progress:
    """A run of a study has ended.

    Attributes:
        done: runs that have ended.
        total: runs that there will be, as far as is known: a grid may still be extended.
        outcome: how it ended.
        ran: False when it had ended before.
        left: seconds that the others will take if they are like those that ran; None before one has.
    """

    done: int
    total: int
    outcome: Outcome
    ran: bool
    left: float | None


@dataclass(frozen=True)
class Study:
    """A study that has ended.

    Attributes:
        file: its `study.json`.
        result: what that holds.
        ran: number of runs that were not there before.
    """

    file: Path
    result: dict[str, Any]
    ran: int


class Interrupted(Exception):
    """A study was asked to stop; what it ran lies in the run folders, and the same command goes on from there."""


def run_study(
    design: Design,
    *,
    out: Path = Path("runs"),
    listen: Callable[[Progress], None] = lambda _: None,
    listeners: Iterable[Listener] = (),
    stop: Callable[[], bool] = lambda: False,
    question: str | None = None,
) -> Study:
    """Runs what is missing of a study, and leaves `OUT/studies/NAME-DIGEST/study.json`.

    A run that diverges or fails is a result of its arm. One that failed is tried again when the study is started again.

    Args:
        design: what to run.
        out: folder of all runs; finished ones in it are taken as they are, unfinished ones are resumed.
        listen: called after every run.
        listeners: called with every event of every run.
        stop: asked often; once it says True, the run that is under way saves itself.
        question: as `question_of` says, by which the study is found again.

    Raises:
        Interrupted: `stop` said so.
        UsageError: a run folder holds something else than its recipe's run, or another process is in it.
        MissingError: data or weights are not on this machine, or a file of a run cannot be read.
    """
    runner = _Runner(design, out, listen, tuple(listeners), stop)
    rates, choices = runner.tune()
    trials = [
        Trial(arm, choice.rate, seed, "report")
        for seed in design.report
        for arm in design.arms.arms
        if (choice := choices[arm.name]).rate is not None
    ]
    runner.expect(len(trials))
    runner.run(trials)
    result = sealed({**summary(design, rates, choices, runner.outcomes), "question": question}, SEAL)
    file = out / STUDIES / f"{design.arms.control.recipe.name}-{design.digest()}" / STUDY
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, result)
    return Study(file, result, runner.ran)


@dataclass
class _Runner:
    design: Design
    out: Path
    listen: Callable[[Progress], None]
    listeners: Sequence[Listener]
    stop: Callable[[], bool]
    outcomes: list[Outcome] = field(default_factory=list)
    total: int = 0
    ran: int = 0
    seconds: float = 0.0

    def expect(self, count: int) -> None:
        """There will be so many runs, and what has ended."""
        self.total = len(self.outcomes) + count

    def tune(self) -> tuple[tuple[float, ...], dict[str, Choice]]:
        """The grid that was run, the same for every arm, and each arm's choice from it."""
        design, rates, arms = self.design, self.design.rates, self.design.arms.arms
        if not design.swept:
            return rates, {arm.name: Choice(rates[0], None) for arm in arms}
        new: Sequence[float] = rates
        choices: dict[str, Choice] = {}
        for extension in range(EXTENSIONS + 1):
            trials = design.tuning_trials(new)
            self.expect(len(trials) + len(arms) * len(design.report))
            self.run(trials)
            choices = {arm.name: choose(self.curve(arm.name, rates)) for arm in arms}
            edges = sorted({choice.edge for choice in choices.values() if choice.edge})
            longer = extended(rates, edges)
            if not edges or extension == EXTENSIONS or longer == rates:
                break
            new, rates = [rate for rate in longer if rate not in rates], longer
        return rates, choices

    def curve(self, arm: str, rates: Sequence[float]) -> dict[float, list[float | None]]:
        """Validation scores of the tuning seeds by rate; None where a run did not end well."""
        tuned = [outcome for outcome in self.outcomes if outcome.trial.arm.name == arm]
        return {
            rate: [outcome.val if outcome.status == "done" else None for outcome in tuned if outcome.trial.rate == rate]
            for rate in rates
        }

    def run(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            began = perf_counter()
            outcome, ran = self.attempt(trial)
            self.outcomes.append(outcome)
            if ran:
                self.ran += 1
                self.seconds += perf_counter() - began
            missing = self.total - len(self.outcomes)
            left = missing * self.seconds / self.ran if self.ran else None
            self.listen(Progress(len(self.outcomes), self.total, outcome, ran, left))

    def attempt(self, trial: Trial) -> tuple[Outcome, bool]:
        """How a run ended, and whether it ran only now."""
        if self.stop():
            raise Interrupted
        try:
            run = session.train(trial.recipe, out=self.out, resume=True, listeners=self.listeners, stop=self.stop)
        except (UsageError, MissingError):
            raise  # every run would meet it, or only the user can say what is meant
        except Exception as error:
            return Outcome(trial, "failed", error=f"{type(error).__name__}: {error}"), True
        if run.result["status"] == "interrupted":
            raise Interrupted
        return Outcome.of(trial, run.result, str(run.folder.relative_to(self.out)), made_with(run.folder)), run.ran
