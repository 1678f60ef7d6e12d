"""The calls that reach wandb, trackio and MLflow. Each fake has those calls alone, and needs no package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from halting import StopAt

import xmodal
from xmodal.recipe import Recipe
from xmodal.trackers import TRACKERS

Calls = list[tuple[Any, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What was called, in order; the packages are put in place of what may be installed."""
    made: Calls = []
    for name, module in {"wandb": wandb(made), "trackio": trackio(made), **mlflow(made)}.items():
        monkeypatch.setitem(sys.modules, name, module)
    for home in TRACKERS.values():
        monkeypatch.delitem(sys.modules, home.partition(":")[0], raising=False)
    for name in ("WANDB_PROJECT", "TRACKIO_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return made


def module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(members)
    return made


def wandb(calls: Calls) -> ModuleType:
    def init(
        *, project: str, id: str, name: str, group: str, dir: str, config: dict[str, Any], resume: str, reinit: str
    ) -> Any:
        calls.append(("init", project, id, name, group, Path(dir).is_dir(), config["name"], resume, reinit))
        summary = SimpleNamespace(update=lambda said: calls.append(("summary", said)))
        return SimpleNamespace(
            log=lambda values, step: calls.append(("log", step, values)),
            summary=summary,
            finish=lambda exit_code: calls.append(("finish", exit_code)),
        )

    return module("wandb", init=init)


def trackio(calls: Calls) -> ModuleType:
    def init(*, project: str, name: str, group: str, config: dict[str, Any], resume: str) -> Any:
        calls.append(("init", project, name, group, config["name"], resume))
        return SimpleNamespace(log=lambda values, step: calls.append(("log", step, values)))

    return module("trackio", init=init, finish=lambda: calls.append(("finish",)))


def mlflow(calls: Calls) -> dict[str, ModuleType]:
    class MlflowClient:
        def get_experiment_by_name(self, name: str) -> Any:
            return None

        def create_experiment(self, name: str) -> str:
            calls.append(("experiment", name))
            return "7"

        def create_run(self, experiment: str, *, run_name: str, tags: dict[str, str]) -> Any:
            calls.append(("run", experiment, run_name, tags["recipe"]))
            return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

        def update_run(self, run: str, status: str) -> None:
            calls.append(("update", run, status))

        def log_batch(self, run: str, metrics: Any = (), params: Any = ()) -> None:
            assert len(metrics) <= 1000
            assert len(params) <= 100
            assert all(isinstance(value, str) and len(value) <= 500 for _, value in params)
            calls.append(("params", dict(params)) if params else ("metrics", [(m[0], m[3]) for m in metrics]))

        def set_tag(self, run: str, key: str, value: str) -> None:
            calls.append(("tag", key, value))

        def set_terminated(self, run: str, status: str) -> None:
            calls.append(("terminated", run, status))

    entities = module("mlflow.entities", Metric=lambda *said: said, Param=lambda *said: said)
    tracking = module("mlflow.tracking", MlflowClient=MlflowClient)
    return {"mlflow": module("mlflow"), "mlflow.entities": entities, "mlflow.tracking": tracking}


def stopped_and_resumed(recipe: Recipe, out: Path, name: str) -> xmodal.Run:
    stop = StopAt(3)
    xmodal.train(recipe, out=out, trackers=[name], listeners=[stop.follow], stop=stop)
    return xmodal.train(recipe, out=out, trackers=[name], resume=True)


def test_wandb(recipe: Recipe, tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped_and_resumed(recipe, tmp_path, "wandb")
    first, second = (call for call in calls if call[0] == "init")
    name = f"quickstart-{run.folder.name}"
    assert (
        first == second == ("init", "xmodal", first[2], name, "quickstart", True, "quickstart", "allow", "create_new")
    )
    assert [call[1] for call in calls if call[0] == "log" and "train/loss" in call[2]] == [1, 2, 3, 4, 5, 6]
    assert [call[1] for call in calls if call[0] == "log" and "val/loss" in call[2]] == [2, 4, 6]
    first_end, (_, last) = (call for call in calls if call[0] == "summary")
    assert first_end == ("summary", {"status": "interrupted"})
    assert run.result.test
    assert (last["test/accuracy"], last["status"]) == (run.result.test.accuracy, "done")
    assert [call for call in calls if call[0] == "finish"] == [("finish", 0)] * 2
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    xmodal.train(recipe, out=tmp_path, trackers=["wandb"], force=True)
    third = [call for call in calls if call[0] == "init"][2]
    assert third[1] == "mine"
    assert third[2] != first[2]


def test_trackio(recipe: Recipe, tmp_path: Path, calls: Calls) -> None:
    run = stopped_and_resumed(recipe, tmp_path, "trackio")
    first, second = (call for call in calls if call[0] == "init")
    assert first == second
    assert first[1:2] + first[3:] == ("xmodal", "quickstart", "quickstart", "allow")
    assert first[2].startswith(f"quickstart-{run.folder.name}-")
    assert [call[1] for call in calls if call[0] == "log" and "train/loss" in call[2]] == [1, 2, 3, 4, 5, 6]
    assert run.result.test
    last = calls[-2]
    assert last[:2] == ("log", 6)
    assert (last[2]["test/accuracy"], last[2]["status"]) == (run.result.test.accuracy, "done")
    assert [call for call in calls if call == ("finish",)] == [("finish",)] * 2


def test_mlflow(recipe: Recipe, tmp_path: Path, calls: Calls) -> None:
    run = stopped_and_resumed(recipe, tmp_path, "mlflow")
    assert calls[:2] == [("experiment", "xmodal"), ("run", "7", f"quickstart-{run.folder.name}", "quickstart")]
    assert calls[2][0] == "params"
    assert calls[2][1]["train.steps"] == "6"
    assert calls[2][1]["parameters.total"]
    assert [call for call in calls if call[0] == "update"] == [("update", "abc", "RUNNING")]
    sent = [metric for call in calls if call[0] == "metrics" for metric in call[1]]
    assert [step for name, step in sent if name == "train/loss"] == [1, 2, 3, 4, 5, 6]
    assert [step for name, step in sent if name == "val/accuracy"] == [2, 4, 6]
    assert [step for name, step in sent if name == "test/accuracy"] == [6]
    ends = [call for call in calls if call[0] in ("tag", "terminated")]
    assert ends == [
        ("tag", "status", "interrupted"),
        ("terminated", "abc", "KILLED"),
        ("tag", "status", "done"),
        ("terminated", "abc", "FINISHED"),
    ]
