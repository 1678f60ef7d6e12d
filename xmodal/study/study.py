"""Runs a study in the ordinary run folders: nothing runs twice, and what broke off goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter, sleep
from typing import Any

from xmodal.run.events import Event, Started
from xmodal.run.result import sealed
from xmodal.run.whole import write_json
from xmodal.study.attempts import AsTheyLie, Attempt, Attempts, Here, Workers
from xmodal.study.beside import Beside
from xmodal.study.design import EXTENSIONS, Design, Trial, extended
from xmodal.study.events import Moved, Planned, Progress, StudyEvent, Waiting
from xmodal.study.judge import contending
from xmodal.study.outcome import Outcome
from xmodal.study.reading import SEAL, STUDIES, STUDY
from xmodal.study.result import summary
from xmodal.study.sweep import Choice, choose, ranked

PAUSE = 1.0
"""Seconds between two looks at runs that another process makes."""


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
    workers: int = 0,
    together: int = 0,
    listen: Callable[[StudyEvent], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    question: str | None = None,
) -> Study:
    """Runs what is missing of a study, and leaves `OUT/studies/NAME-DIGEST/study.json`.

    A run that diverges, fails or dies is a result of its arm. One that failed is tried again when the study is started
    again. Where another process makes one of the runs, the others are made first, and its result is waited for.

    Args:
        design: what to run.
        out: folder of all runs; finished ones in it are taken as they are, unfinished ones are resumed.
        workers: processes that runs are made in; 0 makes them in this one.
        together: in this process, runs that take their steps in one pass through a body they share, at most; 0 makes
            one after another. Numbers agree but for the rounding of matrix products.
        listen: called with all that happens.
        stop: asked often; once it says True, runs that are under way save themselves.
        question: as `question_of` says, by which the study is found again.

    Raises:
        Interrupted: `stop` said so.
        UsageError: a run folder holds something else than its recipe's run.
        MissingError: data or weights are not on this machine, or a file of a run cannot be read.
        UnwrittenError: the disk is full.
    """
    runner = _Runner(design, out, workers, together, listen, stop)
    try:
        rates, choices = runner.all()
    finally:
        runner.attempts.close()
    result = sealed({**summary(design, rates, choices, runner.outcomes), "question": question}, SEAL)
    file = file_of(design, out)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, result)
    return Study(file, result, runner.ran)


def lacking(design: Design, out: Path) -> list[Trial]:
    """The runs that a study lacks next, by what those in `out` have come to; none where it has all."""
    there = AsTheyLie(out)
    runner = _Runner(design, out, 0, 0, lambda _: None, lambda: bool(there.absent))
    runner.attempts = there
    try:
        runner.all()
    except Interrupted:
        return runner.waiting(there.absent)
    return []


def file_of(design: Design, out: Path) -> Path:
    """Where `run_study` leaves what it finds."""
    return out / STUDIES / f"{design.arms.control.recipe.name}-{design.digest()}" / STUDY


class _Runner:
    """The trials of a study, as they are asked for, and their outcomes in that order, whichever ended first."""

    def __init__(
        self,
        design: Design,
        out: Path,
        workers: int,
        together: int,
        listen: Callable[[StudyEvent], None],
        stop: Callable[[], bool],
    ) -> None:
        self._design, self._out, self._listen, self._stop = design, out, listen, stop
        self._known: dict[tuple[str, float, int, str, float], Outcome] = {}
        self.ran = 0
        self._trials: Sequence[Trial] = ()
        self._ended, self._left = 0, Counter[str]()
        self._seconds: dict[str, list[float]] = {}
        self._training: set[int] = set()
        self._began: dict[int, float] = {}
        self._slots = max(workers, together, 1)
        self._fatal: Exception | None = None
        self.attempts: Attempts = Here(out, self._stopping, self._moved)
        if together > 1:
            self.attempts = Beside(out, self._stopping, self._moved, together)
        elif workers:
            self.attempts = Workers(workers, out, self._stopping)

    @property
    def outcomes(self) -> list[Outcome]:
        """Of all runs."""
        return list(self._known.values())

    def all(self) -> tuple[tuple[float, ...], dict[str, Choice]]:
        """Every run of the study; the grid that was run, and each arm's choice from it."""
        rates, choices = self.tune()
        self.report(choices)
        self.contend(choices)
        return rates, choices

    def waiting(self, places: Sequence[int]) -> list[Trial]:
        """Of those that were followed last."""
        return [self._trials[place] for place in places]

    def tune(self) -> tuple[tuple[float, ...], dict[str, Choice]]:
        """The grid that was run, the same for every arm, and each arm's choice from it."""
        design, rates, arms = self._design, self._design.rates, self._design.arms.arms
        if not design.swept:
            return rates, {arm.name: Choice(rates[0], None) for arm in arms}
        choices: dict[str, Choice] = {}
        for extension in range(EXTENSIONS + 1):
            choices = self._chosen(rates)
            edges = sorted({choice.edge for choice in choices.values() if choice.edge})
            longer = extended(rates, edges)
            if not edges or extension == EXTENSIONS or longer == rates:
                break
            rates = longer
        return rates, choices

    def _chosen(self, rates: tuple[float, ...]) -> dict[str, Choice]:
        """Rung by rung, and what was run before is not run again."""
        design, arms = self._design, self._design.arms.arms
        on, rungs = {arm.name: list(rates) for arm in arms}, design.rungs(len(rates))
        for rung, (share, count) in enumerate(rungs):
            if rung:
                shorter = rungs[rung - 1][0]
                on = {name: ranked(self._curve(name, tried, shorter))[:count] for name, tried in on.items()}
            later = sum(more for _, more in rungs[rung + 1 :]) * len(design.tuning) + len(design.report)
            self._run(
                [trial for trial in design.tuning_trials(rates, share) if trial.rate in on[trial.arm.name]], later
            )
        return {arm.name: choose(self._curve(arm.name, rates, 1.0)) for arm in arms}

    def report(self, choices: Mapping[str, Choice]) -> None:
        """Every arm at its rate, with the report seeds."""
        self._run(
            [
                Trial(arm, choice.rate, seed, "report")
                for seed in self._design.report
                for arm in self._design.arms.arms
                if (choice := choices[arm.name]).rate is not None
            ]
        )

    def contend(self, choices: Mapping[str, Choice]) -> None:
        """Arms that seem to be behind, at the other rates that may suit them as well."""
        self._run(contending(self._design, choices, self.outcomes))

    def _curve(self, arm: str, rates: Sequence[float], share: float) -> dict[float, list[float | None]]:
        """Validation scores of the tuning seeds by rate; None where a run did not end well, or was not made."""
        keys = {rate: [(arm, rate, seed, "tuning", share) for seed in self._design.tuning] for rate in rates}
        return {rate: [self._score(self._known.get(key)) for key in those] for rate, those in keys.items()}

    def _score(self, outcome: Outcome | None) -> float | None:
        return outcome.val if outcome and outcome.status == "done" else None

    def _run(self, trials: Sequence[Trial], later: int = 0) -> None:
        """Makes those of these runs that were not made yet, with `later` more to come for every arm."""
        arms, trials = self._design.arms.arms, [trial for trial in trials if _key(trial) not in self._known]
        self._left = Counter({arm.name: later for arm in arms}) + Counter(trial.arm.name for trial in trials)
        names = tuple(arm.name for arm in arms)
        self._listen(Planned(0, self._ended, self._ended + self._left.total(), names))
        found: dict[int, Outcome] = {}
        while missing := [number for number in range(len(trials)) if number not in found]:
            self._trials = [trials[number] for number in missing]
            for place, what in self.attempts.follow(
                [(trial.recipe, trial.purpose != "tuning") for trial in self._trials]
            ):
                if isinstance(what, Attempt):
                    if outcome := self._outcome(place, what):
                        found[missing[place]] = outcome
                else:
                    self._moved(place, what)
            if self._fatal:
                raise self._fatal
            if self._stop():
                raise Interrupted
            if held := tuple(trial for number, trial in enumerate(trials) if number not in found):
                self._listen(Waiting(0, held))
                sleep(PAUSE)
        self._known |= {_key(trial): found[number] for number, trial in enumerate(trials)}

    def _stopping(self) -> bool:
        return self._fatal is not None or self._stop()

    def _moved(self, place: int, event: Event | None) -> None:
        if event is None:
            self._began[place] = perf_counter()
        elif isinstance(event, Started):
            self._training.add(place)
        self._listen(Moved(len(self._training), self._trials[place], event))

    def _outcome(self, place: int, attempt: Attempt) -> Outcome | None:
        """None where the run has not come to an end."""
        self._training.discard(place)
        trial, run = self._trials[place], attempt.run
        if attempt.fatal:
            self._fatal = self._fatal or attempt.fatal
        if attempt.error:
            outcome = Outcome(trial, "failed", error=attempt.error)
        elif run and run.result.status != "interrupted":
            outcome = Outcome.of(trial, run.result.to_dict(), self._out, run.folder)
        else:
            return None
        ran = run is None or run.ran
        self._ended += 1
        self._left[trial.arm.name] -= 1
        if ran:
            self.ran += 1
            self._seconds.setdefault(trial.arm.name, []).append(perf_counter() - self._began[place])
        progress = Progress(len(self._training), self._ended, self._left.total(), outcome, ran, self._seconds_left())
        self._listen(progress)
        return outcome

    def _seconds_left(self) -> float | None:
        """If an arm's next runs are like its last ones; an arm that has had none yet is like the others."""
        all_of_them = [seconds for those in self._seconds.values() for seconds in those]
        if not all_of_them:
            return None
        each = {arm: mean(self._seconds.get(arm, all_of_them)) for arm in self._left}
        return sum(count * each[arm] for arm, count in self._left.items()) / self._slots


def _key(trial: Trial) -> tuple[str, float, int, str, float]:
    return trial.arm.name, trial.rate, trial.seed, trial.purpose, trial.share
