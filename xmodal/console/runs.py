"""What is seen of a run: progress while it goes on, and results side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from xmodal.console.streams import err, out, say, shows_live
from xmodal.console.tables import show_rows
from xmodal.report.numbers import hundred, percent
from xmodal.report.words import labelled
from xmodal.run.events import Ended, Evaluated, Evaluating, Event, Started, Stepped, Stopped


class RunView:
    """Listens to a run: a live bar on a terminal or in a notebook, a line for each look elsewhere."""

    def __init__(self) -> None:
        self._live = shows_live()
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

    def warn(self, text: str) -> None:
        """Says what is not as it should be, above the bar."""
        err.print(Text(f"warning: {text}", style="yellow"), soft_wrap=True)

    def close(self) -> None:
        """Takes the bar away."""
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _start(self, event: Started) -> None:
        self._name, self._total, self._first = event.name, event.steps, event.step
        for warning in event.warnings:
            self.warn(warning)
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
            if event.split != "val":
                say(f"{event.split} {accuracy}{hidden}, with the model of step {event.step}")
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
    rows, labels = [], labelled(results)
    for result in results:
        test = result.get("test") or {}
        scores = [("", test.get("accuracy")), *_subsets(test)]
        low, high = test.get("interval", (None, None))
        status = " tiny" * result.get("tiny", False) + f" {result['status']}" * (result["status"] != "done")
        row = (
            f"{labels[result['name'], result['recipe_digest']]} s{result['seed']}{status}",
            "\n".join(f"{name} {hundred(value)}".strip() for name, value in scores),
            "" if low is None else f"{hundred(low)}-{hundred(high)}",
            "\n".join(f"{name.replace('_', ' ')} {hundred(value)}" for name, value in result.get("floors", {}).items()),
            f"{result['best_step']}/{result['steps']}",
            f"{result['seconds']:.0f} s" if result.get("seconds") is not None else "",
        )
        rows.append(row)
    show_rows(("run", ">test %", ">interval", ">floors %", ">best step", ">time"), rows)
    for result in results:
        if said := _coverage(result.get("coverage") or {}):
            out.print(Text(f"{result['name']} s{result['seed']}: {said}"), style="yellow", soft_wrap=True)
        if trained := result.get("train"):
            text = f"{result['name']} s{result['seed']}: {percent(trained['accuracy'])} of what it was trained on"
            out.print(Text(text), soft_wrap=True)
        for fault in result.get("legacy", ()):
            out.print(Text(f"{result['name']} s{result['seed']}: {fault}"), style="yellow", soft_wrap=True)
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
        "in_val": "that validation has too, which chose the step",
    }
    found = [
        f"{counts[key]} of {counts['samples']} {split} samples {word}"
        for split, counts in coverage.items()
        for key, word in words.items()
        if counts.get(key)
    ]
    return "; ".join(found)


def _subsets(scores: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(key.removeprefix("accuracy_"), value) for key, value in scores.items() if key.startswith("accuracy_")]
