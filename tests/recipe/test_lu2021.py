"""The recipes of Lu 2021: every cell of its tables, and each an edit of one base."""

from __future__ import annotations

from typing import Any

import pytest

from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.library import shipped

TASKS = {
    "bit_memory": "bit-memory",
    "bit_xor": "bit-xor",
    "listops": "listops",
    "mnist": "mnist",
    "cifar10": "cifar10",
    "cifar10_lra": "cifar10-lra",
    "homology": "remote-homology",
}
FREEZE = {
    "fpt": "body - ln - pos",
    "full": "none",
    "lstm": "none",
    "random": "body - ln - pos",
    "bit_memory_body": "body - ln - pos",
    "vision": "body - ln - pos",
    "statistics": "body - ln - pos",
    "unfreeze_ffn": "body - ln - pos - ffn",
    "unfreeze_attn": "body - ln - pos - attn",
    "unfreeze_both": "body - ln - pos - attn - ffn",
    "output": "body + input",
    "output_ln": "body - ln + input",
    "output_ln_input": "body - ln",
}
"""The arms of tables 1, 2, 9, 10, 13 and 15 to 19, each for every task."""
MORE = {
    "cifar10_fpt_medium": "body - ln - pos",
    "cifar10_fpt_medium_random": "body - ln - pos",
    "cifar10_fpt_large": "body - ln - pos",
    "cifar10_fpt_large_random": "body - ln - pos",
    "cifar10_unfreeze_ffn_last_attn": "body - ln - pos - ffn - attn[-1]",
    "cifar10_lra_linformer": "none",
}
"""Tables 8, 14 and 7."""
BODY = {"lstm": "lstm", "vision": "vit-b16"}
INIT = {
    "full": "random",
    "lstm": "random",
    "random": "random",
    "statistics": "statistics",
    "bit_memory_body": "run:runs/lu2021-bit-memory-full",
}


def recipe(stem: str) -> Recipe:
    return load_recipe(shipped()[f"lu2021/{stem}"])


def without(made: Recipe, *keys: str) -> dict[str, Any]:
    said = made.model_dump(mode="json", exclude={"name", "tiny"})
    return {key: value for key, value in said.items() if key not in keys}


def test_there_is_a_recipe_for_every_cell_and_no_other() -> None:
    cells = {f"{task}_{arm}" for task in TASKS for arm in FREEZE} | set(MORE)
    assert {name.removeprefix("lu2021/") for name in shipped() if name.startswith("lu2021/")} == cells


@pytest.mark.parametrize("arm", FREEZE)
@pytest.mark.parametrize("task", TASKS)
def test_an_arm_differs_from_its_base_in_what_it_is_about(task: str, arm: str) -> None:
    base, made = recipe(f"{task}_fpt"), recipe(f"{task}_{arm}")
    assert made.task.name == TASKS[task]
    assert made.name == f"lu2021-{task}-{arm}".replace("_", "-")
    assert made.freeze == FREEZE[arm]
    assert made.body.name == BODY.get(arm, "gpt2")
    assert made.body.init == INIT.get(arm, "pretrained")
    lr = 3e-4 if arm == "lstm" else 1e-4 if task == "homology" else 1e-3
    assert made.train == base.train.model_copy(update={"lr": lr})
    assert without(made, "body", "freeze", "train") == without(base, "body", "freeze", "train")
    if arm not in BODY:
        assert made.body.model_copy(update={"init": "", "layers": None}) == base.body.model_copy(update={"init": ""})
    assert made.body.layers == ("0:3" if arm == "full" and task.startswith("cifar10") else None)


@pytest.mark.parametrize("stem", MORE)
def test_the_other_cells(stem: str) -> None:
    made, base = recipe(stem), recipe("cifar10_lra_fpt" if "lra" in stem else "cifar10_fpt")
    assert made.freeze == MORE[stem]
    assert without(made, "body", "freeze") == without(base, "body", "freeze")
    depth = {"medium": 24, "large": 36, "linformer": 3}
    assert made.body.anatomy().depth == next((n for word, n in depth.items() if word in stem), 12)
    assert made.body.init == ("random" if "random" in stem or "linformer" in stem else "pretrained")


def test_the_published_protocol_is_what_the_bases_say() -> None:
    for task in TASKS:
        made = recipe(f"{task}_fpt")
        assert (made.train.optimizer, made.train.clip_norm, made.train.weight_decay) == ("adam", 1.0, 0.0)
        assert (made.train.schedule, made.body.dropout) == ("constant", 0.1)
