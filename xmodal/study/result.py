"""`study.json`: what a study found, from the outcomes of its runs. Computes, and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from xmodal.run.result import mixed
from xmodal.study import stats
from xmodal.study.design import Design
from xmodal.study.judge import Judge
from xmodal.study.outcome import Outcome
from xmodal.study.reading import SCHEMA
from xmodal.study.sweep import Choice


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
    contenders = [outcome for outcome in outcomes if outcome.trial.purpose == "contender"]
    judge = Judge.of(design, choices, outcomes)
    scores, resolution = judge.scores, judge.resolution
    curves, apart = judge.curves, _floors_differ(report)
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
                **({"floors": _floors([o for o in report if o.trial.arm.name == arm.name])} if apart else {}),
                **over_seeds(list(scores[arm.name].values()), resolution),
                "curve": [{"rate": rate, "val": score} for rate, score in curves[arm.name].items()],
                "tuning": [_run(outcome) for outcome in tuning if outcome.trial.arm.name == arm.name],
                "report": [_run(outcome) for outcome in report if outcome.trial.arm.name == arm.name],
                "contenders": [_run(outcome) for outcome in contenders if outcome.trial.arm.name == arm.name],
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
        if outcome.train is not None:
            said["train"] = outcome.train
    return {**said, "error": outcome.error} if outcome.error else said


def over_seeds(scores: Sequence[float], resolution: float = 0.0) -> dict[str, Any]:
    """Mean and intervals over seeds; Student's ends where shares end."""
    student = stats.t_interval(scores, resolution=resolution)
    return {
        "seeds": len(scores),
        "mean": mean(scores) if scores else None,
        "interval": [max(0.0, student[0]), min(1.0, student[1])] if student else None,
        "bootstrap": list(found) if (found := stats.bootstrap_interval(scores)) else None,
        "interval_over": "seeds",
    }


def _floors_differ(report: Sequence[Outcome]) -> bool:
    """Whether arms were asked different things: the same seed has other floors in one of them."""
    seen: dict[int, Mapping[str, float]] = {}
    return any(
        outcome.floors and seen.setdefault(outcome.trial.seed, outcome.floors) != outcome.floors for outcome in report
    )


def _floors(report: Sequence[Outcome]) -> dict[str, float]:
    """Means over the report runs: seeds may draw the data."""
    names = list(dict.fromkeys(name for outcome in report for name in outcome.floors))
    return {name: mean(outcome.floors[name] for outcome in report if name in outcome.floors) for name in names}
