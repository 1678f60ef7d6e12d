"""What trackers have in common: which events are logged as what, and that none of them can lose a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from xmodal.errors import XmodalError
from xmodal.recipe import Recipe
from xmodal.run.events import Ended, Evaluated, Event, Started, Stepped
from xmodal.run.whole import write_json

STRANGE = (Exception, SystemExit)
"""Whatever a stranger's library does: some end the program."""
TOKENS = "trackers.json"
"""In a run folder: by which name each tracker knows the run, so that a resumed run goes on in the same one."""


@dataclass(frozen=True)
class Tracked:
    """The run that a tracker is to follow.

    Attributes:
        recipe: its recipe's name, which groups seeds.
        name: of the run: recipe, digest and seed.
        folder: the run folder.
        config: the recipe with every default, its digest, numbers of parameters, and floors.
        step: steps taken when the tracker begins to listen.
        token: by which the tracker knew the run before it was resumed; empty for a new one.
    """

    recipe: str
    name: str
    folder: Path
    config: Mapping[str, Any]
    step: int = 0
    token: str = ""


class Tracker(Protocol):
    """Logs one run. It is called with what it is to follow.

    Attributes:
        token: by which it knows the run.
    """

    token: str

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Logs values after so many steps."""
        ...

    def close(self, status: str, summary: Mapping[str, float]) -> None:
        """Ends the run with its `status` and its test scores, and lets everything be written."""
        ...


@dataclass
class Listening:
    """Listens to a run for one tracker. One that cannot begin is an error; one that fails later is told of, once."""

    name: str
    kind: Callable[..., Any]
    recipe: Recipe
    tell: Callable[[str], None]
    _tracker: Tracker | None = None
    _summary: dict[str, float] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Logs an event.

        Raises:
            XmodalError: the tracker cannot begin.
        """
        match event:
            case Started():
                self._begin(event)
            case Stepped():
                self._log(
                    {"train/loss": event.loss, "train/grad_norm": event.grad_norm, "train/lr": event.lr}, event.step
                )
            case Evaluated(split="test" | "train"):  # once, at the end
                self._summary |= _scores(event.split, event.scores) | {"best_step": float(event.step)}
            case Evaluated():
                self._log(_scores(event.split, event.scores), event.step)
            case Ended():
                self.close(str(event.result["status"]))

    def _begin(self, event: Started) -> None:
        folder = Path(event.folder)
        tokens = _read(folder / TOKENS) if event.resumed else {}
        config = {
            **self.recipe.model_dump(mode="json", exclude={"lock", "tiny"}),
            "recipe_digest": folder.name.partition("-")[0],
            "parameters": dict(event.parameters),
            "floors": dict(event.floors),
        }
        name = f"{event.name}-{folder.name}"
        run = Tracked(event.name, name, folder, config, event.step, tokens.get(self.name, ""))
        try:
            with _aside():
                tracker: Tracker = self.kind(run)
        except STRANGE as error:
            raise XmodalError(
                f"{self.name} cannot begin",
                where="trackers",
                why=f"{type(error).__name__}: {error}",
                fix=f"put that right, or run without {self.name}",
            ) from error
        self._tracker = tracker
        write_json(folder / TOKENS, {**_read(folder / TOKENS), self.name: tracker.token})

    def _log(self, values: Mapping[str, float], step: int) -> None:
        if self._tracker:
            try:
                self._tracker.log(values, step)
            except STRANGE as error:  # the run is worth more
                self._give_up(error)

    def close(self, status: str) -> None:
        """Ends the tracker's run, if it has begun and not ended."""
        tracker, self._tracker = self._tracker, None
        if tracker:
            try:
                with _aside():
                    tracker.close(status, self._summary)
            except STRANGE as error:
                self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        self._tracker = None
        self.tell(f"{self.name} logs no more of this run, which goes on: {type(error).__name__}: {error}")


def _aside() -> AbstractContextManager[Any]:
    """What a tracker says of itself is no result, and goes to the other stream."""
    return redirect_stdout(sys.stderr) if sys.stderr else nullcontext()


def _scores(split: str, scores: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{split}/{key}": float(value)
        for key, value in scores.items()
        if (key in ("accuracy", "loss") or key.startswith("accuracy_")) and value is not None
    }


def _read(file: Path) -> dict[str, str]:
    """What stands in it; nothing, where it is not there or is broken, and then a tracker begins a new run."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in said.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
