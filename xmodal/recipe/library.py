"""How a recipe is found, and loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xmodal.errors import UsageError, did_you_mean
from xmodal.paths import given
from xmodal.recipe.check import load_recipe
from xmodal.recipe.schema import Recipe
from xmodal.recipe.source import shipped, shipped_as


def load(
    recipe: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
    tiny: bool = False,
) -> Recipe:
    """A recipe, checked as far as it can be without torch, data or weights.

        recipe = xmodal.load("quickstart", overrides={"train.lr": 1e-3}, seed=1)

    Args:
        recipe: a YAML file, or the name of a shipped recipe.
        overrides: values by key, as after `-o` on the command line; a mapping replaces a section part by part.
        seed: replaces the recipe's.
        tiny: lays the recipe's own `tiny` over it, which runs in seconds.

    Raises:
        RecipeError: with all faults, each with file, line and a suggestion.
        UsageError: there is no such recipe, or the overrides are not values by key.
    """
    return load_recipe(find_recipe(str(recipe)), _words(overrides or {}), seed=seed, tiny=tiny)


def _words(overrides: Mapping[str, Any]) -> list[str]:
    """`KEY=VALUE` for each, as the command line has it: JSON is YAML."""
    if not isinstance(overrides, Mapping):
        raise UsageError(
            f"overrides are {type(overrides).__name__}, and values by key are wanted",
            where="overrides",
            fix='overrides={"train.lr": 1e-3}',
        )
    try:
        return [f"{key}={json.dumps(value, allow_nan=False)}" for key, value in overrides.items()]
    except (TypeError, ValueError) as error:
        why = f"a recipe holds text, numbers, true and false, lists and mappings: {error}"
        raise UsageError("a value that no recipe can hold", where="overrides", why=why, fix="give plain data") from None


def find_recipe(asked: str) -> Path:
    """The file that `asked` means: a path, or the name of a shipped recipe (`quickstart`, `bit-xor-fpt`).

    Raises:
        UsageError: it is neither.
    """
    path = given(asked, "recipe")
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    if found := shipped_as(asked):
        return found
    raise UsageError(
        f"no recipe '{asked}'{did_you_mean(asked.replace('-', '_'), shipped())}",
        why="it is neither a file nor a recipe that ships with xmodal",
        fix="xmodal list recipes shows them",
    )
