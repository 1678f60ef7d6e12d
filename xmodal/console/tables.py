"""Tables that lose nothing: columns fold between words, and where that is not enough every row becomes a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xmodal.console.streams import out
from xmodal.freeze.table import summary

Cell = str | Text
LONGEST = 13
"""Longer words are broken where room is short; those of the first column, which names the row, never are."""


def minutes(seconds: float) -> str:
    """`0.4 min`, `25 min` or `3.1 h`."""
    many = max(seconds / 60, 0.1)
    return f"{many:.1f} min" if many < 9.95 else f"{many:.0f} min" if many < 120 else f"{many / 60:.1f} h"


def show_rows(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], title: str | None = None, *, to: Console = out
) -> None:
    """A table; `>` before the name of a column aligns it right, and lines of a cell stay lines."""
    names = [column.removeprefix(">") for column in columns]
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    grid = [[Text(name) for name in names], *cells]
    words = [max(_width(cell.plain.split()) for cell in column) for column in zip(*grid, strict=True)]
    words[1:] = [min(width, LONGEST) for width in words[1:]]
    lines = [max(_width(cell.plain.splitlines()) for cell in column) for column in zip(*grid, strict=True)]
    room = to.width - 2 * (len(columns) - 1)  # two spaces between columns
    if title:
        to.print(Text(title, style="italic"), soft_wrap=True)
    if sum(words) > room:
        return _show_blocks(names, cells, to)
    table = Table(show_header=any(names), box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, name, width in zip(columns, names, _shared(words, lines, room), strict=True):
        table.add_column(name, justify="right" if column.startswith(">") else "left", width=width, overflow="fold")
    for row in cells:
        table.add_row(*row)
    to.print(table)
    return None


def _shared(least: Sequence[int], most: Sequence[int], room: int) -> list[int]:
    """Widths between the least and the most: what room is left goes to the narrowest wish first."""
    widths, left = list(least), room - sum(least)
    wishes = sorted(range(len(least)), key=lambda number: most[number] - least[number])
    for served, number in enumerate(wishes):
        given = min(most[number] - least[number], left // (len(wishes) - served))
        widths[number], left = widths[number] + given, left - given
    return widths


def _width(words: Sequence[str]) -> int:
    return max((Text(word).cell_len for word in words), default=0)


def _show_blocks(names: Sequence[str], rows: Sequence[Sequence[Text]], to: Console) -> None:
    for row in rows:
        to.print()
        for name, cell in zip(names, row, strict=True):
            if cell.plain:
                to.print(Text(f"{name}: " if name else "").append(Text(", ").join(cell.split())), overflow="fold")
    to.print()


def show_plan(plan: Mapping[str, Any], title: str, note: str = "") -> None:
    """The freeze plan: what each role holds and whether it trains, then each clause and what it hit, and a note."""
    colours = {"trainable": "green", "frozen": "cyan", "unused": "dim"}
    rows = []
    for row in plan["rows"]:
        role = ".".join(filter(None, (row["role"], row["part"])))
        cells = (role, row["layers"], f"{row['tensors']:,}", f"{row['parameters']:,}", row["state"])
        rows.append([Text(cell, style=colours[row["state"]]) for cell in cells])
    show_rows(("role", "layers", ">tensors", ">parameters", "state"), rows, title)
    out.print()
    clauses = [(f"{one['sign']} {one['text']}", f"{one['hits']:,}", f"{one['changed']:,}") for one in plan["clauses"]]
    show_rows(("clause", ">tensors hit", ">state changed"), clauses, f"freeze: {plan['spec']}")
    out.print(summary(plan["counts"]))
    if note:
        out.print(Text(note))
