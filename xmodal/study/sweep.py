"""Which rate an arm is reported at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal


@dataclass(frozen=True)
class Choice:
    """The rate of an arm.

    Attributes:
        rate: None where no rate ended well with every tuning seed.
        edge: the edge of the grid at which it lies, or None.
    """

    rate: float | None
    edge: Literal["low", "high"] | None


def choose(curve: Mapping[float, Sequence[float | None]]) -> Choice:
    """The rate with the best mean validation score.

    A rate at which a tuning run diverged or failed cannot be chosen, but it is part of the grid: the best rate below
    one that diverges does not lie at an edge. Of equal means the one nearest to the middle of the grid is taken, then
    the lower.

    Args:
        curve: scores of the tuning seeds by rate; None for a run that did not end well.
    """
    rates = sorted(curve)
    rate = next(iter(ranked(curve)), None)
    return Choice(rate, None if rate is None else "low" if rate == rates[0] else "high" if rate == rates[-1] else None)


def ranked(curve: Mapping[float, Sequence[float | None]]) -> list[float]:
    """The rates that ended well with every seed, the best first; of equals as in `choose`."""
    rates = sorted(curve)
    means = {rate: mean(score or 0.0 for score in curve[rate]) for rate in rates if _whole(curve[rate])}
    middle = (len(rates) - 1) / 2
    return sorted(means, key=lambda rate: (-means[rate], abs(rates.index(rate) - middle), rate))


def _whole(scores: Sequence[float | None]) -> bool:
    return bool(scores) and all(score is not None for score in scores)
