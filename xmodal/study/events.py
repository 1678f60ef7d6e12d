"""What happens in a study, in order: runs are taken up, move and end. The screen and the signals listen."""

from __future__ import annotations

from dataclasses import dataclass

from xmodal.run.events import Event
from xmodal.study.design import Trial
from xmodal.study.outcome import Outcome


@dataclass(frozen=True)
class StudyEvent:
    """Something that happened.

    Attributes:
        training: number of runs that train now, and would have to save themselves.
    """

    training: int


@dataclass(frozen=True)
class Planned(StudyEvent):
    """These arms have so many runs, as far as is known, of which `done` have ended; a grid may still be extended."""

    done: int
    total: int
    arms: tuple[str, ...]


@dataclass(frozen=True)
class Moved(StudyEvent):
    """A run was taken up (`event` is None), or said `event`."""

    trial: Trial
    event: Event | None


@dataclass(frozen=True)
class Waiting(StudyEvent):
    """Only runs are left that other processes hold; their end is waited for."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Progress(StudyEvent):
    """A run has ended.

    Attributes:
        done: runs that have ended.
        missing: runs that have not, as far as is known.
        outcome: how it ended.
        ran: False when it had ended before.
        left: seconds that the others will take if they are like those that ran; None before one has.
    """

    done: int
    missing: int
    outcome: Outcome
    ran: bool
    left: float | None
