"""Statistics over seeds, by simulation: what they promise holds for thousands of studies whose truth is known."""

from __future__ import annotations

import math
from math import sqrt
from typing import Any

import numpy
import pytest
from scipy import stats as scipy_stats

from xmodal.study import stats

RANDOM = numpy.random.default_rng
SEEDS = (3, 5, 10)


def within(share: float, runs: int, expected: float, errors: float = 3.0) -> bool:
    """Whether a simulated share lies within so many Monte-Carlo errors above what is expected."""
    return share <= expected + errors * sqrt(expected * (1 - expected) / runs)


def p_of(values: Any, resolution: float = 0.0) -> float:
    """The p-value of at least three numbers."""
    p = stats.Effect.of(values, resolution=resolution).p
    assert p is not None
    return p


def covers(interval: tuple[float, float] | None, truth: float) -> bool:
    assert interval is not None
    return interval[0] <= truth <= interval[1]


def judged(scores: numpy.ndarray, *, resolution: float = 0.0, margin: float = 0.0) -> list[str]:
    """Verdicts of a study: `scores` are `[arms seeds]`, the first arm is the control."""
    by_seed = [dict(enumerate(map(float, row))) for row in scores]
    effects = [stats.compare(arm, by_seed[0], resolution=resolution) for arm in by_seed[1:]]
    corrected = stats.holm([effect.p for effect in effects if effect and effect.p is not None])
    return [
        stats.verdict(effect, p, family=len(effects), margin=margin).word
        for effect, p in zip(effects, corrected, strict=True)
    ]


# Intervals


@pytest.mark.parametrize("n", SEEDS)
def test_t_intervals_cover_what_they_say(n: int) -> None:
    runs = 10_000
    covered = sum(covers(stats.t_interval(row), 0.7) for row in RANDOM(n).normal(0.7, 0.05, (runs, n)))
    assert abs(covered / runs - 0.95) <= 0.015


def test_t_interval_is_scipys() -> None:
    values = [0.8, 0.83, 0.79, 0.9]
    theirs = scipy_stats.t.interval(0.95, 3, numpy.mean(values), scipy_stats.sem(values))
    assert stats.t_interval(values) == pytest.approx(theirs)
    assert stats.Effect.of(values).interval() == pytest.approx(theirs)
    assert stats.Effect.of(values).p == pytest.approx(scipy_stats.ttest_1samp(values, 0).pvalue)


def test_a_bootstrap_interval_covers_at_ten_seeds() -> None:
    runs = 400
    covered = sum(covers(stats.bootstrap_interval(row), 0.7) for row in RANDOM(0).normal(0.7, 0.05, (runs, 10)))
    assert 0.86 <= covered / runs <= 0.97  # it is known to be too narrow at ten


def test_a_bootstrap_interval_repeats_and_takes_equal_values() -> None:
    values = [0.8, 0.83, 0.79, 0.9]
    assert stats.bootstrap_interval(values) == stats.bootstrap_interval(values)
    assert stats.bootstrap_interval([0.5] * 4) == (0.5, 0.5)


def test_below_three_seeds_there_is_no_interval() -> None:
    for values in ([0.5], [0.5, 0.6]):
        assert stats.t_interval(values) is None
        assert stats.bootstrap_interval(values) is None
        effect = stats.Effect.of(values)
        assert (effect.interval(), effect.p, effect.detectable()) == (None, None, None)
        assert stats.verdict(effect, None).word == "not resolved"


# No true effect


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("arms", [1, 4])
def test_without_an_effect_few_families_support_one(n: int, arms: int) -> None:
    runs = 4_000
    random = RANDOM(100 * n + arms)
    seeds = random.normal(0.8, 0.1, (runs, 1, n))  # what a seed does to all arms alike
    false = sum("supported" in judged(study) for study in seeds + random.normal(0, 0.02, (runs, arms + 1, n)))
    assert within(false / runs, runs, 0.05)
    assert arms > 1 or false / runs >= 0.03  # and the test has not lost its power


@pytest.mark.parametrize("share", [0.5, 0.97, 0.999])
def test_scores_that_are_counts_support_nothing_false(share: float) -> None:
    runs, labels = 3_000, 640
    scores = RANDOM(7).binomial(labels, share, (runs, 2, 3)) / labels
    false = sum("supported" in judged(study, resolution=1 / labels) for study in scores)
    assert within(false / runs, runs, 0.05)


