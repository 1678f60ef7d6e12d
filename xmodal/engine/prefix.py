"""The frozen prefix of a model: where only the output layer trains, all before it is a fixed function of a sample.

What the head reads of a sample is then computed once and kept. A loop sees no difference: its model is the output layer
alone (`Tail`), and its splits hold what the head reads (`Kept`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xmodal.assemble import Assembled, Model
from xmodal.recipe import Recipe
from xmodal.tensors import Batch
from xmodal.types import PerPosition


@dataclass(frozen=True)
class Prefix:
    """What can be kept of a sample.

    Attributes:
        why: why nothing is kept; empty where something is.
        numbers: how many numbers are kept of a sample.
    """

    why: str
    numbers: int

    def to_dict(self) -> dict[str, Any]:
        """As `xmodal explain --json` has it."""
        return {"kept": not self.why, "why": self.why, "numbers": 0 if self.why else self.numbers}

    def __str__(self) -> str:
        if self.why:
            return f"nothing is kept between steps: {self.why}"
        return f"what the head reads of a sample, {self.numbers:,} numbers, is computed once and kept"


def prefix_of(recipe: Recipe, assembled: Assembled) -> Prefix:
    """What can be kept with this recipe. Legality is decided here and nowhere else.

    Args:
        recipe: the recipe.
        assembled: its model, with or without values.
    """
    model, target = assembled.model, recipe.task.target()
    per_token = getattr(model.head, "per_token", 0)
    vectors = target.count // (per_token or 1) if isinstance(target, PerPosition) else 1
    return Prefix(_why_not(recipe, assembled), vectors * model.body.width)


def _why_not(recipe: Recipe, assembled: Assembled) -> str:
    trains = {id(parameter) for parameter in assembled.plan.trainable().values()}
    roles = {site.role: None for site, parameter in assembled.model.claims() if id(parameter) in trains}
    before = [role for role in roles if role != "head"]
    if recipe.cache is False:
        return "the recipe has cache: false"
    if before:
        *others, last = before
        return f"{', '.join(others)} and {last} train" if others else f"{last} trains"
    if recipe.body.dropout:
        return f"dropout of {recipe.body.dropout:g} in the body is drawn anew in every step"
    if not (hasattr(assembled.model.head, "read") and hasattr(assembled.model.head, "say")):
        return f"the head {recipe.head.name} does not tell what it reads from what it says of it"
    return ""


class Tail(nn.Module):
    """What is left to train: the head, given what it reads."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.head = model.head

    def forward(self, batch: Batch) -> Tensor:
        """Logits of a batch whose samples are what the head reads of them."""
        return self.head.say(batch.samples)


def reader(
    model: Model, device: torch.device, arithmetic: Callable[[], AbstractContextManager[Any]]
) -> Callable[[Batch], Tensor]:
    """What the head reads of a batch, on the CPU.

    Args:
        model: whole, on `device`.
        device: where the model is.
        arithmetic: as in a training step.
    """

    def read(batch: Batch) -> Tensor:
        with torch.no_grad(), arithmetic():
            return model.head.read(*model.said(batch.to(device))).float().cpu()

    return read
