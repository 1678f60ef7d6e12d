"""The recipes of Lu 2021: every cell of its tables, and each an edit of one base."""

from __future__ import annotations

from typing import Any

import pytest

from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped

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
    "cifar10_frozen_ln": "body - pos",
    "cifar10_frozen_ln_random": "body - pos",
}
"""Tables 8, 14, 7 and 16, whose other two cells are cifar10_fpt and cifar10_random."""
FAMILIES = {
    "bert": ("bert-base", "body - ln - pos", 512),
    "longformer": ("longformer-base", "body - ln - pos", 1999),
    "t5": ("t5-base", "body - ln", 1024),
}
"""Table 17 but for its GPT-2: body, freeze, and how many tokens of ListOps it reads. Each on two tasks."""
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
    cells |= {f"{task}_{arm}" for task in ("cifar10", "listops") for arm in FAMILIES}
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
    assert made.name == f"lu2021-{stem}".replace("_", "-")
    assert made.freeze == MORE[stem]
    assert without(made, "body", "freeze") == without(base, "body", "freeze")
    depth = {"medium": 24, "large": 36, "linformer": 3}
    assert made.body.anatomy().depth == next((n for word, n in depth.items() if word in stem), 12)
    assert made.body.init == ("random" if "random" in stem or "linformer" in stem else "pretrained")


@pytest.mark.parametrize("arm", FAMILIES)
@pytest.mark.parametrize("task", ["cifar10", "listops"])
def test_another_body_is_the_only_difference(task: str, arm: str) -> None:
    base, made = recipe(f"{task}_fpt"), recipe(f"{task}_{arm}")
    body, spec, tokens = FAMILIES[arm]
    assert made.name == f"lu2021-{task}-{arm}"
    assert (made.body.name, made.freeze) == (body, spec)
    assert (made.body.init, made.body.dropout, made.body.layers) == ("pretrained", 0.1, None)
    anatomy = made.body.anatomy()
    assert (anatomy.depth, anatomy.width, anatomy.heads, anatomy.inner) == (12, 768, 12, 3072)  # GPT-2's sizes
    assert without(made, "body", "freeze", "task") == without(base, "body", "freeze", "task")
    said = made.task.model_dump()
    if task == "listops":
        assert said["max_length"] == tokens <= (anatomy.context or tokens)
    assert said == base.task.model_dump() | ({"max_length": tokens} if task == "listops" else {})


def test_the_published_protocol_is_what_the_bases_say() -> None:
    for task in TASKS:
        made = recipe(f"{task}_fpt")
        assert (made.train.optimizer, made.train.clip_norm, made.train.weight_decay) == ("adam", 1.0, 0.0)
        assert (made.train.schedule, made.body.dropout) == ("constant", 0.1)
