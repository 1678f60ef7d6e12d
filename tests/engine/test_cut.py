"""Where the lower blocks are frozen with all before them, what the first that trains is given is computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from xmodal.assemble import Model, assemble
from xmodal.engine import Upper, prefix_of
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped
from xmodal.run.bare import bare_loop, resolve, task_of
from xmodal.run.session import train

BODIES = ("gpt2", "minilm-l6", "smollm2-135m", "vit-s14-saliency", "transformer")
TOP = "freeze='all - ffn[-1] - head'"


def recipe_on(name: str, *more: str, freeze: str = TOP) -> Recipe:
    """Bit-xor on three random blocks, 24 steps of four samples: an epoch is ten."""
    sizes = ("width=16", "heads=2", "depth=3") if name == "transformer" else ("layers='0:3'",)
    overrides = ["device=cpu", "precision=float32", "threads=1", "task.bits=3", f"body.name={name}", "body.init=random"]
    overrides += [f"body.{size}" for size in sizes]
    overrides += [f"train.{each}" for each in ("steps=24", "eval_every=8", "batch_size=4", "patience=null")]
    return resolve(load_recipe(shipped()["bit_xor_fpt"], [*overrides, freeze, *more]))


@pytest.mark.parametrize("name", BODIES)
def test_the_numbers_are_those_of_the_plain_path(name: str, tmp_path: Path) -> None:
    recipe = recipe_on(name)
    assert prefix_of(recipe, assemble(recipe, weights=False)).block == 2
    kept = train(recipe, out=tmp_path / "kept")
    plain = train(recipe_on(name, "cache=false"), out=tmp_path / "plain")
    left, right = (load_file(run.folder / "checkpoint/last.safetensors") for run in (kept, plain))
    assert left.keys() == right.keys()
    for site, tensor in right.items():
        torch.testing.assert_close(left[site].float(), tensor.float(), rtol=1e-4, atol=1e-5, msg=site)
    assert kept.result["test"]["accuracy"] == plain.result["test"]["accuracy"]


def test_lower_blocks_are_asked_once_for_a_sample(tmp_path: Path) -> None:
    recipe = recipe_on("gpt2")
    loop = bare_loop(recipe, task_of(recipe), tmp_path)
    assert isinstance(loop.job.model, Upper)
    blocks, asked = loop.job.model.model.body.model.h, {0: 0, 2: 0}
    for number in asked:
        real = blocks[number].mlp.forward

        def counted(hidden: torch.Tensor, number: int = number, real: Any = real) -> torch.Tensor:
            asked[number] += len(hidden)
            return real(hidden)

        blocks[number].mlp.forward = counted
    for _ in loop.events():
        pass
    samples, val = len(loop.job.train), len(loop.job.val)
    assert asked[0] == samples + val
    assert asked[2] == 24 * 4 + 3 * val


@pytest.mark.parametrize(
    ("freeze", "block", "why"),
    [
        (TOP, 2, ""),
        ("freeze='all - ln[1:] - head'", 1, ""),
        ("freeze='all - ln - head'", None, "ln trains"),
        ("freeze='all - pos - ffn[-1] - head'", None, "pos and ffn train"),
        ("freeze='body - ffn[-1]'", None, "input and ffn train"),
        ("freeze='all - attn[0] - head'", None, "attn trains"),
        ("freeze='all - head'", None, ""),
    ],
)
def test_all_below_the_lowest_that_trains_is_kept(freeze: str, block: int | None, why: str) -> None:
    recipe = recipe_on("gpt2", freeze=freeze)
    prefix = prefix_of(recipe, assemble(recipe, weights=False))
    assert (prefix.block, prefix.why) == (block, why)
    if block:
        assert str(prefix) == f"what block {block} is given of a sample, {6 * 768:,} numbers, is computed once and kept"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("body.name=t5-small", "body.layers='0:3'"), "blocks of t5-small are given more than hidden states"),
        (("tokenizer.order=shuffled",), "tokens are shuffled"),
        (("body.dropout=0.1",), "dropout of 0.1"),
        (("cache=false",), "cache: false"),
    ],
)
def test_what_is_not_a_function_of_the_sample_is_not_kept(more: tuple[str, ...], why: str) -> None:
    recipe = recipe_on("gpt2", *more)
    assert why in prefix_of(recipe, assemble(recipe, weights=False)).why


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    recipe, told = recipe_on("gpt2"), list[int]()
    straight = train(recipe, out=tmp_path / "straight")
    train(
        recipe, out=tmp_path / "cut", listeners=[lambda e: told.append(e.step)], stop=lambda: max(told, default=0) > 12
    )
    again = train(recipe, out=tmp_path / "cut", resume=True)
    left, right = (load_file(run.folder / "checkpoint/last.safetensors") for run in (straight, again))
    assert all(torch.equal(left[site], right[site]) for site in left)


def test_the_whole_model_is_as_it_was() -> None:
    recipe = recipe_on("gpt2")
    assembled = assemble(recipe)
    batch = task_of(recipe).split("train").batch(torch.arange(4))
    model: Model = assembled.model
    before = model(batch)
    upper = Upper(model, 2)
    kept = upper.below(batch)
    assert kept.shape == (4, 6, 768)
    assert torch.equal(model(batch), before)
