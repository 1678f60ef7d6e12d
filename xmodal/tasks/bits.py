"""Bit strings: the two synthetic tasks of Lu 2021, section 3.1."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from xmodal import seeds
from xmodal.tasks.options import BitMemoryOptions, BitXorOptions
from xmodal.tasks.splits import fraction_of
from xmodal.tensors import Batch
from xmodal.types import Split, SplitName


class BitXor:
    """Every pair of strings is one input, and belongs to one split."""

    def __init__(self, options: BitXorOptions, seed: int) -> None:
        self.name = options.name
        self.sample, self.target = options.sample(), options.target()
        inputs = 4**options.bits
        order = seeds.numpy_generator("split", seed).permutation(inputs)
        test, val = inputs // 4, inputs // 8
        self._splits: dict[SplitName, Split] = {
            "test": _Pairs(order[:test], options.bits),
            "val": _Pairs(order[test : test + val], options.bits),
            "train": fraction_of(_Pairs(order[test + val :], options.bits), options.fraction, seed),
        }

    def split(self, name: SplitName) -> Split:
        """The inputs of that split."""
        return self._splits[name]

    def coverage(self) -> Mapping[SplitName, Mapping[str, int]]:
        """Every sample is used whole."""
        return {}

    def floors(self) -> Mapping[str, float]:
        """`chance`, and `majority`: the commoner value of each position in training. All inputs together hold each bit
        equally often, so what is commoner in training is rarer in the test split, and `majority` tends below chance."""
        train, test = (
            split.batch(torch.arange(len(split))).targets for split in (self.split("train"), self.split("test"))
        )
        return {"majority": float((test == train.mode(dim=0).values).float().mean()), "chance": 0.5}


class _Pairs:
    def __init__(self, inputs: np.ndarray, bits: int) -> None:
        self._inputs, self._bits = inputs, bits
        shifts = np.arange(2 * bits - 1, -1, -1)
        self._samples = torch.from_numpy(inputs[:, None] >> shifts & 1)

    def __len__(self) -> int:
        return len(self._inputs)

    def batch(self, indices: Tensor) -> Batch:
        samples = self._samples[indices]
        return Batch(samples, samples[:, : self._bits] ^ samples[:, self._bits :])

    def digest(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self._inputs, dtype="<i8").tobytes()).hexdigest()


class BitMemory:
    """Strings of random bits, one of which comes back with some of its bits hidden."""

    def __init__(self, options: BitMemoryOptions, seed: int) -> None:
        self.name = options.name
        self.sample, self.target = options.sample(), options.target()
        self._options, self._seed = options, seed

    def split(self, name: SplitName) -> Split:
        """The samples of that split; each has random streams of its own."""
        split = _Strings(self._options, self._seed, name)
        return fraction_of(split, self._options.fraction, self._seed) if name == "train" else split

    def coverage(self) -> Mapping[SplitName, Mapping[str, int]]:
        """Every sample is used whole."""
        return {}

    def floors(self) -> Mapping[str, float]:
        """`copy`: the visible bits, and a guess for the hidden ones, over all bits and over the hidden ones."""
        test = self.split("test")
        right = hidden = hidden_right = total = 0
        for index in range(len(test)):
            batch = test.batch(torch.tensor([index]))
            correct = (batch.samples[:, -1] > 0) == batch.targets.bool()
            mask = batch.subsets["hidden"]
            right, total = right + int(correct.sum()), total + correct.numel()
            hidden_right, hidden = hidden_right + int(correct[mask].sum()), hidden + int(mask.sum())
        return {"copy": right / total, "copy_hidden": hidden_right / max(hidden, 1)}


class _Strings:
    def __init__(self, options: BitMemoryOptions, seed: int, name: SplitName) -> None:
        self._options, self._seed, self._name = options, seed, name
        self._length = {"train": options.train, "val": options.val, "test": options.test}[name]

    def __len__(self) -> int:
        return self._length

    def batch(self, indices: Tensor) -> Batch:
        samples, targets, hidden = zip(*(self._draw(int(index)) for index in indices), strict=True)
        samples, targets, hidden = (torch.from_numpy(np.stack(arrays)) for arrays in (samples, targets, hidden))
        return Batch(samples, targets, subsets={"hidden": hidden})

    def _draw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        options = self._options
        random = seeds.numpy_generator("data", self._seed, "bit-memory", self._name, index)
        bits = random.integers(0, 2, (options.strings, options.bits), dtype=np.int8)
        asked = bits[random.integers(options.strings)]
        hidden = random.random(options.bits) < options.hidden
        signs = (2 * np.concatenate([bits, asked[None]]) - 1).astype(np.float32)
        signs[-1, hidden] = 0
        return signs, asked.astype(np.int64), hidden

    def digest(self) -> str:
        """Samples are a function of these words; the first of them prove that it is still the same function."""
        said = self._options.model_dump_json(exclude={"fraction"})
        state = hashlib.sha256(f"bit-memory/1 {said} {self._seed} {self._name}".encode())
        for index in range(min(len(self), 8)):
            for array in self._draw(index):
                state.update(array.tobytes())
        return state.hexdigest()
