"""What a study is said to take before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from xmodal.errors import MissingError
from xmodal.recipe.source import shipped
from xmodal.study import cost
from xmodal.study.arms import make_arms
from xmodal.study.design import Design, make_design
from xmodal.study.factors import Asked
from xmodal.study.study import run_study
from xmodal.study.ways import Way


@pytest.fixture(scope="module")
def design() -> Design:
    few = ("train.steps=4", "train.eval_every=2", "threads=1")
    arms = make_arms(Asked(shipped()["bit_xor_fpt"], freeze=["ffn"], overrides=few, tiny=True))
    return make_design(arms, lr="1e-3", seeds="2")


def test_only_what_is_missing_costs_something(design: Design, tmp_path: Path) -> None:
    before = cost.preview_of(design, tmp_path, Way(2))["cost"]
    assert (before["runs"], before["workers"], before["unknown"]) == (4, 2, "")
    assert 0 < before["seconds"] < 60
    assert not list(tmp_path.iterdir())
    study = run_study(design, out=tmp_path).result
    # The best parameters, and the last ones with Adam's two moments; the headers are small.
    files = sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors"))
    assert before["disk"] == 4 * 4 * 2 * sum(arm["trainable"] for arm in study["arms"])
    assert files == pytest.approx(before["disk"], rel=0.02)
    after = cost.preview_of(design, tmp_path, Way(2))["cost"]
    assert (after["runs"], after["seconds"], after["disk"]) == (0, 0, 0)


def test_a_finished_sweep_misses_nothing_at_whatever_rate_it_was_reported(tmp_path: Path) -> None:
    few = ("train.steps=2", "train.eval_every=1", "threads=1")
    arms = make_arms(Asked(shipped()["bit_xor_fpt"], freeze=["ffn"], overrides=few, tiny=True))
    swept = make_design(arms, lr="1e-3:1e-2:3", seeds="2")
    run_study(swept, out=tmp_path)
    assert cost.preview_of(swept, tmp_path, Way(1))["cost"]["runs"] == 0


def test_steps_and_looks_and_samples_are_counted(
    design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cost, "_each", lambda events, kind, most: {"Stepped": 10.0, "Evaluating": 1000.0}[kind.__name__]
    )
    said = cost.preview_of(design, tmp_path, Way(1))["cost"]["seconds"]
    # Each of 4 runs: 4 steps, two looks at a validation split of one batch, a test split of one.
    assert said == pytest.approx(4 * (4 * 10 + 2 * 1000 + 1000), abs=60)


def test_arms_of_which_the_head_alone_trains_are_measured_too(tmp_path: Path) -> None:
    asked = Asked(shipped()["bit_xor_fpt"], freeze=["input"], overrides=["freeze=body", "threads=1"], tiny=True)
    study = make_design(make_arms(asked), lr="1e-3", seeds="2")
    assert cost.preview_of(study, tmp_path, Way(1))["cost"]["seconds"] > 0
    assert len(run_study(study, out=tmp_path).result["arms"]) == 2


def test_what_diverges_while_it_is_measured_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wild = ("train.optimizer=sgd", "train.clip_norm=null", "train.steps=40", "threads=1")
    arms = make_arms(Asked(shipped()["bit_xor_fpt"], freeze=["ffn"], overrides=wild, tiny=True))
    assert cost.preview_of(make_design(arms, lr="1000", seeds="2"), tmp_path / "runs", Way(1))["cost"]["seconds"] > 0
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_measured_is_said(design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingError("no weights", where="minilm-l6", fix="xmodal get body minilm-l6")

    monkeypatch.setattr(cost, "task_of", missing)
    said = cost.preview_of(design, tmp_path, Way(1))["cost"]
    assert (said["seconds"], said["unknown"]) == (None, "minilm-l6: no weights")
