"""Which recipe each cell of a table is, at a scale and under a protocol, and how it differs from the paper's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from xmodal import sources
from xmodal.bodies.description import RUN
from xmodal.errors import MissingError, UsageError, did_you_mean
from xmodal.papers.library import Found, Protocol, cpu_scale
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped
from xmodal.study.arms import flat

ScaleName = Literal["cpu", "full"]
ProtocolName = Literal["published", "audited"]


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        table: which.
        scale: `full`, the recipes as they stand, or `cpu`.
        protocol: `published` or `audited`.
        columns: which tasks; empty for all that have recipes.
        rows: which arms; empty for all.
        overrides: `KEY=VALUE` for every cell, or `TASK:KEY=VALUE` for those of one column; later ones win.
        tiny: takes the recipes' own tiny forms in the place of the scale's budgets.
    """

    table: Found
    scale: ScaleName = "cpu"
    protocol: ProtocolName = "published"
    columns: Sequence[str] = ()
    rows: Sequence[str] = ()
    overrides: Sequence[str] = ()
    tiny: bool = False

    @property
    def rules(self) -> Protocol:
        """What the protocol says."""
        return self.table.paper.published if self.protocol == "published" else self.table.paper.audited

    def overrides_of(self, column: str) -> list[str]:
        """Those that hold for a column."""
        found = []
        for text in self.overrides:
            task, colon, rest = text.partition(":")
            own = colon and task in self.table.table.columns
            alike = not own or self.table.runs_of(task) == self.table.runs_of(column)
            found += [rest if own else text] if alike else []
        return found

    @property
    def name(self) -> str:
        """For folders: `lu2021-table2-cpu-published`."""
        return f"{self.table.name.replace('/', '-')}-{self.scale}-{self.protocol}{'-tiny' if self.tiny else ''}"


@dataclass(frozen=True)
class Cell:
    """One number of a table, and what of ours stands beside it.

    Attributes:
        row: the paper's name for the arm.
        column: the task.
        runs_in: the column whose runs it is read off: its own, or that of the test accuracy where it is accuracy on
            what was trained on.
        recipe: what is run, at the recipe's own rate; None where nothing can be.
        base: the shipped recipe as it stands.
        why: why there is no recipe.
        before: a recipe that is to be run first, because this one starts from its body.
    """

    row: str
    column: str
    runs_in: str
    recipe: Recipe | None = None
    base: Recipe | None = None
    why: str = ""
    before: Recipe | None = None


@dataclass
class Difference:
    """A key in which what is run is not the shipped recipe.

    Attributes:
        key: dotted.
        recipe: what the shipped recipe has.
        ours: what is run.
        cells: `row` and `column` of those that differ in it so.
    """

    key: str
    recipe: Any
    ours: Any
    cells: list[tuple[str, str]] = field(default_factory=list)


def cells_of(wanted: Wanted) -> list[Cell]:
    """Every cell of the columns that are asked for, by column, the rows in the paper's order.

    Raises:
        UsageError: the table has no such column, or no recipes.
        RecipeError: an override is wrong.
    """
    found: list[Cell] = []
    columns, rows = _columns(wanted), _chosen(wanted, "row", wanted.rows, list(wanted.table.table.rows))
    for column in columns:
        seen: dict[str, str] = {}
        for row in rows:
            cell = _cell(wanted, row, column)
            if cell.recipe and not wanted.tiny:
                # Where one body stands in for two, the second row would be the first one again.
                key = repr(cell.recipe.model_copy(update={"name": "", "tiny": {}}))
                if key in seen:
                    why = f"at this scale it is the same experiment as '{seen[key]}'"
                    cell = replace(cell, recipe=None, before=None, why=why)
                seen.setdefault(key, row)
            found.append(cell)
    return found


def _columns(wanted: Wanted) -> list[str]:
    table, name = wanted.table.table, wanted.table.name
    there = [c for c in table.columns if any(wanted.table.recipe_of(row, c) for row in table.rows)]
    if not there:
        from xmodal.papers.library import tables

        others = [found.table_name for found in tables() if found.paper is wanted.table.paper and found.reproducible()]
        raise UsageError(
            f"{name} has no recipes",
            why=f"it says: {table.about}" + (", in steps" if table.unit == "steps" else ""),
            fix=f"xmodal show {name} shows its numbers; reproduce one of {', '.join(others)}",
        )
    return _chosen(wanted, "task", wanted.columns, there)


def _chosen(wanted: Wanted, kind: str, asked: Sequence[str], there: list[str]) -> list[str]:
    """Those of a table's rows or columns that are asked for, in the table's order; all where none is."""
    for name in asked:
        if name not in there:
            raise UsageError(
                f"{wanted.table.name} has no {kind} '{name}'{did_you_mean(name, there)}",
                where=f"--{kind}",
                why=f"it has {', '.join(map(quote, there))}",
                fix=f"--{kind} {quote(there[0])}",
            )
    return [name for name in there if not asked or name in asked]


def _cell(wanted: Wanted, row: str, column: str) -> Cell:
    name = wanted.table.recipe_of(row, column)
    if name is None:
        return Cell(row, column, column, why="the package has no recipe for it")
    base, runs_in = _base(name), wanted.table.runs_of(column)
    if wanted.scale == "cpu" and base.body.name in cpu_scale().absent:
        why = f"{base.body.name} has no stand-in at this scale: {cpu_scale().absent[base.body.name]}"
        return Cell(row, column, runs_in, base=base, why=why)
    own = wanted.table.table.rows[row].set
    label = f"{wanted.table.paper_name}-{runs_in}-{row}" if own else base.name
    recipe = _made(wanted, name, base, runs_in, own, label)
    if not recipe.body.init.startswith(RUN):
        return Cell(row, column, runs_in, recipe, base)
    first = next(word for word in shipped() if word.replace("/", "-").replace("_", "-") == _run_of(base))
    body = _base(first)
    before = _made(wanted, first, body, body.task.name, (), body.name)
    return Cell(row, column, runs_in, recipe, base, before=before)


