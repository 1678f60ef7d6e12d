"""A split of which something is computed once for each sample and kept, in memory or in a file that has no name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from math import prod

import numpy as np
import torch
from torch import Tensor

from xmodal.errors import UnwrittenError
from xmodal.tensors import Batch
from xmodal.types import Split

IN_MEMORY = 2**31
"""Bytes of one split that are kept in memory; more go into a file."""
LARGEST = 2**34
"""Bytes of one split that are kept at all."""


class Kept:
    """The samples of a split, each replaced by what `said` makes of it, computed when it is first asked for.

    Samples are computed in the batches in which a run first meets them. So the first epoch is computed as if nothing
    were kept, and what is kept does not depend on where a run was interrupted.

    Args:
        split: of the task.
        said: what is kept of a batch, `[batch ...]`, on the CPU.
        order: all samples, in the order in which they are first met.
        batch_size: samples that are computed together.
    """

    def __init__(self, split: Split, said: Callable[[Batch], Tensor], order: Tensor, batch_size: int) -> None:
        self._split, self._said, self._order, self._batch_size = split, said, order, batch_size
        self._group = torch.empty_like(order)
        self._group[order] = torch.arange(len(order)) // batch_size
        self._known = torch.zeros(-(-len(order) // batch_size), dtype=torch.bool)
        self._rows: dict[str, Tensor] = {}
        self._subsets: list[str] = []

    def __len__(self) -> int:
        return len(self._split)

    def digest(self) -> str:
        """As `Split.digest`."""
        return self._split.digest()

    def batch(self, indices: Tensor) -> Batch:
        """What is kept of the samples at `indices`, with their targets."""
        groups = self._group[indices].unique()
        for group in groups[~self._known[groups]].tolist():
            self._compute(group)
        samples, targets, *subsets = (rows[indices] for rows in self._rows.values())
        return Batch(samples, targets, None, dict(zip(self._subsets, subsets, strict=True)))

    def _compute(self, group: int) -> None:
        indices = self._order[group * self._batch_size : (group + 1) * self._batch_size]
        batch = self._split.batch(indices)
        self._subsets = list(batch.subsets)
        made = {"": self._said(batch), "targets": batch.targets}
        made |= {f"subset {name}": mask for name, mask in batch.subsets.items()}
        for name, rows in made.items():
            if name not in self._rows:
                self._rows[name] = room((len(self), *rows.shape[1:]), rows.dtype)
            self._rows[name][indices] = rows
        self._known[group] = True


def room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An empty tensor: in memory, or in a file where it is large. However the process ends, the file goes with it.

    Raises:
        UnwrittenError: the disk has no room for it.
    """
    size = prod(shape) * dtype.itemsize
    if size <= IN_MEMORY:
        return torch.empty(shape, dtype=dtype)
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):
                # Claimed at once: a write to a mapped page for which the disk has no room would kill the process.
                os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)
            return torch.from_numpy(np.memmap(file, torch.empty(0, dtype=dtype).numpy().dtype, "r+", shape=shape))
    except OSError as error:
        raise UnwrittenError(
            f"no room to keep {size / 1e9:.1f} GB of what the body says",
            where=tempfile.gettempdir(),
            why=error.strerror or str(error),
            fix="point TMPDIR to a larger disk, or set cache: false",
        ) from None
