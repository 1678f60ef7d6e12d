"""Trackio, on this machine, or on a Space where `TRACKIO_SPACE_ID` says so; look with `trackio show`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any
from uuid import uuid4

from xmodal.trackers.listener import Tracked

trackio: Any = import_module("trackio")


class Trackio:
    """One Trackio run for a run, by whose name it is resumed."""

    def __init__(self, run: Tracked) -> None:
        self.token = run.token or f"{run.name}-{uuid4().hex[:6]}"
        self._step = run.step
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", "xmodal"),
            name=self.token,
            group=run.recipe,
            config=dict(run.config),
            resume="allow",
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`."""
        self._step = step
        self._run.log(dict(values), step=step)

    def close(self, status: str, summary: Mapping[str, float]) -> None:
        """As `Tracker.close`."""
        if summary:
            self._run.log({**summary, "status": status}, step=self._step)
        trackio.finish()  # its run is finished, and none is left to be finished once more when Python ends
