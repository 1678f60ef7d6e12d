"""A body: the model of a family, cut to the blocks that are kept, with claims and without values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xmodal.bodies.family import Family
from xmodal.tensors import Tokens
from xmodal.types import Site


class Body(nn.Module):
    """Built on the meta device; `weights.fill` gives it values. Token embeddings are claimed and never held.

    Args:
        family: its architecture.
        dropout: rate of every dropout in it.
    """

    def __init__(self, family: Family, dropout: float) -> None:
        super().__init__()
        self.family, self.anatomy = family, family.anatomy
        self.width, self.context, self.causal = family.anatomy.width, family.anatomy.context, family.anatomy.causal
        self.prefix = family.anatomy.prefix
        self.in_bfloat16 = False
        """Whether matrix products are computed in bfloat16; what is given, said, added up and normed is float32."""
        self.model: Any = family.build(dropout)
        self.source_names = {parameter: name for name, parameter in self.model.named_parameters()}
        """A checkpoint's name for each parameter, before blocks are dropped."""
        if family.blocks:
            parent, _, name = family.blocks.rpartition(".")
            owner = self.model.get_submodule(parent)
            whole = getattr(owner, name)
            setattr(owner, name, nn.ModuleList(whole[layer] for layer in family.anatomy.layers))

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once, with its site."""
        return self.family.claims(self.model)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch positions width"]:
        """Hidden states after the last norm; the body's own prefix tokens stand in front."""
        if not self.in_bfloat16:
            return self.family.forward(self.model, tokens)
        with torch.autocast(tokens.values.device.type, torch.bfloat16, cache_enabled=False):
            return self.family.forward(self.model, tokens).float()
