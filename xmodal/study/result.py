"""`study.json`: what a study found, from the outcomes of its runs. Computes, and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any

from xmodal.run.result import lock_digest, made_with, mixed
from xmodal.study import stats
from xmodal.study.design import Design, Trial
from xmodal.study.reading import SCHEMA
from xmodal.study.stats import Effect
from xmodal.study.sweep import Choice


@dataclass(frozen=True)
class Outcome:
    """How a run of a study ended.

    Attributes:
        trial: what was run.
        status: `done`, `diverged` or `failed`.
        val: best accuracy on validation, or None where there was no look at it.
        test: accuracy on test, with the parameters of that look.
        labels: number of labels in test.
        floors: what trivial predictors score.
        steps: steps taken; `best_step` those of the best look; `steps_to` when thresholds were reached.
        folder: of the run, below that of all runs.
        error: why it failed.
        made_with: versions and threads.
        lock: identifies its lock file.
    """

    trial: Trial
    status: str
    val: float | None = None
    test: float | None = None
    labels: int = 0
    floors: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0
    best_step: int = 0
    steps_to: Mapping[str, int | None] = field(default_factory=dict)
    folder: str = ""
    error: str = ""
    made_with: Mapping[str, str] = field(default_factory=dict)
    lock: str = ""

    @classmethod
    def of(cls, trial: Trial, result: Mapping[str, Any], out: Path, folder: Path) -> Outcome:
        """From a run's `result.json` and what lies beside it, in a folder below `out`."""
        val, test = result["val"] or {}, result["test"] or {}
        return cls(
            trial,
            result["status"],
            val.get("accuracy"),
            test.get("accuracy"),
            test.get("labels", 0),
            result["floors"],
            result["steps"],
            result["best_step"],
            result.get("steps_to", {}),
            str(folder.relative_to(out)),
            "",
            made_with(folder),
            lock_digest(folder),
        )


def to_match(design: Design, choices: Mapping[str, Choice], outcomes: Sequence[Outcome]) -> list[Trial]:
    """What is to be run so that no accident of tuning decides: arms that seem to differ, at one rate for both.

    Of an arm and its control that were tuned to two rates, the one behind takes the rate of the one ahead, with every
    report seed. Where they do not seem to differ, or a rate lies at an edge, nothing hinges on it.
    """
    arms = {arm.name: arm for arm in design.arms.arms}
    judge = _Judge.of(design, choices, outcomes)
    pairs = {
        judge.behind(said["arm"], said["difference"])
        for said in judge.comparisons()
        if said["verdict"] == "supported" and choices[said["arm"]].rate != choices[said["control"]].rate
    }
    return [Trial(arms[name], rate, seed, "matched") for name, rate in sorted(pairs) for seed in design.report]


