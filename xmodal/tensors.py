"""What flows along the path of a batch: Batch -> Tokens -> hidden states -> logits.

Shapes are jaxtyping words. The tests execute them through beartype; in production they cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

Hidden = Float[Tensor, "batch tokens width"]


@dataclass(frozen=True)
class Batch:
    """Raw samples and their targets.

    Attributes:
        samples: as the task's `SampleSpec` says: numbers, symbol ids or letter codes.
        targets: a class index per sample, or one per position.
        mask: True where a sequence is real and False where it is padding; None when no sample is padded.
        subsets: named subsets of the targets that get a score of their own (the hidden bits of bit-memory).
    """

    samples: Shaped[Tensor, "batch *sample"]
    targets: Int[Tensor, "batch *positions"]
    mask: Bool[Tensor, "batch length"] | None = None
    subsets: Mapping[str, Bool[Tensor, "batch *positions"]] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`; a GPU copies it while the CPU goes on."""

        def there(tensor: Tensor) -> Tensor:
            if device.type == "cuda" and not tensor.is_cuda:
                return tensor.pin_memory().to(device, non_blocking=True)
            return tensor.to(device)

        mask = None if self.mask is None else there(self.mask)
        subsets = {name: there(subset) for name, subset in self.subsets.items()}
        return Batch(there(self.samples), there(self.targets), mask, subsets)


@dataclass(frozen=True)
class Tokens:
    """Tokens of the body's width.

    Attributes:
        values: the tokens.
        mask: True for real tokens. Padding stands on the right.
        padded: False promises that the mask is all True, so that a body may skip it.
        prefix: number of tokens in front that hold no data (a class token).
        grid: rows and columns when the tokens that hold data are the patches of an image, else None.
    """

    values: Float[Tensor, "batch tokens width"]
    mask: Bool[Tensor, "batch tokens"]
    padded: bool = True
    prefix: int = 0
    grid: tuple[int, int] | None = None

    def behind(self, hidden: Hidden, prefix: int) -> Tokens:
        """What a head reads: `hidden` in the place of values, behind `prefix` tokens that the body put in front."""
        mask = nn.functional.pad(self.mask, (prefix, 0), value=True) if prefix else self.mask
        return replace(self, values=hidden, mask=mask, prefix=self.prefix + prefix)

    def taken(self, order: Int[Tensor, "batch tokens"]) -> Tokens:
        """The tokens in another order, one for each sample."""
        values = self.values.gather(1, order[..., None].expand_as(self.values))
        return replace(self, values=values, mask=self.mask.gather(1, order))
