"""Surgery changes speed and memory: each switch against the plain path, for every body."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from xmodal.bodies import BODIES
from xmodal.engine import Surgery, operate
from xmodal.heads import score
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped
from xmodal.run.bare import ready, task_of
from xmodal.run.session import train
from xmodal.run.trained import load_trained

SIZES = {"transformer": {"width": 16, "heads": 2, "depth": 2}, "linformer": {"width": 16, "heads": 2, "depth": 2}}


def recipe_on(name: str, **changes: Any) -> Recipe:
    """Bit-xor on two random blocks of a body, all of its linear layers frozen, biases and norms not at their start."""
    overrides = ["device=cpu", "task.bits=3", "threads=1", f"body.name={name}", "body.init=random"]
    overrides += [f"body.{key}={value}" for key, value in SIZES.get(name, {}).items()]
    overrides += [f"{key}={value}" for key, value in changes.items()]
    if name not in (*SIZES, "none", "one-attention", "one-block", "lstm"):
        overrides.append("body.layers='0:2'")
    return load_recipe(shipped()["bit_xor_fpt"], [*overrides, "freeze='body - ln?'"])


def stepped(recipe: Recipe) -> tuple[Tensor, dict[str, Tensor], Surgery]:
    """Logits and gradients of what trains, on one batch."""
    assembled = ready(recipe)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in assembled.plan.trainable().values():
            parameter.add_(torch.empty_like(parameter).normal_(0, 0.02, generator=random))
    batch = task_of(recipe).split("train").batch(torch.arange(8))
    logits = assembled.model(batch)
    score.loss(logits, batch.targets).mean().backward()
    gradients = {name: each.grad for name, each in assembled.plan.trainable().items() if each.grad is not None}
    return logits.detach(), gradients, operate(recipe, assembled)


ON_GPT2 = ("device=cpu", "body.name=gpt2", "body.layers='0:2'")
BODIES_HERE = sorted(
    set(BODIES)
    - {"gpt2-medium", "gpt2-large", "gpt2-xl", "vit-b16", "longformer-base", "t5-base"}
    - {"hf:", "timm:", "none"}
)


@pytest.mark.parametrize("name", BODIES_HERE)
@pytest.mark.parametrize(("precision", "close"), [("float32-fused", 1e-5), ("bf16-frozen", 3e-2)])
def test_every_body_computes_the_same(name: str, precision: str, close: float) -> None:
    plain, wanted, _ = stepped(recipe_on(name, precision="float32"))
    logits, gradients, _ = stepped(recipe_on(name, precision=precision))
    assert logits.dtype == torch.float32
    assert (logits - plain).abs().max() <= close * plain.abs().max()
    assert gradients.keys() == wanted.keys()
    for site, gradient in gradients.items():
        assert gradient.dtype == torch.float32
        assert (gradient - wanted[site]).norm() <= 4 * close * wanted[site].norm() + 1e-8, site


@pytest.mark.parametrize("name", ["gpt2", "minilm-l6", "smollm2-135m", "t5-small", "vit-s14-saliency"])
def test_blocks_that_are_computed_again_change_no_bit(name: str) -> None:
    plain, wanted, _ = stepped(recipe_on(name, precision="float32"))
    logits, gradients, done = stepped(recipe_on(name, precision="float32", gradient_checkpointing="true"))
    assert done.blocks == 2
    assert torch.equal(logits, plain)
    assert all(torch.equal(gradients[site], wanted[site]) for site in wanted)


def test_dropout_is_drawn_alike_when_a_block_is_computed_again(tmp_path: Path) -> None:
    changes = {"body.dropout": 0.1, "train.steps": 4, "train.eval_every": 4, "train.patience": "null"}
    runs = [
        train(recipe_on("gpt2", precision="float32", gradient_checkpointing=again, **changes), out=tmp_path / again)
        for again in ("true", "false")
    ]
    assert runs[0].result["last_loss"] == runs[1].result["last_loss"]


def test_gpt2_is_fused_and_its_frozen_matrices_are_rounded() -> None:
    recipe = recipe_on("gpt2", precision="bf16-frozen")
    assembled = ready(recipe)
    done = operate(recipe, assembled)
    assert done.matrices == 2 * 4
    assert done.numbers == 2 * 12 * 768 * 768
    for site, parameter in assembled.model.claims():
        rounded = site.role in ("attn", "ffn")
        assert parameter.dtype == (torch.bfloat16 if rounded else torch.float32) or parameter.is_meta
    assert operate(recipe, ready(recipe)).words[0] == "8 frozen matrices, 14,155,776 numbers, are held in bfloat16"


def test_what_trains_is_never_rounded() -> None:
    recipe = load_recipe(
        shipped()["bit_xor_fpt"],
        [*ON_GPT2, "body.init=random", "freeze='body - ln - attn[-1]'", "precision=bf16-frozen"],
    )
    assembled = ready(recipe)
    assert {each.dtype for each in assembled.plan.trainable().values()} == {torch.float32}
    assert operate(recipe, assembled).matrices == 2 * 4 - 2


def test_float32_is_left_alone() -> None:
    recipe = recipe_on("gpt2", precision="float32")
    assert operate(recipe, ready(recipe)) == Surgery()


def test_memory_of_activations_is_not_kept_for_what_is_fused() -> None:
    """Bytes that autograd keeps of a step, GPT-2's shape, eight samples of 64 tokens."""

    def kept(precision: str) -> int:
        recipe = recipe_on("gpt2", precision=precision)
        assembled = ready(recipe)
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            if not isinstance(tensor, torch.nn.Parameter):
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        batch = task_of(recipe).split("train").batch(torch.arange(8))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = assembled.model(batch)
        assert logits.requires_grad
        return sum(sizes.values())

    assert kept("float32-fused") < 0.6 * kept("float32")
    assert kept("bf16-frozen") < 0.5 * kept("float32")


