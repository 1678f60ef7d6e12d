"""What an accident of the tuning seeds may not decide: arms behind are tried at all rates that may suit them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pytest

from xmodal.recipe import Recipe
from xmodal.recipe.source import shipped
from xmodal.report.words import notes
from xmodal.run import session
from xmodal.run.result import Result
from xmodal.study import attempts, stats
from xmodal.study.arms import Arms, make_arms
from xmodal.study.design import Design, Trial, make_design
from xmodal.study.factors import Asked
from xmodal.study.judge import contending
from xmodal.study.outcome import Outcome
from xmodal.study.result import summary
from xmodal.study.stats import Effect
from xmodal.study.study import lacking, run_study
from xmodal.study.sweep import choose

STUDIES = 400
BOUND = 0.05 + 3 * sqrt(0.05 * 0.95 / STUDIES)
"""5 %, and three Monte-Carlo errors."""
SD = 0.01


class Law(NamedTuple):
    """Of arms whose best scores are the same.

    Attributes:
        seeds: report seeds.
        tuning: tuning seeds.
        cost: what a step of the grid costs, in deviations of a seed.
        apart: steps between the rates that suit one arm and the next.
    """

    seeds: int
    tuning: int
    cost: float
    apart: int


def small(*terms: str) -> Arms:
    return make_arms(Asked(shipped()["bit_xor_fpt"], list(terms), overrides=("threads=1",), tiny=True))


@pytest.fixture(scope="module")
def arms() -> Arms:
    return small("ffn")


@pytest.fixture(scope="module")
def factorial() -> Arms:
    return small("ffn", "attn")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "bootstrap_interval", lambda *_: None)  # no verdict rests on it, and it takes longest


def found(design: Design, score: Callable[[Trial], float | None]) -> dict[str, Any]:
    """A study whose runs score so, tuned, reported and contended as `run_study` does it; None is a run that failed."""

    def ran(trials: list[Trial]) -> list[Outcome]:
        scores = [(trial, score(trial)) for trial in trials]
        return [Outcome(trial, "failed" if s is None else "done", s, s, labels=1000) for trial, s in scores]

    outcomes = ran(design.tuning_trials(design.rates))
    choices = {}
    for arm in design.arms.arms:
        mine = [one for one in outcomes if one.trial.arm is arm]
        choices[arm.name] = choose({rate: [o.val for o in mine if o.trial.rate == rate] for rate in design.rates})
        outcomes += ran([Trial(arm, choices[arm.name].rate or 0.0, seed, "report") for seed in design.report])
    outcomes += ran(contending(design, choices, outcomes))
    return summary(design, design.rates, choices, outcomes)


def false_findings(arms: Arms, law: Law, of: str = "comparisons") -> float:
    """The share of studies that say of any effect that it is there."""
    design = make_design(arms, lr="1e-4:100:7", seeds=str(law.seeds), tuning=str(law.tuning), margin=0.0)
    random = numpy.random.default_rng([law.seeds, law.tuning, round(10 * law.cost), law.apart])
    said = 0
    for _ in range(STUDIES):
        best = 3 + random.uniform(-0.5, 0.5)
        peaks = {arm.name: best + law.apart * (number % 2 - 0.5) for number, arm in enumerate(design.arms.arms)}

        def score(trial: Trial, peaks: dict[str, float] = peaks) -> float:
            off = design.rates.index(trial.rate) - peaks[trial.arm.name]
            return 0.5 - SD * law.cost * off**2 + random.normal(0, SD)

        said += any(row["verdict"] == "supported" for row in found(design, score)[of])
    return said / STUDIES


LAWS = [
    *(Law(seeds, 1, cost, apart) for seeds in (3, 5, 10) for cost, apart in ((0.5, 0), (2.0, 0), (2.0, 1), (2.0, 2))),
    Law(10, 3, 1.0, 0),
    Law(10, 3, 1.0, 2),
    Law(5, 1, 0.0, 0),
    Law(10, 1, 4.0, 1),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: "-".join(map(str, law)))
def test_arms_that_are_equally_good_are_seldom_told_apart(arms: Arms, law: Law) -> None:
    assert false_findings(arms, law) <= BOUND


@pytest.mark.parametrize(("seeds", "least"), [(5, 0.08), (10, 0.13)])
@pytest.mark.parametrize("apart", [0, 2])
def test_by_the_chosen_rates_alone_they_would_be(
    arms: Arms, monkeypatch: pytest.MonkeyPatch, seeds: int, least: float, apart: int
) -> None:
    monkeypatch.setattr(stats, "contenders", lambda *_: [])
    assert false_findings(arms, Law(seeds, 1, 2.0, apart)) > least > BOUND - 0.01


@pytest.mark.parametrize("of", ["comparisons", "contrasts"])
def test_the_effects_of_a_factorial_are_not_there_by_accident_either(factorial: Arms, of: str) -> None:
    assert false_findings(factorial, Law(5, 1, 2.0, 0), of) <= BOUND


@pytest.mark.parametrize(("seeds", "least", "most"), [(3, 0.06, 0.2), (5, 0.0, BOUND)])
def test_three_seeds_of_all_or_nothing_look_certain(seeds: int, least: float, most: float) -> None:
    """As the page on the protocol tells: every run is at 100 % or at 50 %, by chance, whatever the arm."""
    seven = Arms((), tuple(replace(arm, name=f"arm {n}") for n, arm in enumerate(small("ffn").arms[:1] * 7)))
    design = make_design(seven, lr="1e-4:1:5", seeds=str(seeds), margin=0.0)
    random = numpy.random.default_rng(seeds)

    def score(trial: Trial) -> float:
        return float(random.choice([0.5, 1.0])) if trial.rate == design.rates[2] else 0.4

    rows = [found(design, score)["comparisons"] for _ in range(STUDIES)]
    assert least <= sum(any(row["verdict"] == "supported" for row in each) for each in rows) / STUDIES <= most


def test_the_arm_that_varies_most_says_which_rates_may_suit(arms: Arms) -> None:
    design = make_design(arms, **DESIGN)

    def score(trial: Trial) -> float:
        ahead = trial.arm.name == "ffn frozen"
        own = 0.5 + 0.2 * ahead - 0.02 * abs(design.rates.index(trial.rate) - 2)
        return own + (wave(trial) if ahead else wave(trial) / 100)  # the arm behind hardly varies

    (row,) = found(design, score)["comparisons"]
    assert row["strictest"]


def test_a_difference_that_is_there_is_found(arms: Arms) -> None:
    design = make_design(arms, lr="1e-4:100:7", seeds="5", margin=0.0)
    random = numpy.random.default_rng(0)
    planted = 2 * SD * sqrt(2) * stats.detectable(5)

    def score(trial: Trial) -> float:
        ahead = trial.arm.name == "ffn frozen"
        off = design.rates.index(trial.rate) - (2 if ahead else 4)
        return 0.5 + planted * ahead - 0.02 * off**2 + random.normal(0, SD)

    rows = [found(design, score)["comparisons"][0] for _ in range(300)]
    assert sum(row["verdict"] == "supported" for row in rows) >= 0.95 * 300


DESIGN = {"lr": "1e-4:1:5", "seeds": "5"}


def wave(trial: Trial) -> float:
    """What a seed does, the same in no two arms or rates."""
    return 0.004 * ((trial.seed * 7 + round(1e6 * trial.rate) + len(trial.arm.name)) % 5 - 2)


def test_rates_that_are_clearly_worse_are_not_run(arms: Arms) -> None:
    design = make_design(arms, **DESIGN)

    def score(trial: Trial) -> float:
        place = design.rates.index(trial.rate)
        return 0.5 + 0.2 * (trial.arm.name == "ffn frozen") - 0.1 * abs(place - 2) + wave(trial)

    study = found(design, score)
    (row,) = study["comparisons"]
    assert (row["verdict"], row["strictest"]) == ("supported", None)
    assert [arm["contenders"] for arm in study["arms"]] == [[], []]


def test_the_arm_behind_is_tried_where_it_may_do_as_well(arms: Arms) -> None:
    design = make_design(arms, **DESIGN)

    def score(trial: Trial) -> float:
        place, ahead = design.rates.index(trial.rate), trial.arm.name == "ffn frozen"
        own = 0.5 - 0.1 * abs(place - 2) + 0.1 * (place == 3 and not ahead)  # the next rate is as good
        return own + 0.2 * ahead + wave(trial) - 0.003 * (place == 3)

    study = found(design, score)
    trained, frozen = study["arms"]
    (row,) = study["comparisons"]
    chosen, other = trained["rate"], 0.1 if trained["rate"] == 0.01 else 0.01
    assert {(run["rate"], run["seed"]) for run in trained["contenders"]} == {(other, seed) for seed in range(5)}
    assert (frozen["contenders"], chosen in (0.01, 0.1)) == ([], True)
    assert row["verdict"] == "supported"
    assert row["why"].endswith("; so it is at other rates that may suit as well")
    assert row["strictest"]["rates"] == {"ffn trained": other}
    assert row["p"] <= max(row["p"], row["strictest"]["p"]) == row["p_holm"]
    said = next(line for line in notes(study) if "may suit as well" in line)
    assert said.startswith(f"ffn frozen: with ffn trained at rate {other:g}, which may suit as well")


def accident(design: Design) -> Callable[[Trial], float | None]:
    """Arms that are the same, of which one was tuned to a worse rate by a seed that lies."""

    def score(trial: Trial) -> float:
        place = design.rates.index(trial.rate)
        lies = trial.purpose == "tuning" and trial.arm.name == "ffn frozen" and place == 3
        return 0.9 - 0.02 * abs(place - 2) + 0.021 * lies + wave(trial)

    return score


def test_a_difference_by_an_accident_of_tuning_is_not_supported(arms: Arms, monkeypatch: pytest.MonkeyPatch) -> None:
    design = make_design(arms, **DESIGN)
    study = found(design, accident(design))
    (row,) = study["comparisons"]
    assert [arm["rate"] for arm in study["arms"]] == [0.01, 0.1]
    assert row["p"] < 0.05 < row["p_holm"]
    assert row["verdict"] == "not resolved"
    assert row["why"].startswith("with ffn frozen at 0.01, which may suit as well, it is ")
    monkeypatch.setattr(stats, "contenders", lambda *_: [])
    assert found(design, accident(design))["comparisons"][0]["verdict"] == "supported"


@pytest.mark.parametrize("failed", [{0}, {0, 1, 2, 3, 4}], ids=["one", "all"])
def test_where_such_a_run_fails_nothing_is_supported(arms: Arms, failed: set[int]) -> None:
    design = make_design(arms, **DESIGN)
    score = accident(design)
    study = found(design, lambda one: None if one.purpose == "contender" and one.seed in failed else score(one))
    (row,) = study["comparisons"]
    assert (row["verdict"], row["p_holm"]) == ("not resolved", 1.0)
    assert row["why"] == "ffn frozen at 0.01, which may suit as well, has not all its scores"


def test_both_must_point_one_way_over_the_same_seeds() -> None:
    strong, weak = Effect(5, 0.1, 0.01), Effect(5, 0.1, 0.1)
    assert stats.agreed(strong, weak) == stats.agreed(weak, strong) == weak.p
    assert stats.agreed(strong, Effect(5, -0.1, 0.01)) == 1.0
    assert stats.agreed(strong, Effect(4, 0.1, 0.01)) == 1.0  # one failed
    assert stats.agreed(strong, None) == stats.agreed(None, None) == 1.0
    assert stats.agreed(Effect(2, 0.1, 0.01), Effect(2, 0.1, 0.01)) == 1.0


def test_contenders_by_hand() -> None:
    curve = {0.001: 0.80, 0.01: 0.90, 0.1: 0.89, 1.0: 0.86}
    assert stats.contenders(curve, 0.01, 0.01, 1) == [0.1, 1.0]  # within 3 x 0.01 x sqrt(2) = 4.2 points
    assert stats.contenders(curve, 0.01, 0.01, 4) == [0.1]
    assert stats.contenders(curve, 0.01, 0.0, 1) == stats.contenders(curve, None, 1.0, 1) == []


def test_such_runs_are_made_once_and_belong_to_the_study(
    arms: Arms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    specs = {arm.spec: arm.name for arm in arms.arms}
    asked: list[tuple[str, float, int, bool]] = []
    design = make_design(arms, lr="1e-4:1:5")

    def attempt(job: attempts.Job, *_: Any) -> attempts.Attempt:
        recipe, test = job
        name, rate = specs[recipe.freeze], recipe.train.lr
        asked.append((name, rate, recipe.seed, test))
        ahead, place = name == "ffn frozen", design.rates.index(rate)
        score = 0.5 + 0.2 * ahead - 0.1 * abs(place - 2) + 0.099 * (place == 3) + 0.001 * (recipe.seed % 7)
        rest = {"interval": [0.0, 1.0], "loss": None, "items": 100}
        scores = {"accuracy": score, "labels": 1000, **rest}
        whole = {"name": "x", "seed": recipe.seed, "recipe_digest": "x", "digests": {"body": "x"}, "floors": {}}
        whole |= {"status": "done", "val": scores, "test": scores, "steps": 4, "best_step": 4}
        return attempts.Attempt(session.Run(tmp_path / "x", Result.of(whole), ran=True))

    monkeypatch.setattr(attempts, "attempt", attempt)
    study = run_study(design, out=tmp_path)
    assert asked[-3:] == [("ffn trained", 0.1, seed, True) for seed in (0, 1, 2)]
    trained, frozen = study.result["arms"]
    assert [(run["rate"], run["seed"]) for run in trained["contenders"]] == [(0.1, 0), (0.1, 1), (0.1, 2)]
    assert frozen["contenders"] == []
    assert study.ran == len(asked) == len(set(asked)) == 10 + 6 + 3

    # What lies there says what comes next, contenders too, and nothing is run for that.
    for made, purposes in (
        (0, {"tuning": 10}),
        (7, {"tuning": 3}),
        (10, {"report": 6}),
        (16, {"contender": 3}),
        (19, {}),
    ):
        here = {(rate, seed, name) for name, rate, seed, _ in asked[:made]}

        def there(recipe: Recipe, out: Path, here: set[Any] = here) -> session.Run | None:
            known = (recipe.train.lr, recipe.seed, specs[recipe.freeze]) in here
            run = attempt((recipe, True)).run
            return replace(run, ran=False) if known and run else None

        before = len(asked)
        monkeypatch.setattr(attempts, "there", there)
        assert Counter(trial.purpose for trial in lacking(design, tmp_path)) == purposes
        del asked[before:]
