"""MLflow, on the server or in the folder that `MLFLOW_TRACKING_URI` names."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from xmodal.trackers.listener import Tracked

entities: Any = import_module("mlflow.entities")
tracking: Any = import_module("mlflow.tracking")

MOST_METRICS, MOST_PARAMS, LONGEST = 1000, 100, 500
"""What a server takes at once, and of a parameter's value."""
STATUS = {"done": "FINISHED", "diverged": "FAILED", "interrupted": "KILLED", "failed": "FAILED"}


class Mlflow:
    """One MLflow run for a run. Values are sent together, at each look at validation and at the end."""

    def __init__(self, run: Tracked) -> None:
        self._client, self._kept, self._step = tracking.MlflowClient(), list[Any](), run.step
        if run.token:
            self.token = run.token
            self._client.update_run(self.token, status="RUNNING")
            return
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME", "xmodal")
        found = self._client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self._client.create_experiment(project)
        tags = {"recipe": run.recipe, "folder": str(run.folder)}
        self.token: str = self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
        params = [entities.Param(key, str(value)[:LONGEST]) for key, value in _flat(run.config, "")]
        for at in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self.token, params=params[at : at + MOST_PARAMS])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """As `Tracker.log`."""
        self._step, now = step, int(time.time() * 1000)
        self._kept += [entities.Metric(name, value, now, step) for name, value in values.items()]
        if len(self._kept) > MOST_METRICS // 2 or any(name.startswith("val/") for name in values):
            self._send()

    def close(self, status: str, summary: Mapping[str, float]) -> None:
        """As `Tracker.close`."""
        self.log(summary, self._step)
        self._send()
        self._client.set_tag(self.token, "status", status)
        self._client.set_terminated(self.token, STATUS[status])

    def _send(self) -> None:
        metrics, self._kept = self._kept, []
        if metrics:
            self._client.log_batch(self.token, metrics=metrics)


def _flat(said: Mapping[str, Any], under: str) -> Iterator[tuple[str, Any]]:
    """Dotted keys, since a parameter of MLflow is one value."""
    for key, value in said.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{under}{key}.")
        else:
            yield f"{under}{key}", value
