"""Several processes that train one run: each takes its part of every batch, and they add up what they found.

What trains is a small
part of the model, so gradients are summed in one message. Each process makes the same decisions from the same sums;
the first alone leaves a run folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, distributed

from xmodal import seeds
from xmodal.errors import XmodalError


class Ranks:
    """Who this process is among those that train the run.

    Args:
        rank: its number, from 0.
        count: how many there are.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count
        self.stopping = False
        """Whether any of them was told to stop, as all of them knew it at the last sum."""

    def mine(self, indices: Tensor) -> Tensor:
        """This process's part of the samples of a batch."""
        return indices.tensor_split(self.count)[self.rank]

    def stream(self, name: str, seed: int, step: int) -> int:
        """A seed of its own for each process; the first has the one that a single process has."""
        return seeds.stream(name, seed, step, *([self.rank] if self.rank else []))

    def sum(self, tensors: Iterable[Tensor], stop: bool = False) -> list[Tensor]:
        """The sums of tensors over all processes, each in its dtype.

        Args:
            tensors: of equal shapes in every process.
            stop: whether this process was told to stop.
        """
        own = list(tensors)
        if self.count == 1:
            self.stopping = stop
            return own
        device = own[0].device
        told = torch.tensor([float(stop)], dtype=torch.float64, device=device)
        flat = torch.cat([*(each.flatten().double() for each in own), told])
        try:
            distributed.all_reduce(flat)
        except RuntimeError as error:
            raise XmodalError(
                "another process of this run is gone",
                where=f"process {self.rank} of {self.count}",
                why=str(error).splitlines()[0].rpartition("]")[2].strip(),
                fix="see what it said, then start all of them again with --resume",
            ) from None
        self.stopping = bool(flat[-1])
        parts = flat[:-1].split([each.numel() for each in own])
        return [part.view_as(each).to(each.dtype) for part, each in zip(parts, own, strict=True)]

    def answer(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """What to ask in the place of `stop`: all processes are told the same."""
        return stop if self.count == 1 else lambda: self.stopping
