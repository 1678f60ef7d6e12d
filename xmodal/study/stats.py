"""What scores over seeds allow to say. Pure: numbers in, numbers and words out.

An effect is a mean of paired differences: the same seed draws the same data, order, split and input layer in every arm.
Scores are shares of right labels, between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from math import prod, sqrt
from typing import Any

import numpy
from scipy import optimize, special, stats

from xmodal.study.reading import Word

FEWEST = 3
"""Fewest seeds for which there is an interval or a p-value."""
ALPHA, POWER = 0.05, 0.8
"""Chance of an effect where there is none, over the whole family; and of seeing the smallest detectable one."""
LUCK = 3.0
"""Deviations by which a rate must be worse on validation to be ruled out for an arm."""
MARGIN = 0.01
"""The smallest difference that matters unless the user says another: one point of accuracy."""

Bounds = tuple[float, float]
Scores = Mapping[int, float]  # by seed


def t_interval(values: Sequence[float], confidence: float = 1 - ALPHA, *, resolution: float = 0.0) -> Bounds | None:
    """Student's interval of the mean of `values`; None where there are fewer than three.

    Equal values do not prove that nothing varies: they deviate at least by rounding to a step of `resolution`.
    """
    # `Effect.of` rounds two scores, and here is one.
    return Effect.of(values, resolution=resolution / sqrt(2)).interval(confidence) if len(values) else None


def bootstrap_interval(values: Sequence[float], confidence: float = 1 - ALPHA, *, seed: int = 0) -> Bounds | None:
    """Bias-corrected and accelerated bootstrap interval of the mean (Efron 1987); None for fewer than three.

    It does not ask for a normal distribution, and is too narrow for few seeds: verdicts rest on Student's.
    """
    if len(values) < FEWEST:
        return None
    if min(values) == max(values):
        return float(values[0]), float(values[0])
    random: Any = numpy.random.default_rng(seed)
    found = stats.bootstrap((numpy.asarray(values),), numpy.mean, confidence_level=confidence, rng=random)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


@dataclass(frozen=True)
class Effect:
    """The mean of one number a seed: a paired difference, or a contrast of a factorial.

    Attributes:
        n: seeds.
        mean: of the numbers; positive where the arm scores higher than its control.
        sd: their standard deviation, no smaller than scores that are counts can tell; None for one seed.
    """

    n: int
    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float], *, resolution: float = 0.0) -> Effect:
        """The effect of `values`, one a seed.

        Args:
            values: at least one.
            resolution: the step between two scores, one over the number of labels. Equal differences do not prove that
                nothing varies: the deviation is at least that of rounding both scores, `resolution / sqrt(6)`.
        """
        sd = max(float(numpy.std(values, ddof=1)), resolution / sqrt(6)) if len(values) > 1 else None
        return cls(len(values), float(numpy.mean(values)), sd)

    def interval(self, confidence: float = 1 - ALPHA) -> Bounds | None:
        """Student's interval; None below three seeds."""
        if self.n < FEWEST or self.sd is None:
            return None
        half = _half(self.sd, self.n, confidence)
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float | None:
        """Two-sided p-value of Student's test for a mean of zero; None below three seeds."""
        if self.n < FEWEST or self.sd is None:
            return None
        if self.sd == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * special.stdtr(self.n - 1, -abs(self.mean) / self.sd * sqrt(self.n)))

    def detectable(self, *, alpha: float = ALPHA, power: float = POWER) -> float | None:
        """The smallest effect that this many seeds of this deviation see with this power; None below three seeds."""
        return None if self.n < FEWEST or self.sd is None else self.sd * detectable(self.n, alpha, power)


def compare(arm: Scores, control: Scores, *, resolution: float = 0.0) -> Effect | None:
    """The paired difference of an arm from its control, over the seeds that both have; None where there are none."""
    seeds = sorted(arm.keys() & control.keys())
    return Effect.of([arm[seed] - control[seed] for seed in seeds], resolution=resolution) if seeds else None


