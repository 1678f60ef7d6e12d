"""The papers that ship with the package: their numbers, word for word, and the recipe of each cell. Needs no torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeVar

from pydantic import Field, model_validator

from xmodal.components import Options
from xmodal.errors import UsageError, did_you_mean
from xmodal.recipe.source import parse_text

HERE = Path(__file__).parent
SCALES = "cpu"
M = TypeVar("M", bound=Options)


class CellOptions(Options):
    """What is said of one cell alone."""

    recipe: str | None = None
    """Its recipe, where it is not that of its row."""
    note: str = ""
    """What the paper says of the number."""


class Row(Options):
    """One arm of a table."""

    theirs: list[int | float | list[int | float]]
    """What the paper reports, by column: a number, or a mean and its standard error."""
    about: str = ""
    """What the paper adds to its name."""
    recipe: str | None = None
    """Name of a shipped recipe, with `{task}` for the stem of a column; null where there is none."""
    set: list[str] = Field(default_factory=list)
    """`KEY=VALUE`, laid over the recipe."""
    cells: dict[str, CellOptions] = Field(default_factory=dict)
    """What is said of single cells, by column."""


class Table(Options):
    """One table of a paper."""

    key: str
    """What the transcription calls it."""
    about: str
    """What it asks."""
    unit: Literal["percent", "steps"] = "percent"
    """Test accuracy in percent, or steps."""
    columns: list[str]
    """Tasks."""
    trained: dict[str, str] = Field(default_factory=dict)
    """Columns of accuracy on what was trained on, and the column whose runs have it."""
    rows: dict[str, Row]
    """Arms, by the paper's name for them."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name, row in self.rows.items():
            if len(row.theirs) != len(self.columns):
                raise ValueError(f"row {name} has {len(row.theirs)} numbers for {len(self.columns)} columns")
            if strange := {*self.trained, *self.trained.values()} - set(self.columns):
                raise ValueError(f"trained speaks of {', '.join(sorted(strange))}, which is no column")
            if strange := row.cells.keys() - set(self.columns):
                raise ValueError(f"row {name} speaks of {', '.join(sorted(strange))}, which is no column")
            if any(isinstance(said, list) and len(said) != 2 for said in row.theirs):
                raise ValueError(f"row {name}: a number, or a mean and its standard error")
        return self


class Remark(Options):
    """A difference from the paper that no key of a recipe says."""

    says: str
    """In words."""
    tasks: list[str] = Field(default_factory=list)
    """Columns that it is about; empty for all."""
    bodies: list[str] = Field(default_factory=list)
    """Bodies of the recipes that it is about; empty for all."""


class Protocol(Options):
    """How a table is run: as published, or as we would."""

    lr: str
    """`own`, the recipe's own rate, not tuned; `around`, five rates around it; or `LOW:HIGH:N`."""
    seeds: int = Field(ge=1)
    """Report seeds."""
    last_step: bool
    """Whether the last step counts, and validation chooses nothing."""
    set: list[str]
    """`KEY=VALUE` for every cell."""
    tasks: dict[str, list[str]]
    """`KEY=VALUE` for every cell of a column."""
    inits: dict[str, dict[str, str]] = Field(default_factory=dict)
    """What another scheme a body was started with, by body and by the recipe's `body.init`."""
    differences: list[Remark]
    """How it still differs from what the paper did, as far as no key of a recipe says it."""


class Paper(Options):
    """A paper, its tables and its protocol."""

    title: str
    """Of the paper."""
    authors: str
    """And the year."""
    source: str
    """Where it can be read."""
    provenance: str
    """How its numbers came here."""
    protocol: dict[str, str]
    """What the paper says it did."""
    stems: dict[str, str]
    """What the file names of recipes call each task."""
    published: Protocol
    """The paper's protocol, as far as it can be run."""
    audited: Protocol
    """Ours."""
    findings: list[str] = Field(default_factory=list)
    """What the paper concludes."""
    tables: dict[str, Table]
    """By name."""


