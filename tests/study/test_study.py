"""Studies of runs that take a blink: nothing runs twice, and what goes wrong is a result of its arm."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from xmodal.errors import UsageError
from xmodal.recipe.source import shipped
from xmodal.report.words import notes
from xmodal.run import session
from xmodal.run.result import Result, read_result
from xmodal.study import attempts, stats
from xmodal.study.arms import Arm, Arms, make_arms
from xmodal.study.design import Design, make_design
from xmodal.study.events import Progress, StudyEvent
from xmodal.study.factors import Asked
from xmodal.study.judge import contending
from xmodal.study.outcome import Outcome
from xmodal.study.result import summary
from xmodal.study.study import Interrupted, run_study
from xmodal.study.sweep import Choice

SMALL = ("train.steps=4", "train.eval_every=2", "threads=1")


def small(**said: Any) -> Arms:
    return make_arms(Asked(shipped()["bit_xor_fpt"], overrides=SMALL, tiny=True, **said))


@pytest.fixture(scope="module")
def ffn() -> Arms:
    return small(freeze=["ffn"])


def test_a_study_runs_reports_and_finds_nothing_left(ffn: Arms, tmp_path: Path) -> None:
    events: list[StudyEvent] = []
    design = make_design(ffn, lr="1e-3:1e-2:3")
    first = run_study(design, out=tmp_path, listen=events.append)
    seen = [event for event in events if isinstance(event, Progress)]
    assert first.ran == len(seen) == seen[-1].done
    assert (seen[-1].missing, seen[-1].left) == (0, 0)
    assert first.ran >= 2 * (3 + 3)
    assert json.loads(first.file.read_text()) == json.loads(json.dumps(first.result))
    for arm in first.result["arms"]:
        folders = [run["folder"] for run in arm["tuning"] + arm["report"]]
        scored = {folder: (read_result(tmp_path / folder) or {})["test"] for folder in folders}
        assert [folder for folder, test in scored.items() if test] == [run["folder"] for run in arm["report"]]
        assert [run["seed"] for run in arm["report"]] == [0, 1, 2]
        assert {run["rate"] for run in arm["report"]} == {arm["rate"]}
        assert len(arm["tuning"]) == len(first.result["rates"])
        assert (tmp_path / arm["report"][0]["folder"] / "result.json").is_file()
        assert arm["interval"][0] <= arm["mean"] <= arm["interval"][1]
    again = run_study(design, out=tmp_path)
    assert (again.ran, again.result, again.file) == (0, first.result, first.file)


def test_studies_share_runs(ffn: Arms, tmp_path: Path) -> None:
    run_study(make_design(ffn, lr="1e-3", seeds="2"), out=tmp_path)
    by_hand = small(arms=["trained: body - ln - pos - ffn"])
    assert run_study(make_design(by_hand, lr="1e-3", seeds="2"), out=tmp_path).ran == 0
    assert run_study(make_design(ffn, lr="1e-3", seeds="3"), out=tmp_path).ran == 2


def test_a_study_broken_off_ends_with_the_same_table(ffn: Arms, tmp_path: Path) -> None:
    design = make_design(ffn, lr="1e-3", seeds="3")
    whole = run_study(design, out=tmp_path / "whole").result
    for patience in (3, 15, 40):
        asked = iter([*[False] * patience, *[True] * 10_000])
        with pytest.raises(Interrupted):
            run_study(design, out=tmp_path / "broken", stop=lambda asked=asked: next(asked))
    assert run_study(design, out=tmp_path / "broken").result == whole


def test_one_or_two_seeds_have_no_interval(ffn: Arms, tmp_path: Path) -> None:
    result = run_study(make_design(ffn, lr="1e-3", seeds="1"), out=tmp_path).result
    assert [arm["interval"] for arm in result["arms"]] == [None, None]
    (row,) = result["comparisons"]
    assert (row["pairs"], row["interval"], row["p"], row["verdict"]) == (1, None, None, "not resolved")
    assert row["why"] == "below 3 seeds there is no interval"


def test_a_run_that_fails_is_a_result_of_its_arm(ffn: Arms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = session.train

    def train(recipe: Any, **said: Any) -> Any:
        if recipe.freeze == "body - ln - pos" and recipe.seed == 1:
            raise RuntimeError("out of memory")
        return real(recipe, **said)

    monkeypatch.setattr(session, "train", train)
    design = make_design(ffn, lr="1e-3")
    result = run_study(design, out=tmp_path).result
    bad = result["arms"][1]["report"][1]
    assert (bad["status"], bad["error"], bad["test"]) == ("failed", "RuntimeError: out of memory", None)
    assert result["arms"][1]["seeds"] == 2
    assert result["comparisons"][0]["verdict"] == "not resolved"
    assert "1 of the pairs has no score" in result["comparisons"][0]["why"]
    monkeypatch.setattr(session, "train", real)
    assert run_study(design, out=tmp_path).ran == 1


def test_a_folder_edited_by_hand_is_refused(ffn: Arms, tmp_path: Path) -> None:
    design = make_design(ffn, lr="1e-3", seeds="1")
    result = run_study(design, out=tmp_path).result
    lock = tmp_path / result["arms"][0]["report"][0]["folder"] / "recipe.lock.yaml"
    lock.write_text(lock.read_text().replace("steps: 4", "steps: 5"))
    with pytest.raises(UsageError, match="holds another run"):
        run_study(design, out=tmp_path)


# From outcomes to verdicts


@dataclass
class World:
    """Outcomes made up: `score` says what an arm has at a rate and seed, None for a run that diverged at once."""

    design: Design
    score: Callable[[str, float, int], float | None]

    def result(self, edges: dict[str, Any] | None = None, version: Callable[[int], str] = lambda _: "1") -> Any:
        design = self.design
        choices = {arm.name: Choice(design.rates[1], (edges or {}).get(arm.name)) for arm in design.arms.arms}
        trials = design.tuning_trials(design.rates)
        outcomes = [self.outcome(trial.arm, trial.rate, trial.seed, trial, version) for trial in trials]
        for arm in design.arms.arms:
            for seed in design.report:
                trial = type(trials[0])(arm, design.rates[1], seed, "report")
                outcomes.append(self.outcome(arm, trial.rate, seed, trial, version))
        for trial in contending(design, choices, outcomes):
            outcomes.append(self.outcome(trial.arm, trial.rate, trial.seed, trial, version))
        return summary(design, design.rates, choices, outcomes)

    def outcome(self, arm: Arm, rate: float, seed: int, trial: Any, version: Callable[[int], str]) -> Outcome:
        score = self.score(arm.name, rate, seed)
        status = "diverged" if score is None else "done"
        return Outcome(trial, status, score, score, 1000, {"chance": 0.5}, made_with={"torch": version(seed)})


NOISE = (0.003, -0.004, 0.001, 0.002, -0.002)


def test_a_clear_effect_is_supported(ffn: Arms) -> None:
    world = World(
        make_design(ffn, lr="1e-3:1e-1:3", seeds="5"),
        lambda arm, rate, seed: 0.8 + 0.1 * (arm == "ffn frozen") * (1 + NOISE[seed % 5]),
    )
    (row,) = world.result()["comparisons"]
    assert (row["arm"], row["control"], row["pairs"]) == ("ffn frozen", "ffn trained", 5)
    assert row["difference"] == pytest.approx(0.1)
    assert row["interval"][0] < 0.1 < row["interval"][1]
    assert (row["verdict"], row["p"]) == ("supported", row["p_holm"])
    assert world.result(edges={"ffn trained": "low"})["comparisons"][0]["verdict"] == "edge-limited"


def test_what_seeds_do_to_both_arms_cancels(ffn: Arms) -> None:
    world = World(make_design(ffn, lr="1e-3:1e-1:3", seeds="5"), lambda arm, rate, seed: 0.5 + 0.05 * (seed % 5))
    assert world.result()["comparisons"][0]["verdict"] == "contradicted"


def test_a_seed_without_a_score_resolves_nothing(ffn: Arms) -> None:
    world = World(
        make_design(ffn, lr="1e-3:1e-1:3", seeds="5"),
        lambda arm, rate, seed: None if (arm, seed) == ("ffn frozen", 3) else 0.5 + 0.4 * (arm == "ffn frozen"),
    )
    result = world.result(version=lambda seed: "2" if seed == 4 else "1")
    assert result["comparisons"][0]["verdict"] == "not resolved"
    assert result["arms"][1]["report"][3]["status"] == "diverged"
    assert result["mixed"] == {"torch": ["1", "2"]}
    assert result["floors"] == {"chance": 0.5}
    assert not any("floors" in arm for arm in result["arms"])


def test_arms_that_were_asked_other_things_have_floors_of_their_own(ffn: Arms) -> None:
    class Other(World):
        def outcome(self, arm: Arm, rate: float, seed: int, trial: Any, version: Callable[[int], str]) -> Outcome:
            made = super().outcome(arm, rate, seed, trial, version)
            return replace(made, floors={"chance": 0.25}) if made.trial.arm.name == "ffn frozen" else made

    result = Other(make_design(ffn, lr="1e-3:1e-1:3", seeds="5"), lambda *_: 0.5).result()
    assert [arm["floors"] for arm in result["arms"]] == [{"chance": 0.5}, {"chance": 0.25}]
    said = notes(result)
    told = [
        "floors of ffn trained (control): chance 50.0 %",
        "floors of ffn frozen: chance 25.0 %",
        "arms were not asked the same, so a difference is of tasks as well",
    ]
    assert [line for line in said if line in told or line.startswith("floors")] == told


def test_differences_that_are_all_equal_are_not_certain(ffn: Arms) -> None:
    # Exact in binary, so that nothing but what 1000 labels can tell makes them vary.
    world = World(make_design(ffn, lr="1e-3:1e-1:3", seeds="5"), lambda arm, *_: 0.5 + 2**-10 * (arm == "ffn frozen"))
    (row,) = world.result()["comparisons"]
    assert row["difference"] == 2**-10
    assert row["p"] > 0
    assert row["interval"][0] < 2**-10 < row["interval"][1]
    assert row["detectable"] == stats.Effect(5, 0.0, 1e-3 / math.sqrt(6)).detectable()


def test_what_can_be_seen_is_corrected_for_the_family() -> None:
    arms = small(arms=["all: body", "nothing: none"])
    names = [arm.name for arm in arms.arms]
    scores = {name: {seed: 0.5 + NOISE[(seed + place) % 5] for seed in range(5)} for place, name in enumerate(names)}
    world = World(make_design(arms, lr="1e-3:1e-1:3", seeds="5"), lambda arm, _, seed: scores[arm].get(seed, 0.5))
    rows = world.result()["comparisons"]
    assert len(rows) == 2
    for row in rows:
        effect = stats.compare(scores[row["arm"]], scores[names[0]])
        assert effect is not None
        assert row["detectable"] == pytest.approx(effect.detectable(alpha=stats.ALPHA / 2))
        assert row["detectable"] > (effect.detectable() or 1) * 1.1


def test_versions_that_differ_among_tuning_runs_are_told(ffn: Arms) -> None:
    world = World(make_design(ffn, lr="1e-3:1e-1:3", tuning="2"), lambda *_: 0.5)
    assert world.result(version=lambda seed: "2" if seed == 1001 else "1")["mixed"] == {"torch": ["1", "2"]}
    assert world.result()["mixed"] == {}


def test_a_factorial_has_contrasts_and_an_order_by_rate() -> None:
    arms = small(freeze=["attn", "ffn"])
    world = World(
        make_design(arms, lr="1e-3:1e-1:3", seeds="5"),
        lambda arm, rate, seed: (
            0.5
            + 0.2 * ("attn frozen" in arm) * (1 if rate > 0.001 else -1)
            + 0.1 * ("ffn frozen" in arm)
            + NOISE[(seed + len(arm)) % 5]
        ),
    )
    result = world.result()
    effects = {tuple(row["factors"]): row for row in result["contrasts"]}
    assert effects["attn",]["difference"] == pytest.approx(0.2, abs=0.005)
    assert effects["ffn",]["difference"] == pytest.approx(0.1, abs=0.005)
    assert effects["attn", "ffn"]["verdict"] in ("contradicted", "not resolved")
    assert effects["attn",]["verdict"] == "supported"
    assert len(result["comparisons"]) == 3
    assert [row["rate"] for row in result["ordering"]] == [0.001, 0.01, 0.1]
    assert ["attn trained, ffn trained", "attn frozen, ffn trained"] in result["reversals"]


def ended(out: Path, said: dict[str, Any]) -> session.Run:
    """A run that came to what is said, with what every result has besides."""
    rest = {"interval": [0.0, 1.0], "loss": None, "items": 100}
    scores = {split: said[split] and {**said[split], **rest} for split in ("val", "test")}
    whole = {"name": "x", "seed": 0, "recipe_digest": "x", "digests": {"body": "x"}, **said, **scores}
    return session.Run(out / "x", Result.of(whole), ran=True)


def test_the_grid_is_extended_for_every_arm_alike(ffn: Arms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def train(recipe: Any, **_: Any) -> Any:
        # One arm is best at the lowest rate there is; the other in the middle.
        frozen = recipe.freeze == "body - ln - pos"
        score = 1 - recipe.train.lr if frozen else 1 - abs(recipe.train.lr - 0.01)
        scores = {"accuracy": score, "labels": 100}
        result = {"status": "done", "val": scores, "test": scores, "floors": {}, "steps": 4, "best_step": 4}
        return ended(tmp_path, result)

    monkeypatch.setattr(session, "train", train)
    result = run_study(make_design(ffn, lr="1e-3:1e-1:3"), out=tmp_path).result
    assert result["rates"] == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    trained, frozen = result["arms"]
    assert [len(arm["tuning"]) for arm in (trained, frozen)] == [5, 5]
    assert (trained["rate"], trained["edge"], frozen["rate"], frozen["edge"]) == (1e-2, None, 1e-5, "low")
    assert result["comparisons"][0]["verdict"] == "edge-limited"


@pytest.mark.parametrize("arm", ["ffn trained", "ffn frozen"])
@pytest.mark.parametrize(("end", "verdict"), [("failed", "not resolved"), ("diverged", "supported")])
def test_a_rate_that_failed_in_tuning_resolves_nothing(
    ffn: Arms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arm: str, end: str, verdict: str
) -> None:
    specs = {arm.spec: arm.name for arm in ffn.arms}

    def attempt(job: attempts.Job, *_: Any) -> attempts.Attempt:
        recipe = job[0]
        name, rate = specs[recipe.freeze], recipe.train.lr
        bad = (name, rate, recipe.seed) == (arm, 1e-3, 1000)
        if bad and end == "failed":
            return attempts.Attempt(error="out of memory: the system refused it")
        score = 0.5 + 0.3 * (name == "ffn frozen") - 0.1 * abs(math.log10(rate / 1e-2))
        scores = None if bad else {"accuracy": score, "labels": 100}
        result = {"status": "diverged" if bad else "done", "val": scores, "test": scores, "floors": {}, "steps": 4}
        return attempts.Attempt(ended(tmp_path, {**result, "best_step": 4}))

    monkeypatch.setattr(attempts, "attempt", attempt)
    result = run_study(make_design(ffn, lr="1e-4:1:5"), out=tmp_path).result
    bad = [(one["name"], run["rate"], run["status"]) for one in result["arms"] for run in one["tuning"]]
    assert [run for run in bad if run[2] != "done"] == [(arm, 1e-3, end)]
    (row,) = result["comparisons"]
    assert row["verdict"] == verdict
    if end == "failed":
        assert row["why"] == f"a tuning run failed, so a rate was left untried: {arm}"


def test_halving_tries_as_many_rates_for_every_arm(ffn: Arms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried: list[tuple[str, float, int, int]] = []

    def train(recipe: Any, **_: Any) -> Any:
        frozen, train = recipe.freeze == "body - ln - pos", recipe.train
        tried.append(("frozen" if frozen else "trained", train.lr, recipe.seed, train.steps))
        # Short runs like a higher rate than whole ones.
        best = (0.03 if train.steps < 4 else 0.01) if frozen else 0.003
        scores = {"accuracy": 1 / (1 + abs(math.log(train.lr / best))), "labels": 100}
        result = {"status": "done", "val": scores, "test": scores, "floors": {}, "steps": train.steps, "best_step": 4}
        return ended(tmp_path, result)

    monkeypatch.setattr(session, "train", train)
    design = make_design(ffn, lr="1e-4:1e-1:7", tuning="7,8", halving=True)
    said = design.preview()
    assert (said["tuning_runs"], said["most_steps"]) == (2 * 2 * (7 + 2), 2 * 2 * (7 * 1 + 2 * 4) + 2 * 3 * 4)
    result = run_study(design, out=tmp_path).result
    assert len(tried) == len(set(tried)) == said["tuning_runs"] + said["report_runs"]
    for arm, rates in (("trained", {0.00316, 0.001}), ("frozen", {0.0316, 0.01})):
        mine = [run for run in tried if run[0] == arm and run[2] in (7, 8)]
        assert {run[1] for run in mine if run[3] == 1} == set(design.rates)
        assert {run[1] for run in mine if run[3] == 4} == rates
        assert len(mine) == 2 * (7 + 2)
    assert result["halving"] is True
    assert [arm["rate"] for arm in result["arms"]] == [0.00316, 0.01]
    assert [[point["rate"] for point in arm["curve"]] for arm in result["arms"]] == [[0.001, 0.00316], [0.01, 0.0316]]
    assert design.digest() != make_design(ffn, lr="1e-4:1e-1:7", tuning="7,8").digest()


def test_an_edge_is_one_of_the_grid_and_not_of_the_rates_that_were_left(
    ffn: Arms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def train(recipe: Any, **_: Any) -> Any:
        scores = {"accuracy": recipe.train.lr**0.5, "labels": 100}
        result = {"status": "done", "val": scores, "test": scores, "floors": {}, "steps": 1, "best_step": 1}
        return ended(tmp_path, result)

    monkeypatch.setattr(session, "train", train)
    result = run_study(make_design(ffn, lr="1e-5:1e-3:3", halving=True), out=tmp_path).result
    assert result["rates"] == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    assert [(arm["rate"], arm["edge"]) for arm in result["arms"]] == 2 * [(0.1, "high")]


@pytest.mark.parametrize(
    ("rates", "rungs"),
    [
        (3, [(0.25, 3), (1, 1)]),
        (5, [(0.25, 5), (1, 2)]),
        (15, [(0.25, 15), (1, 4)]),
        (16, [(0.0625, 16), (0.25, 4), (1, 1)]),
    ],
)
def test_rungs(ffn: Arms, rates: int, rungs: list[tuple[float, int]]) -> None:
    assert make_design(ffn, halving=True).rungs(rates) == rungs
    assert make_design(ffn).rungs(rates) == [(1, rates)]
