"""Two arms that tuning gave two rates: what an accident of the tuning seeds may not decide."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import numpy
import pytest

from xmodal.recipe.library import shipped
from xmodal.report.words import notes
from xmodal.run import session
from xmodal.run.result import Result
from xmodal.study import attempts, stats
from xmodal.study.arms import Arms, make_arms
from xmodal.study.design import Design, Trial, make_design
from xmodal.study.factors import Asked
from xmodal.study.result import Outcome, summary, to_match
from xmodal.study.stats import Effect
from xmodal.study.study import run_study
from xmodal.study.sweep import choose

LAWS = [0.0, 0.5, 1.0, 2.0, 4.0]
"""How much a step of the grid costs, in deviations of a seed."""


@pytest.fixture(scope="module")
def arms() -> Arms:
    return make_arms(Asked(shipped()["bit_xor_fpt"], ["ffn"], overrides=("threads=1",), tiny=True))


def found(design: Design, score: Callable[[Trial], float | None], *, match: bool = True) -> dict[str, Any]:
    """The comparison of a study whose runs score so, tuned, reported and matched as `run_study` does it."""

    def ran(trials: list[Trial]) -> list[Outcome]:
        scores = [(trial, score(trial)) for trial in trials]
        return [Outcome(trial, "diverged" if s is None else "done", s, s, 1000) for trial, s in scores]

    outcomes = ran(design.tuning_trials(design.rates))
    choices = {}
    for arm in design.arms.arms:
        mine = [one for one in outcomes if one.trial.arm is arm]
        choices[arm.name] = choose({rate: [o.val for o in mine if o.trial.rate == rate] for rate in design.rates})
        outcomes += ran([Trial(arm, choices[arm.name].rate or 0.0, seed, "report") for seed in design.report])
    if match:
        outcomes += ran(to_match(design, choices, outcomes))
    stats_of = summary(design, design.rates, choices, outcomes)
    return stats_of["comparisons"][0] | {"notes": notes(stats_of)}


def false_findings(arms: Arms, cost: float, seeds: int, tuning: int, studies: int, *, match: bool) -> float:
    """Of studies of two arms that are the same in law, the share that says they differ."""
    design = make_design(arms, lr="1e-4:1:5", seeds=str(seeds), tuning=str(tuning), margin=0.0)
    random = numpy.random.default_rng([seeds, tuning, round(10 * cost)])
    said = 0
    for _ in range(studies):
        best = 2 + random.uniform(-0.5, 0.5)
        means = {rate: 0.5 - 0.01 * cost * (place - best) ** 2 for place, rate in enumerate(design.rates)}
        row = found(design, lambda trial, means=means: means[trial.rate] + random.normal(0, 0.01), match=match)
        # At an edge nothing is said; here the word is of arms that need no longer grid.
        said += row["verdict"] == "supported"
    return said / studies


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "bootstrap_interval", lambda *_: None)  # no verdict rests on it, and it takes longest


@pytest.mark.parametrize(("seeds", "tuning"), [(3, 1), (5, 1), (10, 1), (10, 3)])
def test_arms_that_are_alike_are_seldom_told_apart_however_they_were_tuned(arms: Arms, seeds: int, tuning: int) -> None:
    studies = 600
    for cost in LAWS:
        share = false_findings(arms, cost, seeds, tuning, studies, match=True)
        assert share <= 0.05 + 3 * sqrt(0.05 * 0.95 / studies), cost


@pytest.mark.parametrize(("seeds", "most"), [(5, 0.08), (10, 0.13)])
def test_with_the_rates_of_tuning_alone_they_would_be(arms: Arms, seeds: int, most: float) -> None:
    assert false_findings(arms, 1.0, seeds, 1, 600, match=False) > most


def test_a_difference_is_found_between_arms_that_need_other_rates(arms: Arms) -> None:
    design = make_design(arms, lr="1e-4:1:5", seeds="5", margin=0.0)
    random = numpy.random.default_rng(0)
    planted = 2 * 0.01 * sqrt(2) * stats.detectable(5)

    def score(trial: Trial) -> float:
        ahead = trial.arm.name == "ffn frozen"
        place = design.rates.index(trial.rate) - (1 if ahead else 3)
        return 0.5 + planted * ahead - 0.05 * place**2 + random.normal(0, 0.01)

    rows = [found(design, score) for _ in range(300)]
    assert sum(row["verdict"] == "supported" for row in rows) >= 0.95 * 300
    assert sum(row["matched"] is not None for row in rows) >= 0.95 * 300


def test_what_is_run_at_one_rate_is_the_arm_behind(arms: Arms) -> None:
    design = make_design(arms, lr="1e-4:1:5")

    def score(trial: Trial) -> float:
        ahead, place = trial.arm.name == "ffn frozen", design.rates.index(trial.rate)
        at_its_best = place == (1 if ahead else 3)
        return 0.5 + 0.2 * ahead + 0.1 * at_its_best + 0.001 * (trial.seed % 7)

    row = found(design, score)
    assert (row["verdict"], row["matched"]["rate"], row["matched"]["pairs"]) == ("supported", 1e-3, 3)
    assert row["matched"]["difference"] == pytest.approx(0.3)
    assert row["why"].endswith("; so it is at one rate for both")
    said = "ffn frozen: at rate 0.001, ffn trained at 0.1; at 0.001 for both, on the same seeds, +30.0 (+29.9 +30.1)"
    assert said in row["notes"]


def test_a_difference_of_rates_alone_is_not_supported(arms: Arms) -> None:
    """The same score at one rate; tuning, whose seed lies, gave one of them a worse rate."""
    design = make_design(arms, lr="1e-4:1:5", seeds="5")

    def score(trial: Trial) -> float:
        place = design.rates.index(trial.rate)
        lies = trial.purpose == "tuning" and trial.arm.name == "ffn frozen" and place == 3
        return 0.9 - 0.1 * abs(place - 2) + 0.5 * lies * 0.3 + (0.001 * (trial.seed * 7 % 5) * (1 + place) % 0.003)

    row = found(design, score)
    assert row["p"] < 0.01
    assert (row["verdict"], row["p_holm"]) == ("not resolved", pytest.approx(1.0))
    assert row["why"] == "at one rate for both it is +0.0 points, p = 1 before correction, and both must hold"
    assert found(design, score, match=False)["verdict"] == "supported"


def test_an_arm_that_diverges_at_the_others_rate_is_behind_there(arms: Arms) -> None:
    design = make_design(arms, lr="1e-4:1:5")

    def score(trial: Trial) -> float | None:
        ahead, place = trial.arm.name == "ffn frozen", design.rates.index(trial.rate)
        if not ahead and place >= 3:
            return None
        return 0.5 + 0.2 * ahead + 0.1 * (place == (3 if ahead else 1)) + 0.001 * (trial.seed % 7)

    row = found(design, score)
    assert row["verdict"] == "supported"
    assert row["matched"]["difference"] > 0.7


def test_both_must_point_one_way_over_the_same_seeds() -> None:
    strong, weak = Effect(5, 0.1, 0.01), Effect(5, 0.1, 0.1)
    assert stats.agreed(strong, None) == strong.p
    assert stats.agreed(strong, weak) == weak.p
    assert stats.agreed(weak, strong) == weak.p
    assert stats.agreed(strong, Effect(5, -0.1, 0.01)) == 1.0
    assert stats.agreed(strong, Effect(4, 0.1, 0.01)) == 1.0  # one failed
    assert stats.agreed(None, None) is None
    assert stats.agreed(Effect(2, 0.1, 0.01), None) is None


def test_such_runs_are_made_once_and_belong_to_the_study(
    arms: Arms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    specs = {arm.spec: arm.name for arm in arms.arms}
    asked: list[tuple[str, float, int, bool]] = []

    def attempt(job: attempts.Job, *_: Any) -> attempts.Attempt:
        recipe, test = job
        name, rate = specs[recipe.freeze], recipe.train.lr
        asked.append((name, rate, recipe.seed, test))
        score = 0.5 + 0.2 * (name == "ffn frozen") + 0.1 * (rate == (1e-3 if name == "ffn frozen" else 1e-1))
        rest = {"interval": [0.0, 1.0], "loss": None, "items": 100}
        scores = {"accuracy": score + 0.001 * (recipe.seed % 7), "labels": 1000, **rest}
        whole = {"name": "x", "seed": recipe.seed, "recipe_digest": "x", "digests": {"body": "x"}, "floors": {}}
        whole |= {"status": "done", "val": scores, "test": scores, "steps": 4, "best_step": 4}
        return attempts.Attempt(session.Run(tmp_path / "x", Result.of(whole), ran=True))

    monkeypatch.setattr(attempts, "attempt", attempt)
    design = make_design(arms, lr="1e-4:1:5")
    study = run_study(design, out=tmp_path)
    assert design.preview()["matched_runs"] == 3
    assert asked[-3:] == [("ffn trained", 1e-3, seed, True) for seed in (0, 1, 2)]
    trained, frozen = study.result["arms"]
    assert [(run["rate"], run["seed"]) for run in trained["matched"]] == [(1e-3, 0), (1e-3, 1), (1e-3, 2)]
    assert frozen["matched"] == []
    assert study.ran == len(asked) == len(set(asked)) == 10 + 6 + 3
