"""The trained layer between raw tokens and the body: linear for numbers, an embedding for symbols."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from xmodal.tensors import Tokens
from xmodal.tokenizers.options import InputInit
from xmodal.types import Geometry, Site


class InputLayer(nn.Module):
    """Maps raw tokens to the body's width and puts a class token in front when there is one.

    Args:
        geometry: what a raw token is, and whether a class token stands in front.
        width: the body's.
        init: `orthogonal`, `normal` or `norm-matched`; see the tokenizers' options.
        std: deviation under `normal`.
        token_rms: root mean square of the body's own token embedding, for `norm-matched`.
        random: the stream to draw from. The same seed draws the same directions for every body of that width.
    """

    def __init__(
        self,
        geometry: Geometry,
        width: int,
        *,
        init: InputInit,
        std: float,
        token_rms: float,
        random: torch.Generator,
    ) -> None:
        super().__init__()
        entries = geometry.vocabulary or geometry.inputs
        table = torch.empty(entries, width)
        if init == "orthogonal":
            nn.init.orthogonal_(table, gain=math.sqrt(2), generator=random)
        else:
            # A linear layer sums `inputs` terms of unit variance; an embedding picks one row.
            matched = token_rms / math.sqrt(geometry.inputs or 1)
            table.normal_(0, matched if init == "norm-matched" else std, generator=random)
        self.symbols = bool(geometry.vocabulary)
        self.weight = nn.Parameter(table if self.symbols else table.T.contiguous())
        self.bias = None if self.symbols else nn.Parameter(torch.zeros(width))
        self.class_token = None
        if geometry.prefix:
            scale = token_rms if init == "norm-matched" else std
            self.class_token = nn.Parameter(torch.empty(geometry.prefix, width).normal_(0, scale, generator=random))

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter, all of role `input`."""
        yield Site("input"), self.weight
        if self.bias is not None:
            yield Site("input", kind="bias"), self.bias
        if self.class_token is not None:
            yield Site("input", part="class"), self.class_token

    def forward(self, raw: Shaped[Tensor, "batch tokens *inputs"], mask: Bool[Tensor, "batch tokens"] | None) -> Tokens:
        """Tokens of the body's width; `mask` None means that every raw token is real."""
        values = (
            nn.functional.embedding(raw, self.weight)
            if self.symbols
            else nn.functional.linear(raw, self.weight, self.bias)
        )
        return self._with_class_token(values, mask)

    def _with_class_token(self, values: Float[Tensor, "batch tokens width"], mask: Tensor | None) -> Tokens:
        batch, prefix, padded = len(values), 0, mask is not None
        if self.class_token is not None:
            prefix = len(self.class_token)
            values = torch.cat([self.class_token.expand(batch, -1, -1), values], dim=1)
            mask = None if mask is None else nn.functional.pad(mask, (prefix, 0), value=True)
        if mask is None:
            mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        return Tokens(values, mask, padded=padded, prefix=prefix)
