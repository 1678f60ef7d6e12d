"""What is seen of a paper's table: what would run, and ours beside theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from xmodal.console.streams import err, out
from xmodal.console.tables import show_rows
from xmodal.papers.library import shown
from xmodal.report.words import differing_versions


def show_table_preview(preview: Mapping[str, Any], *, result: bool) -> None:
    """What a table will run: every cell with its body, and how much that is; on the error stream unless asked for."""
    to = out if result else err
    rows = []
    for cell in preview["cells"]:
        rates = f"{cell['rates'][0]:g}" if len(cell["rates"]) == 1 else f"{len(cell['rates'])} rates"
        ours = cell["why"] or f"{cell['body']}, {cell['steps']:,} steps, {rates}, {len(cell['report_seeds'])} x"
        rows.append(
            (
                f"{cell['row']} on {cell['column']}",
                shown(cell["theirs"], cell["theirs_error"]),
                ours,
                cell["freeze"] or "",
            )
        )
    tuned = any(len(cell["rates"]) > 1 for cell in preview["cells"])
    show_rows(("cell", ">theirs", "ours would be", "frozen"), rows, _title(preview), to=to)
    lines = [
        *(f"first: {name}, whose body others start from" for name in preview["before"]),
        f"at most {preview['runs']} runs and {preview['most_steps']:,} steps; less what is there",
        *(["where tuned arms differ, those behind run at other rates too"] if tuned else []),
        *(f"missing here: {need}" for need in preview["missing"]),
        *(_differences(preview) if result else []),
    ]
    to.print(Text("\n".join(lines)), soft_wrap=True)


def show_table(table: Mapping[str, Any]) -> None:
    """Theirs, ours with its interval over seeds, the floor and the difference, then all that differs in words."""
    rows = []
    for cell in table["cells"]:
        floors = table["floors"].get(cell["column"], {})
        floor = max(floors, key=lambda name: floors[name], default="")
        ours = "–" if cell["mean"] is None else f"{cell['mean']:.1f}"
        row = (
            f"{cell['row']} on {cell['column']}",
            shown(cell["theirs"], cell["theirs_error"]),
            Text(ours if cell["status"] == "done" else f"{ours} {cell['status']}", style=_STYLES[cell["status"]]),
            "–" if cell["interval"] is None else "-".join(f"{end:.1f}" for end in cell["interval"]),
            str(cell["seeds"] or "–"),
            f"{floors[floor]:.1f} {floor.replace('_', ' ')}" if floor else "–",
            "–" if cell["difference"] is None else f"{cell['difference']:+.1f}",
        )
        rows.append(row)
    show_rows(("cell", ">theirs", ">ours %", ">95 %", ">seeds", ">floor", ">less theirs"), rows, _title(table))
    faults = [f"{cell['row']} on {cell['column']}: {cell['why']}" for cell in table["cells"] if cell["why"]]
    faults += [f"{cell['row']} on {cell['column']}: best rate at an edge" for cell in table["cells"] if cell["edge"]]
    faults += differing_versions(table["mixed"])
    faults += table["legacy"]
    if faults:
        out.print(Text("\n".join(faults), style="yellow"), soft_wrap=True)
    notes = [f"{cell['row']} on {cell['column']}, theirs: {cell['note']}" for cell in table["cells"] if cell["note"]]
    lines = ["95 %: Student's interval over seeds, from three on; the floor is the best trivial predictor", *notes]
    out.print(Text("\n".join([*lines, *_differences(table)]), style="dim"), soft_wrap=True)


def show_against(said: Mapping[str, Any]) -> None:
    """Finished runs beside a paper's numbers, each as what it is."""
    rows = []
    for cell in said["cells"]:
        ours = "–" if cell["mean"] is None else f"{cell['mean']:.1f}"
        row = (
            f"{cell['row']} on {cell['column']}",
            shown(cell["theirs"], cell["theirs_error"]),
            ours,
            "–" if cell["interval"] is None else "-".join(f"{end:.1f}" for end in cell["interval"]),
            str(cell["seeds"] or "–"),
            "–" if cell.get("floor") is None else f"{cell['floor']:.1f}",
            "–" if cell["difference"] is None else f"{cell['difference']:+.1f}",
            f"{cell['called']}, lr {cell['rate']:g}" if cell["called"] else "",
        )
        rows.append(row)
    columns = ("cell", ">theirs", ">ours %", ">95 %", ">seeds", ">floor", ">less theirs", "ours is")
    show_rows(columns, rows, f"{said['table']}: {said['about']}")
    faults = list(dict.fromkeys(fault for cell in said["cells"] for fault in cell.get("legacy", ())))
    faults += [
        f"{cell['row']} on {cell['column']}: {cell['diverged']} diverged"
        for cell in said["cells"]
        if cell.get("diverged")
    ]
    if faults + said["damaged"]:
        out.print(Text("\n".join([*faults, *said["damaged"]]), style="yellow"), soft_wrap=True)
    lines = [
        "95 %: Student's interval over seeds, from three on; runs of different recipes or rates are not averaged",
        f"xmodal reproduce {said['table']} --dry-run tells how each differs from the paper",
        f"{said['tuning_runs']} runs of tuning seeds were left out" if said["tuning_runs"] else "",
        f"{said['other_runs']} runs are none of this table's, or have not ended" if said["other_runs"] else "",
    ]
    out.print(Text("\n".join(filter(None, lines)), style="dim"), soft_wrap=True)


_STYLES = {"done": "", "partly": "yellow", "failed": "red", "missing": "dim"}


def _title(said: Mapping[str, Any]) -> str:
    return f"{said['table']}: {said['about']} ({said['scale']}, {said['protocol']})"


def _differences(said: Mapping[str, Any]) -> list[str]:
    columns = list(dict.fromkeys(cell["column"] for cell in said["cells"]))
    rows = list(dict.fromkeys(cell["row"] for cell in said["cells"]))
    keys = [
        f"  {one['key']}: {_value(one['recipe'])}, here {_value(one['ours'])}{_where(one['cells'], rows, columns)}"
        for one in said["differences"]["keys"]
    ]
    words = [f"  {word}" for word in said["differences"]["words"]]
    return ["differences from the paper:", *words, *(["keys that are not the recipe's:", *keys] if keys else [])]


def _value(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _where(cells: Sequence[Sequence[str]], rows: Sequence[str], columns: Sequence[str]) -> str:
    own_rows, own_columns = ({cell[at] for cell in cells} for at in (0, 1))
    named = [] if len(own_rows) == len(rows) else [row for row in rows if row in own_rows]
    where = [] if len(own_columns) == len(columns) else [column for column in columns if column in own_columns]
    said = " on ".join(filter(None, (", ".join(named), ", ".join(where))))
    return f" ({said})" if said else ""