def summary(
    design: Design, rates: Sequence[float], choices: Mapping[str, Choice], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """What `study.json` holds; nothing in it depends on how fast the machine was, or on interruptions.

    Args:
        design: what was asked.
        rates: the grid that was run.
        choices: the rate of each arm, by its name.
        outcomes: of all runs.
    """
    report = [outcome for outcome in outcomes if outcome.trial.purpose == "report"]
    tuning = [outcome for outcome in outcomes if outcome.trial.purpose == "tuning"]
    matched = [outcome for outcome in outcomes if outcome.trial.purpose == "matched"]
    judge = _Judge.of(design, choices, outcomes)
    scores, resolution = judge.scores, judge.resolution
    curves = {arm.name: _curve(tuning, arm.name) for arm in design.arms.arms}
    order = stats.ordering(curves)
    return {
        "schema": SCHEMA,
        "name": design.arms.control.recipe.name,
        "digest": design.digest(),
        "tiny": design.arms.control.recipe.is_tiny,
        "control": design.arms.control.name,
        "factors": [{"key": factor.key, "levels": list(factor.levels)} for factor in design.arms.factors],
        "rates": list(rates),
        "swept": design.swept,
        "halving": design.halving,
        "tuning_seeds": list(design.tuning) if design.swept else [],
        "report_seeds": list(design.report),
        "alpha": stats.ALPHA,
        "power": stats.POWER,
        "margin": design.margin,
        "floors": _floors(report),
        "arms": [
            {
                "name": arm.name,
                "levels": dict(arm.levels),
                "spec": arm.spec,
                "recipe_digest": arm.recipe.digest(),
                "legacy": arm.recipe.faults,
                "trainable": arm.trainable,
                "total": arm.total,
                "rate": choices[arm.name].rate,
                "edge": choices[arm.name].edge,
                **_mean(list(scores[arm.name].values()), resolution),
                "curve": [{"rate": rate, "val": score} for rate, score in curves[arm.name].items()],
                "tuning": [_run(outcome) for outcome in tuning if outcome.trial.arm.name == arm.name],
                "report": [_run(outcome) for outcome in report if outcome.trial.arm.name == arm.name],
                "matched": [_run(outcome) for outcome in matched if outcome.trial.arm.name == arm.name],
            }
            for arm in design.arms.arms
        ],
        "comparisons": judge.comparisons(),
        "contrasts": judge.contrasts(),
        "ordering": [{"rate": rate, "arms": list(arms)} for rate, arms in order.ranks.items()],
        "reversals": [list(pair) for pair in order.reversals],
        "mixed": mixed(outcome.made_with for outcome in outcomes),
    }


def _run(outcome: Outcome) -> dict[str, Any]:
    said = {
        "seed": outcome.trial.seed,
        "rate": outcome.trial.rate,
        "status": outcome.status,
        "val": outcome.val,
        "steps": outcome.steps,
        "best_step": outcome.best_step,
        "steps_to": dict(outcome.steps_to),
        "folder": outcome.folder,
        "lock": outcome.lock,
    }
    if outcome.trial.purpose != "tuning":
        said["test"] = outcome.test
    return {**said, "error": outcome.error} if outcome.error else said


def _mean(scores: Sequence[float], resolution: float) -> dict[str, Any]:
    """Mean and intervals over seeds; Student's ends where shares end."""
    student = stats.t_interval(scores, resolution=resolution)
    return {
        "seeds": len(scores),
        "mean": mean(scores) if scores else None,
        "interval": [max(0.0, student[0]), min(1.0, student[1])] if student else None,
        "bootstrap": list(found) if (found := stats.bootstrap_interval(scores)) else None,
        "interval_over": "seeds",
    }


def _curve(tuning: Sequence[Outcome], arm: str) -> dict[float, float]:
    """Mean validation score by rate, where every tuning run took all steps and ended well."""
    found: dict[float, list[float | None]] = {}
    for outcome in tuning:
        if outcome.trial.arm.name == arm and outcome.trial.share == 1:
            found.setdefault(outcome.trial.rate, []).append(outcome.val if outcome.status == "done" else None)
    whole = {rate: [value for value in values if value is not None] for rate, values in found.items()}
    return {rate: mean(whole[rate]) for rate in sorted(found) if len(whole[rate]) == len(found[rate])}


def _floors(report: Sequence[Outcome]) -> dict[str, float]:
    """Means over the report runs: seeds may draw the data."""
    names = list(dict.fromkeys(name for outcome in report for name in outcome.floors))
    return {name: mean(outcome.floors[name] for outcome in report if name in outcome.floors) for name in names}


def _matched(found: tuple[float, Effect] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    rate, effect = found
    interval = effect.interval()
    said = {"rate": rate, "pairs": effect.n, "difference": effect.mean}
    return {**said, "interval": list(interval) if interval else None, "p": effect.p}


@dataclass(frozen=True)
class _Judge:
    design: Design
    choices: Mapping[str, Choice]
    scores: Mapping[str, Mapping[int, float]]
    matched: Mapping[tuple[str, float], Mapping[int, float]]
    untuned: Set[str]
    resolution: float

    @classmethod
    def of(cls, design: Design, choices: Mapping[str, Choice], outcomes: Sequence[Outcome]) -> _Judge:
        scores: dict[str, dict[int, float]] = {arm.name: {} for arm in design.arms.arms}
        matched: dict[tuple[str, float], dict[int, float]] = {}
        for outcome in outcomes:
            trial = outcome.trial
            if trial.purpose == "report" and outcome.test is not None:
                scores[trial.arm.name][trial.seed] = outcome.test
            if trial.purpose == "matched" and outcome.status != "failed":
                # One that diverged before the first look at validation has learned nothing.
                matched.setdefault((trial.arm.name, trial.rate), {})[trial.seed] = outcome.test or 0.0
        labels = [outcome.labels for outcome in outcomes if outcome.trial.purpose == "report" and outcome.labels]
        untuned = {o.trial.arm.name for o in outcomes if o.trial.purpose == "tuning" and o.status == "failed"}
        return cls(design, choices, scores, matched, untuned, 1 / min(labels) if labels else 0.0)

    def behind(self, arm: str, difference: float) -> tuple[str, float]:
        """Which of an arm and the control scores less, and the rate of the other."""
        control = self.design.arms.control.name
        one, other = (control, arm) if difference > 0 else (arm, control)
        rate = self.choices[other].rate
        assert rate is not None
        return one, rate

    def at_one_rate(self, arm: str, effect: Effect | None) -> tuple[float, Effect] | None:
        """The rate of the one ahead, and the paired difference where both have it; None where that was not run."""
        if effect is None:
            return None
        control = self.design.arms.control.name
        one, rate = self.behind(arm, effect.mean)
        there = self.matched.get((one, rate))
        ours, theirs = (self.scores[arm], there) if one == control else (there, self.scores[control])
        found = stats.compare(ours, theirs, resolution=self.resolution) if ours and theirs else None
        return (rate, found) if found else None

    def comparisons(self) -> list[dict[str, Any]]:
        """Every arm against the control, corrected together."""
        control, *others = self.design.arms.arms
        pairs: dict[tuple[str, ...], list[str]] = {(arm.name,): [control.name, arm.name] for arm in others}
        effects: dict[tuple[str, ...], Effect | None] = {
            (arm.name,): stats.compare(self.scores[arm.name], self.scores[control.name], resolution=self.resolution)
            for arm in others
        }
        matched = {key: self.at_one_rate(key[0], effect) for key, effect in effects.items()}
        judged = self.judged(effects, pairs, {key: found[1] for key, found in matched.items() if found})
        return [
            {"arm": key[0], "control": control.name, **said, "matched": _matched(matched[key])}
            for key, said in judged.items()
        ]

    def contrasts(self) -> list[dict[str, Any]]:
        """Main effects and interactions of a factorial of two factors or more with two levels each."""
        factors = self.design.arms.factors
        if len(factors) < 2 or any(len(factor.levels) != 2 for factor in factors):
            return []
        names: dict[tuple[int, ...], str] = {
            tuple(factor.levels.index(arm.levels[factor.label]) for factor in factors): arm.name
            for arm in self.design.arms.arms
            if arm.levels
        }
        cells = {levels: self.scores[name] for levels, name in names.items()}
        effects = stats.contrasts(cells, [factor.label for factor in factors], resolution=self.resolution)
        judged = self.judged(dict(effects), {key: list(names.values()) for key in effects})
        return [{"factors": list(factors), **said} for factors, said in judged.items()]

    def judged(
        self,
        effects: Mapping[tuple[str, ...], Effect | None],
        arms: Mapping[tuple[str, ...], list[str]],
        matched: Mapping[tuple[str, ...], Effect] = MappingProxyType({}),
    ) -> dict[tuple[str, ...], dict[str, Any]]:
        """A family of effects, each with the arms that it is made of, and what some are at one rate for both."""
        p = {name: stats.agreed(effect, matched.get(name)) for name, effect in effects.items()}
        known = {name: value for name, value in p.items() if value is not None}
        holm = dict(zip(known, stats.holm(list(known.values())), strict=True))
        shares = dict(zip(known, stats.benjamini_hochberg(list(known.values())), strict=True))
        alpha = stats.ALPHA / max(len(effects), 1)
        found = {}
        for name, effect in effects.items():
            whole = set.intersection(*(set(self.scores[arm]) for arm in arms[name]))
            said = stats.verdict(
                effect,
                holm.get(name),
                family=len(effects),
                margin=self.design.margin,
                missing=len(set(self.design.report) - whole),
                edges=[arm for arm in arms[name] if self.choices[arm].edge],
                untuned=[arm for arm in arms[name] if arm in self.untuned],
                matched=matched.get(name),
            )
            interval = effect.interval() if effect else None
            found[name] = {
                "pairs": effect.n if effect else 0,
                "difference": effect.mean if effect else None,
                "interval": list(interval) if interval else None,
                "p": effect.p if effect else None,
                "p_holm": holm.get(name),
                "p_benjamini_hochberg": shares.get(name),
                "detectable": effect.detectable(alpha=alpha) if effect else None,
                "verdict": said.word,
                "why": said.why,
            }
        return found
