"""What is logged, when, and that no tracker can lose a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from halting import StopAt

import xmodal
from xmodal import api, trackers
from xmodal.recipe import Recipe
from xmodal.run.events import Event
from xmodal.trackers import TRACKERS
from xmodal.trackers.listener import TOKENS, Tracked


class Kept:
    """A tracker that keeps what it is told, and fails when it is told to."""

    made: list[Kept]
    fails = ""

    def __init__(self, run: Tracked) -> None:
        self.run, self.token = run, run.token or f"token-{len(self.made)}"
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.closed: list[tuple[str, dict[str, float]]] = []
        self.made.append(self)
        sys.stdout.write("hello from a tracker\n")
        self._fail("begin")

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.logged.append((step, dict(values)))
        if step >= 3:
            self._fail("log")

    def close(self, status: str, summary: Mapping[str, float]) -> None:
        self.closed.append((status, dict(summary)))
        self._fail("close")

    def _fail(self, when: str) -> None:
        if self.fails == when:
            raise ConnectionError("the server is gone")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> type[Kept]:
    kind = type("Kept", (Kept,), {"made": []})
    monkeypatch.setattr(trackers, "_kind", lambda name: kind)
    return kind


def test_a_tracker_is_told_the_course_the_result_and_the_recipe(
    recipe: Recipe, tmp_path: Path, kept: type[Kept], capsys: pytest.CaptureFixture[str]
) -> None:
    run = xmodal.train(recipe, out=tmp_path, trackers=["one"])
    (one,) = kept.made
    lines = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    steps = [
        (line["step"], {f"train/{key}": line[key] for key in ("loss", "grad_norm", "lr")})
        for line in lines
        if line["event"] == "stepped"
    ]
    assert [entry for entry in one.logged if "train/loss" in entry[1]] == steps
    looks = [entry for entry in one.logged if "val/loss" in entry[1]]
    assert [step for step, _ in looks] == [2, 4, 6]
    assert run.result.val
    assert run.result.test
    assert {values["val/accuracy"] for step, values in looks if step == run.result.best_step} == {
        run.result.val.accuracy
    }
    test = {"test/accuracy": run.result.test.accuracy, "test/loss": run.result.test.loss}
    assert one.closed == [("done", {**test, "best_step": run.result.best_step})]
    assert one.run.config["train"]["steps"] == 6
    assert one.run.config["recipe_digest"] == run.result.recipe_digest
    assert one.run.config["floors"] == run.result.floors
    assert one.run.name == f"quickstart-{run.folder.name}"
    said = capsys.readouterr()
    assert "hello from a tracker" in said.err
    assert said.out == ""


def test_a_resumed_run_goes_on_in_the_same_tracker_run(recipe: Recipe, tmp_path: Path, kept: type[Kept]) -> None:
    stop = StopAt(3)
    first = xmodal.train(recipe, out=tmp_path, trackers=["one"], listeners=[stop.follow], stop=stop)
    assert first.result.status == "interrupted"
    assert json.loads((first.folder / TOKENS).read_text()) == {"one": "token-0"}
    xmodal.train(recipe, out=tmp_path, trackers=["one", "two"], resume=True)
    before, after, new = kept.made
    assert before.closed == [("interrupted", {})]
    assert (after.run.token, after.run.step, new.run.token) == ("token-0", 3, "")
    assert [step for step, values in after.logged if "train/loss" in values] == [4, 5, 6]
    xmodal.train(recipe, out=tmp_path, trackers=["one"], force=True)
    assert kept.made[3].run.token == ""
    assert not xmodal.train(recipe, out=tmp_path, trackers=["one"]).ran
    assert len(kept.made) == 4  # what has run is not logged again


@pytest.mark.parametrize("when", ["log", "close"])
def test_a_tracker_that_fails_is_told_of_once_and_the_run_goes_on(
    recipe: Recipe, tmp_path: Path, kept: type[Kept], when: str
) -> None:
    kept.fails = when
    with pytest.warns(UserWarning, match=r"one logs no more .* ConnectionError: the server is gone") as told:
        run = xmodal.train(recipe, out=tmp_path, trackers=["one"])
    assert len(told) == 1
    assert run.result.status == "done"
    plain = xmodal.train(recipe, out=tmp_path / "plain")
    assert run.result.test == plain.result.test


def test_where_progress_is_shown_the_warning_is_too(
    recipe: Recipe, tmp_path: Path, kept: type[Kept], capsys: pytest.CaptureFixture[str]
) -> None:
    kept.fails = "log"
    xmodal.train(recipe, out=tmp_path, trackers=["one"], progress=True)
    assert capsys.readouterr().err.count("warning: one logs no more of this run, which goes on") == 1


def test_a_tracker_that_cannot_begin_is_an_error(recipe: Recipe, tmp_path: Path, kept: type[Kept]) -> None:
    kept.fails = "begin"
    with pytest.raises(xmodal.XmodalError, match="one cannot begin") as caught:
        xmodal.train(recipe, out=tmp_path, trackers=["one"])
    assert "the server is gone" in caught.value.why
    assert caught.value.fix
    kept.fails = ""
    assert xmodal.train(recipe, out=tmp_path, trackers=["one"]).result.status == "done"


@pytest.mark.parametrize(("error", "status"), [(ValueError("no"), "failed"), (KeyboardInterrupt(), "interrupted")])
def test_whatever_ends_a_run_ends_it_there_too(
    recipe: Recipe, tmp_path: Path, kept: type[Kept], error: BaseException, status: str
) -> None:
    def listen(event: Event) -> None:
        if event.step == 3:
            raise error

    with pytest.raises(type(error)):
        xmodal.train(recipe, out=tmp_path, trackers=["one"], listeners=[listen])
    assert kept.made[0].closed == [(status, {})]


def test_a_tracker_that_is_not_there_is_refused_before_anything_runs(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(xmodal.UsageError, match="did you mean 'tensorboard'") as caught:
        xmodal.train(recipe, out=tmp_path, trackers=["tensorbord"])
    assert all(name in caught.value.why for name in TRACKERS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TRACKERS)
def test_a_package_that_is_not_there_is_named_with_what_installs_it(
    name: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = TRACKERS[name].partition(":")[0]
    monkeypatch.delitem(sys.modules, module, raising=False)
    for package in (
        name,
        *(known for known in sys.modules if known.startswith(("torch.utils.tensorboard", "mlflow."))),
    ):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(xmodal.MissingError) as caught:
        xmodal.train(recipe, out=tmp_path, trackers=[name])
    error = caught.value
    assert (error.exit_code, error.fix) == (3, f"pip install 'xmodal[{name}]'")
    assert error.what
    assert error.where
    assert name in error.why
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_is_broken_is_named_with_what_it_said(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text("raise TypeError('Descriptors cannot be created directly.')")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("wandb", "xmodal.trackers.wandb"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(xmodal.XmodalError, match="wandb is installed and cannot be imported") as caught:
        xmodal.train(recipe, out=tmp_path / "runs", trackers=["wandb"])
    assert "Descriptors" in caught.value.why
    assert not (tmp_path / "runs").exists()


def test_no_tracker_is_imported_before_it_is_named() -> None:
    assert api.train
    assert {name for name in ("mlflow", "trackio", "wandb") if isinstance(sys.modules.get(name), type(sys))} == set()
