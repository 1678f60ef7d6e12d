"""What every task must keep. A task that a plugin builds is held against it, on up to 512 samples of each split."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from xmodal.components import blame
from xmodal.errors import XmodalError
from xmodal.tasks.held import keys
from xmodal.tasks.options import TaskOptions
from xmodal.tasks.splits import lengths_of
from xmodal.tensors import Batch
from xmodal.types import SPLITS, Classes, Continuous, Letters, SampleSpec, SplitName, Symbols, TargetSpec, Task

SAMPLES = 512
"""Most samples of a split that are looked at, spread evenly over it."""


class _Unkept(Exception):
    """In what."""


def hold(task: Task, options: TaskOptions, made_by: str) -> None:
    """Nothing, if the task is what its options say.

    Args:
        task: as it was built.
        options: that it was built of.
        made_by: the package that is to be mended.

    Raises:
        XmodalError: it is not; the message says in what.
    """
    try:
        _whole(task, options)
        seen = {name: _split(task, name) for name in SPLITS}
        for name in ("val", "test"):
            told = (task.coverage().get(name) or {}).get("repeated")
            shared = seen[name] & seen["train"]
            _must(not shared or bool(told), f"has samples of train in {name}, and does not tell it as `repeated`")
        _must(not seen["val"] & seen["test"], "has samples of val in test")
    except _Unkept as fault:
        raise _broken(options.name, str(fault), made_by) from None
    except XmodalError:
        raise
    except Exception as error:  # of a stranger's code, or of ours when it looks at what that gave
        told = blame(error)
        raise told or _broken(options.name, f"cannot be looked at: {type(error).__name__}: {error}", made_by) from error


def _broken(name: str, fault: str, made_by: str) -> XmodalError:
    fix = f"mend it in {made_by}: the how-to 'Add a task' says what a task keeps"
    return XmodalError(f"the task '{name}' {fault}", where=made_by, fix=fix)


def _whole(task: Any, options: TaskOptions) -> None:
    lacking = [name for name in ("name", "sample", "target", "split", "floors", "coverage") if not hasattr(task, name)]
    _must(not lacking, f"is {type(task).__name__} and lacks {', '.join(lacking)}")
    for name, said in (("sample", options.sample()), ("target", options.target())):
        built = getattr(task, name)
        _must(built == said, f"is built with the {name} {built}, and its options say {said}")
    floors = task.floors()
    fine = isinstance(floors, Mapping) and all(
        isinstance(floor, int | float) and isfinite(floor) and 0 <= floor <= 1 for floor in floors.values()
    )
    _must(fine, f"has the floors {floors}, and a floor is an accuracy from 0 to 1, by name")
    _must(isinstance(task.coverage(), Mapping), "has a coverage that is no table")


def _split(task: Task, name: SplitName) -> set[bytes]:
    """Keys of the samples that were looked at."""
    split = task.split(name)
    lacking = [method for method in ("__len__", "batch", "digest") if not hasattr(split, method)]
    _must(not lacking, f"gives {type(split).__name__} for {name}, which lacks {', '.join(lacking)}")
    _must(len(split) > 0, f"has no samples in {name}")
    digest = split.digest()
    _must(isinstance(digest, str) and digest == task.split(name).digest(), f"gives {name} another digest every time")
    indices = torch.linspace(0, len(split) - 1, min(len(split), SAMPLES), dtype=torch.float64).long()
    batch = split.batch(indices)
    _must(isinstance(batch, Batch), f"gives {type(batch).__name__} and no Batch from {name}")
    count = len(indices)
    _must(
        len(batch.samples) == len(batch.targets) == count,
        f"gives not {count} samples of {name} when {count} are asked for",
    )
    _target(batch.targets, task.target, name)
    real = _mask(batch, task.sample, name)
    _sample(batch.samples, real, task.sample, name)
    lengths = lengths_of(split)
    if lengths is not None:
        _must(torch.equal(lengths[indices], real.sum(dim=1)), f"says other lengths for {name} than its masks")
    again = task.split(name).batch(indices.flip(0))
    same = torch.equal(again.targets.flip(0), batch.targets) and list(keys([batch])) == list(keys([again]))[::-1]
    _must(same, f"gives other samples of {name} for the same indices")
    return set(keys([batch]))


def _target(targets: Tensor, target: TargetSpec, name: str) -> None:
    shape, classes = ((), target.count) if isinstance(target, Classes) else ((target.count,), target.classes)
    _must(targets.dtype == torch.int64, f"has targets of {targets.dtype} in {name}, and int64 is asked for")
    found = tuple(targets.shape[1:])
    _must(found == shape, f"has targets of the shape {found} in {name}, not {target}")
    low, high = int(targets.min()), int(targets.max())
    _must(low >= 0 and high < classes, f"has targets from {low} to {high} in {name}, and they are below {classes}")


def _mask(batch: Batch, sample: SampleSpec, name: str) -> Tensor:
    """True where a sample is real, `[batch length]`."""
    ragged = isinstance(sample, Letters) or (isinstance(sample, Symbols) and not sample.fixed)
    if batch.mask is None:
        _must(not ragged, f"gives no mask for {name}, and its samples differ in length")
        return torch.ones(batch.samples.shape[:2], dtype=torch.bool)
    mask = batch.mask
    _must(mask.dtype == torch.bool, f"has a mask of {mask.dtype} for {name}, and bool is asked for")
    _must(mask.shape == batch.samples.shape[:2], f"has a mask of another shape than the samples of {name}")
    _must(
        bool(mask[:, 0].all()),
        f"has padding at the left, or samples of no length, in {name}; padding stands at the right",
    )
    _must(
        bool((mask[:, 1:] <= mask[:, :-1]).all()), f"has padding between real tokens in {name}; it stands at the right"
    )
    _must(ragged or bool(mask.all()), f"pads samples of {name}, and says that all are as long")
    return mask


def _sample(samples: Tensor, real: Tensor, sample: SampleSpec, name: str) -> None:
    shape = tuple(samples.shape[1:])
    if isinstance(sample, Continuous):
        _must(shape == sample.shape, f"has samples of the shape {shape} in {name}, not {sample.shape}")
        _must(samples.dtype == torch.float32, f"has samples of {samples.dtype} in {name}, and float32 is asked for")
        _must(bool(samples.isfinite().all()), f"has numbers in {name} that are not finite")
        return
    longest = sample.max_length
    fits = len(shape) == 1 and (
        shape[0] == longest if isinstance(sample, Symbols) and sample.fixed else shape[0] <= longest
    )
    _must(fits, f"has samples of the shape {shape} in {name}, and {sample}")
    _must(not samples.is_floating_point(), f"has samples of {samples.dtype} in {name}, and whole numbers are asked for")
    if isinstance(sample, Symbols):
        _must(samples.dtype == torch.int64, f"has symbols of {samples.dtype} in {name}, and int64 is asked for")
        low, high = int(samples.min()), int(samples.max())
        _must(
            low >= 0 and high < sample.vocabulary, f"has symbols from {low} to {high} in {name}, of {sample.vocabulary}"
        )
    else:
        _must(bool(samples[real].gt(0).all()), f"has letters of code 0 in {name}, which is padding")


def _must(kept: bool, otherwise: str) -> None:
    if not kept:
        raise _Unkept(otherwise)