def test_uncorrected_the_family_would_support_too_much() -> None:
    runs = 2_000
    studies = RANDOM(1).normal(0.8, 0.02, (runs, 5, 5))
    false = sum(any(p_of(arm - study[0]) <= 0.05 for arm in study[1:]) for study in studies)
    assert false / runs > 0.1


# A planted effect


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("arms", [1, 4])
def test_twice_the_detectable_effect_is_found(n: int, arms: int) -> None:
    runs, sd = 1_500, 0.02
    planted = 2 * sd * stats.detectable(n, alpha=stats.ALPHA / arms)
    studies = RANDOM(n).normal(0.5, sd / sqrt(2), (runs, arms + 1, n))
    studies[:, 1] += planted
    found = sum(judged(study, margin=0.001)[0] == "supported" for study in studies)
    assert found / runs >= 0.95


@pytest.mark.parametrize("n", SEEDS)
def test_the_detectable_effect_has_its_power(n: int) -> None:
    runs = 6_000
    values = RANDOM(n).normal(stats.detectable(n), 1, (runs, n))
    found = sum(p_of(row) <= stats.ALPHA for row in values)
    assert abs(found / runs - stats.POWER) < 0.02


def test_more_seeds_see_less_and_a_stricter_alpha_sees_more() -> None:
    sizes = [stats.detectable(n) for n in (3, 4, 5, 10, 30, 100)]
    assert sizes == sorted(sizes, reverse=True)
    assert stats.detectable(5, alpha=0.01) > stats.detectable(5)
    assert stats.detectable(100) == pytest.approx(0.2829, abs=0.001)  # G*Power, two-sided paired t


# Corrections


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_benjamini_hochberg_is_milder_than_holm() -> None:
    p = [0.001, 0.011, 0.02, 0.03, 0.5]
    assert all(mild <= strict for mild, strict in zip(stats.benjamini_hochberg(p), stats.holm(p), strict=True))
    assert stats.benjamini_hochberg([0.01, 0.02]) == pytest.approx([0.02, 0.02])
    assert stats.benjamini_hochberg([]) == []


# Effects and contrasts


def test_pairs_are_made_by_seed() -> None:
    effect = stats.compare({0: 0.9, 1: 0.8, 2: 0.7, 9: 0.1}, {2: 0.6, 1: 0.6, 0: 0.6, 8: 1.0})
    assert effect is not None
    assert (effect.n, effect.mean) == (3, pytest.approx(0.2))
    assert stats.compare({0: 0.9}, {1: 0.9}) is None


def test_equal_differences_are_not_certain() -> None:
    assert p_of([0.01] * 3) == pytest.approx(0, abs=1e-9)
    assert p_of([0.01] * 3, resolution=0.01) > 0.05
    assert p_of([0.0] * 3) == 1.0
    assert p_of([0.5] * 3, resolution=0.01) < 0.001


def test_contrasts_of_a_factorial() -> None:
    cells = {
        (0, 0): {0: 0.1, 1: 0.2},
        (1, 0): {0: 0.3, 1: 0.4},
        (0, 1): {0: 0.5, 1: 0.6},
        (1, 1): {0: 1.0, 1: 0.8, 2: 0.7},
    }
    found = stats.contrasts(cells, ["a", "b"])
    assert list(found) == [("a",), ("b",), ("a", "b")]
    assert found["a",].mean == pytest.approx(((0.2 + 0.5) / 2 + (0.2 + 0.2) / 2) / 2)
    assert found["a", "b"].mean == pytest.approx(((0.5 - 0.2) + (0.2 - 0.2)) / 2)
    assert found["a", "b"].n == 2
    with pytest.raises(ValueError, match="every combination"):
        stats.contrasts({(0, 0): {}}, ["a", "b"])


def test_additive_factors_do_not_interact() -> None:
    cells = {(a, b, c): {0: 0.1 * a + 0.2 * b + 0.3 * c} for a in (0, 1) for b in (0, 1) for c in (0, 1)}
    found = stats.contrasts(cells, ["a", "b", "c"])
    assert len(found) == 7
    assert [found[name,].mean for name in "abc"] == pytest.approx([0.1, 0.2, 0.3])
    assert all(abs(effect.mean) < 1e-12 for names, effect in found.items() if len(names) > 1)


