"""What is seen of a study: what will run, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from xmodal.console.streams import err, out
from xmodal.console.tables import minutes, show_rows
from xmodal.report.numbers import hundred, points
from xmodal.report.words import arm_name, blemishes, effect_name, notes


def show_preview(preview: Mapping[str, Any], *, result: bool) -> None:
    """What a study will run: its arms, rates and seeds, and how much that is; on the error stream unless asked for."""
    to = out if result else err
    rows = [(arm_name(arm, preview), arm["spec"], f"{arm['trainable']:,}") for arm in preview["arms"]]
    show_rows(("arm", "frozen", ">trains"), rows, to=to)
    rates = ", ".join(f"{rate:g}" for rate in preview["rates"])
    tuned, said = ", ".join(map(str, preview["tuning_seeds"])), preview["contenders"]
    halved = "; all rates for a fourth of the steps, then the best" if preview["halving"] else ""
    lines = [
        f"{'rates' if tuned else 'rate, not tuned'}: {rates}",
        *([f"tuning: {preview['tuning_runs']} runs, seeds {tuned}{halved}"] if tuned else []),
        f"report: {preview['report_runs']} runs, seeds {', '.join(map(str, preview['report_seeds']))}",
        f"at most {preview['tuning_runs'] + preview['report_runs']} runs and {preview['most_steps']:,} steps",
        *(["where the best rate lies at an edge, up to 2 more rates for every arm"] if tuned else []),
        *(["where arms differ, those behind run at other rates too, if these may suit them as well"] * said),
        _cost(preview["cost"]),
        *(["no arm can share a pass, so --together changes nothing"] if preview["cost"]["sharing"] == 0 else []),
    ]
    to.print(Text("\n".join(lines)), soft_wrap=True)


def _cost(cost: Mapping[str, Any]) -> str:
    if cost["unknown"]:
        return f"how long that takes cannot be measured: {cost['unknown']}"
    if not cost["runs"]:
        return "missing: no run"
    beside = f", {cost['workers']} at a time" if cost["workers"] > 1 else ""
    if cost["sharing"]:
        beside = f", {cost['together']} at a time in one pass through their body, of {cost['sharing']} arms"
    runs = "1 run" if cost["runs"] == 1 else f"{cost['runs']} runs"
    return (
        f"missing: {runs}{beside}; by a few steps of every arm about {minutes(cost['seconds'])}, without "
        f"more rates, and {cost['disk'] / 1e6:,.0f} MB of checkpoints"
    )


def show_study(study: Mapping[str, Any]) -> None:
    """Arms with their intervals over seeds, differences from the control, and verdicts."""
    rows = []
    for arm in study["arms"]:
        rate = "–" if arm["rate"] is None else f"{arm['rate']:g}"
        row = (
            arm_name(arm, study),
            f"{arm['trainable']:,}",
            rate + (" edge" if arm["edge"] else ""),
            hundred(arm["mean"]),
            "–" if arm["interval"] is None else "-".join(map(hundred, arm["interval"])),
            f"{arm['seeds']}",
        )
        rows.append(row)
    show_rows(("arm", ">trains", ">rate", ">test %", ">95 %", ">seeds"), rows)
    _show_effects(f"less {study['control']}", [(effect_name(row, study), row) for row in study["comparisons"]])
    if study["contrasts"]:
        _show_effects("effect", [(effect_name(row, study), row) for row in study["contrasts"]])
    out.print(Text("\n".join(notes(study)), style="dim"), soft_wrap=True)
    if bad := blemishes(study):
        out.print(Text("\n".join(bad), style="yellow"), soft_wrap=True)


def _show_effects(title: str, effects: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    rows = []
    for name, row in effects:
        low, high = row["interval"] or (None, None)
        cells = (
            name,
            points(row["difference"]),
            "–" if low is None else f"{points(low)} {points(high)}",
            "–" if row["p_holm"] is None else f"{row['p_holm']:.2g}",
            "–" if row["detectable"] is None else f"{100 * row['detectable']:.1f}",
            Text(row["verdict"], style=_VERDICTS[row["verdict"]]),
        )
        rows.append(cells)
    out.print()
    show_rows((title, ">points", ">95 %", ">p", ">sees", "verdict"), rows)
    for name, row in effects:
        out.print(Text(f"{name}: {row['why']}"))


_VERDICTS = {"supported": "green", "contradicted": "red", "not resolved": "yellow", "edge-limited": "yellow"}
