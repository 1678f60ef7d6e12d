"""What happens in a run, in order. The loop yields these; screen, ledger and tests listen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Event:
    """Something that happened at `step` (steps taken so far)."""

    step: int

    def to_dict(self) -> dict[str, Any]:
        """The event as a line of `events.jsonl`."""
        return {"event": type(self).__name__.lower(), **asdict(self)}


@dataclass(frozen=True)
class Started(Event):
    """The model is built. `norms` are root mean squares at step 0, of the tokens and of the body's output."""

    name: str
    folder: str
    steps: int
    resumed: bool
    parameters: Mapping[str, Any]
    floors: Mapping[str, float]
    norms: Mapping[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stepped(Event):
    """One optimiser step: mean loss in nats, gradient norm before clipping, and the rate."""

    loss: float
    grad_norm: float
    lr: float


@dataclass(frozen=True)
class Evaluating(Event):
    """A part of a split has been evaluated."""

    split: str
    done: int
    total: int


@dataclass(frozen=True)
class Evaluated(Event):
    """A whole split has been evaluated; `best` when validation was never better."""

    split: str
    scores: Mapping[str, Any]
    best: bool = False


@dataclass(frozen=True)
class Saved(Event):
    """A checkpoint of this step is on disk."""


@dataclass(frozen=True)
class Stopped(Event):
    """Training is over: all steps, patience, divergence or a signal."""

    reason: Literal["steps", "patience", "diverged", "interrupted"]


@dataclass(frozen=True)
class Ended(Event):
    """The result is on disk."""

    result: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]
