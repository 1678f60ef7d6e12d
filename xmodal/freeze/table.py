"""A plan as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from xmodal.freeze.select import Clause, compact
from xmodal.freeze.terms import KINDS, Spec
from xmodal.types import ROLES

if TYPE_CHECKING:
    from xmodal.freeze.plan import Entry

State = Literal["trainable", "frozen", "unused"]


class Row(TypedDict):
    """One line of the table.

    Attributes:
        role: one of `xmodal.types.ROLES`.
        part: which parts or kinds of the role; empty for all of them.
        layers: as ranges (`0-5, 8`); empty outside the layers.
        tensors: how many tensors.
        parameters: how many parameters they hold.
        state: `trainable`, `frozen` or `unused`.
    """

    role: str
    part: str
    layers: str
    tensors: int
    parameters: int
    state: State


def rows(entries: Sequence[Entry]) -> list[Row]:
    """One row per role where its state is one; else one per state and group of parts whose layers agree."""
    found = []
    for role in ROLES:
        own = [entry for entry in entries if entry.site.role == role]
        for group in _groups(own):
            states: dict[State, None] = dict.fromkeys(entry.state for entry in group)
            found += [_row(role, _part(group, own), state, group) for state in states]
    return found


def _groups(role: list[Entry]) -> list[list[Entry]]:
    """The entries of a role, apart where parts or kinds differ in the state of a layer."""
    if len({entry.state for entry in role}) == 1:
        return [role]
    columns: dict[tuple[str, str], list[Entry]] = {}
    for entry in role:
        columns.setdefault((entry.site.part, entry.site.kind), []).append(entry)
    groups: dict[frozenset[tuple[int | None, str]], list[Entry]] = {}
    for column in columns.values():
        course = frozenset((entry.site.layer, entry.state) for entry in column)
        groups.setdefault(course, []).extend(column)
    return list(groups.values())


def _part(group: list[Entry], role: list[Entry]) -> str:
    """What a group is called within its role: nothing if it is the role, a kind, or its parts."""
    columns, every = _columns(group), _columns(role)
    if columns == every:
        return ""
    for kind in KINDS:
        if columns.keys() == {column for column in every if column[1] == kind}:
            return kind
    words = []
    for part in dict.fromkeys(part for part, _ in columns):
        kinds = [kind for kind in KINDS if (part, kind) in columns]
        whole = part and len(kinds) == sum(name == part for name, _ in every)
        words += [part] if whole else [f"{part}.{kind}".lstrip(".") for kind in kinds]
    return ", ".join(words)


def _columns(entries: Iterable[Entry]) -> dict[tuple[str, str], None]:
    return dict.fromkeys((entry.site.part, entry.site.kind) for entry in entries)


def _row(role: str, part: str, state: State, group: list[Entry]) -> Row:
    entries = [entry for entry in group if entry.state == state]
    return Row(
        role=role,
        part=part,
        layers=compact(entry.site.layer for entry in entries if entry.site.layer is not None),
        tensors=len(entries),
        parameters=sum(entry.parameter.numel() for entry in entries),
        state=state,
    )


def render(name: str, spec: Spec, rows: Sequence[Row], clauses: Sequence[Clause], counts: Mapping[str, int]) -> str:
    """The plan as plain text."""
    heads = ("role", "part", "layers", "tensors", "parameters", "state")
    body = [
        (row["role"], row["part"], row["layers"], str(row["tensors"]), f"{row['parameters']:,}", row["state"])
        for row in rows
    ]
    said = [(str(clause), str(clause.hits), str(clause.changed)) for clause in clauses]
    blocks = [f"{name}, frozen: {spec}", _grid([heads, *body], "lllrrl"), summary(counts)]
    if said:
        blocks.append(_grid([("clause", "hits", "changed"), *said], "lrr"))
    return "\n\n".join(blocks)


def summary(counts: Mapping[str, int]) -> str:
    """How many of all the parameters train, in a line."""
    share = counts["trainable"] / max(counts["total"], 1)
    unused = f", unused {counts['unused']:,} (never held in memory)" if counts["unused"] else ""
    return (
        f"trainable {counts['trainable']:,} of {counts['total']:,} ({100 * share:.3f} %), "
        f"frozen {counts['frozen']:,}{unused}"
    )


def _grid(lines: Sequence[Sequence[str]], sides: str) -> str:
    """Columns that line up, to the left or to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if side == "l" else cell.rjust(width)
            for cell, width, side in zip(line, widths, sides, strict=True)
        ).rstrip()
        for line in lines
    )
