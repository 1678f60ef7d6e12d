"""Rows of a table of positions that no sample reads cost nothing, and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from xmodal.assemble import assemble
from xmodal.engine import rows_of
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped
from xmodal.run import bare
from xmodal.run.bare import bare_loop, engine_of, resolve, task_of
from xmodal.run.session import train

TABLE = "pos.weight"
FAMILIES = ("gpt2", "minilm-l6")
OPTIMIZERS = ("adam", "adamw", "sgd")


def recipe_on(name: str, *more: str) -> Recipe:
    """Bit-xor of 3 bits, 6 tokens, on two random blocks; every gradient is clipped."""
    overrides = ["device=cpu", "precision=float32", "threads=1", "task.bits=3", f"body.name={name}", "body.init=random"]
    overrides += ["body.layers='0:2'", "freeze='body - ln - pos'", "train.clip_norm=0.01", "train.lr=1e-2"]
    overrides += [f"train.{each}" for each in ("steps=9", "eval_every=3", "batch_size=4", "patience=null")]
    return resolve(load_recipe(shipped()["bit_xor_fpt"], [*overrides, *more]))


def whole(patch: pytest.MonkeyPatch) -> None:
    """From now on tables train whole."""
    patch.setattr(bare, "rows_of", lambda *_: {})


def trained(recipe: Recipe, out: Path) -> dict[str, torch.Tensor]:
    return load_file(train(recipe, out=out).folder / "checkpoint/last.safetensors")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_is_the_same_to_the_bit(
    name: str, optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_on(name, f"train.optimizer={optimizer}", "train.weight_decay=0.1", "body.dropout=0.1")
    some = trained(recipe, tmp_path / "some")
    whole(monkeypatch)
    every = trained(recipe, tmp_path / "every")
    assert some.keys() == every.keys()
    assert [key for key, held in every.items() if not torch.equal(some[key], held)] == []
    moments = [held for key, held in some.items() if key.startswith(f"optimizer/{TABLE}") and held.ndim]
    assert len(moments) == (1 if optimizer == "sgd" else 2)
    assert all(held[:6].any(dim=1).all() and not held[6:].any() for held in moments)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_of_the_whole_table_goes_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, told = recipe_on(name), list[int]()
    straight = trained(recipe, tmp_path / "straight")
    with monkeypatch.context() as patch:
        whole(patch)
        cut = train(
            recipe, out=tmp_path, listeners=[lambda e: told.append(e.step)], stop=lambda: max(told, default=0) > 3
        )
    assert cut.result["status"] == "interrupted"
    again = load_file(train(recipe, out=tmp_path, resume=True).folder / "checkpoint/last.safetensors")
    assert straight.keys() == again.keys()
    assert all(torch.equal(straight[key], again[key]) for key in straight)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_model_has_the_table_and_a_step_changes_its_first_rows(name: str, tmp_path: Path) -> None:
    recipe = recipe_on(name)
    loop = bare_loop(recipe, task_of(recipe), tmp_path)
    table = loop.job.trainable[TABLE]
    before, steps = table.detach().clone(), loop.events()
    next(steps)
    next(steps)  # the second is told once the first is taken
    changed = (table != before).any(dim=1)
    assert changed[:6].all()
    assert not changed[6:].any()
    assert loop.job.leaves[TABLE].data_ptr() == table.data_ptr()
    assert table.shape[0] > 6
    assert loop.job.leaves.keys() == loop.job.trainable.keys()
    assert {id(held) for group in loop.optimizer.param_groups for held in group["params"]} == {
        id(leaf) for leaf in loop.job.leaves.values()
    }


def read(recipe: Recipe) -> Sequence[str]:
    return [str(rows) for rows in rows_of(recipe, assemble(recipe, weights=False)).values()]


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("gpt2", (), ["6 of 1,024 positions are read, and an optimiser sees no others"]),
        ("minilm-l6", (), ["6 of 512 positions are read, and an optimiser sees no others"]),
        ("gpt2", ("freeze='body - ln'",), []),
        ("gpt2", ("compile=true",), []),
        ("vit-s14-saliency", ("body.init=random",), []),
    ],
)
def test_explain_says_so_where_it_is_done(name: str, more: tuple[str, ...], said: list[str]) -> None:
    recipe = recipe_on(name, *more)
    assert read(recipe) == said
    engine = engine_of(recipe, assemble(recipe, weights=False))
    assert [line for line in str(engine).splitlines() if "positions" in line] == said
    assert engine.to_dict()["engine"]["surgery"] == said
