"""Tables as values: shown to a person in HTML, Markdown and LaTeX, and exact in CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xmodal.report.numbers import hundred, points

Kind = Literal["text", "count", "percent", "points", "rate", "p", "size"]
Cell = str | float | None
Columns = list[tuple[str, Kind]]
"""Names and the kind of what stands below them."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def clean(text: object) -> str:
    """Somebody's text as one line, without characters that end files early or turn the line around."""
    return _CONTROL.sub("\ufffd", " ".join(str(text).split()))


SHOWN: Mapping[Kind, Any] = {
    "text": clean,
    "count": lambda value: f"{value:,}",
    "percent": hundred,
    "points": points,
    "rate": lambda value: f"{value:g}",
    "p": lambda value: f"{value:.2g}",
    "size": lambda value: f"{value:.3g}",
}
"""How a value of each kind is written: shares in percent, differences of shares in points."""


@dataclass(frozen=True)
class Table:
    """A table; its values are exact, and rounded where they are shown.

    Attributes:
        name: of the files that hold it.
        title: in words, with the unit where all columns have one.
        columns: names and the kind of what stands below them.
        rows: as many cells each; None is a dash.
    """

    name: str
    title: str
    columns: Columns
    rows: Sequence[Sequence[Cell]]

    def shown(self) -> list[list[str]]:
        """The cells as they are written for a person."""
        kinds: list[Kind] = [kind for _, kind in self.columns]
        return [
            ["–" if cell is None else SHOWN[kind](cell) for cell, kind in zip(row, kinds, strict=True)]
            for row in self.rows
        ]

    def numeric(self) -> list[bool]:
        """Which columns are numbers, and stand to the right."""
        return [kind != "text" for _, kind in self.columns]


def named(kind: Kind, *names: str) -> Columns:
    """Columns of one kind."""
    return [(name, kind) for name in names]


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown."""
    lines = [[name for name, _ in table.columns], ["---:" if right else "---" for right in table.numeric()]]
    lines += table.shown()
    return f"{_plain(table.title)}\n\n" + "".join(f"| {' | '.join(map(_plain, line))} |\n" for line in lines)


def _plain(text: str) -> str:
    """Text that neither ends its cell nor becomes HTML or emphasis."""
    text = clean(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for sign in "|*_`[":
        text = text.replace(sign, "\\" + sign)
    return text


def latex(table: Table) -> str:
    """The table as a LaTeX `tabular` that needs no package."""
    sides = "".join("r" if right else "l" for right in table.numeric())
    head, *lines = [" & ".join(map(_tex, line)) + r" \\" for line in [[n for n, _ in table.columns], *table.shown()]]
    whole = [f"% {clean(table.title)}", rf"\begin{{tabular}}{{{sides}}}", r"\hline", head, r"\hline"]
    return "\n".join([*whole, *lines, r"\hline", r"\end{tabular}", ""])


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in clean(text))


def exact_csv(table: Table) -> str:
    """The table as CSV with every digit: shares between 0 and 1, and nothing for what is not known."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([name for name, _ in table.columns])
    writer.writerows([["" if cell is None else cell for cell in row] for row in table.rows])
    return stream.getvalue()
