"""Finished runs beside a paper's numbers: each is put to the cell whose experiment it is, or said not to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, get_args

from xmodal.bodies.description import RUN
from xmodal.errors import DamagedError, RecipeError
from xmodal.papers.cells import Cell, ProtocolName, ScaleName, Wanted, cells_of, changed
from xmodal.papers.library import Found
from xmodal.recipe import Recipe
from xmodal.report.gather import gather
from xmodal.run.bare import resolve
from xmodal.run.result import FINISHED, recipe_of
from xmodal.study.design import TUNING_FROM
from xmodal.study.stats import t_interval

SHIPPED = "the recipe"
"""How a run is called whose recipe is the shipped one as it stands."""


@dataclass(frozen=True)
class _Known:
    """An experiment that a cell is, and what it is called: `cpu, published`."""

    row: str
    column: str
    recipe: Recipe
    called: str
    before: str
    tuned: bool


def against(table: Found, folders: Sequence[Path]) -> dict[str, Any]:
    """Runs in or below `folders` beside a table.

    A run belongs to a cell if its recipe is the cell's at some scale and protocol, at any rate where that tunes it, or
    is the shipped one as it stands. Runs that only have the name of such a recipe are shown apart, with the keys in
    which they differ.
    Runs of different recipes or rates are never averaged. Seeds from 1000 on choose rates, and are left out; so are a
    study's runs at rates that were not chosen.

    Raises:
        MissingError: there are no runs.
    """
    known, there = list(_experiments(table)), gather(folders)
    besides = {
        study.runs[run["folder"]].folder
        for study in there.studies
        for arm in study.said["arms"]
        for run in arm.get("contenders", ())
        if run["folder"] in study.runs
    }
    groups: dict[tuple[str, str, str, str], list[tuple[Recipe, Mapping[str, Any], _Known, tuple[str, ...]]]] = {}
    tuning = others = 0
    damaged = [str(error).partition("\n")[0] for error in there.damaged]
    for run in there.runs:
        result = run.result
        try:
            recipe = recipe_of(run.folder, result)
        except (RecipeError, DamagedError) as error:
            damaged.append(str(error).partition("\n")[0])
            continue
        if result["status"] not in FINISHED:
            others += 1
        elif result["seed"] >= TUNING_FROM or run.folder in besides:
            tuning += 1
        elif met := _met(recipe, known):
            found, keys = met
            group = groups.setdefault((found.row, found.column, found.called, result["recipe_digest"]), [])
            group.append((recipe, result, found, keys))
        else:
            others += 1
    rows = [
        {**table.said_of(row, column), **said}
        for column in table.table.columns
        for row in table.table.rows
        for said in _groups(table, row, column, groups) or [{**_NOTHING}]
    ]
    return {
        "table": table.name,
        "about": table.table.about,
        "unit": table.table.unit,
        "cells": rows,
        "tuning_runs": tuning,
        "other_runs": others,
        "damaged": damaged,
    }


_NOTHING: dict[str, Any] = {"called": "", "mean": None, "interval": None, "seeds": 0, "difference": None}


def _experiments(table: Found) -> Iterator[_Known]:
    for scale in get_args(ScaleName):
        for protocol in get_args(ProtocolName):
            wanted = Wanted(table, scale, protocol)
            for cell in cells_of(wanted):
                if cell.runs_in != cell.column:
                    continue
                if cell.recipe:
                    tuned = wanted.rules.lr != "own"
                    yield _Known(cell.row, cell.column, cell.recipe, f"{scale}, {protocol}", _before(cell), tuned)
                if cell.base and not table.table.rows[cell.row].set and scale == "full":
                    yield _Known(cell.row, cell.column, cell.base, SHIPPED, "", False)


def _before(cell: Cell) -> str:
    return resolve(cell.before).digest() if cell.before else ""


def _met(recipe: Recipe, known: Sequence[_Known]) -> tuple[_Known, tuple[str, ...]] | None:
    """The experiment that a run is, or else the nearest that has its name, with the keys in which they differ."""
    best: tuple[_Known, tuple[str, ...]] | None = None
    for one in known:
        free = (*_MACHINE, "train.lr") if one.tuned else _MACHINE
        keys = tuple(key for key, _, _ in changed(one.recipe, recipe) if key not in free)
        if "body.init" in keys and one.before and _starts_from(recipe, one.before):
            keys = tuple(key for key in keys if key != "body.init")
        if not keys:
            return one, ()
        if one.recipe.name == recipe.name and (best is None or len(keys) < len(best[1])):
            best = one, keys
    return best


_MACHINE = ("device", "precision", "threads")
"""What a run has from its machine."""


def _starts_from(recipe: Recipe, digest: str) -> bool:
    init = recipe.body.init
    return init.startswith(RUN) and Path(init.removeprefix(RUN)).name.startswith(f"{digest}-s")


def _groups(table: Found, row: str, column: str, groups: Mapping[Any, Any]) -> list[dict[str, Any]]:
    found = []
    for (own_row, own_column, called, _), members in groups.items():
        if (own_row, own_column) != (row, table.runs_of(column)):
            continue
        recipe, result, _, keys = members[0]
        split = "test" if own_column == column else "train"
        scores = [100 * run[split]["accuracy"] for _, run, _, _ in members if run.get(split)]
        if split == "train" and not scores:
            continue
        interval = t_interval(scores)
        floors = result["floors"] if split == "test" else {}
        said = {
            "called": f"{called}, but for {', '.join(keys)}" if keys else called,
            "recipe": recipe.name,
            "digest": result["recipe_digest"],
            "rate": recipe.train.lr,
            "mean": mean(scores) if scores else None,
            "interval": [max(0.0, interval[0]), min(100.0, interval[1])] if interval else None,
            "seeds": len(scores),
            "floor": 100 * max(floors.values()) if floors else None,
            "difference": mean(scores) - table.theirs(row, column)[0] if scores else None,
            "diverged": sum(run["status"] == "diverged" for _, run, _, _ in members),
            "legacy": recipe.faults,
            "alike": not keys,
        }
        found.append(said)
    return sorted(found, key=lambda said: (not said["alike"], said["called"], said["rate"]))
