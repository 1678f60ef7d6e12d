"""Weights & Biases, online or off, as its own environment variables say (`WANDB_PROJECT`, `WANDB_MODE`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any
from uuid import uuid4

from xmodal.trackers.listener import Tracked

wandb: Any = import_module("wandb")


class Wandb:
    """One W&B run for a run; seeds of a recipe are a group."""

    def __init__(self, run: Tracked) -> None:
        self.token = run.token or uuid4().hex[:12]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "xmodal"),
            id=self.token,
            name=run.name,
            group=run.recipe,
            dir=str(run.folder),
            config=dict(run.config),
            resume="allow",
            reinit="create_new",
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`."""
        self._run.log(dict(values), step=step)

    def close(self, status: str, summary: Mapping[str, float]) -> None:
        """As `Tracker.close`."""
        self._run.summary.update({**summary, "status": status})
        self._run.finish(exit_code=0 if status in ("done", "interrupted") else 1)
