"""Padding that is taken for data: a fault of published code, which `legacy.read_padding` recreates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from xmodal.tensors import Batch
from xmodal.types import Letters, Split, SplitName, Symbols, Task


class ReadsPadding:
    """A task whose samples are padded to the longest that it allows, all of them with a mask that says they are real.

    The length is the task's and not the batch's, so that a score does not depend on the batch size.
    """

    def __init__(self, task: Task) -> None:
        self.name, self.sample, self.target = task.name, task.sample, task.target
        self._task = task

    def split(self, name: SplitName) -> Split:
        """The samples of that split."""
        assert isinstance(self.sample, Letters | Symbols)
        return _Unmasked(self._task.split(name), self.sample.max_length)

    def floors(self) -> Mapping[str, float]:
        """Those of the task: they read no padding."""
        return self._task.floors()

    def coverage(self) -> Mapping[SplitName, Mapping[str, int]]:
        """As the task's."""
        return self._task.coverage()


class _Unmasked:
    def __init__(self, whole: Split, length: int) -> None:
        self._whole, self._length = whole, length

    def __len__(self) -> int:
        return len(self._whole)

    def batch(self, indices: Tensor) -> Batch:
        batch = self._whole.batch(indices)
        samples = nn.functional.pad(batch.samples, (0, self._length - batch.samples.shape[1]))
        return Batch(samples, batch.targets, torch.ones(samples.shape, dtype=torch.bool), batch.subsets)

    def digest(self) -> str:
        return hashlib.sha256(f"{self._whole.digest()} unmasked {self._length}".encode()).hexdigest()
