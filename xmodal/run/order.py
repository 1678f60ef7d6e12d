"""Which samples a step takes: a function of the seed and the step alone."""

from __future__ import annotations

import torch
from torch import Tensor

from xmodal import seeds

POOL = 50
"""Batches whose samples are sorted by length together, where batches are to be of similar lengths."""


class Order:
    """Epochs, each shuffled by a stream of its own, cut into batches end to end.

    Args:
        samples: how many there are.
        batch_size: of a step.
        seed: of the run.
        lengths: of each sample; batches are then of similar lengths, and which of them comes when is drawn.
    """

    def __init__(self, samples: int, batch_size: int, seed: int, lengths: Tensor | None = None) -> None:
        self._samples, self._batch_size, self._seed, self._lengths = samples, batch_size, seed, lengths
        self._epoch, self._permutation = -1, torch.empty(0, dtype=torch.long)

    def indices(self, step: int) -> Tensor:
        """Indices of the batch of step `step`, counted from 0; always a whole batch."""
        start, left, parts = step * self._batch_size, self._batch_size, []
        while left:
            epoch, offset = divmod(start, self._samples)
            part = self._shuffled(epoch)[offset : offset + left]
            parts.append(part)
            start, left = start + len(part), left - len(part)
        return torch.cat(parts)

    def first(self) -> Tensor:
        """All samples, in the order in which they are first taken."""
        return self._shuffled(0)

    def _shuffled(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            random = seeds.torch_generator("order", self._seed, epoch)
            permutation = torch.randperm(self._samples, generator=random)
            if self._lengths is not None:
                # The batch that the epoch before began is filled up first.
                started = -epoch * self._samples % self._batch_size
                permutation = torch.cat([permutation[:started], self._grouped(permutation[started:], random)])
            self._epoch, self._permutation = epoch, permutation
        return self._permutation

    def _grouped(self, permutation: Tensor, random: torch.Generator) -> Tensor:
        """The same samples, those of a batch alike in length; what fills no batch comes last."""
        assert self._lengths is not None
        size, whole = self._batch_size, len(permutation) // self._batch_size * self._batch_size
        batches: list[Tensor] = []
        for pool in permutation[:whole].split(POOL * size):
            batches += pool[self._lengths[pool].argsort(stable=True)].split(size)
        turns = torch.randperm(len(batches), generator=random).tolist()
        return torch.cat([*(batches[turn] for turn in turns), permutation[whole:]])