def contenders(curve: Mapping[float, float], own: float | None, sd: float, seeds: int) -> list[float]:
    """The other rates that may suit an arm as well as its own, by what so few tuning seeds can tell; the best first.

    Those whose mean on validation is less than `LUCK` deviations of a difference of two such means below the best.

    Args:
        curve: mean validation score over the tuning seeds by rate, where all of them ended well.
        own: the rate that was chosen.
        sd: deviation of a validation score over seeds.
        seeds: tuning seeds.
    """
    if own is None or own not in curve:
        return []
    least = curve[own] - LUCK * sd * sqrt(2 / seeds)
    found = [rate for rate, score in curve.items() if rate != own and score >= least]
    return sorted(found, key=lambda rate: (-curve[rate], rate))


def agreed(effect: Effect | None, other: Effect | None) -> float:
    """p-value of the claim that arms differ with the rates that were chosen, and with others that may suit as well.

    Each arm has the rate that was best on a few tuning seeds. By an accident of theirs an arm may have a worse one than
    it could, and no report seed would notice. If the claim holds at the rates that truly suit it best as well, it is no
    accident. Which they are is not known, so it must hold at all that may be: the larger p-value is that of both (the
    intersection-union test of Berger 1982).

    Args:
        effect: with the rates that were chosen.
        other: with the others; None where a run has no score.
    """
    if effect is None or other is None or effect.p is None or other.p is None:
        return 1.0
    return max(effect.p, other.p) if effect.mean * other.mean > 0 and other.n == effect.n else 1.0


def _half(sd: float, n: int, confidence: float) -> float:
    return _quantile(n - 1, confidence) * sd / sqrt(n)


@cache
def _quantile(freedom: int, confidence: float) -> float:
    return float(special.stdtrit(freedom, 0.5 + confidence / 2))


