"""Figures of what a study found: scores of the arms, and effects, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xmodal.report.figure import FAINT, INK, Figure, Style, figure, log_axis, shown
from xmodal.report.numbers import hundred, percent, points
from xmodal.report.tables import Columns, Table, named
from xmodal.report.words import arm_name, effect_name

ROW = 0.5
"""Inches for one arm or effect: its name, and below that its interval."""
HALF = 24
"""Most characters of a name that fits into half the width."""
MARK = 0.16
"""Half the height of what marks no difference beside an interval, in rows."""
MOST_TICKS = 6
"""Most rates that are written below the axis, each in its place."""
_MARKS = {"supported": "D", "contradicted": "X", "not resolved": "o", "edge-limited": "^"}


def scores(study: Mapping[str, Any], name: str) -> Figure:
    """Test accuracy of every arm: seeds, mean and interval, beside the floors."""
    arms, floors = study["arms"], study["floors"]
    with figure(1, 1, 0.9 + ROW * len(arms)) as (canvas, (axes,)):
        for row, arm in enumerate(arms):
            style = Style.of(row)
            seeds = [100 * run["test"] for run in arm["report"] if run["test"] is not None]
            _name(axes, row, arm_name(arm, study), hundred(arm["mean"]))
            axes.plot(seeds, [row] * len(seeds), "|", color=style.colour, markersize=9, alpha=0.7)
            if arm["interval"]:
                axes.plot([100 * end for end in arm["interval"]], [row] * 2, "-", color=style.colour, linewidth=2)
            if arm["mean"] is not None:
                axes.plot(100 * arm["mean"], row, style.marker, color=style.colour, markersize=7)
        floor_lines(axes, floors, rows=len(arms))
        _rows(axes, len(arms))
        axes.set_xlabel("test accuracy, %")
    best = max((arm for arm in arms if arm["mean"] is not None), key=lambda arm: arm["mean"], default=None)
    said = f"The best mean is that of {best['name']}, {percent(best['mean'])}." if best else "No arm has a score."
    rows = [
        [arm["name"], run["seed"], run["test"], arm["mean"], *(arm["interval"] or (None, None))]
        for arm in arms
        for run in arm["report"]
    ]
    rows += [[f"floor: {floor}", None, value, None, None, None] for floor, value in floors.items()]
    columns = named("text", "arm", "seed") + named("percent", "test", "mean", "95 % from", "to")
    return Figure(
        f"{name}-scores",
        "Scores by arm",
        f"Test accuracy of {len(arms)} arms, a row each, with the interval over seeds. {said}",
        "Marker: mean over seeds. Thick line: Student's 95 % interval of it. Ticks: single seeds. Dotted: floors.",
        Table(f"{name}-scores", "Test accuracy, %", columns, rows),
        canvas,
    )


def effects(study: Mapping[str, Any], name: str) -> Figure | None:
    """Differences from the control, and contrasts of a factorial, with intervals: a forest plot. None without any."""
    found = named_effects(study)
    if not found:
        return None
    styles = {arm["name"]: Style.of(number) for number, arm in enumerate(study["arms"])}
    margin = 100 * study["margin"]
    with figure(1, 1, 0.9 + ROW * len(found)) as (canvas, (axes,)):
        for row, (label, effect) in enumerate(found):
            beside = (row - MARK, row + MARK)  # not behind the words above the interval
            axes.fill_betweenx(beside, -margin, margin, color=INK, alpha=0.1, linewidth=0)
            axes.plot([0, 0], beside, "-", color=INK, linewidth=0.8)
            colour = styles[label].colour if label in styles else INK
            _name(axes, row, label, f"{points(effect['difference'])}, {effect['verdict']}")
            if effect["interval"]:
                axes.plot([100 * end for end in effect["interval"]], [row] * 2, "-", color=colour, linewidth=2)
            if effect["difference"] is not None:
                face = colour if effect["verdict"] in ("supported", "contradicted") else "none"
                mark = _MARKS[effect["verdict"]]
                axes.plot(100 * effect["difference"], row, mark, color=colour, markerfacecolor=face, markersize=7)
        _rows(axes, len(found))
        axes.set_xlabel(f"points of test accuracy, less {shown(study['control'], 30)}")
    said = "; ".join(f"{label}: {points(effect['difference'])} points, {effect['verdict']}" for label, effect in found)
    return Figure(
        f"{name}-effects",
        "Effects",
        f"Differences from {study['control']} in points, a row each, with intervals. {said}.",
        "Line: Student's 95 % interval of the mean paired difference, not corrected. Filled: decided. Hollow: not. "
        f"Grey: less than the margin of {margin:g} point{'s' * (margin != 1)}, which does not matter.",
        effects_table(study, name),
        canvas,
    )


def named_effects(study: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Comparisons with the control by arm, then main effects and interactions by their factors."""
    return [(effect_name(effect, study), effect) for effect in (*study["comparisons"], *study["contrasts"])]


def effects_table(study: Mapping[str, Any], name: str) -> Table:
    """All effects of a study with what was computed of them."""
    found = named_effects(study)
    stricter = any(effect.get("strictest") for _, effect in found)
    rows = [
        [
            label,
            effect["difference"],
            *(effect["interval"] or (None, None)),
            effect["p"],
            *(_strictest(effect) if stricter else ()),
            effect["p_holm"],
            effect["detectable"],
            effect["pairs"],
            effect["verdict"],
        ]
        for label, effect in found
    ]
    columns: Columns = [
        (f"less {study['control']}", "text"),
        ("points", "points"),
        ("95 % from", "points"),
        ("to", "points"),
        ("p", "p"),
        *([("at other rates", "points"), ("p there", "p")] if stricter else []),
        ("p, Holm", "p"),
        ("sees", "percent"),
        ("pairs", "count"),
        ("verdict", "text"),
    ]
    return Table(f"{name}-effects", "Differences in points of test accuracy", columns, rows)


