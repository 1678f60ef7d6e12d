"""What is kept of a split is what would have been computed, once for each sample."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

from xmodal.engine import Kept, kept
from xmodal.errors import UnwrittenError
from xmodal.tensors import Batch


class Numbers:
    """Sample i is (i, -i), its label i modulo 3; the odd ones are a subset."""

    def __len__(self) -> int:
        return 10

    def batch(self, indices: Tensor) -> Batch:
        return Batch(torch.stack([indices, -indices], dim=1), indices % 3, None, {"odd": indices % 2 == 1})

    def digest(self) -> str:
        return "numbers"


@pytest.fixture(params=["memory", "file"])
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Which samples were computed, batch by batch."""
    if request.param == "file":
        monkeypatch.setattr(kept, "IN_MEMORY", 0)
    return []


def keep(asked: list[list[int]], order: list[int], size: int) -> Kept:
    def said(batch: Batch) -> Tensor:
        asked.append(batch.samples[:, 0].tolist())
        return batch.samples.float().pow(2).mean(dim=1)

    return Kept(Numbers(), said, torch.tensor(order), size)


def test_samples_are_computed_once_in_the_batches_in_which_they_are_first_met(asked: list[list[int]]) -> None:
    order = [7, 3, 9, 0, 1, 2, 8, 4, 6, 5]
    split = keep(asked, order, 4)
    assert (len(split), split.digest()) == (10, "numbers")
    first = split.batch(torch.tensor([7, 3, 9, 0]))
    assert asked == [[7, 3, 9, 0]]
    assert first.samples.tolist() == [49, 9, 81, 0]
    again = split.batch(torch.tensor([0, 5, 7]))  # 5 was not met yet, and is computed with those beside it
    assert asked == [[7, 3, 9, 0], [6, 5]]
    assert again.samples.tolist() == [0, 25, 49]
    assert again.targets.tolist() == [0, 2, 1]
    assert again.subsets["odd"].tolist() == [False, True, True]
    assert again.mask is None
    split.batch(torch.arange(10))
    split.batch(torch.arange(10))
    assert sorted(sample for batch in asked for sample in batch) == list(range(10))


def test_what_was_met_before_does_not_change_how_a_sample_is_computed(asked: list[list[int]]) -> None:
    straight, resumed = keep(asked, list(range(10)), 4), keep(asked, list(range(10)), 4)
    straight.batch(torch.arange(10))
    resumed.batch(torch.tensor([9, 2]))
    assert asked[3:] == [[0, 1, 2, 3], [8, 9]]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room is claimed on POSIX systems only")
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "IN_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UnwrittenError, match=r"no room to keep .*\n.*No space left.*\n.*cache: false"):
        kept.room((4, 2), torch.float32)