def test_contrasts_of_tied_scores_vary_as_rounding_does() -> None:
    tied = {levels: dict.fromkeys(range(3), 0.5) for levels in ((0, 0), (0, 1), (1, 0), (1, 1))}
    found = stats.contrasts(tied, ["a", "b"], resolution=0.01)
    # Rounding four scores adds up: over two, for a main effect is a difference of means of two each.
    sds = [found[names].sd for names in (("a",), ("b",), ("a", "b"))]
    assert sds == pytest.approx([0.01 / sqrt(12), 0.01 / sqrt(12), 0.01 / sqrt(3)])
    assert [effect.sd for effect in stats.contrasts(tied, ["a", "b"]).values()] == [0, 0, 0]


def test_the_order_of_arms_depends_on_the_rate() -> None:
    found = stats.ordering({"frozen": {1e-2: 0.9, 1e-3: 0.5, 1.0: 0.1}, "trained": {1e-3: 0.8, 1e-2: 0.6}})
    assert found.ranks == {1e-3: ("trained", "frozen"), 1e-2: ("frozen", "trained")}
    assert found.reversals == (("frozen", "trained"),)
    assert stats.ordering({"a": {1.0: 0.5}, "b": {1.0: 0.5}}).reversals == ()
    assert stats.ordering({}).ranks == {}


# Verdicts


def test_each_word_of_a_verdict() -> None:
    clear, small, noisy = (stats.Effect(5, mean, sd) for mean, sd in ((0.2, 0.02), (0.001, 0.001), (0.05, 0.1)))
    assert stats.verdict(clear, clear.p) == stats.Verdict("supported", "higher, p = 2.4e-05 after correction")
    assert "lower" in stats.verdict(stats.Effect(5, -0.2, 0.02), 0.01).why
    assert stats.verdict(small, 1e-9).word == "contradicted"
    assert stats.verdict(small, 1e-9, margin=1e-4).word == "supported"
    unclear = stats.verdict(noisy, noisy.p)
    assert unclear.word == "not resolved"
    assert "5 seeds would have seen" in unclear.why
    assert stats.verdict(clear, 0.06).word == "not resolved"
    assert stats.verdict(clear, clear.p, missing=1).word == "not resolved"
    assert stats.verdict(None, None).word == "not resolved"
    limited = stats.verdict(clear, clear.p, edges=["ffn trained"], missing=1)
    assert limited.word == "edge-limited"
    assert "ffn trained" in limited.why


def test_a_large_family_contradicts_less_easily() -> None:
    effect = stats.Effect(4, 0.0, 0.006)
    assert stats.verdict(effect, 1.0).word == "contradicted"
    assert stats.verdict(effect, 1.0, family=10).word == "not resolved"


def test_an_effect_at_the_margin_is_seldom_contradicted() -> None:
    runs, sd = 4_000, 0.005
    values = RANDOM(3).normal(0.01, sd, (runs, 5))
    words = [stats.verdict(effect, effect.p).word for effect in map(stats.Effect.of, values)]
    assert within(words.count("contradicted") / runs, runs, 0.025)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_certain_difference_that_may_not_matter_is_said_to_be_one(sign: int) -> None:
    scores = {0: 0.908, 1: 0.910, 2: 0.906}, {0: 0.9, 1: 0.9005, 2: 0.8995}
    effect = stats.compare(*scores[::sign], resolution=1e-4)
    assert effect is not None
    small = stats.verdict(effect, effect.p, margin=0.01)
    assert small.word == "supported"
    assert small.why.endswith("after correction; it may be less than 1.0 points")
    # The same interval with a margin below it, in a family for which the wider one holds zero.
    wide = effect.interval(1 - stats.ALPHA / 20)
    assert wide is not None
    assert wide[0] < 0 < wide[1]
    assert stats.verdict(effect, effect.p, margin=0.004, family=20).why.endswith("after correction")


def test_equal_scores_have_an_interval_as_wide_as_their_rounding() -> None:
    assert stats.t_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    low, high = stats.t_interval([0.5, 0.5, 0.5], resolution=0.01) or (0.5, 0.5)
    assert high - low == pytest.approx(2 * 4.302653 * 0.01 / math.sqrt(12) / math.sqrt(3))
    # Scores that differ are not touched.
    assert stats.t_interval([0.4, 0.5, 0.6], resolution=0.01) == stats.t_interval([0.4, 0.5, 0.6])
