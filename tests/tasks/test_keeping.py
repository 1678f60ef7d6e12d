"""What a plugin's task is held against: every task of ours keeps it, and each fault is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from xmodal.components import load
from xmodal.errors import XmodalError
from xmodal.tasks import TASKS, build_task
from xmodal.tasks.keeping import hold
from xmodal.tasks.options import TaskOptions
from xmodal.tensors import Batch
from xmodal.types import Classes, Continuous, SampleSpec, Symbols, TargetSpec

SMALL: Mapping[str, dict[str, Any]] = {
    "bit-memory": {},
    "bit-xor": {},
    "cellular-automaton": {"train": 100, "val": 20, "test": 20},
    "copy": {"train": 100, "val": 20, "test": 20},
    "dyck": {"train": 100, "val": 20, "test": 20},
    "haystack": {"train": 100, "val": 20, "test": 20},
    "listops": {"train": 20, "val": 5, "test": 5, "longer_than": 10, "shorter_than": 60},
    "reverse": {"train": 100, "val": 20, "test": 20},
    "shuffle-dyck": {"train": 100, "val": 20, "test": 20},
    "sort": {"train": 100, "val": 20, "test": 20},
}


@pytest.mark.parametrize("name", SMALL)
def test_tasks_that_are_made_here_keep_it(name: str) -> None:
    options = load(TASKS[name].options).model_validate({"name": name, **SMALL[name]})
    hold(build_task(options, 0), options, "xmodal")


class Options(TaskOptions):
    """Six symbols, the last ones padded, and which of three classes."""

    def sample(self) -> SampleSpec:
        return Symbols(5, 6, fixed=False)

    def target(self) -> TargetSpec:
        return Classes(3)


class Split:
    """Samples of one split; `change` makes each batch another one."""

    def __init__(self, start: int, change: Callable[[Batch, Tensor], Batch] = lambda batch, _: batch) -> None:
        random = torch.Generator().manual_seed(start)
        self.samples = torch.randint(1, 5, (40, 6), generator=random)
        self.mask = torch.arange(6) < torch.randint(3, 7, (40, 1), generator=random)
        self.samples[:, 0] = 1 + start
        self.samples[~self.mask] = 0
        self.targets = torch.randint(0, 3, (40,), generator=random)
        self.change, self.digests = change, iter(range(100))

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> Batch:
        return self.change(Batch(self.samples[indices], self.targets[indices], self.mask[indices]), indices)

    def digest(self) -> str:
        return "same"


class Whole:
    name, sample, target = "whole", Symbols(5, 6, fixed=False), Classes(3)

    def __init__(self, change: Callable[[Batch, Tensor], Batch] = lambda batch, _: batch, **said: Any) -> None:
        self.splits = {name: Split(number, change) for number, name in enumerate(("train", "val", "test"))}
        self.said = said
        for name in ("sample", "target"):
            setattr(self, name, said.get(name, getattr(self, name)))

    def split(self, name: str) -> Split:
        found = self.splits[self.said.get(name, name)]
        if "digest" in self.said:
            found.digest = lambda: str(next(found.digests))  # type: ignore[method-assign]
        return found

    def floors(self) -> Any:
        return self.said.get("floors", {"chance": 1 / 3})

    def coverage(self) -> Any:
        return self.said.get("coverage", {})


OPTIONS = Options(name="whole")


def test_a_task_that_keeps_it_passes() -> None:
    hold(Whole(), OPTIONS, "package")  # type: ignore[arg-type]
    repeated = {"val": {"samples": 40, "repeated": 40}}
    hold(Whole(val="train", coverage=repeated), OPTIONS, "package")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"val": "train"}, "has samples of train in val"),
        ({"val": "test"}, "has samples of val in test"),
        ({"digest": True}, "another digest every time"),
        ({"target": Classes(7)}, "is built with the target"),
        ({"sample": Continuous((6,))}, "is built with the sample"),
        ({"floors": {"chance": float("nan")}}, "a floor is an accuracy"),
        ({"floors": {"chance": 33.0}}, "a floor is an accuracy"),
        ({"coverage": None}, "no table"),
    ],
)
def test_faults_of_a_task_are_said(said: dict[str, Any], word: str) -> None:
    with pytest.raises(XmodalError, match=word) as caught:
        hold(Whole(**said), OPTIONS, "package")  # type: ignore[arg-type]
    assert caught.value.fix.startswith("mend it in package")
    assert caught.value.what.startswith("the task 'whole' ")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda b, _: replace(b, targets=b.targets + 3), "has targets from"),
        (lambda b, _: replace(b, targets=b.targets - 1), "has targets from"),
        (lambda b, _: replace(b, targets=b.targets.int()), "int64 is asked for"),
        (lambda b, _: replace(b, targets=b.targets[:, None]), "has targets of the shape"),
        (lambda b, _: Batch(b.samples[1:], b.targets[1:], b.mask[1:]), "when 40 are asked for"),
        (lambda b, _: replace(b, samples=b.samples + 3), "has symbols from"),
        (lambda b, _: replace(b, samples=b.samples.float()), "whole numbers are asked for"),
        (
            lambda b, _: replace(b, samples=b.samples.repeat(1, 2), mask=b.mask.repeat(1, 2)),
            "has padding between|shape",
        ),
        (lambda b, _: replace(b, mask=None), "gives no mask"),
        (lambda b, _: replace(b, mask=b.mask.flip(1)), "padding at the left"),
        (lambda b, _: replace(b, mask=b.mask[:, 1:]), "mask of another shape"),
        (lambda b, _: replace(b, targets=torch.randint(0, 3, b.targets.shape)), "other samples of train"),
        (lambda b, _: b.samples, "no Batch"),
    ],
)
def test_faults_of_a_split_are_said(change: Callable[[Batch, Tensor], Any], word: str) -> None:
    with pytest.raises(XmodalError, match=word):
        hold(Whole(change), OPTIONS, "package")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ([1, 2], "gives list for train, which lacks batch, digest"),
        (SimpleNamespace(batch=None, digest=None), "gives SimpleNamespace for train, which lacks __len__"),
    ],
)
def test_what_is_no_split_is_said(given: Any, word: str) -> None:
    task = Whole()
    task.split = lambda name: given  # type: ignore[method-assign]
    with pytest.raises(XmodalError, match=word):
        hold(task, OPTIONS, "package")  # type: ignore[arg-type]


def test_what_cannot_be_looked_at_is_said() -> None:
    with pytest.raises(XmodalError, match="the task 'whole' cannot be looked at: Type") as caught:
        hold(Whole(lambda b, _: Batch(b.samples, 3, b.mask)), OPTIONS, "package")  # type: ignore[arg-type]
    assert caught.value.fix.startswith("mend it in package")


def test_what_is_no_task_is_said() -> None:
    with pytest.raises(XmodalError, match="is NoneType and lacks name, sample"):
        hold(None, OPTIONS, "package")  # type: ignore[arg-type]
