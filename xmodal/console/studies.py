"""What is seen of a study: what will run, what has run, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from xmodal.console.streams import err, out, say
from xmodal.console.tables import hundred, percent, show_rows

if TYPE_CHECKING:
    from xmodal.study.study import Progress


def show_preview(preview: Mapping[str, Any], *, result: bool) -> None:
    """What a study will run: its arms, rates and seeds, and how much that is; on the error stream unless asked for."""
    to = out if result else err
    rows = [(_named(arm, preview), arm["spec"], f"{arm['trainable']:,}") for arm in preview["arms"]]
    show_rows(("arm", "frozen", ">trains"), rows, to=to)
    rates = ", ".join(f"{rate:g}" for rate in preview["rates"])
    tuned = ", ".join(map(str, preview["tuning_seeds"]))
    lines = [
        f"{'rates' if tuned else 'rate, not tuned'}: {rates}",
        *([f"tuning: {preview['tuning_runs']} runs, seeds {tuned}"] if tuned else []),
        f"report: {preview['report_runs']} runs, seeds {', '.join(map(str, preview['report_seeds']))}",
        f"at most {preview['tuning_runs'] + preview['report_runs']} runs and {preview['most_steps']:,} steps, and "
        f"{preview['most_checkpoint_bytes'] / 1e9:.1f} GB of checkpoints; less what is there",
        *(["where the best rate lies at an edge, up to 2 more rates for every arm"] if tuned else []),
        "how long that takes is told after the first run",
    ]
    to.print(Text("\n".join(lines)), soft_wrap=True)


def show_progress(progress: Progress) -> None:
    """A line for a run of a study that has ended."""
    outcome, trial = progress.outcome, progress.outcome.trial
    score = f"val {percent(outcome.val)}" if trial.purpose == "tuning" else f"test {percent(outcome.test)}"
    ended = "" if outcome.status == "done" else f" {outcome.status}{outcome.error and f': {outcome.error}'}"
    left = "" if not progress.left or not progress.ran else f"; about {max(progress.left / 60, 0.1):.1f} min left"
    say(
        f"{progress.done}/{progress.total} {trial.arm.name}, lr {trial.rate:g}, seed {trial.seed}:{ended} {score}"
        f"{'' if progress.ran else ', was there'}{left}"
    )


def show_study(study: Mapping[str, Any]) -> None:
    """Arms with their intervals over seeds, differences from the control, and verdicts."""
    rows = []
    for arm in study["arms"]:
        rate = "–" if arm["rate"] is None else f"{arm['rate']:g}"
        row = (
            _named(arm, study),
            f"{arm['trainable']:,}",
            rate + (" edge" if arm["edge"] else ""),
            hundred(arm["mean"]),
            "–" if arm["interval"] is None else "-".join(map(hundred, arm["interval"])),
            f"{arm['seeds']}",
        )
        rows.append(row)
    show_rows(("arm", ">trains", ">rate", ">test %", ">95 %", ">seeds"), rows)
    _show_effects(f"less {study['control']}", [(row["arm"], row) for row in study["comparisons"]])
    if study["contrasts"]:
        _show_effects("effect", [(" x ".join(row["factors"]), row) for row in study["contrasts"]])
    floors = ", ".join(f"{name.replace('_', ' ')} {percent(value)}" for name, value in study["floors"].items())
    lines = [
        f"floors: {floors}" if floors else "",
        "95 %: Student's interval over seeds; differences are in points, paired by seed",
        "p: Holm's over the rows of its table; sees: the least difference that has a chance of "
        f"{100 * study['power']:.0f} %",
        "" if study["swept"] else "one rate for every arm, not tuned: a verdict holds at this rate only",
        *(f"which of {one} and {two} is ahead depends on the rate" for one, two in study["reversals"][:3]),
    ]
    out.print(Text("\n".join(filter(None, lines)), style="dim"), soft_wrap=True)
    bad = [
        f"{arm['name']}, lr {run['rate']:g}, seed {run['seed']}: {run['status']} {run.get('error', '')}".strip()
        for arm in study["arms"]
        for run in arm["tuning"] + arm["report"]
        if run["status"] != "done"
    ]
    bad += list(dict.fromkeys(fault for arm in study["arms"] for fault in arm.get("legacy", ())))
    bad += [f"runs of different {name}: {', '.join(values)}" for name, values in study["mixed"].items()]
    if bad:
        out.print(Text("\n".join(bad), style="yellow"), soft_wrap=True)


def _named(arm: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    return arm["name"] + (" (control)" if arm["name"] == study["control"] else "")


def _show_effects(title: str, effects: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    rows = []
    for name, row in effects:
        low, high = row["interval"] or (None, None)
        cells = (
            name,
            "–" if row["difference"] is None else f"{100 * row['difference']:+.1f}",
            "–" if low is None or high is None else f"{100 * low:+.1f} {100 * high:+.1f}",
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