@cache
def _base(name: str) -> Recipe:
    return load_recipe(shipped()[name])


def _run_of(recipe: Recipe) -> str:
    """The name of the recipe whose run a body starts from."""
    return Path(recipe.body.init.removeprefix(RUN)).name


def _made(wanted: Wanted, name: str, base: Recipe, column: str, own: Sequence[str], label: str) -> Recipe:
    rules, said = wanted.rules, list(own)
    said += [*rules.set, *rules.tasks.get(column, ())]
    if wanted.scale == "cpu":
        # Before the task's own keys, which may set them too.
        said += cpu_scale().bodies.get(base.body.name, ())
        said += () if wanted.tiny else cpu_scale().tasks.get(column, ())
    if wanted.tiny:
        said = [word for word in said if word.split("=")[0].partition(".")[0] != "train"]
    suffix = "" if wanted.scale == "full" else f"-{wanted.scale}"
    said.append(f"name={re.sub(r'[^A-Za-z0-9._-]+', '-', label)[:58]}{suffix}")
    recipe = load_recipe(shipped()[name], [*said, *wanted.overrides_of(column)], tiny=wanted.tiny)
    if init := rules.inits.get(recipe.body.name, {}).get(recipe.body.init):
        said.append(f"body.init={init}")
        recipe = load_recipe(shipped()[name], [*said, *wanted.overrides_of(column)], tiny=wanted.tiny)
    if rules.last_step:
        # One look, at the end: there is nothing that validation could choose.
        train = recipe.train.model_copy(update={"eval_every": recipe.train.steps, "patience": None})
        recipe = recipe.model_copy(update={"train": train})
    return recipe.model_copy(update={"tiny": {}})


def differences(cells: Sequence[Cell]) -> list[Difference]:
    """Every key in which what is run is not the shipped recipe, but its name."""
    found: dict[tuple[str, str, str], Difference] = {}
    for cell in cells:
        if cell.recipe and cell.base:
            for key, was, is_ in changed(cell.base, cell.recipe):
                new = Difference(key, was, is_)
                found.setdefault((key, repr(was), repr(is_)), new).cells.append((cell.row, cell.column))
    return list(found.values())


def changed(one: Recipe, other: Recipe) -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys in which two recipes differ, with both values; None for a key that one of them has not."""
    dumped = (r.model_dump(mode="json", exclude={"name", "seed", "tiny", "lock"}) for r in (one, other))
    mine, theirs = ({key: value for key, value in flat(data) if value != {}} for data in dumped)
    for key in dict.fromkeys((*mine, *theirs)):
        if mine.get(key) != theirs.get(key):
            yield key, mine.get(key), theirs.get(key)


def lacking(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """What is not on this machine, each as what gets it, and the cells that need it."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        for recipe in filter(None, (cell.before, cell.recipe)):
            for need in _needs(recipe):
                found.setdefault(need, []).append(cell)
    return found


def _needs(recipe: Recipe) -> Iterator[str]:
    task, body = recipe.task, recipe.body
    if task.own_files and not Path(task.own_files).exists():
        yield f"-o {task.name}:task.path=FOLDER with the files of {task.name}, for there is no {task.own_files}"
    if task.stored and sources.status("data", task.stored) != "here":
        yield sources.command("data", task.stored)
    starts = [body.init, *(body.parts or {}).values()]
    weights = any(not init.startswith(("random", RUN)) for init in starts)
    if weights and not body.path and body.name in sources.BODIES and sources.status("bodies", body.name) != "here":
        source = sources.BODIES[body.name]
        yield sources.command("bodies", body.name) + ("" if source.package else ", from the hub")


def enforce_here(wanted: Wanted, cells: Sequence[Cell]) -> None:
    """Nothing, if all that the cells need is on this machine.

    Raises:
        MissingError: data or weights are not.
    """
    if not (missing := lacking(cells)):
        return
    short = [cell for needy in missing.values() for cell in needy]
    fixes = list(missing)
    for kind in ("column", "row"):
        named = list(dict.fromkeys(getattr(cell, kind) for cell in cells))
        if whole := [name for name in named if name not in {getattr(cell, kind) for cell in short}]:
            option = "--task" if kind == "column" else "--row"
            fixes.append(f"or leave out what needs it: {' '.join(f'{option} {quote(name)}' for name in whole)}")
            break
    if wanted.scale == "full" and any("from the hub" in need for need in missing):
        fixes.append("or take bodies that need no hub: --scale cpu")
    raise MissingError(
        "data or weights that this table needs are not on this machine",
        where=wanted.table.name,
        why="; ".join(f"{_short(need)} for {_named(needy)}" for need, needy in missing.items()),
        fix="; ".join(fixes),
    )


def _short(need: str) -> str:
    return need.removeprefix("xmodal get ").partition(",")[0] if need.startswith("xmodal") else "files"


def _named(cells: Sequence[Cell]) -> str:
    rows, columns = (list(dict.fromkeys(getattr(cell, kind) for cell in cells)) for kind in ("row", "column"))
    return f"{', '.join(rows)} on {', '.join(columns)}"
