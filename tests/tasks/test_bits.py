"""Bit strings: right targets, disjoint splits, samples that never change, floors that are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from xmodal.tasks import build_task
from xmodal.tasks.options import BitMemoryOptions, BitXorOptions
from xmodal.types import Continuous, PerPosition, Split, SplitName, Symbols, Task

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


def xor(bits: int = 3, seed: int = 0) -> Task:
    return build_task(BitXorOptions(bits=bits), seed)


def memory(seed: int = 0, **said: object) -> Task:
    return build_task(BitMemoryOptions.model_validate({"bits": 40, "train": 64, "val": 32, "test": 48, **said}), seed)


def everything(split: Split) -> Tensor:
    return torch.arange(len(split))


def inputs(split: Split) -> set[tuple[int, ...]]:
    return {tuple(row) for row in split.batch(everything(split)).samples.tolist()}


@pytest.mark.parametrize("bits", [3, 4, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_xor_splits_share_nothing_and_cover_all_inputs(bits: int, seed: int) -> None:
    task = xor(bits, seed)
    held = {name: inputs(task.split(name)) for name in SPLITS}
    assert {name: len(task.split(name)) for name in SPLITS} == {
        "train": 5 * 4**bits // 8,
        "val": 4**bits // 8,
        "test": 4**bits // 4,
    }
    assert sum(map(len, held.values())) == 4**bits
    together = set().union(*held.values())
    assert len(together) == 4**bits
    assert together == {tuple(int(bit) for bit in f"{number:0{2 * bits}b}") for number in range(4**bits)}


@pytest.mark.parametrize("name", SPLITS)
def test_xor_targets_are_right(name: SplitName) -> None:
    split = xor(5).split(name)
    batch = split.batch(everything(split))
    for sample, target in zip(batch.samples.tolist(), batch.targets.tolist(), strict=True):
        assert target == [left ^ right for left, right in zip(sample[:5], sample[5:], strict=True)]
    assert batch.mask is None


def test_xor_is_what_it_says() -> None:
    task = xor(5)
    assert task.name == "bit-xor"
    assert task.sample == Symbols(vocabulary=2, max_length=10, fixed=True)
    assert task.target == PerPosition(count=5, classes=2)
    batch = task.split("train").batch(torch.tensor([0, 3]))
    assert (batch.samples.shape, batch.targets.shape) == ((2, 10), (2, 5))
    assert batch.samples.dtype == batch.targets.dtype == torch.int64


def test_xor_in_training_every_position_sees_its_four_cases() -> None:
    split = xor(3).split("train")
    samples = split.batch(everything(split)).samples
    for position in range(3):
        assert {tuple(row) for row in samples[:, [position, position + 3]].tolist()} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_the_floor_of_xor_is_the_commoner_bit_of_training() -> None:
    task = xor(3)
    train, test = (task.split(name).batch(everything(task.split(name))).targets for name in ("train", "test"))
    ones = train.float().mean(dim=0)
    guess = (ones > 0.5).long()
    floors = task.floors()
    assert floors.keys() == {"chance", "majority"}
    assert floors["chance"] == 0.5
    assert floors["majority"] == pytest.approx(float((test == guess).float().mean()))
    assert xor(6).floors()["majority"] == pytest.approx(0.5, abs=0.05)


def test_memory_is_what_it_says() -> None:
    task = memory(strings=5)
    assert task.name == "bit-memory"
    assert task.sample == Continuous((6, 40))
    assert task.target == PerPosition(count=40, classes=2)
    assert [len(task.split(name)) for name in SPLITS] == [64, 32, 48]
    batch = task.split("val").batch(torch.tensor([0, 5, 31]))
    assert (batch.samples.shape, batch.targets.shape) == ((3, 6, 40), (3, 40))
    assert (batch.samples.dtype, batch.targets.dtype) == (torch.float32, torch.int64)
    assert batch.mask is None


@pytest.mark.parametrize("name", SPLITS)
def test_memory_asks_for_one_of_its_strings(name: SplitName) -> None:
    split = memory().split(name)
    batch = split.batch(everything(split))
    strings, copy, hidden = batch.samples[:, :-1], batch.samples[:, -1], batch.subsets["hidden"]
    signs = 2 * batch.targets - 1
    assert set(strings.unique().tolist()) == {-1, 1}
    assert torch.equal(copy == 0, hidden)
    assert torch.equal(copy[~hidden], signs[~hidden].float())
    asked = (strings == signs[:, None]).all(dim=-1)
    assert asked.any(dim=-1).all()
    assert asked.any(dim=0).all()  # each of the five is asked for, now and then


@pytest.mark.parametrize("hidden", [0.1, 0.5, 0.9])
def test_memory_hides_the_share_that_was_asked_for(hidden: float) -> None:
    split = memory(hidden=hidden, bits=200).split("train")
    share = float(split.batch(everything(split)).subsets["hidden"].float().mean())
    assert share == pytest.approx(hidden, abs=5 * (hidden * (1 - hidden) / (64 * 200)) ** 0.5)


def test_memory_bits_are_fair() -> None:
    split = memory(bits=200).split("train")
    batch = split.batch(everything(split))
    assert float(batch.samples[:, :-1].mean()) == pytest.approx(0, abs=0.02)
    assert float(batch.targets.float().mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("make", [xor, memory])
def test_an_index_is_always_the_same_sample(make: Callable[..., Task]) -> None:
    one, again = make(seed=3).split("train"), make(seed=3).split("train")
    whole = one.batch(everything(one))
    some = torch.tensor([7, 0, 7, 39])
    for split in (one, again):
        batch = split.batch(some)
        assert torch.equal(batch.samples, whole.samples[some])
        assert torch.equal(batch.targets, whole.targets[some])
        for name, subset in batch.subsets.items():
            assert torch.equal(subset, whole.subsets[name][some])


@pytest.mark.parametrize("make", [xor, memory])
def test_a_seed_makes_its_own_splits(make: Callable[..., Task]) -> None:
    for name in SPLITS:
        one, other = make(seed=0).split(name), make(seed=1).split(name)
        assert not torch.equal(one.batch(torch.arange(8)).samples, other.batch(torch.arange(8)).samples)
        assert one.digest() != other.digest()
        assert one.digest() == make(seed=0).split(name).digest()
    assert len({make(seed=0).split(name).digest() for name in SPLITS}) == 3


def test_memory_splits_differ() -> None:
    task = memory()
    held = [
        {tuple(row) for row in task.split(name).batch(torch.arange(32)).samples.flatten(1).tolist()} for name in SPLITS
    ]
    assert [len(samples) for samples in held] == [32] * 3
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]


def test_memory_digests_say_what_samples_are() -> None:
    digests = {memory(**said).split("val").digest() for said in ({}, {"bits": 41}, {"strings": 4}, {"hidden": 0.4})}
    assert len(digests) == 4


def test_the_floors_of_memory() -> None:
    floors = memory(bits=500).floors()
    assert floors.keys() == {"copy", "copy_hidden"}
    # 48 samples of 500 bits, about half of them hidden.
    assert floors["copy"] == pytest.approx(0.75, abs=0.02)
    assert floors["copy_hidden"] == pytest.approx(0.5, abs=0.03)


def test_the_floor_of_memory_copies_what_is_visible() -> None:
    floors = memory(hidden=0.1, bits=500).floors()
    assert floors["copy"] == pytest.approx(0.95, abs=0.01)
    assert floors["copy_hidden"] == pytest.approx(0.5, abs=0.06)