def _strictest(effect: Mapping[str, Any]) -> tuple[float | None, float | None]:
    there = effect.get("strictest")
    return (there["difference"], there["p"]) if there else (None, None)


def floor_lines(axes: Any, floors: Mapping[str, float], *, rows: int = 0, named: bool = True) -> None:
    """Dotted lines at what trivial predictors score, named unless that is said elsewhere; drawn after all else.

    With `rows` they are upright, and stand beside the marks of each row, not behind the words above them.
    """
    low, high = axes.get_xlim() if rows else axes.get_ylim()
    places = sorted((100 * value, floor) for floor, value in floors.items())
    style = {"color": INK, "linestyle": ":", "linewidth": 1, "alpha": 0.7}
    level = 0
    for number, (place, floor) in enumerate(places):
        for row in range(rows):
            axes.plot([place, place], (row - MARK, row + MARK), **style)
        if not rows:
            axes.axhline(place, **style)
        if not named:
            continue
        label, small = shown(floor.replace("_", " "), 20), {"fontsize": 7, "textcoords": "offset points"}
        if rows:
            near = number and place - places[number - 1][0] < 0.2 * (high - low)
            level = level + 1 if near else 0
            at = {"xy": (place, 1), "xycoords": axes.get_xaxis_transform(), "xytext": (0, 2 + 8 * level)}
            axes.annotate(label, **at, ha="center", va="bottom", **small)
        else:
            below, above = (
                0 <= other < len(places) and abs(places[other][0] - place) < 0.08 * (high - low)
                for other in (number + 1, number - 1)
            )
            at = {"xy": (1, place), "xycoords": axes.get_yaxis_transform(), "xytext": (2, 0)}
            axes.annotate(label, **at, ha="left", va="top" if below else "bottom" if above else "center", **small)


def _name(axes: Any, row: int, label: str, said: str) -> None:
    """The name of a row above it to the left, and what it says to the right."""
    across = axes.get_yaxis_transform()
    axes.text(0.0, row - 0.28, " " + shown(label, 46), transform=across, ha="left", va="center", fontsize=9)
    axes.text(1.0, row - 0.28, said + " ", transform=across, ha="right", va="center", fontsize=9)


def _rows(axes: Any, count: int) -> None:
    axes.set_ylim(count - 0.5, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=INK, alpha=FAINT / 3, linewidth=0.6)


def rates(study: Mapping[str, Any], name: str) -> Figure | None:
    """Validation accuracy against the learning rate, a line for each arm. None where no rate was tuned."""
    arms = study["arms"]
    tuned: Sequence[Any] = [run for arm in arms for run in arm["tuning"] if run["val"] is not None]
    if not study["swept"] or not tuned:
        return None
    with figure(1, 1, 2.9 + 0.17 * len(arms) / _columns(arm["name"] for arm in arms)) as (canvas, (axes,)):
        for number, arm in enumerate(arms):
            style = Style.of(number)
            single = [(run["rate"], 100 * run["val"]) for run in arm["tuning"] if run["val"] is not None]
            if single:
                axes.plot(*zip(*single, strict=True), ".", color=style.colour, alpha=FAINT, markersize=5)
            curve = [(point["rate"], 100 * point["val"]) for point in arm["curve"]]
            rate, val = zip(*curve, strict=True) if curve else ((), ())
            look = {"color": style.colour, "marker": style.marker, "linestyle": style.line, "markersize": 5}
            axes.plot(rate, val, linewidth=1.6, label=shown(arm["name"]), **look)
            chosen = [point for point in curve if point[0] == arm["rate"]]
            if chosen:
                axes.plot(*zip(*chosen, strict=True), "o", color=style.colour, fillstyle="none", markersize=12)
        floor_lines(axes, study["floors"])
        log_axis(axes)
        if len(study["rates"]) <= MOST_TICKS:
            axes.set_xticks(study["rates"])
        axes.set_xlabel("learning rate")
        axes.set_ylabel("validation accuracy, %")
        axes.grid(color=INK, alpha=FAINT / 3, linewidth=0.6)
        legend(canvas, axes)
    rows = [[arm["name"], point["rate"], point["val"], _chosen(arm, point)] for arm in arms for point in arm["curve"]]
    said = "; ".join(f"{arm['name']} is best at {arm['rate']:g}" for arm in arms if arm["rate"] is not None)
    columns: Columns = [("arm", "text"), ("rate", "rate"), ("validation", "percent"), ("", "text")]
    return Figure(
        f"{name}-rates",
        "Score against learning rate",
        f"Validation accuracy of {len(arms)} arms over {len(study['rates'])} learning rates. {said}.",
        f"Mean over {len(study['tuning_seeds'])} tuning seed{'s' * (len(study['tuning_seeds']) > 1)}, dots are single "
        "seeds; a ring is the rate that was chosen. A rate has no mean where a run of it failed or diverged. "
        "Dotted: floors, of test.",
        Table(f"{name}-rates", "Mean validation accuracy, %, by learning rate", columns, rows),
        canvas,
    )


def _chosen(arm: Mapping[str, Any], point: Mapping[str, Any]) -> str:
    if point["rate"] != arm["rate"]:
        return ""
    return f"chosen, {arm['edge']} edge" if arm["edge"] else "chosen"


def legend(canvas: Any, axes: Any) -> None:
    """Names of the lines under the figure; one below the other where they are long."""
    handles, labels = axes.get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower left", ncols=_columns(labels), handlelength=3.2)


def _columns(names: Iterable[str]) -> int:
    return 2 if max(map(len, names), default=0) <= HALF else 1
