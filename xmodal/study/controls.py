"""The standard controls: what a frozen body must beat before its pretraining is given the credit (SCIENCE 6)."""

from __future__ import annotations

import json

from xmodal.errors import UsageError, did_you_mean
from xmodal.recipe import Recipe

KEYS = ("body", "freeze", "tokenizer.order")
"""What a control arm may differ in from the recipe."""

SETS = ("std",)
"""What `--controls` takes."""
_STARTS = ("random", "statistics", "permuted")
_BODIES = {"no body": "none", "one attention": "one-attention", "one block": "one-block"}


def controls_of(name: str, recipe: Recipe) -> dict[str, list[str]]:
    """The arms of a set of controls, each as overrides of the recipe.

    A body that stands in has the width, the heads and the mask of the recipe's. Left out are arms that the recipe is
    already, and those that need pretrained weights where its body has none.

    Raises:
        UsageError: there is no such set.
    """
    if name not in SETS:
        raise UsageError(
            f"there are no controls called '{name}'{did_you_mean(name, SETS)}",
            where="--controls",
            fix=f"--controls {', or '.join(SETS)}",
        )
    body, shape = recipe.body, recipe.body.anatomy()
    block = {"heads": shape.heads or 1, "causal": shape.causal}
    found = {init: [f"body.init={init}"] for init in _STARTS if init in body.inits and init != body.init}
    for arm, other in _BODIES.items():
        options = {"name": other, "width": shape.width} | ({} if other == "none" else block)
        if other != body.name:
            found[arm] = [f"body={json.dumps(options)}", *(["freeze=none"] if other == "none" else [])]
    if recipe.tokenizer.order is None:
        found["shuffled tokens"] = ["tokenizer.order=shuffled"]
    return found
