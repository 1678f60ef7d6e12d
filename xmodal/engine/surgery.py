"""What is changed in a model before it runs, so that its frozen part costs less: in place, for every architecture.

No architecture is written twice. Frozen matrices get another dtype and stay where they are, activations that a library
spells out in many steps become torch's own, and the body is told to multiply in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from xmodal.assemble import Assembled
from xmodal.bodies.rounding import round_frozen
from xmodal.recipe import Recipe

FUSED = ("float32-fused", "bf16-frozen")
"""Precisions in which activations are torch's own."""
SPELLED_OUT = ("NewGELUActivation", "FastGELUActivation")
"""The tanh form of GELU as transformers computes it, in eight steps that each keep a tensor for the backward pass."""


@dataclass(frozen=True)
class Surgery:
    """What was done to a model.

    Attributes:
        activations: modules that became torch's own.
        matrices: frozen matrices that are held in bfloat16.
        numbers: of these.
        blocks: blocks that are computed again in the backward pass, in place of keeping what they said.
    """

    activations: int = 0
    matrices: int = 0
    numbers: int = 0
    blocks: int = 0

    @property
    def words(self) -> list[str]:
        """A sentence for each thing that was done."""
        said = []
        if self.matrices:
            said.append(f"{self.matrices} frozen matrices, {self.numbers:,} numbers, are held in bfloat16")
        if self.activations:
            said.append(f"{self.activations} activations are computed in one step")
        if self.blocks:
            said.append(f"{self.blocks} blocks are computed again for their gradients")
        return said


def operate(recipe: Recipe, assembled: Assembled) -> Surgery:
    """Makes the model cheaper as its recipe says; twice is once. With `float32` every bit stays as it was.

    Args:
        recipe: with `device` and `precision` resolved.
        assembled: its model, with values or without.
    """
    body, matrices = assembled.model.body, list[Tensor]()
    if recipe.precision == "bf16-frozen":
        trains = {id(parameter) for parameter in assembled.plan.trainable().values()}
        matrices = round_frozen(body, lambda parameter: id(parameter) in trains)
        body.in_bfloat16 = True
    return Surgery(
        activations=_fuse(body) if recipe.precision in FUSED else 0,
        matrices=len(matrices),
        numbers=sum(each.numel() for each in matrices),
        blocks=_recompute(body) if recipe.gradient_checkpointing else 0,
    )


def _fuse(body: nn.Module) -> int:
    count = 0
    for module in list(body.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ in SPELLED_OUT:
                setattr(module, name, nn.GELU(approximate="tanh"))
                count += 1
    return count


def _recompute(body: Any) -> int:
    family = body.family
    blocks = body.model.get_submodule(family.blocks) if family.blocks else ()
    for block in blocks:
        if not isinstance(block.forward, partial):
            block.forward = partial(_again, block.forward)
    return len(blocks)


def _again(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
