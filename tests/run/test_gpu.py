"""What is only true on a GPU; skipped where there is none. Run by hand: `pytest tests/run/test_gpu.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import masking_utils

from xmodal.heads import score
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped
from xmodal.run.bare import bare_loop, endless, ready, resolve, task_of
from xmodal.run.precision import VARIABLE, automatic
from xmodal.run.session import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
PRECISIONS = ("float32", "float32-fused", "bfloat16", "bf16-frozen")
BODIES = ("gpt2", "minilm-l6", "smollm2-135m", "t5-small", "vit-s14-saliency")


def on(device: str, body: str = "gpt2", **changes: Any) -> Recipe:
    short = ("train.steps=12", "train.eval_every=4", "train.patience=null", "train.batch_size=8", "task.bits=4")
    overrides = [f"device={device}", f"body.name={body}", "body.init=random", "body.layers='0:2'", *short]
    overrides += ["freeze='body - ln - pos?'", *(f"{key}={value}" for key, value in changes.items())]
    return load_recipe(shipped()["bit_xor_fpt"], overrides)


def gradients(recipe: Recipe) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    assembled = ready(recipe)
    batch = task_of(recipe).split("train").batch(torch.arange(8)).to(torch.device(recipe.device))
    with torch.autocast("cuda", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        logits = assembled.model(batch)
        loss = score.loss(logits, batch.targets).mean()
    loss.backward()
    grads = {name: each.grad.cpu() for name, each in assembled.plan.trainable().items() if each.grad is not None}
    return logits.detach().float().cpu(), grads


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_gpu_computes_what_a_cpu_does(body: str, precision: str) -> None:
    close = 3e-2 if "b" in precision else 1e-4
    plain, wanted = gradients(on("cpu", body, precision="float32"))
    logits, found = gradients(on("cuda", body, precision=precision))
    assert (logits - plain).abs().max() <= close * plain.abs().max()
    for site, gradient in found.items():
        assert (gradient - wanted[site]).norm() <= 4 * close * wanted[site].norm() + 1e-7, site


@pytest.mark.parametrize("precision", PRECISIONS)
def test_runs_end_and_go_on(precision: str, tmp_path: Path) -> None:
    recipe, told = on("cuda", precision=precision, **{"body.dropout": 0.1}), list[int]()
    whole = train(recipe, out=tmp_path / "whole").result
    assert (whole["status"], whole["steps"]) == ("done", 12)
    stopped = train(
        recipe, out=tmp_path / "cut", listeners=[lambda e: told.append(e.step)], stop=lambda: max(told, default=0) > 5
    )
    assert stopped.result["status"] == "interrupted"
    again = train(recipe, out=tmp_path / "cut", resume=True).result
    assert again["last_loss"] == pytest.approx(whole["last_loss"], rel=1e-4)
    assert again["test"]["accuracy"] == pytest.approx(whole["test"]["accuracy"], abs=0.02)


def test_nobody_waits_for_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda position_ids: None)  # transformers' own
    recipe = endless(on("cuda", precision="bf16-frozen"))
    events = bare_loop(recipe, task_of(recipe), tmp_path).events()
    for _ in range(3):
        next(events)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            next(events)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_what_diverges_is_told_one_step_later_and_counted_right(tmp_path: Path) -> None:
    changes = {"train.lr": 1000, "train.clip_norm": "null", "train.steps": 400, "train.optimizer": "sgd"}
    result = train(on("cuda", precision="float32", **changes), out=tmp_path).result
    assert result["status"] == "diverged"
    assert isfinite(result["last_loss"])


@pytest.mark.parametrize("change", [{"train.accumulate": 4}, {"gradient_checkpointing": "true"}])
def test_switches_change_no_score(change: dict[str, Any], tmp_path: Path) -> None:
    plain = train(on("cuda", precision="float32"), out=tmp_path / "plain").result
    other = train(on("cuda", precision="float32", **change), out=tmp_path / "other").result
    assert other["last_loss"] == pytest.approx(plain["last_loss"], rel=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bf16-frozen"])
def test_a_compiled_run_ends(precision: str, tmp_path: Path) -> None:
    """In a process of its own: shapes are executed here, which no compiler follows."""
    words = ["bit_xor_fpt", "--out", str(tmp_path), "--json", "-o", "device=cuda", "-o", "body.init=random"]
    words += ["-o", "train.steps=12", "-o", f"precision={precision}", "-o", "compile=true"]
    ended = subprocess.run([sys.executable, "-m", "xmodal", "train", *words], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert json.loads(ended.stdout)["steps"] == 12


def test_learners_share_a_pass(tmp_path: Path) -> None:
    from xmodal.engine import Learners

    recipe = endless(on("cuda", precision="bf16-frozen", **{"body.init": "random"}))
    loops = [bare_loop(recipe, task_of(recipe), tmp_path).asking(lambda _: None) for _ in range(3)]
    asked = [next(loop) for loop in loops]
    losses = Learners([one.job.model for one in asked]).losses([one.batch for one in asked])
    alone = [one.alone().loss for one in asked]
    assert torch.allclose(losses.detach(), torch.stack(alone), rtol=2e-2)


def test_auto_is_what_is_fast_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    automatic.cache_clear()
    assert resolve(on("auto")).device == "cuda"
    assert automatic("cuda").precision == "bf16-frozen", automatic("cuda").why
