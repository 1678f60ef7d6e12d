"""Images in memory: MNIST and CIFAR-10 (Lu 2021, section 3.1), and Fashion-MNIST, the commonest stand-in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from xmodal import seeds, sources
from xmodal.errors import UsageError
from xmodal.tasks.options import DigitsOptions, ImageSetOptions
from xmodal.tasks.splits import fraction_of
from xmodal.tensors import Batch
from xmodal.types import Split, SplitName


class ImageSet:
    """The official test set; validation is taken out of the official training set, by seed.

    Pixels are standardised, channel by channel, with the mean and deviation of the training split. A border of black
    pixels counts: it is what most tokens of a padded image hold.
    """

    def __init__(self, options: ImageSetOptions, seed: int) -> None:
        self.name = options.name
        self.sample, self.target = options.sample(), options.target()
        images, labels = sources.read_images(options.stored, "train")
        unseen, answers = sources.read_images(options.stored, "test")
        left = len(labels) - options.val
        if left < (options.train or 1):
            raise UsageError(
                f"{options.train or 'some'} training samples are asked for, and validation leaves {max(left, 0)}",
                where="task.train",
                fix="set task.train or task.val lower",
            )
        order = seeds.numpy_generator("split", seed).permutation(len(labels))
        val, train = order[: options.val], order[options.val :][: options.train]
        test = np.arange(len(answers))[: options.test]
        border = options.pad if isinstance(options, DigitsOptions) else 0
        kept = {"val": images[val], "train": images[train], "test": unseen[test]}
        if options.grey:
            kept = {name: grey(some) for name, some in kept.items()}
        moments = _moments(kept["train"], border)
        parts: dict[str, Split] = {
            name: _Images(kept[name], own[chosen], chosen, border, moments)
            for name, own, chosen in (("val", labels, val), ("train", labels, train), ("test", answers, test))
        }
        self._splits = parts | {"train": fraction_of(parts["train"], options.fraction, seed)}

    def split(self, name: SplitName) -> Split:
        """The images of that split."""
        return self._splits[name]

    def coverage(self) -> Mapping[SplitName, Mapping[str, int]]:
        """Every sample is used whole."""
        return {}

    def floors(self) -> Mapping[str, float]:
        """`majority`: the commonest class. `linear`: multinomial logistic regression on the pixels, no body at all.

        The regression reads every pixel of the training split at once: 0.55 GB for the 45,000 images of CIFAR-10.
        """
        train, test = _rows(self.split("train")), _rows(self.split("test"))
        majority = float((test.targets == train.targets.mode().values).float().mean())
        return {"majority": majority, "linear": _logistic_regression(train, test)}


class _Images:
    def __init__(
        self, images: np.ndarray, labels: np.ndarray, chosen: np.ndarray, pad: int, moments: tuple[Tensor, Tensor]
    ) -> None:
        self._images = torch.from_numpy(np.ascontiguousarray(images))
        self._labels = torch.from_numpy(labels.astype(np.int64))
        self._chosen, self._pad = chosen, pad
        self._mean, self._deviation = moments

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, indices: Tensor) -> Batch:
        pixels = nn.functional.pad(self._images[indices].float() / 255, [self._pad] * 4)
        return Batch((pixels - self._mean) / self._deviation, self._labels[indices])

    def digest(self) -> str:
        state = hashlib.sha256(np.ascontiguousarray(self._chosen, dtype="<i8").tobytes())
        state.update(self._images.numpy().tobytes())
        state.update(self._labels.numpy().tobytes())
        return state.hexdigest()


def grey(images: np.ndarray) -> np.ndarray:
    """Luma of RGB images by ITU-R BT.601, `[n 3 h w]` to `[n 1 h w]`, rounded to a byte."""
    luma = sum(weight * images[:, channel] for channel, weight in enumerate((0.299, 0.587, 0.114)))
    return np.rint(luma).astype(np.uint8)[:, None]


def _moments(images: np.ndarray, pad: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel in units of full brightness, `[channels 1 1]`, exact by counting bytes."""
    height, width = images.shape[-2:]
    share = height * width / ((height + 2 * pad) * (width + 2 * pad))
    levels, pieces = np.arange(256) / 255, [images[at : at + 1000] for at in range(0, len(images), 1000)]
    # Counting makes 8-byte integers of the bytes, so it goes piece by piece.
    counts = [
        np.sum([np.bincount(piece[:, channel].ravel(), minlength=256) for piece in pieces], axis=0)
        for channel in range(images.shape[1])
    ]
    means = [float(count @ levels / count.sum()) * share for count in counts]
    squares = [float(count @ levels**2 / count.sum()) * share for count in counts]
    deviations = [np.sqrt(square - mean**2) or 1.0 for mean, square in zip(means, squares, strict=True)]
    return tuple(torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (means, deviations))  # type: ignore[return-value]


def _rows(split: Split) -> Batch:
    """A whole split, each sample a row of numbers; filled piece by piece, so that no second copy stands beside it."""
    pieces = torch.arange(len(split)).split(1024)
    first = split.batch(pieces[0][:1]).samples
    rows, targets = torch.empty(len(split), first.numel()), torch.empty(len(split), dtype=torch.long)
    for piece in pieces:
        batch = split.batch(piece)
        rows[piece], targets[piece] = batch.samples.flatten(1), batch.targets
    return Batch(rows, targets)


def _logistic_regression(train: Batch, test: Batch, iterations: int = 100) -> float:
    """Test accuracy of softmax regression, fitted by L-BFGS from zero with a weight penalty of 1e-3."""
    inputs, unseen = train.samples, test.samples
    weight = torch.zeros(inputs.shape[1], int(train.targets.max()) + 1, requires_grad=True)
    bias = torch.zeros(weight.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(inputs @ weight + bias, train.targets) + 1e-3 * weight.square().sum() / 2
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        return float(((unseen @ weight + bias).argmax(dim=1) == test.targets).float().mean())
