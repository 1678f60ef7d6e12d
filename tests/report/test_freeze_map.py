"""The freeze map says what the plan of the built model says."""

from __future__ import annotations

from collections import Counter

import pytest
from making import recipe_of

from xmodal.assemble import assemble
from xmodal.report.freeze_map import freeze_maps, lines, states

OVERRIDES = [
    ("freeze=body - ln - pos",),
    ("freeze=none",),
    ("freeze=body + input - ln.attn",),
    ("freeze=body - attn[-1]", "body.layers=0:3"),
    ("body={name: gpt2, init: random, layers: '0:2'}", "freeze=body - ln - ffn.up[0]"),
    ("body={name: smollm2-135m, init: random, layers: '0:2'}", "freeze=body - ln", "tokenizer.class_token=true"),
    ("body={name: none, width: 8}", "freeze=none"),
]


@pytest.mark.parametrize("overrides", OVERRIDES, ids=" ".join)
def test_the_map_is_the_plan(overrides: tuple[str, ...]) -> None:
    recipe = recipe_of(*overrides)
    plan = assemble(recipe, weights=False).plan
    assert states(recipe) == {entry.site: entry.state for entry in plan.entries}


@pytest.mark.parametrize("overrides", OVERRIDES, ids=" ".join)
def test_no_cell_holds_two_states_and_none_is_lost(overrides: tuple[str, ...]) -> None:
    recipe = recipe_of(*overrides)
    (figure,) = freeze_maps({"arm": recipe}, "x")
    found = states(recipe)
    assert Counter(found.values()) == Counter(
        {state: count for state in set(found.values()) if (count := _tensors(figure.table.rows, state))}
    )


def _tensors(rows: object, state: str) -> int:
    assert isinstance(rows, list)
    return sum(row[2] for row in rows if row[3] == state)


def test_parts_are_apart_only_where_their_states_differ() -> None:
    labels = [label for label, _ in lines(states(recipe_of("freeze=body - ln.attn - pos")))]
    assert "attn" in labels
    assert "ln.attn" in labels
    assert "ln" not in labels


def test_arms_that_freeze_the_same_share_a_map() -> None:
    recipes = {"a": recipe_of(), "b": recipe_of("body.init=permuted"), "c": recipe_of("freeze=none")}
    assert [figure.title for figure in freeze_maps(recipes, "x")] == ["What trains: a; b", "What trains: c"]
