"""What must be said beside numbers, on the terminal and in reports alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xmodal.report.numbers import percent, points

MOST = 3
"""Pairs of arms that are named, of those whose order depends on the rate."""
TINY = "tiny: run in seconds to try the path, so the scores say nothing about the question"
"""What is said of runs and studies that are tiny."""
ENOUGH = 3
"""Tuning seeds for which an accident of one of them is no longer told beside a verdict."""


def notes(study: Mapping[str, Any]) -> list[str]:
    """How the tables of a study are to be read."""
    lines = [
        TINY if study["tiny"] else "",
        *_floors(study),
        "95 %: Student's interval over seeds; differences are in points, paired by seed",
        "p: Holm's over the rows of its table; sees: the least difference that has a chance of "
        f"{100 * study['power']:.0f} %",
        "" if study["swept"] else "one rate for every arm, not tuned: a verdict holds at this rate only",
        _averages(study["contrasts"]),
        *_luck(study),
        *_ceilings(study),
        *_reversals(study["reversals"]),
    ]
    return [line for line in lines if line]


def effect_name(effect: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    """What tables and figures call an effect: an arm, `freeze: none less body`, or an interaction."""
    if "arm" in effect:
        return effect["arm"]
    factors = effect["factors"]
    if len(factors) > 1:
        return " × ".join(factors)
    control, other = dict.fromkeys(arm["levels"][factors[0]] for arm in study["arms"] if arm["levels"])
    return f"{factors[0]}: {other} less {control}"


def _floors(study: Mapping[str, Any]) -> list[str]:
    own = [arm for arm in study["arms"] if arm.get("floors")]
    if own:
        each = [f"floors of {arm_name(arm, study)}: {_shares(arm['floors'])}" for arm in own]
        return [*each, "arms were not asked the same, so a difference is of tasks as well"]
    return [f"floors: {_shares(study['floors'])}"] if study["floors"] else []


def _shares(floors: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {percent(value)}" for name, value in floors.items())


def _averages(contrasts: Sequence[Mapping[str, Any]]) -> str:
    if any(len(effect["factors"]) > 1 and effect["verdict"] == "supported" for effect in contrasts):
        return "factors interact: a main effect is an average over the other factors, and need not hold at each level"
    return ""


def _luck(study: Mapping[str, Any]) -> list[str]:
    """What else an effect was tried with; and verdicts that few tuning seeds may have decided, of an older study."""
    seeds = len(study["tuning_seeds"])
    arms = {arm["name"]: arm for arm in study["arms"]}
    lines = [
        f"{effect_name(effect, study)}: {_strictest(effect['strictest'])}"
        for effect in (*study["comparisons"], *study["contrasts"])
        if effect.get("strictest")
    ]
    for effect in study["comparisons"]:
        arm, control = arms[effect["arm"]], arms[effect["control"]]
        # What is supported today was tried at other rates, or tuning ruled them out.
        open_ = effect["verdict"] == "contradicted" or (effect["verdict"] == "supported" and "strictest" not in effect)
        if open_ and study["swept"] and seeds < ENOUGH and arm["rate"] != control["rate"]:
            lines.append(_two_rates(arm, control, seeds))
    return lines


def _strictest(said: Mapping[str, Any]) -> str:
    there = " and ".join(f"{arm} at rate {rate:g}" for arm, rate in said["rates"].items())
    low, high = said["interval"] or (None, None)
    within = "" if low is None else f" ({points(low)} {points(high)})"
    found = "a score is missing" if said["difference"] is None else f"{points(said['difference'])}{within}"
    return f"with {there}, which may suit as well by what tuning tells, {found}"


def _two_rates(arm: Mapping[str, Any], control: Mapping[str, Any], seeds: int) -> str:
    ours, theirs = ({at["rate"]: at["val"] for at in each["curve"]} for each in (arm, control))
    both = sorted({arm["rate"], control["rate"]} & ours.keys() & theirs.keys())
    there = ", ".join(f"{points(ours[rate] - theirs[rate])} at {rate:g}" for rate in both)
    there = f"; at one rate for both, on validation: {there}" if both else ""
    return (
        f"{arm['name']}: at rate {arm['rate']:g}, {control['name']} at {control['rate']:g}, by {seeds} tuning "
        f"seed{'s' * (seeds > 1)}, whose luck is in no interval here{there}"
    )


def _ceilings(study: Mapping[str, Any]) -> list[str]:
    """Arms that are held to be equal to the control where both are as good as the test can tell."""
    means, top = {arm["name"]: arm["mean"] for arm in study["arms"]}, 1 - study["margin"]
    there = [
        effect["arm"]
        for effect in study["comparisons"]
        if effect["verdict"] == "contradicted" and min(means[effect["arm"]], means[effect["control"]]) >= top
    ]
    return [f"at the ceiling, where no difference could be seen: {', '.join(there)}"] if there else []


def _reversals(pairs: Sequence[Sequence[str]]) -> list[str]:
    tested = "on tuning seeds, untested"
    lines = [f"{tested}: which of {one} and {two} leads depends on the rate" for one, two in pairs[:MOST]]
    more = len(pairs) - MOST
    return [*lines, f"so it does for {more} more pair{'s' * (more > 1)} of arms"] if more > 0 else lines


def blemishes(study: Mapping[str, Any]) -> list[str]:
    """Runs that did not end well, legacy switches, and versions that differ."""
    bad = [
        f"{arm['name']}, lr {run['rate']:g}, seed {run['seed']}: {run['status']} {run.get('error', '')}".strip()
        for arm in study["arms"]
        for run in (*arm["tuning"], *arm["report"], *arm.get("contenders", ()))
        if run["status"] != "done"
    ]
    bad += list(dict.fromkeys(fault for arm in study["arms"] for fault in arm.get("legacy", ())))
    return bad + differing_versions(study["mixed"])


def differing_versions(mixed: Mapping[str, Sequence[str]]) -> list[str]:
    """In which versions, threads or processor runs differ."""
    return [f"runs of different {name}: {', '.join(values)}" for name, values in mixed.items()]


def arm_name(arm: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    """What tables and figures call an arm."""
    return arm["name"] + (" (control)" if arm["name"] == study["control"] else "")


def labelled(results: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """What to call each recipe, by name and digest: the name, and the start of the digest where names are alike."""
    keys = list(dict.fromkeys((result["name"], result["recipe_digest"]) for result in results))
    names = [name for name, _ in keys]
    return {(name, digest): name if names.count(name) == 1 else f"{name} {digest[:8]}" for name, digest in keys}
