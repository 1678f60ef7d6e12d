"""What a person sees. The only file that imports rich.

Progress and errors go to the error stream, results to the output stream, so that a pipe gets results alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import IO, TYPE_CHECKING, Any, cast

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from xmodal.errors import RecipeError, XmodalError
from xmodal.freeze.table import summary
from xmodal.run.events import Ended, Evaluated, Evaluating, Event, Started, Stepped, Stopped

if TYPE_CHECKING:
    from xmodal.study.study import Progress as StudyProgress


class _Stream:
    """A standard stream that no reader can break: where nobody reads any more, what is said is lost and work goes on.

    Results that a full disk refuses are an error; progress that it refuses is lost as well.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(getattr(sys, self._name), attribute)

    def write(self, text: str) -> int:
        stream = getattr(sys, self._name)
        try:
            stream.write(text)
            stream.flush()
        except OSError as error:
            # What is still in the buffer would fail once more when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if self._name == "stdout" and not isinstance(error, BrokenPipeError):
                why = error.strerror or str(error)
                raise XmodalError("the output cannot be written", where="standard output", why=why) from None
        return len(text)

    def flush(self) -> None:
        """Every write is whole."""


out = Console(file=cast(IO[str], _Stream("stdout")), highlight=False, soft_wrap=False)
err = Console(file=cast(IO[str], _Stream("stderr")), highlight=False)


def percent(share: float | None) -> str:
    """`99.2 %`, or a dash for what is not known."""
    return "–" if share is None else f"{_hundred(share)} %"


def show_error(error: XmodalError) -> None:
    """What, where, why and fix, in colour where there is colour."""
    problems = error.problems if isinstance(error, RecipeError) else [error]
    for problem in problems:
        err.print(_message(problem), soft_wrap=True)
    if len(problems) > 1:
        err.print(f"{len(problems)} problems", style="bold red")


def _message(error: XmodalError) -> Text:
    head, *tail = str(error).split("\n")
    text = Text(head, style="bold red")
    for line in tail:
        text.append("\n" + line, style="green" if line.startswith("  fix:") else "default")
    return text


def say(text: str) -> None:
    """A line on the error stream, for what is not a result."""
    err.print(Text(text), soft_wrap=True)


class RunView:
    """Listens to a run: a live bar on a terminal, a line for each look elsewhere."""

    def __init__(self) -> None:
        self._live = err.is_terminal
        self._progress: Progress | None = None
        self._task = self._eval_task = None
        self._loss = self._val = ""
        self._name, self._total = "", 0
        self._began, self._first = perf_counter(), 0

    def __call__(self, event: Event) -> None:
        """Shows an event."""
        match event:
            case Started():
                self._start(event)
            case Stepped():
                self._loss = f"loss {event.loss:.3f}"
                self._advance(event)
            case Evaluating():
                self._evaluating(event)
            case Evaluated():
                self._evaluated(event)
            case Stopped():
                self.close()
                say(f"{self._name}: {_REASONS[event.reason]} at step {event.step}")
            case Ended():
                self.close()

    def close(self) -> None:
        """Takes the bar away."""
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _start(self, event: Started) -> None:
        self._name, self._total, self._first = event.name, event.steps, event.step
        for warning in event.warnings:
            err.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
        floors = ", ".join(f"{name} {percent(value)}" for name, value in event.floors.items())
        parameters = event.parameters
        share = parameters["trainable"] / parameters["total"]
        say(
            f"{event.name}: {parameters['trainable']:,} of {parameters['total']:,} parameters train "
            f"({100 * share:.2f} %); floors: {floors}"
        )
        say(f"{'resumed at step ' + str(event.step) + ' in' if event.resumed else 'writing'} {event.folder}")
        if self._live:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(compact=True),
                console=err,
                expand=True,
            )
            self._task = self._progress.add_task(event.name, total=event.steps, completed=event.step, note="")
            self._progress.start()
        self._began = perf_counter()

    def _advance(self, event: Stepped) -> None:
        if self._progress and self._task is not None:
            speed = (event.step - self._first) / max(perf_counter() - self._began, 1e-9)
            note = " ".join(filter(None, [self._loss, self._val, f"{speed:.1f}/s"]))
            self._progress.update(self._task, completed=event.step, note=note)

    def _evaluating(self, event: Evaluating) -> None:
        if not self._progress:
            return
        if self._eval_task is None:
            self._eval_task = self._progress.add_task(f"  {event.split}", total=event.total, note="")
        self._progress.update(self._eval_task, completed=event.done, total=event.total)

    def _evaluated(self, event: Evaluated) -> None:
        if self._progress and self._eval_task is not None:
            self._progress.remove_task(self._eval_task)
            self._eval_task = None
        accuracy = percent(event.scores["accuracy"])
        if event.split == "val":
            self._val = f"val {accuracy}"
        if not self._live:
            mark = " (best)" if event.best else ""
            hidden = "".join(f" {name} {percent(value)}" for name, value in _subsets(event.scores))
            if event.split == "test":
                say(f"test {accuracy}{hidden}, with the model of step {event.step}")
            else:
                say(f"step {event.step}/{self._total} {self._loss} {event.split} {accuracy}{hidden}{mark}")


_REASONS = {
    "steps": "all steps taken",
    "patience": "validation no longer improves, stopped",
    "diverged": "the loss is no longer finite, stopped",
    "interrupted": "interrupted, saved; go on with --resume,",
}


