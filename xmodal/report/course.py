"""Figures of how training went: learning curves, and norms at step 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from xmodal.report.effects import floor_lines, legend
from xmodal.report.figure import FAINT, INK, Figure, Style, figure, log_axis, shown
from xmodal.report.tables import Table, named
from xmodal.report.trace import Trace

MOST_PANELS, MOST_ROWS = 12, 30
"""More are in the table alone: nobody compares them by eye."""
TITLE = 23
"""Most characters of a name above a panel of two in a row."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in the seed alone.

    Attributes:
        name: of the arm, or of the recipe.
        style: as in the other figures.
        traces: the course of each run, by its seed.
        floors: what trivial predictors score.
        kin: the same for groups that may be seen together, for they were asked the same.
    """

    name: str
    style: Style
    traces: dict[int, Trace]
    floors: Mapping[str, float]
    kin: str = ""

    def band(self) -> list[tuple[int, float, float, float]]:
        """Step, mean, lowest and highest accuracy, at each step at which every seed was looked at."""
        looks = [dict(trace.looks) for trace in self.traces.values() if trace.looks]
        shared = sorted(set.intersection(*map(set, looks))) if looks else []
        by_step = [(step, [look[step] for look in looks]) for step in shared]
        return [(step, mean(values), min(values), max(values)) for step, values in by_step]


def learning(groups: Sequence[Group], name: str) -> Figure | None:
    """Validation accuracy over steps, a panel for each group, before the means of the others. None without any look."""
    groups = [group for group in groups if any(trace.looks for trace in group.traces.values())]
    if not groups:
        return None
    drawn = groups[:MOST_PANELS]
    columns = min(2, len(drawn))
    lines = -(-len(drawn) // columns)
    with figure(lines, columns, 0.5 + (2.0 if columns > 1 else 2.8) * lines) as (canvas, panels):
        for panel, group in zip(panels[: len(drawn)], drawn, strict=True):
            kin = [other for other in drawn if other.kin == group.kin]
            _panel(panel, group, [other for other in kin if other is not group], named=group is kin[0])
        for spare in panels[len(drawn) :]:
            spare.set_visible(False)
        for panel in panels[max(0, len(drawn) - columns) : len(drawn)]:
            panel.set_xlabel("steps")
            panel.xaxis.get_major_locator().set_params(integer=True, nbins=4)
            panel.tick_params(labelbottom=True)
        canvas.supylabel("validation accuracy, %", fontsize=9, color=INK)
    rows = [
        [group.name, seed, step, accuracy]
        for group in groups
        for seed, trace in group.traces.items()
        for step, accuracy in trace.looks
    ]
    ends = [(group.name, band[-1]) for group in drawn if (band := group.band())]
    said = "; ".join(f"{label} ends at {100 * last[1]:.1f} % at step {last[0]}" for label, last in ends)
    left = _left_out(drawn, groups)
    return Figure(
        f"{name}-learning",
        "Learning curves",
        f"Validation accuracy over steps, {len(drawn)} panels. Means over seeds: {said}.",
        "Thin: single seeds. Thick: their mean, with a band from the lowest to the best, as long as all seeds train; "
        f"a seed that no longer improved stopped earlier. Pale: the means of the others. Dotted: floors.{left}",
        Table(
            f"{name}-learning",
            "Validation accuracy, %, at each look",
            [("runs", "text"), ("seed", "text"), ("step", "count"), ("validation", "percent")],
            rows,
        ),
        canvas,
    )


def _panel(axes: Any, group: Group, others: Sequence[Group], *, named: bool) -> None:
    for other in others:
        if band := other.band():
            axes.plot([at[0] for at in band], [100 * at[1] for at in band], color=INK, alpha=0.18, linewidth=1)
    colour = group.style.colour
    for trace in group.traces.values():
        if trace.looks:
            steps, values = zip(*trace.looks, strict=True)
            axes.plot(steps, [100 * value for value in values], color=colour, linewidth=0.7, alpha=0.6)
    if band := group.band():
        steps, middle, low, high = zip(*band, strict=True)
        percent = [[100 * value for value in course] for course in (middle, low, high)]
        axes.fill_between(steps, percent[1], percent[2], color=colour, alpha=0.2, linewidth=0)
        few = {"marker": group.style.marker, "markersize": 4} if len(steps) <= 12 else {}
        axes.plot(steps, percent[0], color=colour, linewidth=2, linestyle=group.style.line, **few)
    floor_lines(axes, group.floors, named=named)
    axes.set_title(shown(group.name, TITLE), loc="left")
    axes.grid(color=INK, alpha=FAINT / 3, linewidth=0.6)


def norms(groups: Sequence[Group], name: str) -> Figure | None:
    """Root mean squares at step 0, of tokens and of hidden states, a row for each group. None where none is known."""
    groups = [group for group in groups if any(trace.norms for trace in group.traces.values())]
    names = list(dict.fromkeys(norm for group in groups for trace in group.traces.values() for norm in trace.norms))
    if not names:
        return None
    drawn = groups[:MOST_ROWS]
    with figure(1, 1, 1.2 + 0.3 * len(drawn)) as (canvas, (axes,)):
        for number, norm in enumerate(names):
            places = [
                (trace.norms[norm], row)
                for row, group in enumerate(drawn)
                for trace in group.traces.values()
                if trace.norms.get(norm)
            ]
            style = Style.of(number + 1)
            if places:
                across, rows = zip(*places, strict=True)
                axes.plot(across, rows, style.marker, color=style.colour, fillstyle="none", label=shown(norm))
        axes.set_yticks(range(len(drawn)), [shown(group.name, 28) for group in drawn])
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        log_axis(axes)
        axes.set_xlabel("root mean square at step 0")
        axes.grid(color=INK, alpha=FAINT / 3, linewidth=0.6)
        legend(canvas, axes)
    rows = [
        [group.name, seed, *(trace.norms.get(norm) for norm in names)]
        for group in groups
        for seed, trace in group.traces.items()
        if trace.norms
    ]
    left = _left_out(drawn, groups)
    return Figure(
        f"{name}-norms",
        "Norms at step 0",
        f"Root mean squares of {' and '.join(names)} before the first step, a row for each of {len(drawn)}.",
        "One mark a seed. Tokens that are much smaller or larger than what the body knows show here: a badly scaled "
        f"input learns late or never.{left}",
        Table(
            f"{name}-norms",
            "Root mean squares at step 0",
            named("text", "runs", "seed") + named("size", *names),
            rows,
        ),
        canvas,
    )


def _left_out(drawn: Sequence[Group], groups: Sequence[Group]) -> str:
    return f" {len(drawn)} of {len(groups)} are drawn, all are in the table." if len(drawn) < len(groups) else ""
