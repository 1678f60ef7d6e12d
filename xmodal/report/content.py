"""What a report says, chapter by chapter: one for each study, and one for the runs that belong to none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xmodal.errors import MissingError, UsageError, XmodalError, did_you_mean
from xmodal.report.course import Group, learning, norms
from xmodal.report.effects import effects, effects_table, named_effects, rates, scores
from xmodal.report.figure import Figure, Style
from xmodal.report.freeze_map import freeze_maps
from xmodal.report.gather import Found, FoundRun, FoundStudy
from xmodal.report.numbers import points
from xmodal.report.tables import Columns, Table, named
from xmodal.report.trace import read_trace
from xmodal.report.words import TINY, arm_name, blemishes, differing_versions, labelled, notes
from xmodal.run.result import FINISHED, made_with, mixed, recipe_of
from xmodal.study.reading import runs_of

MOST_MARKS = 20


@dataclass(frozen=True)
class Chapter:
    """A part of a report.

    Attributes:
        name: of its place in the page, and what the names of its figures and tables start with.
        title: what it is about.
        about: how it came to be, in a line.
        tiny: whether runs in it are tiny ones.
        verdicts: what was found, in words: the effect, the verdict, and a sentence.
        marks: what speaks against believing it.
        tables: shown whole.
        figures: each with its numbers.
        notes: how to read it.
    """

    name: str
    title: str
    about: str
    tiny: bool
    verdicts: Sequence[tuple[str, str, str]] = ()
    marks: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = field(default_factory=list)
    notes: Sequence[str] = ()


def chapters(found: Found, attention: str | None = None, sample: int = 0) -> list[Chapter]:
    """All that a report says.

    Args:
        found: the runs and studies it is about.
        attention: the arm, or the recipe of loose runs, whose attention is drawn; None draws none.
        sample: number of the sample of validation that it is drawn for.

    Raises:
        UsageError: no arm has that name, its body has no attention that can be drawn, or there is no such sample.
        MissingError: the arm has no trained model here, or the weights or data are not on this machine.
    """
    loose = found.loose()
    drawn = _attention(found, loose, attention, sample) if attention is not None else {}
    said = [
        _study(study, name, drawn.get(name, []))
        for name, study in ((f"study-{number}", study) for number, study in enumerate(found.studies, 1))
    ]
    return [*said, *([_runs(loose, "runs", drawn.get("runs", []))] if loose else [])]


def _attention(found: Found, loose: Sequence[FoundRun], arm: str, sample: int) -> dict[str, list[Figure]]:
    """The attention figure of an arm's first run that has a model, by the name of the chapter that it belongs to."""
    runs: dict[str, list[tuple[str, FoundRun]]] = {}
    for number, study in enumerate(found.studies, 1):
        for one in study.said["arms"]:
            here = [study.runs[run["folder"]] for run in one["report"] if run["folder"] in study.runs]
            runs.setdefault(one["name"], []).extend((f"study-{number}", run) for run in here)
    labels = labelled([run.result for run in loose])
    for run in loose:
        runs.setdefault(labels[run.result["name"], run.result["recipe_digest"]], []).append(("runs", run))
    if arm not in runs:
        near = did_you_mean(arm, runs)
        raise UsageError(f"no arm is called '{arm}'{near}", where="--attention", fix=f"name one of: {'; '.join(runs)}")
    trained = [(name, run) for name, run in runs[arm] if run.result["status"] in FINISHED and run.result["val"]]
    if not trained:
        raise MissingError(
            f"no run of '{arm}' has a model here",
            where="--attention",
            why="its run folders are gone, or none of its runs ended with a best step",
            fix="run it again, or name another arm",
        )
    from xmodal.report.attention import attention

    name, run = trained[0]
    return {name: [attention(run.folder, arm, sample, name)]}


def _study(found: FoundStudy, name: str, attention: Sequence[Figure]) -> Chapter:
    study = found.said
    groups, marks = [], [*blemishes(study)]
    if found.missing:
        marks.append(f"{found.missing} of its {len(runs_of(study))} runs are not here, so their curves are missing")
    for number, arm in enumerate(study["arms"]):
        traces = {}
        for run in arm["report"]:
            if here := found.runs.get(run["folder"]):
                traces[run["seed"]] = trace = read_trace(here.folder, here.result)
                if trace.fault:
                    marks.append(f"{here.folder}: {trace.fault}")
        groups.append(Group(arm["name"], Style.of(number), traces, study["floors"]))
    maps, unmapped = _maps(found, name)
    drawn = [effects(study, name), scores(study, name), rates(study, name), learning(groups, name), norms(groups, name)]
    seeds = len(study["report_seeds"])
    tuning = len(study["tuning_seeds"])
    tuned = f"{len(study['rates'])} learning rates for every arm, tuned on {tuning} other seed{'s' * (tuning > 1)}"
    return Chapter(
        name,
        study["name"],
        f"Study {study['digest']}: {len(study['arms'])} arms, {seeds} report seed{'s' * (seeds > 1)}, "
        f"{tuned if study['swept'] else 'one rate, not tuned'}. Control: {study['control']}.",
        study["tiny"],
        _verdicts(study),
        [*marks, *unmapped],
        [arms_table(study, name), *([effects_table(study, name)] if named_effects(study) else [])],
        [*filter(None, drawn), *maps, *attention],
        [note for note in notes(study) if note != TINY],  # it stands above
    )