class Scale(Options):
    """How tables are run on a smaller machine."""

    bodies: dict[str, list[str]]
    """`KEY=VALUE` that puts another body in the place of each."""
    absent: dict[str, str]
    """Bodies that nothing stands in for, and why."""
    tasks: dict[str, list[str]]
    """`KEY=VALUE` by task."""
    differences: list[Remark]
    """What that means, in words."""


class Found(NamedTuple):
    """A table that was asked for, with the names of its paper and of itself."""

    paper_name: str
    paper: Paper
    table_name: str
    table: Table

    @property
    def name(self) -> str:
        """`lu2021/table2`."""
        return f"{self.paper_name}/{self.table_name}"

    def recipe_of(self, row: str, column: str) -> str | None:
        """The name of the shipped recipe of a cell, or None where there is none."""
        said, column = self.table.rows[row], self.runs_of(column)
        own = said.cells[column].recipe if column in said.cells else None
        pattern = own or said.recipe
        stem = self.paper.stems.get(column)
        return pattern.format(task=stem) if pattern and stem else None

    def runs_of(self, column: str) -> str:
        """The column whose runs have the scores of this one: itself, but for accuracy on what was trained on."""
        return self.table.trained.get(column, column)

    def note_of(self, row: str, column: str) -> str:
        """What the paper says of a cell's number, and of its row."""
        said = self.table.rows[row]
        own = said.cells[column].note if column in said.cells else ""
        return "; ".join(filter(None, (own, said.about)))

    def theirs(self, row: str, column: str) -> tuple[float, float | None]:
        """The paper's number, and its standard error where it has one."""
        said = self.table.rows[row].theirs[self.table.columns.index(column)]
        return (said[0], said[1]) if isinstance(said, list) else (said, None)

    def said_of(self, row: str, column: str) -> dict[str, str | float | None]:
        """A cell as results have it: where it stands, the paper's number, and what the paper says of it."""
        number, error = self.theirs(row, column)
        note = self.note_of(row, column)
        return {"row": row, "column": column, "theirs": number, "theirs_error": error, "note": note}

    def reproducible(self) -> int:
        """How many cells have a recipe."""
        return sum(bool(self.recipe_of(row, column)) for row in self.table.rows for column in self.table.columns)


def shown(number: float, error: float | None) -> str:
    """A paper's number as it stands there, with its standard error where it has one."""
    said = f"{number:g}" if number >= 1000 else str(number)
    return said if error is None else f"{said} ±{error}"


@cache
def papers() -> dict[str, Paper]:
    """Every paper by name."""
    return {file.stem: _read(Paper, file) for file in sorted(HERE.glob("*.yaml")) if file.stem != SCALES}


@cache
def cpu_scale() -> Scale:
    """What `--scale cpu` puts in the place of bodies and budgets."""
    return _read(Scale, HERE / f"{SCALES}.yaml")


def _read(model: type[M], file: Path) -> M:
    return model.model_validate(parse_text(file.read_text(encoding="utf-8"), str(file)).data)


def tables() -> list[Found]:
    """Every table of every paper."""
    return [
        Found(paper_name, paper, name, table)
        for paper_name, paper in papers().items()
        for name, table in paper.tables.items()
    ]


def find_table(asked: str) -> Found:
    """The table that `PAPER/TABLE` means.

    Raises:
        UsageError: there is no such paper or table.
    """
    known = {found.name: found for found in tables()}
    if asked in known:
        return known[asked]
    paper, slash, table = asked.partition("/")
    if paper not in papers():
        near = did_you_mean(asked, known) if slash else did_you_mean(paper, papers())
        raise UsageError(
            f"no paper '{paper}'{near}",
            why=f"known: {', '.join(papers())}",
            fix="xmodal list papers shows their tables",
        )
    there = papers()[paper].tables
    near = did_you_mean(table, there) if table else ""
    raise UsageError(
        f"{paper} has no table '{table}'{near}" if table else f"{paper} is a paper, and a table is wanted",
        why=f"known: {', '.join(there)}",
        fix=f"say {paper}/TABLE; xmodal list papers shows them all",
    )
