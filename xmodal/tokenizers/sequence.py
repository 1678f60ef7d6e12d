"""Symbol ids, one to a token."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from xmodal.tensors import Batch, Tokens
from xmodal.tokenizers.input_layer import InputLayer
from xmodal.tokenizers.options import SequenceOptions
from xmodal.types import SampleSpec, Site


class Sequence(nn.Module):
    """Embeds each symbol; the batch's mask says which are padding."""

    def __init__(self, options: SequenceOptions, sample: SampleSpec, layer: InputLayer) -> None:
        super().__init__()
        self.layer = layer

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        """The input layer's parameters."""
        return self.layer.claims()

    def forward(self, batch: Batch) -> Tokens:
        """One token for each symbol."""
        return self.layer(batch.samples, batch.mask)