def _verdicts(study: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for label, effect in named_effects(study):
        low, high = effect["interval"] or (None, None)
        size = "no difference is known"
        if effect["difference"] is not None:
            size = f"{points(effect['difference'])} points"
            size += f" (95 %: {points(low)} to {points(high)})" if low is not None else " (no interval)"
        against = f" against {study['control']}" if "arm" in effect else ""
        found.append(
            (f"{label}{against}", effect["verdict"], f"{size}. {effect['why'][:1].upper()}{effect['why'][1:]}")
        )
    return found


def arms_table(study: Mapping[str, Any], name: str) -> Table:
    """The arms of a study: what each freezes, how many parameters train, its rate and its score."""
    rows = [
        [
            arm_name(arm, study),
            arm["mean"],
            *(arm["interval"] or (None, None)),
            arm["seeds"],
            arm["rate"],
            arm["edge"] or "",
            arm["trainable"],
            arm["total"],
            arm["spec"],
            arm["recipe_digest"],
        ]
        for arm in study["arms"]
    ]
    columns: Columns = [
        ("arm", "text"),
        ("test %", "percent"),
        ("95 % from", "percent"),
        ("to", "percent"),
        ("seeds", "count"),
        ("rate", "rate"),
        ("edge", "text"),
        ("trains", "count"),
        ("of", "count"),
        ("frozen", "text"),
        ("recipe", "text"),
    ]
    return Table(f"{name}-arms", "Arms", columns, rows)


def _maps(found: FoundStudy, name: str) -> tuple[list[Figure], list[str]]:
    """The freeze maps of the arms that left a recipe, and why others have none."""
    recipes, marks = {}, []
    for arm in found.said["arms"]:
        here = [found.runs[run["folder"]] for run in (*arm["report"], *arm["tuning"]) if run["folder"] in found.runs]
        if not here:
            continue
        try:
            recipes[arm["name"]] = recipe_of(here[0].folder, here[0].result)
        except XmodalError as error:
            marks.append(f"{arm['name']}: no freeze map: {str(error).splitlines()[0]}")
    try:
        return freeze_maps(recipes, name), marks
    except XmodalError as error:
        return [], [*marks, f"no freeze map: {error.what}"]


# Runs of no study


def _runs(runs: Sequence[FoundRun], name: str, attention: Sequence[Figure]) -> Chapter:
    labels = labelled([run.result for run in runs])
    groups: dict[tuple[str, str], Group] = {}
    marks = []
    for run in runs:
        result, trace = run.result, read_trace(run.folder, run.result)
        key = (result["name"], result["recipe_digest"])
        style = Style.of(1 + len(groups))
        group = groups.setdefault(key, Group(labels[key], style, {}, result["floors"], kin=result["name"]))
        group.traces[result["seed"]] = trace
        if trace.fault:
            marks.append(f"{run.folder}: {trace.fault}")
    marks += [
        f"{labels[run.result['name'], run.result['recipe_digest']]}, seed {run.result['seed']}: "
        f"{run.result['status']} {run.result.get('error', '')}".strip()
        for run in runs
        if run.result["status"] != "done"
    ]
    drawn = [learning(list(groups.values()), name), norms(list(groups.values()), name)]
    return Chapter(
        name,
        "Runs",
        f"{len(runs)} runs of {len(groups)} recipes. They were not compared: xmodal ablate does, over seeds.",
        any(run.result.get("tiny", False) for run in runs),
        (),
        [*differing_versions(mixed(made_with(run.folder) for run in runs)), *marks],
        [_runs_table(runs, labels, name)],
        [*filter(None, drawn), *attention],
        [
            "95 %: over test items, for this one model, not over seeds",
            "best step: of the steps taken, the best on validation; test was read once, there",
        ],
    )


def _runs_table(runs: Sequence[FoundRun], labels: Mapping[tuple[str, str], str], name: str) -> Table:
    floors = list(dict.fromkeys(floor for run in runs for floor in run.result["floors"]))
    subsets = list(
        dict.fromkeys(key for run in runs for key in run.result["test"] or {} if key.startswith("accuracy_"))
    )
    rows = []
    for run in runs:
        result, test, val = run.result, run.result["test"] or {}, run.result["val"] or {}
        row = [
            labels[result["name"], result["recipe_digest"]] + (" (tiny)" if result.get("tiny", False) else ""),
            result["seed"],
            test.get("accuracy"),
            *(test.get("interval") or (None, None)),
            *(test.get(subset) for subset in subsets),
            val.get("accuracy"),
            *(result["floors"].get(floor) for floor in floors),
            result["best_step"],
            result["steps"],
            result.get("seconds"),
            result["status"],
            result["recipe_digest"],
        ]
        rows.append(row)
    shares = ["test %", "95 % from", "to", *(subset.removeprefix("accuracy_") for subset in subsets), "validation"]
    shares += [f"floor: {floor.replace('_', ' ')}" for floor in floors]
    columns = named("text", "run", "seed") + named("percent", *shares) + named("count", "best step", "steps")
    columns += named("size", "seconds") + named("text", "status", "recipe")
    return Table(f"{name}-runs", "Runs", columns, rows)
