"""A split of which something is computed once for each sample and kept, in memory or in a file that has no name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from math import prod

import numpy as np
import torch
from torch import Tensor

from xmodal.tensors import Batch
from xmodal.types import Split

IN_MEMORY = 2**31
"""Bytes of one split that are kept in memory; more go into a file."""
LARGEST = 2**34
"""Bytes of one split that are kept at all."""


class Kept:
    """The samples of a split, each replaced by what `said` makes of it, computed when it is first asked for.

    Samples are computed in the batches in which a run first meets them. So the first epoch is computed as if nothing
    were kept, and what is kept does not depend on where a run was interrupted. Where there is no room, nothing is kept,
    and a sample is computed each time it is asked for.

    Args:
        split: of the task.
        said: what is kept of a batch, `[batch ...]`, on the CPU.
        order: all samples, in the order in which they are first met.
        batch_size: samples that are computed together.
        met: how many of them will be met, the first of `order`; 0 keeps nothing.
    """

    def __init__(self, split: Split, said: Callable[[Batch], Tensor], order: Tensor, batch_size: int, met: int) -> None:
        self._split, self._said, self._order, self._batch_size = split, said, order, batch_size
        self._place = torch.empty_like(order)
        self._place[order] = torch.arange(len(order))
        self._room = min(len(order), -(-met // batch_size) * batch_size)
        self._known = torch.zeros(-(-self._room // batch_size), dtype=torch.bool)
        self._whole = False
        self._rows: list[Tensor] = []
        self._subsets: list[str] = []

    def __len__(self) -> int:
        return len(self._split)

    def digest(self) -> str:
        """As `Split.digest`."""
        return self._split.digest()

    def batch(self, indices: Tensor) -> Batch:
        """What is kept of the samples at `indices`, with their targets."""
        places = self._place[indices]
        if not self._has(places):
            return self._computed(indices)
        samples, targets, *subsets = (rows[places] for rows in self._rows)
        return Batch(samples, targets, None, dict(zip(self._subsets, subsets, strict=True)))

    def _has(self, places: Tensor) -> bool:
        """Whether the samples at these places are kept; those that can be, are from now on."""
        if self._whole:
            return True
        if not self._room or int(places.max()) >= self._room:
            return False
        groups = (places // self._batch_size).unique()
        kept = all(self._keep(group) for group in groups[~self._known[groups]].tolist())
        self._whole = self._room == len(self._order) and bool(self._known.all())
        return kept

    def _computed(self, indices: Tensor) -> Batch:
        batch = self._split.batch(indices)
        return Batch(self._said(batch), batch.targets, None, batch.subsets)

    def _keep(self, group: int) -> bool:
        """Computes and keeps a batch; False, for ever, where there is no room."""
        start = group * self._batch_size
        batch = self._computed(self._order[start : start + self._batch_size])
        made = [batch.samples, batch.targets, *batch.subsets.values()]
        if not self._rows:
            each = sum(rows[0].numel() * rows.dtype.itemsize for rows in made)
            try:
                if each * self._room > LARGEST:
                    raise OSError("more than is ever kept")
                self._rows = [room((self._room, *rows.shape[1:]), rows.dtype) for rows in made]
                self._subsets = list(batch.subsets)
            except OSError:
                self._room = 0
                return False
        for kept, rows in zip(self._rows, made, strict=True):
            kept[start : start + len(rows)] = rows
        self._known[group] = True
        return True


def room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An empty tensor: in memory, or in a file where it is large. However the process ends, the file goes with it.

    Raises:
        OSError: the disk has no room for it.
    """
    size = prod(shape) * dtype.itemsize
    if size <= IN_MEMORY:
        return torch.empty(shape, dtype=dtype)
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):
            # Claimed at once: a write to a mapped page for which the disk has no room would kill the process.
            os.posix_fallocate(file.fileno(), 0, size)
        file.truncate(size)
        return torch.from_numpy(np.memmap(file, torch.empty(0, dtype=dtype).numpy().dtype, "r+", shape=shape))