def show_results(results: Sequence[Mapping[str, Any]]) -> None:
    """A table of runs: status, scores with their interval over test items, floors, steps and time."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold")
    for name in ("test %", "interval", "floors %", "best step", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        test = result.get("test") or {}
        scores = [("", test.get("accuracy")), *_subsets(test)]
        low, high = test.get("interval", (None, None))
        status = "" if result["status"] == "done" else f" {result['status']}"
        cells = (
            f"{result['name']} s{result['seed']}{status}",
            "\n".join(f"{name} {_hundred(value)}".strip() for name, value in scores),
            "" if low is None else f"{_hundred(low)}-{_hundred(high)}",
            "\n".join(
                f"{name.replace('_', ' ')} {_hundred(value)}" for name, value in result.get("floors", {}).items()
            ),
            f"{result['best_step']}/{result['steps']}",
            f"{result['seconds']:.0f} s" if result.get("seconds") is not None else "",
        )
        table.add_row(*(Text(cell) for cell in cells))
    out.print(table)
    for result in results:
        if said := _coverage(result.get("coverage") or {}):
            out.print(Text(f"{result['name']} s{result['seed']}: {said}"), style="yellow", soft_wrap=True)
    if any(result.get("test") for result in results):
        out.print(Text("interval: 95 % over test items, for this one model, not over seeds"), style="dim")
        out.print(Text("steps: the best on validation, of those taken; test was read once, there"), style="dim")
    else:
        out.print(Text("steps: the best on validation, of those taken; test was not read"), style="dim")


def _coverage(coverage: Mapping[str, Mapping[str, int]]) -> str:
    """What of each split was not used whole, or could not be known."""
    words = {
        "truncated": "cut",
        "skipped": "left out",
        "unseen": "with a label that training lacks",
        "repeated": "that training has too",
    }
    found = [
        f"{counts[key]} of {counts['samples']} {split} samples {word}"
        for split, counts in coverage.items()
        for key, word in words.items()
        if counts.get(key)
    ]
    return "; ".join(found)


def _hundred(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _subsets(scores: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(key.removeprefix("accuracy_"), value) for key, value in scores.items() if key.startswith("accuracy_")]


def show_plan(plan: Mapping[str, Any], title: str) -> None:
    """The freeze plan: what each role holds and whether it trains, then each clause and what it hit."""
    table = Table(title=title, title_justify="left")
    for name in ("role", "layers", "tensors", "parameters", "state"):
        table.add_column(name, justify="right" if name in ("tensors", "parameters") else "left")
    colours = {"trainable": "green", "frozen": "cyan", "unused": "dim"}
    for row in plan["rows"]:
        state = row["state"]
        table.add_row(
            ".".join(filter(None, (row["role"], row["part"]))),
            row["layers"],
            f"{row['tensors']:,}",
            f"{row['parameters']:,}",
            state,
            style=colours[state],
        )
    out.print(table)
    clauses = Table(title=f"freeze: {plan['spec']}", title_justify="left")
    for name in ("clause", "tensors hit", "state changed"):
        clauses.add_column(name, justify="left" if name == "clause" else "right")
    for clause in plan["clauses"]:
        clauses.add_row(f"{clause['sign']} {clause['text']}", f"{clause['hits']:,}", f"{clause['changed']:,}")
    out.print(clauses)
    out.print(summary(plan["counts"]))


def show_preview(preview: Mapping[str, Any], *, result: bool) -> None:
    """What a study will run: its arms, rates and seeds, and how much that is; on the error stream unless asked for."""
    to = out if result else err
    table = _plain("arm", "frozen", ">trains")
    for arm in preview["arms"]:
        mark = " (control)" if arm["name"] == preview["control"] else ""
        table.add_row(Text(arm["name"] + mark), Text(arm["spec"]), f"{arm['trainable']:,}")
    to.print(table)
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


def show_progress(progress: StudyProgress) -> None:
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
    arms = _plain("arm", ">trains", ">rate", ">test %", ">95 %", ">seeds")
    for arm in study["arms"]:
        rate = "–" if arm["rate"] is None else f"{arm['rate']:g}"
        arms.add_row(
            Text(arm["name"] + (" (control)" if arm["name"] == study["control"] else "")),
            f"{arm['trainable']:,}",
            rate + (" edge" if arm["edge"] else ""),
            _hundred(arm["mean"]),
            "–" if arm["interval"] is None else "-".join(map(_hundred, arm["interval"])),
            f"{arm['seeds']}",
        )
    out.print(arms)
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
    bad += [f"runs of different {name}: {', '.join(values)}" for name, values in study["mixed"].items()]
    if bad:
        out.print(Text("\n".join(bad), style="yellow"), soft_wrap=True)


def _show_effects(title: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    table = _plain(title, ">points", ">95 %", ">p", ">sees", "verdict")
    for name, row in rows:
        low, high = row["interval"] or (None, None)
        table.add_row(
            Text(name),
            "–" if row["difference"] is None else f"{100 * row['difference']:+.1f}",
            "–" if low is None or high is None else f"{100 * low:+.1f} {100 * high:+.1f}",
            "–" if row["p_holm"] is None else f"{row['p_holm']:.2g}",
            "–" if row["detectable"] is None else f"{100 * row['detectable']:.1f}",
            Text(row["verdict"], style=_VERDICTS[row["verdict"]]),
        )
    out.print(table)
    for name, row in rows:
        out.print(Text(f"{name}: {row['why']}"))


_VERDICTS = {"supported": "green", "contradicted": "red", "not resolved": "yellow", "edge-limited": "yellow"}


def _plain(*columns: str) -> Table:
    """A table without a frame; `>` before a column aligns it right, and the first one folds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        right = column.startswith(">")
        table.add_column(
            column.removeprefix(">"),
            justify="right" if right else "left",
            no_wrap=right,
            overflow="fold",
            min_width=8 if not number else None,
        )
    return table


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A plain table of words."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    out.print(table)


def write(text: str) -> None:
    """Text for another program, as it is."""
    out.file.write(text + "\n")
