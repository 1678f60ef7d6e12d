"""Evaluation: the whole split, whatever the batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from xmodal.heads import score
from xmodal.run.events import Evaluating
from xmodal.run.ranks import Ranks
from xmodal.types import Split


@dataclass(frozen=True)
class Scores:
    """How well a split was predicted.

    Attributes:
        accuracy: share of labels that are right.
        interval: 95 % interval of the accuracy over the items of the split, for this one trained model. It says nothing
            about other seeds.
        loss: mean cross-entropy in nats; null in JSON when it is not finite.
        items: samples.
        labels: labels, one or several for a sample.
        subsets: accuracy over named subsets of the labels.
    """

    accuracy: float
    interval: tuple[float, float]
    loss: float
    items: int
    labels: int
    subsets: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As in `result.json`; a subset `hidden` becomes `accuracy_hidden`."""
        return {
            "accuracy": self.accuracy,
            **{f"accuracy_{name}": value for name, value in self.subsets.items()},
            "interval": list(self.interval),
            "interval_over": "items",
            "loss": self.loss if isfinite(self.loss) else None,
            "items": self.items,
            "labels": self.labels,
        }


def wilson(share: float, items: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927).

    Several labels of one sample are not independent, so `items` counts samples. For a share between 0 and 1 in each
    sample the interval is then conservative: no such share varies more than a right-or-wrong answer does.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (share + z * z / (2 * items)) / (1 + z * z / items)
    half = z / (1 + z * z / items) * sqrt(share * (1 - share) / items + z * z / (4 * items * items))
    # The ends are exact where all is right or all is wrong; elsewhere the rounding of floats cannot reach them.
    return 0.0 if share == 0 else max(0.0, centre - half), 1.0 if share == 1 else min(1.0, centre + half)


def evaluate(
    model: nn.Module,
    split: Split,
    name: str,
    step: int,
    *,
    batch_size: int,
    device: torch.device,
    arithmetic: Callable[[], AbstractContextManager[Any]],
    ranks: Ranks | None = None,
) -> Iterator[Evaluating | Scores]:
    """Yields progress after each batch and the scores at the end, without dropout; leaves training mode on.

    What a device computes is fetched from it once, at the end. Of several processes each takes every so-manieth batch.
    """
    ranks, total, losses = ranks or Ranks(), len(split), list[Tensor]()
    subsets = ("", *split.batch(torch.arange(1)).subsets) if ranks.count > 1 else ("",)
    # A process without a batch must know of what it has none.
    right: dict[str, list[Tensor]] = {subset: [] for subset in subsets}
    counted: dict[str, list[Tensor]] = {subset: [] for subset in subsets}
    model.eval()
    try:
        for start in range(ranks.rank * batch_size, total, ranks.count * batch_size):
            indices = torch.arange(start, min(start + batch_size, total))
            batch = split.batch(indices).to(device)
            with torch.inference_mode(), arithmetic():
                logits = model(batch)
                correct = score.correct(logits, batch.targets)
                losses.append(score.loss(logits, batch.targets).double().sum())
                for subset, mask in {"": torch.ones_like(correct), **batch.subsets}.items():
                    right.setdefault(subset, []).append((correct & mask).sum())
                    counted.setdefault(subset, []).append(mask.sum())
            yield Evaluating(step, name, min(start + ranks.count * batch_size, total), total)
    finally:
        model.train()
    sums = [_sum(each, device) for each in (losses, *right.values(), *counted.values())]
    loss, *counts = (each.item() for each in ranks.sum(sums))
    rights, counts = counts[: len(right)], counts[len(right) :]
    shares = {name: hit / max(of, 1) for name, hit, of in zip(right, rights, counts, strict=True)}
    labels, accuracy = int(counts[0]), shares.pop("")
    yield Scores(accuracy, wilson(accuracy, total), loss / labels, total, labels, shares)


def _sum(numbers: list[Tensor], device: torch.device) -> Tensor:
    """In double precision, one after the other."""
    start = torch.zeros((), dtype=torch.float64, device=device)
    return sum((each.double() for each in numbers), start)
