"""Attention in plain steps gives what the fast path gives, on every body that has any to show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from making import recipe_of

from xmodal.assemble import assemble
from xmodal.bodies import BODIES, conformance, skeleton, weights
from xmodal.errors import DamagedError, MissingError, UsageError, XmodalError
from xmodal.recipe import load_recipe
from xmodal.recipe.source import shipped
from xmodal.report.attention import CLOSE, Eager, attention, looked, pooled
from xmodal.report.content import chapters
from xmodal.report.gather import FoundStudy, gather
from xmodal.run.trained import Trained, load_trained
from xmodal.tensors import Tokens

WITHOUT = ("longformer-base", "lstm", "none")
NAMES = [name for name in BODIES if not name.endswith(":")]


def run_of(study: FoundStudy) -> Path:
    return study.runs[study.said["arms"][0]["report"][0]["folder"]].folder


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_plain_steps_are_the_fast_path(name: str, padded: bool) -> None:
    body = weights.build_body(conformance.small(name), 0).body.eval()
    random = torch.Generator().manual_seed(0)
    values = torch.randn(1, 6, body.width, generator=random)
    mask = torch.ones(1, 6, dtype=torch.bool)
    mask[:, 4:] = not padded
    tokens = Tokens(values, mask, padded)
    with torch.no_grad():
        fast = body(tokens)
        with Eager() as eager:
            slow = body(tokens)
    assert bool(eager.weights) == (name not in WITHOUT)
    assert torch.allclose(fast[:, : body.prefix + 4], slow[:, : body.prefix + 4], atol=CLOSE)
    for layer in eager.weights:
        assert torch.allclose(layer.sum(-1)[:, : body.prefix + 4], torch.tensor(1.0), atol=1e-5)


def test_there_are_bodies_to_look_at() -> None:
    assert len(NAMES) - len(WITHOUT) >= 10
    assert skeleton(conformance.small("gpt2")).causal


def test_a_model_is_shown_what_its_recipe_shows_it() -> None:
    sizes = {}
    for fault in ("null", "true"):
        words = ("task.fewest=2", "task.pairs=6", f"legacy.read_padding={fault}")
        recipe = load_recipe(shipped()["haystack_random"], words, tiny=True)
        trained = Trained(recipe, assemble(recipe).model.eval())
        sizes[fault] = {looked(trained, sample, "here")[0].shape[1] for sample in range(6)}
    assert len(sizes["null"]) > 1  # as many as are real
    assert sizes["true"] == {13}


def test_a_trained_model_is_looked_at(study: FoundStudy) -> None:
    trained = load_trained(run_of(study))
    (layer,) = looked(trained, 1, "here")
    assert layer.shape == (12, 6, 6)
    assert torch.allclose(layer.sum(-1), torch.tensor(1.0), atol=1e-5)


def test_the_figure_has_its_numbers_and_all_weights(study: FoundStudy) -> None:
    drawn = attention(run_of(study), "an arm", 0, "x")
    assert drawn.name == "x-attention"
    assert len(drawn.table.rows) == 12
    assert drawn.more
    assert len(drawn.more.rows) == 12 * 6
    weights: Any = drawn.more.rows[0][3:]
    assert sum(weights) == pytest.approx(1)
    assert "data:image/png" in drawn.svg()


def test_maps_that_are_not_the_models_are_refused(study: FoundStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Eager.attend
    monkeypatch.setattr(Eager, "attend", lambda self, *given, **more: plain(self, *given, **more) + 1e-2)
    with pytest.raises(XmodalError, match="other outputs than the model") as caught:
        looked(load_trained(run_of(study)), 0, "here")
    assert "rounding" in caught.value.why
    monkeypatch.setattr(Eager, "attend", lambda self, *given, **more: plain(self, *given, **more) * torch.nan)
    with pytest.raises(XmodalError, match="other outputs"):
        looked(load_trained(run_of(study)), 0, "here")


def test_a_sample_that_is_not_there_is_refused(study: FoundStudy) -> None:
    with pytest.raises(UsageError, match="no sample 8"):
        looked(load_trained(run_of(study)), 8, "here")


def test_a_model_without_attention_is_refused() -> None:
    recipe = recipe_of("body={name: none, width: 8}", "freeze=none")
    with pytest.raises(UsageError, match="none has no attention that can be drawn"):
        looked(Trained(recipe, assemble(recipe).model.eval()), 0, "here")


def test_long_maps_are_drawn_by_means() -> None:
    layer = torch.rand(2, 100, 64)
    assert pooled(layer).shape == (2, 32, 32)
    assert pooled(layer).mean() == pytest.approx(float(layer.mean()), abs=1e-2)
    assert pooled(layer[:, :5, :5]).shape == (2, 5, 5)


def test_an_arm_is_found_by_its_name(finished: Path) -> None:
    found = gather([finished])
    (chapter,) = chapters(found, "ffn frozen", 0)
    assert chapter.figures[-1].title == "Attention: ffn frozen"
    with pytest.raises(UsageError, match="did you mean 'ffn frozen'"):
        chapters(found, "ffn frosen", 0)
    gone = replace(found, studies=[replace(found.studies[0], runs={})])
    with pytest.raises(MissingError, match="has a model here"):
        chapters(gone, "ffn frozen", 0)


def test_another_runs_checkpoint_is_refused(copied: Path) -> None:
    study = gather([copied]).studies[0]
    one, other = (copied.parent.parent / run["folder"] for run in study.said["arms"][0]["report"][:2])
    best = Path("checkpoint", "best.safetensors")
    (one / best).write_bytes((other / best).read_bytes())
    with pytest.raises(DamagedError, match="the checkpoint cannot be read"):
        load_trained(one)
    (one / best).unlink()
    with pytest.raises(DamagedError):
        load_trained(one)
    (one / "result.json").unlink()
    with pytest.raises(MissingError, match="no trained model"):
        load_trained(one)
