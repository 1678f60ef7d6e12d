"""A study while it runs. Needs torch, as what it listens to does."""

from __future__ import annotations

from statistics import mean

from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xmodal.console.streams import err, say
from xmodal.console.tables import minutes
from xmodal.report.numbers import hundred, percent
from xmodal.run.events import Evaluated, Evaluating, Event, Started, Stepped
from xmodal.study.design import Trial
from xmodal.study.events import Moved, Planned, Progress, StudyEvent, Waiting
from xmodal.study.outcome import Outcome

MOST_NOW = 8
"""Most runs that are named while they are made, so that what stands below them is seen."""


class StudyView:
    """Listens to a study: on a terminal arms by seeds, with what runs now; elsewhere a line for each run that ended."""

    def __init__(self) -> None:
        self._board = Board() if err.is_terminal else None
        self._live = Live(console=err, refresh_per_second=4, get_renderable=self._board) if self._board else None

    def __call__(self, event: StudyEvent) -> None:
        """Shows an event."""
        if self._live and self._board:
            self._live.start()  # nothing, where it has
            self._board.follow(event)
        elif isinstance(event, Progress):
            say(_ended(event))
        elif isinstance(event, Waiting):
            say(f"waiting for other processes, which make {len(event.trials)} of these runs")

    def close(self) -> None:
        """Leaves what the board shows on the screen."""
        if self._live:
            self._live.stop()


def _ended(progress: Progress) -> str:
    outcome, trial = progress.outcome, progress.outcome.trial
    score = f"val {percent(outcome.val)}" if trial.purpose == "tuning" else f"test {percent(outcome.test)}"
    ended = "" if outcome.status == "done" else f" {outcome.status}{outcome.error and f': {outcome.error}'}"
    left = "" if not progress.left or not progress.ran else f"; about {minutes(progress.left)} left"
    return (
        f"{progress.done}/{progress.done + progress.missing} {trial.arm.name}, lr {trial.rate:g}"
        f"{' as well' * (trial.purpose == 'contender')}, seed {trial.seed}:"
        f"{ended} {score}{'' if progress.ran else ', was there'}{left}"
    )


class Board:
    """The whole study: for every arm its best rate so far and its report runs, then what runs now."""

    def __init__(self) -> None:
        self._tuned: dict[str, dict[float, dict[int, float]]] = {}
        self._reported: dict[str, dict[int, str]] = {}
        self._now: dict[tuple[str, float, int], str] = {}
        self._steps: dict[tuple[str, float, int], int] = {}
        self._arms: tuple[str, ...] = ()
        self._count, self._left = "", ""

    def follow(self, event: StudyEvent) -> None:
        """Takes in an event."""
        match event:
            case Planned():
                self._count, self._arms = f"{event.done} of {event.total} runs", event.arms
            case Moved():
                key = _key(event.trial)
                if isinstance(event.event, Started):
                    self._steps[key] = event.event.steps
                self._now[key] = _doing(event.event, self._steps.get(key, 0)) or self._now.get(key, "")
            case Waiting():
                self._now = {_key(trial): "made by another process" for trial in event.trials}
            case Progress():
                outcome, trial = event.outcome, event.outcome.trial
                self._now.pop(_key(trial), None)
                self._count = f"{event.done} of {event.done + event.missing} runs"
                self._left = f", about {minutes(event.left)} left" if event.left and event.missing else ""
                if trial.purpose == "tuning":
                    # A longer run of a rate, by halving, takes the place of the shorter one.
                    self._tuned.setdefault(trial.arm.name, {}).setdefault(trial.rate, {})[trial.seed] = outcome.val or 0
                elif trial.purpose == "report":
                    self._reported.setdefault(trial.arm.name, {})[trial.seed] = _word(outcome)

    def __call__(self) -> RenderableType:
        """What is on the screen."""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for title in ("arm", "rates", "best val %", "test % by seed"):
            table.add_column(title, overflow="fold")
        for arm in self._arms:
            rates = self._tuned.get(arm, {})
            means = {rate: mean(found.values()) for rate, found in rates.items()}
            best = max(means, key=means.__getitem__, default=None)
            said = "" if best is None else f"{hundred(means[best])} at {best:g}"
            table.add_row(arm, f"{len(rates)}", said, " ".join(self._reported.get(arm, {}).values()))
        now = [f"{arm}, lr {rate:g}, seed {seed}: {doing}" for (arm, rate, seed), doing in self._now.items()]
        more = [f"and {len(now) - MOST_NOW} more"] if len(now) > MOST_NOW else []
        return Group(table, Text("\n".join([*now[:MOST_NOW], *more, f"{self._count}{self._left}"])))


def _key(trial: Trial) -> tuple[str, float, int]:
    return trial.arm.name, trial.rate, trial.seed


def _doing(event: Event | None, steps: int) -> str:
    match event:
        case None:
            return "reads weights and data"
        case Started():
            return f"step {event.step} of {steps}"
        case Stepped():
            return f"step {event.step} of {steps}, loss {event.loss:.3f}"
        case Evaluating():
            return f"{event.split}, {event.done} of {event.total}"
        case Evaluated():
            return f"{event.split} {percent(event.scores['accuracy'])}"
    return ""


def _word(outcome: Outcome) -> str:
    return hundred(outcome.test) if outcome.status == "done" else outcome.status