@cache
def detectable(n: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest mean of `n` differences, in their standard deviations, that a two-sided test sees with that power.

    From the noncentral t distribution (Cohen 1988); a finding on the wrong side is none.
    """
    critical = _quantile(n - 1, 1 - alpha)

    def lacks(effect: float) -> float:
        missed = special.nctdtr(n - 1, effect * sqrt(n), critical)
        return 1 - power - float(numpy.nan_to_num(missed))  # not a number far out, where nothing is missed

    high = 1.0
    while lacks(high) < 0:
        high *= 2
    found: Any = optimize.brentq(lacks, 0.0, high)
    return float(found)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected so that one false finding in the whole family has a chance of at most alpha (Holm 1979)."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = largest
    return corrected


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """p-values corrected so that at most a share alpha of all findings is false, on average (Benjamini 1995)."""
    return [float(value) for value in stats.false_discovery_control(p)] if p else []


def contrasts(
    cells: Mapping[tuple[int, ...], Scores], factors: Sequence[str], *, resolution: float = 0.0
) -> dict[tuple[str, ...], Effect]:
    """Main effects and interactions of a two-level factorial, each over the seeds that all cells have.

    A main effect is the score at the high level less that at the low one, averaged over the other factors. The
    interaction of two factors is what one changes in the effect of the other: the difference of their differences.

    Args:
        cells: scores by the levels of the factors, 0 low and 1 high, every combination once.
        factors: their names, in the order of the levels.
        resolution: as for `Effect.of`.

    Returns:
        Effects by the factors that take part in them, main effects first; empty where the cells share no seed.
    """
    if set(cells) != set(product((0, 1), repeat=len(factors))):
        raise ValueError("a factorial has every combination of levels once")
    seeds = sorted(set.intersection(*(set(scores) for scores in cells.values())))
    found: dict[tuple[str, ...], Effect] = {}
    for size in range(1, len(factors) + 1) if seeds else ():
        for chosen in combinations(range(len(factors)), size):
            sign = {levels: prod(2 * levels[place] - 1 for place in chosen) for levels in cells}
            share = 2 ** (len(factors) - size)
            values = [sum(sign[at] * scores[seed] for at, scores in cells.items()) / share for seed in seeds]
            # Rounding adds up over all cells; `resolution` stands for that of two scores.
            rounding = resolution * sqrt(len(cells) / 2) / share
            found[tuple(factors[place] for place in chosen)] = Effect.of(values, resolution=rounding)
    return found


@dataclass(frozen=True)
class Ordering:
    """Which arm is ahead at which rate.

    Attributes:
        ranks: for each rate that all arms have a score at, the arms from best to worst; equal ones as they were given.
        reversals: pairs of arms of which the first is ahead at one rate, and the second at another.
    """

    ranks: Mapping[float, tuple[str, ...]]
    reversals: tuple[tuple[str, str], ...]


def ordering(curves: Mapping[str, Mapping[float, float]]) -> Ordering:
    """The order of arms as a function of the rate, from their scores by rate. It says nothing about chance."""
    rates = sorted(set.intersection(*(set(curve) for curve in curves.values()))) if curves else []
    ranks = {rate: tuple(sorted(curves, key=lambda arm: -curves[arm][rate])) for rate in rates}
    reversals = [
        (one, other)
        for one, other in combinations(curves, 2)
        if any(curves[one][rate] > curves[other][rate] for rate in rates)
        and any(curves[one][rate] < curves[other][rate] for rate in rates)
    ]
    return Ordering(ranks, tuple(reversals))


@dataclass(frozen=True)
class Verdict:
    """What may be said of the claim that an arm and its control differ by what matters, and why."""

    word: Word
    why: str


def verdict(
    effect: Effect | None,
    corrected: float | None,
    *,
    family: int = 1,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    missing: int = 0,
    edges: Sequence[str] = (),
    untuned: Sequence[str] = (),
    strictest: tuple[Mapping[str, float], Effect | None] | None = None,
) -> Verdict:
    """The verdict on the claim that an arm and its control differ.

    The first that holds:

    - `edge-limited`: the best rate of the arm or of its control lies at an edge of the grid. A better one may lie
      beyond, so the difference may be one of rates.
    - `not resolved`: a tuning run failed, so a rate was left untried; or a report seed has no score in one of the two
      (it failed, or diverged before the first look at validation); or there are fewer than three seeds.
    - `contradicted`: the interval lies inside plus and minus `margin`, at a confidence of `1 - alpha / family`: a
      difference that matters is excluded, even if a smaller one is certain.
    - `supported`: the corrected p-value is at most `alpha`. With no true effect at all, the chance that any
      comparison of the family says so is at most `alpha`, accidents of tuning included. The
      difference may be less than `margin`, and is said to be where the interval allows it.
    - `not resolved`: neither. These seeds cannot tell.

    Args:
        effect: the paired difference, or None where there is no pair.
        corrected: its p-value as `agreed` says, corrected over the family.
        family: the number of comparisons that were corrected together.
        margin: the smallest difference that matters.
        alpha: chance of a false finding, over the family.
        missing: pairs that should be there and have no score.
        edges: names of those of the two whose best rate lies at an edge.
        untuned: names of those of the two of which a tuning run failed; to diverge is no failure.
        strictest: the weakest effect over other rates that may suit the arms behind as well, and those rates.
    """
    if edges:
        return Verdict("edge-limited", f"the best rate lies at an edge of the grid: {' and '.join(edges)}")
    if untuned:
        return Verdict("not resolved", f"a tuning run failed, so a rate was left untried: {' and '.join(untuned)}")
    if missing:
        return Verdict("not resolved", f"{missing} of the pairs {'has' if missing == 1 else 'have'} no score")
    interval = effect.interval(1 - alpha / max(family, 1)) if effect else None
    if effect is None or corrected is None or interval is None:
        return Verdict("not resolved", f"below {FEWEST} seeds there is no interval")
    if -margin < interval[0] and interval[1] < margin:
        return Verdict("contradicted", f"a difference of {_points(margin)} or more is excluded")
    if corrected <= alpha:
        why = f"{'higher' if effect.mean > 0 else 'lower'}, p = {corrected:.2g} after correction"
        low, high = effect.interval(1 - alpha) or interval  # as tables show it
        may_be_less = low < margin and high > -margin
        why += "; so it is at other rates that may suit as well" * (strictest is not None)
        return Verdict("supported", why + f"; it may be less than {_points(margin)}" * may_be_less)
    if strictest is not None:
        rates, other = strictest
        there = " and ".join(f"{arm} at {rate:g}" for arm, rate in rates.items())
        if other is None or other.n < effect.n:
            return Verdict("not resolved", f"{there}, which may suit as well, has not all its scores")
        said = f"{100 * other.mean:+.1f} points, p = {other.p:.2g} before correction"
        return Verdict("not resolved", f"with {there}, which may suit as well, it is {said}")
    least = effect.detectable(alpha=alpha / max(family, 1))
    return Verdict("not resolved", f"{effect.n} seeds would have seen {_points(least or 0.0)} or more")


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"