def test_a_run_with_rounded_matrices_is_one_of_its_own(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"train.steps": 4, "train.eval_every": 2, "train.patience": "null", "train.batch_size": 4}
    recipe = recipe_on("gpt2", precision="bf16-frozen", **changes)
    run = train(recipe, out=tmp_path)
    assert run.result["status"] == "done"
    trained = load_trained(run.folder)
    split = task_of(trained.recipe).split("test")
    assert {each.dtype for each in trained.model.body.parameters() if not each.is_meta} == {
        torch.float32,
        torch.bfloat16,
    }
    logits = trained.model(split.batch(torch.arange(len(split))))
    right = score.correct(logits, split.batch(torch.arange(len(split))).targets).float().mean()
    assert float(right) == pytest.approx(run.result["test"]["accuracy"])
    # Another run that starts from it meets the matrices as they were.
    after = load_recipe(
        shipped()["bit_xor_fpt"],
        [*ON_GPT2, "task.bits=3", f"body.init='run:{run.folder}'", "precision=float32"],
    )
    values = [each for site, each in ready(after).model.body.claims() if site.role == "ffn"]
    assert all(torch.equal(each, each.bfloat16().float()) for each in values)


def test_a_run_in_bfloat16_goes_on_to_the_bit(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"train.steps": 6, "train.eval_every": 3, "train.patience": "null", "train.batch_size": 4}
    recipe, told = recipe_on("gpt2", precision="bf16-frozen", **changes), list[int]()
    whole = train(recipe, out=tmp_path / "whole").result
    train(
        recipe,
        out=tmp_path / "cut",
        listeners=[lambda event: told.append(event.step)],
        stop=lambda: max(told, default=0) > 3,
    )
    again = train(recipe, out=tmp_path / "cut", resume=True).result
    assert (again["status"], again["test"], again["last_loss"]) == ("done", whole["test"], whole["last_loss"])


def test_a_block_is_computed_twice() -> None:
    recipe, calls = recipe_on("gpt2", precision="float32", gradient_checkpointing="true"), list[int]()
    assembled = ready(recipe)
    mlp = assembled.model.body.model.h[0].mlp
    real = mlp.forward
    mlp.forward = lambda hidden: calls.append(len(hidden)) or real(hidden)
    batch = task_of(recipe).split("train").batch(torch.arange(8))
    score.loss(assembled.model(batch), batch.targets).mean().backward()
    assert calls == [8, 8]


def test_a_copy_has_values_of_its_own() -> None:
    recipe = recipe_on("gpt2", precision="bf16-frozen")
    model = ready(recipe).model.eval()
    batch = task_of(recipe).split("train").batch(torch.arange(4))
    other = copy.deepcopy(model.body)
    with torch.no_grad():
        for parameter in other.parameters():
            if not parameter.is_meta:
                parameter.zero_()
        tokens = model.tokenizer(batch)
        assert other(tokens).abs().max() == 0
        assert model.body(tokens).abs().max() > 0


def test_a_matrix_is_rounded_where_its_bias_trains() -> None:
    spec = "freeze='body - attn.bias - ffn.bias'"
    recipe = load_recipe(shipped()["bit_xor_fpt"], [*ON_GPT2, "body.init=random", "precision=bf16-frozen", spec])
    assembled = ready(recipe)
    assert operate(recipe, assembled).matrices == 2 * 4
    assert {each.dtype for each in assembled.plan.trainable().values()} == {torch.float32}
