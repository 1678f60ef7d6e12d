"""TensorBoard: event files in the run folder, to be looked at with `tensorboard --logdir runs`."""

from __future__ import annotations

from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from xmodal.recipe.source import dump
from xmodal.trackers.listener import Tracked

FOLDER = "tensorboard"


class TensorBoard:
    """Scalars by step, the recipe as text. A resumed run hides what was logged after its checkpoint."""

    token = FOLDER

    def __init__(self, run: Tracked) -> None:
        self._step = run.step
        self._writer = SummaryWriter(str(run.folder / FOLDER), purge_step=run.step + 1)
        text = "\n".join("    " + line for line in dump(dict(run.config)).splitlines())
        self._writer.add_text("config", text, run.step + 1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`."""
        self._step = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, status: str, summary: Mapping[str, float]) -> None:
        """As `Tracker.close`."""
        for name, value in summary.items():
            self._writer.add_scalar(name, value, self._step)
        self._writer.add_text("status", status, self._step)
        self._writer.close()
