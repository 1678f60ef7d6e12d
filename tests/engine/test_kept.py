"""What is kept of a split is what would have been computed, once for each sample."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

from xmodal.engine import Kept, kept
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


def keep(asked: list[list[int]], order: list[int], size: int, met: int = 10) -> Kept:
    def said(batch: Batch) -> Tensor:
        asked.append(batch.samples[:, 0].tolist())
        return batch.samples.float().pow(2).mean(dim=1)

    return Kept(Numbers(), said, torch.tensor(order), size, met)


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


@pytest.mark.parametrize("met", [0, 3, 4])
def test_only_what_will_be_met_has_room(asked: list[list[int]], met: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms, original = list[int](), kept.room
    monkeypatch.setattr(kept, "room", lambda shape, dtype: rooms.append(shape[0]) or original(shape, dtype))
    split = keep(asked, [7, 3, 9, 0, 1, 2, 8, 4, 6, 5], 4, met)
    for _ in range(2):
        assert split.batch(torch.tensor([9, 7])).samples.tolist() == [81, 49]
        assert split.batch(torch.tensor([1, 3])).subsets["odd"].tolist() == [True, True]  # 1 has no room
    assert rooms == ([4] * 3 if met else [])
    assert asked == ([[7, 3, 9, 0], [1, 3], [1, 3]] if met else [[9, 7], [1, 3]] * 2)


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("patched", "value"), [("LARGEST", 10 * (4 + 8 + 1) - 1), ("os.posix_fallocate", full)])
def test_where_there_is_no_room_everything_is_computed_again(
    asked: list[list[int]], monkeypatch: pytest.MonkeyPatch, patched: str, value: object
) -> None:
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("room is claimed on POSIX systems only")
    monkeypatch.setattr(kept, "IN_MEMORY", 0)
    monkeypatch.setattr(f"xmodal.engine.kept.{patched}", value)
    split = keep(asked, list(range(10)), 4)
    for _ in range(2):
        assert split.batch(torch.tensor([2, 9])).samples.tolist() == [4, 81]
    assert asked == [[0, 1, 2, 3], [2, 9], [2, 9]]


def test_a_file_is_as_large_as_what_it_will_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed: list[int] = []
    monkeypatch.setattr(kept, "IN_MEMORY", 4 * 6 - 1)
    monkeypatch.setattr(os, "posix_fallocate", lambda handle, start, size: claimed.append(size), raising=False)
    rows = kept.room((3, 2), torch.float32)
    rows[:] = 7.0
    assert (claimed, rows.tolist()) == ([24], [[7.0, 7.0]] * 3)
    assert kept.room((5,), torch.float32).shape == (5,)
    assert len(claimed) == 1
