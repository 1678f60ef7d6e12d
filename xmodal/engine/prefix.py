"""The frozen prefix of a model: all before its lowest trainable parameter is a fixed function of a sample.

What comes out of it is computed once for each sample and kept. A loop sees no difference: its model is what is left of
the whole (`Tail`), and its splits hold what that is given (`Kept`). Where only the output layer trains, that is the
output layer; where the lower blocks are frozen with all before them, the blocks above and the head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xmodal.assemble import Assembled, Model
from xmodal.recipe import Recipe
from xmodal.tensors import Batch, Tokens
from xmodal.types import Letters, PerPosition, Site, Symbols

HANDS_ON = ("bert", "gpt2", "llama", "transformer", "vit")
"""Architectures whose blocks are given the hidden states and nothing else that a block below them made."""


@dataclass(frozen=True)
class Prefix:
    """What can be kept of a sample.

    Attributes:
        why: why nothing is kept; empty where something is.
        numbers: how many numbers are kept of a sample.
        block: the first block that is computed in every step; None where no block is.
    """

    why: str
    numbers: int
    block: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As `xmodal explain --json` has it."""
        numbers = 0 if self.why else self.numbers
        return {"kept": not self.why, "why": self.why, "numbers": numbers, "block": self.block}

    def __str__(self) -> str:
        if self.why:
            return f"nothing is kept between steps: {self.why}"
        who = "the head reads" if self.block is None else f"block {self.block} is given"
        return f"what {who} of a sample, {self.numbers:,} numbers, is computed once and kept"


def prefix_of(recipe: Recipe, assembled: Assembled) -> Prefix:
    """What can be kept with this recipe. Legality is decided here and nowhere else.

    Args:
        recipe: the recipe.
        assembled: its model, with or without values.
    """
    model, target = assembled.model, recipe.task.target()
    trains = {id(parameter) for parameter in assembled.plan.trainable().values()}
    before = [site for site, parameter in model.claims() if id(parameter) in trains and site.role != "head"]
    if before:
        block, why = _cut(recipe, model, before)
        positions = recipe.tokenizer.geometry(recipe.task.sample()).tokens + model.body.prefix
        return Prefix(why or _drawn(recipe), positions * model.body.width, block)
    per_token = getattr(model.head, "per_token", 0)
    vectors = target.count // (per_token or 1) if isinstance(target, PerPosition) else 1
    why = _drawn(recipe)
    if not why and not (hasattr(model.head, "read") and hasattr(model.head, "say")):
        why = f"the head {recipe.head.name} does not tell what it reads from what it says of it"
    return Prefix(why, vectors * model.body.width)


def _drawn(recipe: Recipe) -> str:
    """Why nothing may be kept, whatever trains."""
    if recipe.cache is False:
        return "the recipe has cache: false"
    if recipe.body.dropout:
        return f"dropout of {recipe.body.dropout:g} in the body is drawn anew in every step"
    return ""


def _cut(recipe: Recipe, model: Model, before: Sequence[Site]) -> tuple[int | None, str]:
    """The lowest block with something that trains, or why all below it cannot be kept."""
    *others, last = dict.fromkeys(site.role for site in before)
    trains = f"{', '.join(others)} and {last} train" if others else f"{last} trains"
    final = [site for site in before if site.role == "ln" and site.part == "final"]
    layers = [site.layer for site in before if site.layer is not None]
    block = min(layers, default=len(model.body.anatomy.layers) - 1)
    sample = recipe.task.sample()
    if len(layers) + len(final) < len(before) or block < 1:
        return None, trains
    if model.body.anatomy.family not in HANDS_ON:
        return None, f"{trains}, and blocks of {recipe.body.name} are given more than hidden states"
    if recipe.tokenizer.order == "shuffled":
        return None, f"{trains}, and tokens are shuffled"
    if isinstance(sample, Letters) or (isinstance(sample, Symbols) and not sample.fixed):
        return None, f"{trains}, and samples differ in length"
    return block, ""


class Tail(nn.Module):
    """What is left to train where the body is frozen: the head, given what it reads."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.head = model.head

    def forward(self, batch: Batch) -> Tensor:
        """Logits of a batch whose samples are what the head reads of them."""
        return self.head.say(batch.samples)


class Upper(nn.Module):
    """What is left to train where the lower blocks are frozen: the blocks above them, and the head.

    The body runs as ever, but blocks below `block` hand on what they are given, and `block` is given what was kept.

    Args:
        model: whole.
        block: the first that is computed.
    """

    def __init__(self, model: Model, block: int) -> None:
        super().__init__()
        self.model = model
        self._tokens: Tokens | None = None
        self._kept: Tensor | None = None
        self._stops = False
        blocks = model.body.model.get_submodule(model.body.family.blocks)
        for below in blocks[:block]:
            below.forward = partial(self._pass, below.forward)
        blocks[block].forward = partial(self._enter, blocks[block].forward)

    def below(self, batch: Batch) -> Tensor:
        """What the block is given of a batch, `[batch positions width]`."""
        tokens = self.model.tokenizer(batch)
        self._tokens, self._stops = tokens, True
        try:
            self.model.body(tokens)
        except _Given as given:
            return given.hidden
        finally:
            self._stops = False
        raise AssertionError("the body passes its blocks")

    def forward(self, batch: Batch) -> Tensor:
        """Logits of a batch whose samples are what the block is given."""
        assert self._tokens is not None, "what is kept comes from below"
        hidden, body = batch.samples, self.model.body
        values = hidden[:, body.prefix :]
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        tokens, self._kept = replace(self._tokens, values=values, mask=mask), hidden
        try:
            said = body(tokens)
        finally:
            self._kept = None
        return self.model.head(said, tokens.behind(said, body.prefix))

    def _pass(self, forward: Callable[..., Tensor], hidden: Tensor, *rest: Any, **named: Any) -> Tensor:
        return forward(hidden, *rest, **named) if self._kept is None else hidden

    def _enter(self, forward: Callable[..., Tensor], hidden: Tensor, *rest: Any, **named: Any) -> Tensor:
        if self._stops:
            raise _Given(hidden)
        return forward(hidden if self._kept is None else self._kept, *rest, **named)


class _Given(Exception):
    """The body has come to the block."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


def left_of(model: Model, prefix: Prefix) -> tuple[Tail | Upper, Callable[[Batch], Tensor]]:
    """What is left of a model to train, and what is kept of a batch.

    Args:
        model: whole.
        prefix: what can be kept of a sample.
    """
    if prefix.block is None:
        return Tail(model), lambda batch: model.head.read(*model.said(batch))
    upper = Upper(model, prefix.block)
    return upper, upper.below


def reader(
    said: Callable[[Batch], Tensor], device: torch.device, arithmetic: Callable[[], AbstractContextManager[Any]]
) -> Callable[[Batch], Tensor]:
    """What is kept of a batch, on the CPU.

    Args:
        said: computes it, where the model is.
        device: where the model is.
        arithmetic: as in a training step.
    """

    def read(batch: Batch) -> Tensor:
        with torch.no_grad(), arithmetic():
            return said(batch.to(device)).float().cpu()

    return read
