"""The recipes that start from another recipe's run name the folder that its runs have."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from xmodal.recipe import load_recipe
from xmodal.recipe.source import shipped


@pytest.mark.parametrize(("name", "keys"), [("haystack_full", ["init"]), ("haystack_attention", ["parts", "attn"])])
def test_a_haystack_starts_from_the_run_of_the_copying_recipe(name: str, keys: list[str]) -> None:
    made = load_recipe(shipped()["procedural_pretrain_copy"])
    said: Any = yaml.safe_load(shipped()[name].read_text())["body"]
    for key in keys:
        said = said[key]
    assert said == f"run:runs/{made.name}"
    assert "xmodal train recipes/procedural_pretrain_copy.yaml" in shipped()[name].read_text()


def test_the_three_haystacks_differ_in_how_the_body_starts_alone() -> None:
    family = [load_recipe(shipped()[f"haystack_{arm}"]) for arm in ("random", "full", "attention")]
    same = {recipe.model_copy(update={"name": "", "body": None}).model_dump_json() for recipe in family}
    assert len(same) == 1
    shapes = [recipe.body.anatomy() for recipe in family]
    assert shapes[0] == shapes[1] == shapes[2] == load_recipe(shipped()["procedural_pretrain_copy"]).body.anatomy()
