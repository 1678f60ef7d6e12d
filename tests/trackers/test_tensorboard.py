"""TensorBoard itself reads what was logged."""

from __future__ import annotations

from pathlib import Path

import pytest
from halting import StopAt

import xmodal
from xmodal.recipe import Recipe

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def test_curves_are_those_of_the_run_though_it_was_interrupted(recipe: Recipe, tmp_path: Path) -> None:
    stop = StopAt(3)
    xmodal.train(recipe, out=tmp_path / "a", trackers=["tensorboard"], listeners=[stop.follow], stop=stop)
    run = xmodal.train(recipe, out=tmp_path / "a", trackers=["tensorboard"], resume=True)
    whole = xmodal.train(recipe, out=tmp_path / "b", trackers=["tensorboard"])
    curves = []
    for folder in (run.folder, whole.folder):
        read = accumulator.EventAccumulator(str(folder / "tensorboard"))
        read.Reload()
        tags = read.Tags()
        curves.append({tag: [(at.step, at.value) for at in read.Scalars(tag)] for tag in sorted(tags["scalars"])})
        assert {"config/text_summary", "status/text_summary"} <= {*tags["tensors"]}
    assert curves[0] == curves[1]
    assert [step for step, _ in curves[0]["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert {*curves[0]} >= {"train/grad_norm", "train/lr", "val/accuracy", "val/loss"}
    assert run.result.test
    assert curves[0]["test/accuracy"] == [(6, pytest.approx(run.result.test.accuracy))]
