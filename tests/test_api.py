"""What a notebook calls."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import xmodal
from xmodal import api
from xmodal.console import streams
from xmodal.recipe import load_recipe
from xmodal.recipe.source import shipped
from xmodal.run.events import Event


def test_a_recipe_is_found_by_name_or_path_and_overridden_by_values() -> None:
    path = shipped()["quickstart"]
    plain = load_recipe(path)
    assert xmodal.load("quickstart") == xmodal.load(path) == xmodal.load(str(path)) == plain
    changes = {"train.lr": 1e-5, "train.patience": None, "body.layers": "0:1", "body": {"dropout": 0.1}}
    made = xmodal.load("quickstart", overrides=changes, seed=3, tiny=True)
    said = ["train.lr=1e-5", "train.patience=null", "body.layers='0:1'", "body={dropout: 0.1}"]
    assert made == load_recipe(path, said, seed=3, tiny=True)
    assert (made.train.lr, made.body.layers, made.seed, made.is_tiny) == (1e-5, "0:1", 3, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"recipe": "quikstart"}, "did you mean 'quickstart'"),
        ({"recipe": "no/such.yaml"}, "cannot read no/such.yaml"),
        ({"overrides": ["train.lr=1"]}, "values by key"),
        ({"overrides": {"train.lr": {1, 2}}}, "no recipe can hold"),
        ({"overrides": {"train.lr": float("nan")}}, "no recipe can hold"),
        ({"overrides": {"train.lrr": 1}}, "did you mean 'lr'"),
        ({"seed": -1}, "seed"),
    ],
    ids=lambda given: str(given)[:30],
)
def test_what_is_no_recipe_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(xmodal.UsageError, match=said):
        xmodal.load(**{"recipe": "quickstart", **given})


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"trackers": None}, "trackers"),
        ({"trackers": 5}, "trackers"),
        ({"trackers": [[]]}, "trackers"),
        ({"out": 5}, "out"),
        ({"out": "a\0b"}, "out"),
        ({"out": "~nobody-of-this-name/x"}, "out"),
        ({"out": "a" * 300}, "out"),
        ({"listeners": 5}, "listeners"),
        ({"listeners": [5]}, "listeners"),
        ({"stop": None}, "stop"),
        ({"ranks": 5}, "ranks"),
    ],
)
def test_what_train_cannot_take_is_refused_before_it_begins(
    given: dict[str, Any], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(xmodal.UsageError) as caught:
        xmodal.train(xmodal.load("quickstart", tiny=True), **given)
    assert caught.value.where == where
    assert caught.value.fix
    assert list(tmp_path.iterdir()) == []


LONG = "a" * 300


@pytest.mark.parametrize(
    "call",
    [
        lambda: xmodal.load(LONG),
        lambda: xmodal.load_model(LONG),
        lambda: xmodal.load_model(None),  # type: ignore[arg-type]
        lambda: xmodal.export(LONG, "d.safetensors"),
        lambda: xmodal.export("runs", f"{LONG}.safetensors"),
        lambda: xmodal.export(None, "d.safetensors"),  # type: ignore[arg-type]
        lambda: xmodal.load_delta("d.safetensors", None),  # type: ignore[arg-type]
        lambda: xmodal.plan(torch.nn.Linear),
    ],
)
def test_what_can_be_nothing_is_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(xmodal.UsageError) as caught:
        call()
    assert caught.value.fix


@pytest.mark.parametrize(
    "claims",
    [lambda: 5, lambda: iter([("a", torch.nn.Parameter(torch.zeros(1)))]), lambda: iter([5]), lambda needed: needed],
)
def test_claims_that_are_none_are_an_error_of_the_model(claims: Callable[..., Any]) -> None:
    model = torch.nn.Linear(1, 1)
    model.claims = claims  # type: ignore[assignment]
    with pytest.raises(xmodal.XmodalError, match="claims its parameters wrongly"):
        xmodal.plan(model)


def test_train_takes_a_seed_and_a_folder_by_name(tmp_path: Path) -> None:
    recipe = xmodal.load("quickstart", tiny=True)
    run = xmodal.train(recipe, seed=5, out=str(tmp_path))
    assert (run.result.seed, run.result.tiny, run.folder.parent) == (5, True, tmp_path / "quickstart")
    again = xmodal.train(xmodal.load("quickstart", seed=5, tiny=True), out=tmp_path)
    assert not again.ran
    assert not xmodal.train(recipe, seed=numpy.int64(5), out=tmp_path).ran  # type: ignore[arg-type]
    assert again.result.test == run.result.test
    for wrong in (-1, 2**32, True, 1.5):
        with pytest.raises(xmodal.UsageError, match="is no seed"):
            xmodal.train(recipe, seed=wrong, out=tmp_path)
    with pytest.raises(xmodal.UsageError, match="a recipe is wanted"):
        xmodal.train("quickstart", out=tmp_path)


def test_progress_is_shown_where_somebody_looks_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = xmodal.load("quickstart", tiny=True)
    xmodal.train(recipe, out=tmp_path)
    assert capsys.readouterr() == ("", "")
    xmodal.train(recipe, out=tmp_path, seed=1, progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert "all steps taken" in said.err
    monkeypatch.setattr(api, "in_notebook", lambda: True)
    xmodal.train(recipe, out=tmp_path, seed=2)
    assert "all steps taken" in capsys.readouterr().err
    xmodal.train(recipe, out=tmp_path, seed=3, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_notebook_shows_a_bar_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.err, "is_jupyter", True)
    for there in (True, False):
        monkeypatch.setattr(streams, "find_spec", lambda name, there=there: there or None)
        assert streams.shows_live() is there
    monkeypatch.setattr(streams.err, "is_jupyter", False)
    assert not streams.shows_live()


def test_an_interrupt_leaves_a_run_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = xmodal.load("quickstart", overrides={"train.steps": 6, "train.eval_every": 2}, tiny=True)

    def listen(event: Event) -> None:
        if event.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        xmodal.train(recipe, out=tmp_path / "a", listeners=[listen], progress=True)
    with pytest.raises(xmodal.UsageError, match="has not ended"):
        xmodal.train(recipe, out=tmp_path / "a")
    resumed = xmodal.train(recipe, out=tmp_path / "a", resume=True, progress=True)
    assert "resumed at step 4" in capsys.readouterr().err
    assert resumed.result.test == xmodal.train(recipe, out=tmp_path / "b").result.test


NOTEBOOK = """
import sys, types
class ZMQInteractiveShell: pass
import builtins; builtins.get_ipython = ZMQInteractiveShell
shown = []
ipython, display, widgets = (types.ModuleType(name) for name in ("IPython", "IPython.display", "ipywidgets"))
class Output:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def clear_output(self, wait): pass
widgets.Output, display.display, ipython.display = Output, shown.append, display
widgets.__spec__ = types.SimpleNamespace()
if {widgets}:
    sys.modules |= {{"ipywidgets": widgets}}
sys.modules |= {{"IPython": ipython, "IPython.display": display}}
import xmodal
xmodal.train(xmodal.load("quickstart", tiny=True), out={out!r})
print(len([one for one in shown if isinstance(one, Output)]), len(shown))
"""


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_is_drawn_in(tmp_path: Path, widgets: bool) -> None:
    code = NOTEBOOK.format(out=str(tmp_path), widgets=widgets)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    bars, shown = map(int, done.stdout.split()[-2:])
    assert bars == (1 if widgets else 0)
    assert shown > bars  # what is said besides, or a line for each look
