"""What tasks share: a part of a split, and what became of samples that are too long."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from xmodal import seeds
from xmodal.tensors import Batch
from xmodal.types import Split


def lengths_of(split: Split) -> Tensor | None:
    """The length of each sample of a split, or None where all are as long, or it does not say."""
    said = getattr(split, "lengths", None)
    return said() if said else None


class Part:
    """Some samples of a split, by their indices there."""

    def __init__(self, whole: Split, chosen: Tensor) -> None:
        self._whole, self._chosen = whole, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def batch(self, indices: Tensor) -> Batch:
        """As `Split.batch`."""
        return self._whole.batch(self._chosen[indices])

    def lengths(self) -> Tensor | None:
        """Of each sample, where they differ."""
        lengths = lengths_of(self._whole)
        return None if lengths is None else lengths[self._chosen]

    def digest(self) -> str:
        """As `Split.digest`."""
        return hashlib.sha256(f"{self._whole.digest()} {self._chosen.tolist()}".encode()).hexdigest()


def fraction_of(split: Split, fraction: float | None, seed: int) -> Split:
    """The first `fraction` of a split in an order that the seed draws; rounded up. None takes all, as it is.

    Fractions are nested: with one seed, a tenth of the samples lies within a half of them.
    """
    if fraction is None:
        return split
    order = torch.randperm(len(split), generator=seeds.torch_generator("fraction", seed))
    return Part(split, order[: max(1, math.ceil(fraction * len(split)))])


def some_of(split: Split, count: int | None, seed: int) -> Split:
    """So many samples of a split, drawn by seed; None takes all."""
    order = torch.randperm(len(split), generator=seeds.torch_generator("score", seed))
    return Part(split, order[:count])


def batches_of(split: Split, batches: int, batch_size: int, random: torch.Generator) -> Split:
    """At most so many whole batches of a split, in an order drawn from `random`; a split smaller than one batch is
    taken whole. What is left out is what `legacy.sampled_evaluation` is about."""
    count = min(batches, len(split) // batch_size) * batch_size or len(split)
    return Part(split, torch.randperm(len(split), generator=random)[:count])
