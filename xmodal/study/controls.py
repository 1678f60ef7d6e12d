"""The standard controls: what a frozen body must beat before its pretraining is given the credit (SCIENCE 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from xmodal.errors import UsageError, did_you_mean
from xmodal.recipe import Recipe

KEYS = ("body", "freeze")
"""What a control arm may differ in from the recipe."""

_SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "std": MappingProxyType(
            {
                "random": ("body.init=random",),
                "statistics": ("body.init=statistics",),
                "permuted": ("body.init=permuted",),
                "no body": ("body={{name: none, width: {width}}}", "freeze=none"),
                "one attention": ("body={{name: one-attention, width: {width}, heads: {heads}, causal: {causal}}}",),
                "one block": ("body={{name: one-block, width: {width}, heads: {heads}, causal: {causal}}}",),
            }
        )
    }
)


def controls_of(name: str, recipe: Recipe) -> dict[str, Sequence[str]]:
    """The arms of a set of controls, each as overrides of the recipe.

    A body that stands in has the width, the heads and the mask of the recipe's. Left out are arms that the recipe is
    already, and those that need pretrained weights where its body has none.

    Raises:
        UsageError: there is no such set.
    """
    if name not in _SETS:
        raise UsageError(
            f"there are no controls called '{name}'{did_you_mean(name, _SETS)}",
            where="--controls",
            fix=f"--controls {', or '.join(_SETS)}",
        )
    body = recipe.body
    anatomy = body.anatomy()
    size = {"width": anatomy.width, "heads": anatomy.heads or 1, "causal": str(anatomy.causal).lower()}
    told = {arm: [override.format(**size) for override in overrides] for arm, overrides in _SETS[name].items()}
    there = {"no body": "none", "one attention": "one-attention", "one block": "one-block"}
    return {
        arm: overrides
        for arm, overrides in told.items()
        if arm != body.init and there.get(arm) != body.name and (arm in there or arm in body.inits)
    }
