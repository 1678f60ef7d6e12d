"""Data that are held in memory as arrays, and a task made of three splits of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from xmodal import seeds
from xmodal.errors import UsageError
from xmodal.tasks.options import TaskOptions
from xmodal.tasks.splits import fraction_of
from xmodal.tensors import Batch
from xmodal.types import Split, SplitName


class Stacked:
    """Samples of one shape, `[n *sample]`; numbers leave it as float32, less `mean` and over `deviation`."""

    def __init__(
        self,
        samples: np.ndarray,
        labels: np.ndarray,
        mean: np.ndarray | float = 0.0,
        deviation: np.ndarray | float = 1.0,
    ) -> None:
        self._samples, self._labels = torch.from_numpy(np.ascontiguousarray(samples)), torch.from_numpy(labels)
        self._mean = torch.as_tensor(mean, dtype=torch.float32)
        self._deviation = torch.as_tensor(deviation, dtype=torch.float32)

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, indices: Tensor) -> Batch:
        """As `Split.batch`."""
        return Batch((self._samples[indices].float() - self._mean) / self._deviation, self._labels[indices])

    def digest(self) -> str:
        """Of the bytes of samples and labels, and of the shift and scale."""
        state = hashlib.sha256(repr((self._samples.shape, self._samples.dtype)).encode())
        for tensor in (self._samples, self._labels, self._mean, self._deviation):
            state.update(tensor.numpy().tobytes())
        return state.hexdigest()


class Ragged:
    """Sequences of bytes, padded with 0 to the longest of each batch: letters, or with `symbols` numbers of symbols."""

    def __init__(self, samples: Sequence[np.ndarray], labels: np.ndarray, *, symbols: bool = False) -> None:
        self._samples, self._labels, self._symbols = list(samples), torch.from_numpy(labels), symbols

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, indices: Tensor) -> Batch:
        """As `Split.batch`, with a mask of what is not padding."""
        chosen = [self._samples[int(index)] for index in indices]
        lengths = np.array([len(sample) for sample in chosen])
        codes = np.zeros((len(chosen), int(lengths.max())), dtype=chosen[0].dtype)
        mask = np.arange(codes.shape[1]) < lengths[:, None]
        codes[mask] = np.concatenate(chosen)
        samples = torch.from_numpy(codes)
        return Batch(samples.long() if self._symbols else samples, self._labels[indices], torch.from_numpy(mask))

    def lengths(self) -> Tensor:
        """Of each sample."""
        return torch.tensor([len(sample) for sample in self._samples])

    def digest(self) -> str:
        """Of the bytes of samples and labels, and of where each sample ends."""
        state = hashlib.sha256(np.array([len(sample) for sample in self._samples], dtype="<i8").tobytes())
        for sample in self._samples:
            state.update(sample.tobytes())
        state.update(self._labels.numpy().tobytes())
        return state.hexdigest()


class HeldTask:
    """A task whose samples have one label each; its floor is the commonest class of training.

    Raises:
        UsageError: a split is empty, or `task.fraction` leaves training one class.
    """

    def __init__(
        self,
        options: TaskOptions,
        seed: int,
        splits: Mapping[SplitName, Split],
        labels: Mapping[SplitName, np.ndarray],
        coverage: Mapping[SplitName, Mapping[str, int]] | None = None,
        floors: Mapping[str, float] | None = None,
    ) -> None:
        self._own_floors = floors or {}
        self.name = options.name
        self.sample, self.target = options.sample(), options.target()
        for name, split in splits.items():
            if not len(split):
                raise UsageError(
                    f"the split {name} of {self.name} is empty",
                    where="task",
                    fix="put samples there; what was left out is too long",
                )
        self._splits = {**splits, "train": fraction_of(splits["train"], options.fraction, seed)}
        self._test_labels, self._trained = labels["test"], self._targets()
        self._coverage: dict[SplitName, dict[str, int]] = {n: dict(counts) for n, counts in (coverage or {}).items()}
        if options.fraction is not None:
            train = self._coverage.setdefault("train", {"samples": len(labels["train"])})
            train["used"] = len(self._splits["train"])
            if len(np.unique(self._trained)) < 2:
                raise UsageError(
                    "training is left with one class",
                    where="task.fraction",
                    why=f"{options.fraction:g} of {len(labels['train'])} samples is {train['used']}",
                    fix="set it higher, or drop it",
                )
        for name, own in labels.items():
            if name == "train":
                continue  # its samples cannot lack a label of theirs
            unseen = int((~np.isin(own, self._trained)).sum())
            if unseen or self._coverage.get(name):
                self._coverage.setdefault(name, {"samples": len(own)})["unseen"] = unseen
        if options.own_files:
            self._count_repeated()

    def _count_repeated(self) -> None:
        """Samples of validation and test that are, to the byte, training samples in use as well; and those of test that
        are in validation, which chooses the step and the rate."""
        trained, val, test = (list(keys(_batches(self._splits[name]))) for name in ("train", "val", "test"))
        self._tell("val", "repeated", val, trained)
        self._tell("test", "repeated", test, trained)
        self._tell("test", "in_val", test, val)

    def _tell(self, name: SplitName, word: str, own: Sequence[bytes], others: Sequence[bytes]) -> None:
        known = set(others)
        found = sum(key in known for key in own)
        if found or self._coverage.get(name):
            self._coverage.setdefault(name, {"samples": len(own)})[word] = found

    def split(self, name: SplitName) -> Split:
        """The samples of that split."""
        return self._splits[name]

    def coverage(self) -> Mapping[SplitName, Mapping[str, int]]:
        """How many samples each split had, what became of those that were not used whole, and how many have a label
        that none of the training samples in use has (`unseen`). For your own data also how many samples of validation
        and test are training samples too (`repeated`), and how many of test are validation samples (`in_val`)."""
        return self._coverage

    def floors(self) -> Mapping[str, float]:
        """`majority`: the commonest class of the training samples that are used; then the task's own."""
        commonest = int(np.bincount(self._trained).argmax())
        return {"majority": float((self._test_labels == commonest).mean()), **self._own_floors}

    def _targets(self) -> np.ndarray:
        """The label of each training sample that is used."""
        return np.concatenate([batch.targets.numpy() for batch in _batches(self._splits["train"])])


