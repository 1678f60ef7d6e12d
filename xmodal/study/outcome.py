"""How a run of a study ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmodal.run.result import lock_digest, made_with
from xmodal.study.design import Trial


@dataclass(frozen=True)
class Outcome:
    """How a run of a study ended.

    Attributes:
        trial: what was run.
        status: `done`, `diverged` or `failed`.
        val: best accuracy on validation, or None where there was no look at it.
        test: accuracy on test, with the parameters of that look.
        labels: number of labels in test.
        floors: what trivial predictors score.
        steps: steps taken; `best_step` those of the best look; `steps_to` when thresholds were reached.
        folder: of the run, below that of all runs.
        error: why it failed.
        made_with: versions and threads.
        lock: identifies its lock file.
        train: accuracy on samples that it was trained on, with the parameters of its best look, where the recipe asks.
    """

    trial: Trial
    status: str
    val: float | None = None
    test: float | None = None
    labels: int = 0
    floors: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0
    best_step: int = 0
    steps_to: Mapping[str, int | None] = field(default_factory=dict)
    folder: str = ""
    error: str = ""
    made_with: Mapping[str, str] = field(default_factory=dict)
    lock: str = ""
    train: float | None = None

    @classmethod
    def of(cls, trial: Trial, result: Mapping[str, Any], out: Path, folder: Path) -> Outcome:
        """From a run's `result.json` and what lies beside it, in a folder below `out`."""
        val, test, train = (result.get(split) or {} for split in ("val", "test", "train"))
        return cls(
            trial,
            result["status"],
            val.get("accuracy"),
            test.get("accuracy"),
            test.get("labels", 0),
            result["floors"],
            result["steps"],
            result["best_step"],
            result.get("steps_to", {}),
            str(folder.relative_to(out)),
            "",
            made_with(folder),
            lock_digest(folder),
            train.get("accuracy"),
        )
