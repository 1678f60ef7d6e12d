"""Protein sequences: one token for each residue."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Integer
from torch import Tensor, nn

from xmodal.tensors import Batch, Tokens
from xmodal.tokenizers.input_layer import InputLayer
from xmodal.tokenizers.options import AMINO_ACIDS, AminoAcidOptions
from xmodal.types import SampleSpec, Site

PADDING, UNKNOWN = 0, len(AMINO_ACIDS) + 1


class AminoAcid(nn.Module):
    """ASCII codes in; padding is id 0, the 20 letters are 1 to 20, and every other letter is X, id 21.

    X stands for the unknown residue and for the rare or ambiguous ones (B J O U Z). Case does not matter.
    """

    def __init__(self, options: AminoAcidOptions, sample: SampleSpec, layer: InputLayer) -> None:
        super().__init__()
        self.layer = layer
        ids = torch.full((128,), UNKNOWN)
        ids[0] = PADDING
        for number, letter in enumerate(AMINO_ACIDS, start=1):
            ids[[ord(letter), ord(letter.lower())]] = number
        self.register_buffer("ids", ids, persistent=False)
        self.ids: Tensor

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        """The input layer's parameters."""
        return self.layer.claims()

    def encode(self, letters: Integer[Tensor, "batch length"]) -> Integer[Tensor, "batch length"]:
        """Ids of ASCII codes."""
        return self.ids[letters.long().clamp(max=127)]

    def forward(self, batch: Batch) -> Tokens:
        """One token for each residue; without a mask, code 0 is padding."""
        ids = self.encode(batch.samples)
        return self.layer(ids, ids != PADDING if batch.mask is None else batch.mask)
