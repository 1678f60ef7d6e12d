"""Evaluation: the whole split, whatever the batch size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import NormalDist
from typing import Any

import torch
from torch import nn

from xmodal.heads import score
from xmodal.run.events import Evaluating
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
) -> Iterator[Evaluating | Scores]:
    """Yields progress after each batch and the scores at the end, without dropout; leaves training mode on."""
    right, counted, loss, total = Counter[str](), Counter[str](), 0.0, len(split)
    model.eval()
    try:
        for start in range(0, total, batch_size):
            indices = torch.arange(start, min(start + batch_size, total))
            batch = split.batch(indices).to(device)
            with torch.inference_mode(), arithmetic():
                logits = model(batch)
                correct = score.correct(logits, batch.targets)
                loss += float(score.loss(logits, batch.targets).double().sum())
            right[""] += int(correct.sum())
            counted[""] += correct.numel()
            for subset, mask in batch.subsets.items():
                right[subset] += int((correct & mask).sum())
                counted[subset] += int(mask.sum())
            yield Evaluating(step, name, start + len(indices), total)
    finally:
        model.train()
    accuracy = right[""] / counted[""]
    subsets = {subset: right[subset] / max(counted[subset], 1) for subset in counted if subset}
    yield Scores(accuracy, wilson(accuracy, total), loss / counted[""], total, counted[""], subsets)
