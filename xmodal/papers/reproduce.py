"""Runs a paper's table: a study for each column, by the machinery of all studies, and ours beside theirs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from xmodal.bodies.description import RUN
from xmodal.errors import DamagedError
from xmodal.papers.cells import Cell, Wanted, cells_of, differences, enforce_here, lacking
from xmodal.papers.library import Remark, cpu_scale
from xmodal.recipe import Recipe
from xmodal.run.bare import resolve
from xmodal.run.events import Event, Started
from xmodal.run.folder import RunFolder
from xmodal.run.result import made_with, mixed
from xmodal.run.session import Run
from xmodal.run.whole import write_json
from xmodal.study.arms import Arms, arm_of
from xmodal.study.attempts import attempt
from xmodal.study.design import Design, make_design
from xmodal.study.events import StudyEvent
from xmodal.study.reading import read_study, runs_of
from xmodal.study.result import over_seeds
from xmodal.study.study import Interrupted, Study, file_of, run_study

REPRODUCTIONS, TABLE = "reproductions", "table.json"
SCHEMA = 1


@dataclass(frozen=True)
class Part:
    """Cells of one column that share their rates.

    Attributes:
        column: the task.
        cells: with a recipe each, in the order of the design's arms.
        design: the study that they are.
    """

    column: str
    cells: tuple[Cell, ...]
    design: Design


@dataclass(frozen=True)
class Plan:
    """A table before it is run.

    Attributes:
        wanted: what was asked for.
        cells: all of them, those that nothing can be run for too.
        parts: what runs.
    """

    wanted: Wanted
    cells: tuple[Cell, ...]
    parts: tuple[Part, ...]

    @property
    def before(self) -> list[Recipe]:
        """What runs first, for bodies that other cells start from."""
        found = {cell.before.digest(): cell.before for cell in self.cells if cell.before}
        return list(found.values())

    def digest(self) -> str:
        """Identifies the table by all that decides its numbers."""
        said: list[Any] = [self.wanted.table.name, self.wanted.scale, self.wanted.protocol]
        for part in self.parts:
            said.append([part.column, part.design.rates, part.design.tuning, part.design.report])
            said += [[cell.row, *_identity(cell)] for cell in part.cells]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]

    def preview(self) -> dict[str, Any]:
        """What would run: every cell, how often, at which rates, and what is not on this machine."""
        previews = [part.design.preview() for part in self.parts]
        runs = {(part.column, cell.row): part.design for part in self.parts for cell in part.cells}
        return {
            **_named(self.wanted),
            "cells": [
                {
                    **self.wanted.table.said_of(cell.row, cell.column),
                    "recipe": cell.recipe.name if cell.recipe else None,
                    "why": cell.why,
                    "body": f"{cell.recipe.body.name} ({cell.recipe.body.init})" if cell.recipe else None,
                    "freeze": cell.recipe.freeze if cell.recipe else None,
                    "steps": cell.recipe.train.steps if cell.recipe else None,
                    "rates": list(runs[key].rates) if (key := (cell.runs_in, cell.row)) in runs else [],
                    "report_seeds": list(runs[key].report) if key in runs else [],
                }
                for cell in self.cells
            ],
            "before": [recipe.name for recipe in self.before],
            "runs": len(self.before) + sum(said["tuning_runs"] + said["report_runs"] for said in previews),
            "most_steps": sum(r.train.steps for r in self.before) + sum(said["most_steps"] for said in previews),
            "missing": list(lacking(self.cells)),
            "differences": _differences(self.wanted, self.cells),
        }


@dataclass(frozen=True)
class Reproduced:
    """A table that was run.

    Attributes:
        file: its `table.json`.
        result: what that holds.
        ran: number of runs that were not there before.
        whole: False where it was interrupted.
    """

    file: Path
    result: dict[str, Any]
    ran: int
    whole: bool


def make_plan(wanted: Wanted, seeds: str = "") -> Plan:
    """The studies that a table is.

    Args:
        wanted: which table, and how.
        seeds: report seeds in the place of the protocol's: how many, or which.

    Raises:
        UsageError: the table has no recipes, no such column or row, or an override is wrong.
    """
    cells = cells_of(wanted)
    grouped: dict[tuple[str, float | None], list[Cell]] = {}
    for cell in cells:
        if cell.recipe:
            own = cell.recipe.train.lr if wanted.rules.lr == "own" else None
            group = grouped.setdefault((cell.runs_in, own), [])
            group += [cell] if cell.row not in [other.row for other in group] else []
    parts = []
    for (column, own), group in grouped.items():
        arms = Arms((), tuple(arm_of(cell.row, cell.recipe) for cell in group if cell.recipe))
        lr = repr(own) if own else "" if wanted.rules.lr == "around" else wanted.rules.lr
        parts.append(Part(column, tuple(group), make_design(arms, lr=lr, seeds=seeds or str(wanted.rules.seeds))))
    return Plan(wanted, tuple(cells), tuple(parts))


def reproduce(
    plan: Plan,
    *,
    out: Path = Path("runs"),
    workers: int = 0,
    listen: Callable[[StudyEvent], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Reproduced:
    """Runs what is missing of a table, and leaves `OUT/reproductions/NAME-DIGEST/table.json`.

    Runs and studies are those of `run_study`: what has ended is not run again, and what broke off goes on. One that is
    interrupted leaves a table in which the rest is missing.

    Args:
        plan: what to run.
        out: folder of all runs.
        workers: processes that the runs of a study are made in; 0 makes them in this one.
        listen: called with all that happens.
        stop: asked often; once it says True, runs that are under way save themselves.

    Raises:
        MissingError: data or weights are not on this machine; then nothing is run.
        UsageError: a run folder holds something else.
    """
    enforce_here(plan.wanted, plan.cells)
    whole, ran = True, 0
    studies: dict[str, list[Study]] = {}
    failed: dict[str, str] = {}
    started: dict[str, str] = {}
    try:
        for recipe in plan.before:
            made = _first(recipe, out, listen, stop)
            ran += isinstance(made, Run) and made.ran
            if isinstance(made, Run):
                started[recipe.digest()] = f"{RUN}{made.folder}"
            else:
                failed[recipe.digest()] = made
        for part in plan.parts:
            if design := _started(part, started):
                study = run_study(design, out=out, workers=workers, listen=listen, stop=stop)
                ran += study.ran
                studies.setdefault(part.column, []).append(study)
    except (Interrupted, KeyboardInterrupt):
        whole = False
        _lay_in(plan, studies, started, out)
    result = _table(plan, studies, failed, out)
    file = out / REPRODUCTIONS / f"{plan.wanted.name}-{plan.digest()}" / TABLE
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, result)
    return Reproduced(file, result, ran, whole)


def _lay_in(plan: Plan, studies: dict[str, list[Study]], started: dict[str, str], out: Path) -> None:
    """Studies that were not come to, and lie there finished from another time: what a table said it goes on saying."""
    for recipe in plan.before:
        folder = RunFolder(out, resolve(recipe))
        with suppress(DamagedError):
            if recipe.digest() not in started and (result := folder.result()) and result["status"] == "done":
                started[recipe.digest()] = f"{RUN}{folder.path}"
    known = {study.file for made in studies.values() for study in made}
    for part in plan.parts:
        design = _started(part, started)
        file = file_of(design, out) if design else None
        if file and file not in known and file.exists():
            with suppress(DamagedError):
                studies.setdefault(part.column, []).append(Study(file, read_study(file.parent), 0))


def _first(recipe: Recipe, out: Path, listen: Callable[[StudyEvent], None], stop: Callable[[], bool]) -> Run | str:
    """A run whose body others start from, or why there is none."""
    if stop():
        raise Interrupted

    def heard(event: Event) -> None:
        if isinstance(event, Started):
            listen(StudyEvent(1))

    said = attempt((recipe, True), out, heard, stop)
    listen(StudyEvent(0))
    if said.fatal:
        raise said.fatal
    if said.run is None:
        return f"{recipe.name} failed: {said.error or 'another process is making it'}"
    status = said.run.result.status
    if status == "interrupted":
        raise Interrupted
    return said.run if status == "done" else f"{recipe.name} {status}"


def _started(part: Part, started: Mapping[str, str]) -> Design | None:
    """The design with its bodies from the runs that came first, without the arms whose run failed."""
    arms = []
    for cell, arm in zip(part.cells, part.design.arms.arms, strict=True):
        if not cell.before:
            arms.append(arm)
        elif init := started.get(cell.before.digest()):
            body = arm.recipe.body.model_copy(update={"init": init})
            arms.append(replace(arm, recipe=arm.recipe.model_copy(update={"body": body})))
    return replace(part.design, arms=Arms((), tuple(arms))) if arms else None


def _identity(cell: Cell) -> list[str]:
    """What a cell runs; a body that comes from a run has no digest before that run."""
    assert cell.recipe
    if not cell.before:
        return [cell.recipe.digest(), cell.recipe.freeze]
    body = cell.recipe.body.model_copy(update={"init": "random"})
    return [cell.recipe.model_copy(update={"body": body}).digest(), cell.recipe.freeze, cell.before.digest()]


def _named(wanted: Wanted) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "table": wanted.table.name,
        "about": wanted.table.table.about,
        "scale": wanted.scale,
        "protocol": wanted.protocol,
        "tiny": wanted.tiny,
    }


def _differences(wanted: Wanted, cells: Sequence[Cell]) -> dict[str, Any]:
    ours = {recipe.body.name for cell in cells for recipe in (cell.before, cell.recipe) if recipe}
    theirs = {cell.base.body.name for cell in cells if cell.base}
    words = _holding(wanted.rules.differences, cells, ours)
    words += _holding(cpu_scale().differences, cells, theirs) if wanted.scale == "cpu" else []
    if wanted.tiny:
        words.append("Recipes run in their tiny forms: bodies are random, and numbers mean nothing.")
    return {"words": words, "keys": [asdict(difference) for difference in differences(cells)]}


def _holding(remarks: Sequence[Remark], cells: Sequence[Cell], bodies: set[str]) -> list[str]:
    """Those that are about the tasks of these cells, and about one of these bodies."""
    tasks = {cell.runs_in for cell in cells}
    return [
        remark.says
        for remark in remarks
        if (not remark.tasks or tasks & {*remark.tasks}) and (not remark.bodies or bodies & {*remark.bodies})
    ]


def _table(plan: Plan, studies: Mapping[str, Sequence[Study]], failed: Mapping[str, str], out: Path) -> dict[str, Any]:
    arms = {
        (column, arm["name"]): arm for column, made in studies.items() for study in made for arm in study.result["arms"]
    }
    cells = []
    for cell in plan.cells:
        said: dict[str, Any] = {
            **plan.wanted.table.said_of(cell.row, cell.column),
            "recipe": cell.recipe.name if cell.recipe else None,
        }
        why = cell.why or (failed.get(cell.before.digest(), "") if cell.before else "")
        arm, trained = arms.get((cell.runs_in, cell.row)), cell.runs_in != cell.column
        arm = _on_training(arm) if arm and trained else arm
        cells.append({**said, **_ours(arm, said["theirs"], why, bool(cell.recipe))})
    results = [study.result for made in studies.values() for study in made]
    folders = [out / run["folder"] for result in results for run in runs_of(result) if run["folder"]]
    return {
        **_named(plan.wanted),
        "unit": "percent",
        "cells": cells,
        "floors": {
            column: {name: 100 * share for name, share in made[0].result["floors"].items()}
            for column, made in studies.items()
        },
        "legacy": sorted({fault for cell in plan.cells if cell.recipe for fault in cell.recipe.faults}),
        "differences": _differences(plan.wanted, plan.cells),
        "studies": [str(study.file.relative_to(out)) for made in studies.values() for study in made],
        "mixed": mixed(map(made_with, folders)),
    }


def _on_training(arm: Mapping[str, Any]) -> dict[str, Any]:
    """An arm with its accuracy on what it was trained on in the place of that on test."""
    return {**arm, **over_seeds([run["train"] for run in arm["report"] if run["status"] == "done" and "train" in run])}


def _ours(arm: Mapping[str, Any] | None, theirs: float, why: str, runnable: bool) -> dict[str, Any]:
    """What a study found of a cell, in percent; `missing` where there is nothing, `failed` where nothing ended well."""
    if arm is None:
        said = why or ("its column has not run to its end" if runnable else "")
        status = "failed" if why and runnable else "missing"
        return {**_EMPTY, "status": status, "why": said}
    runs = arm["report"]
    bad = [
        f"seed {run['seed']} {run['status']}{': ' + run['error'] if 'error' in run else ''}"
        for run in runs
        if run["status"] != "done"
    ]
    if arm["rate"] is None:
        bad.append("no rate ended well with every tuning seed")
    score = None if arm["mean"] is None else 100 * arm["mean"]
    return {
        **_EMPTY,
        "status": "failed" if score is None else "done" if not bad else "partly",
        "why": "; ".join(bad),
        "mean": score,
        "interval": None if arm["interval"] is None else [100 * end for end in arm["interval"]],
        "seeds": arm["seeds"],
        "rate": arm["rate"],
        "edge": arm["edge"],
        "difference": None if score is None else score - theirs,
        "trainable": arm["trainable"],
        "runs": [{"seed": run["seed"], "status": run["status"], "folder": run["folder"]} for run in runs],
    }


_EMPTY: dict[str, Any] = {
    "status": "missing",
    "why": "",
    "mean": None,
    "interval": None,
    "seeds": 0,
    "rate": None,
    "edge": None,
    "difference": None,
    "trainable": None,
    "runs": [],
}