def _batches(split: Split) -> Iterator[Batch]:
    return (split.batch(part) for part in torch.arange(len(split)).split(1024))


def keys(batches: Iterable[Batch]) -> Iterator[bytes]:
    """A digest of each sample, less its padding."""
    for batch in batches:
        for index, sample in enumerate(batch.samples):
            kept = sample if batch.mask is None else sample[batch.mask[index]]
            yield hashlib.blake2b(kept.numpy().tobytes(), digest_size=16).digest()


def by_shares(count: int, val: float, test: float, seed: int, where: str = "task") -> dict[SplitName, np.ndarray]:
    """Indices of three disjoint splits of `count` samples, drawn by seed, each in rising order.

    Raises:
        UsageError: there are too few samples for a share to hold one, or none are left to train on.
    """
    order = seeds.numpy_generator("split", seed).permutation(count)
    ends = round(test * count), round((test + val) * count)
    parts: dict[SplitName, np.ndarray] = {
        "train": np.sort(order[ends[1] :]),
        "val": np.sort(order[ends[0] : ends[1]]),
        "test": np.sort(order[: ends[0]]),
    }
    if empty := [name for name, part in parts.items() if not len(part)]:
        raise UsageError(
            f"{count} samples leave none for {' and '.join(empty)}",
            where=where,
            why=f"the shares are {val:g} for val and {test:g} for test",
            fix="give more samples or other shares: task.val, task.test",
        )
    return parts
