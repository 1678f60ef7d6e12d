"""Loss and metric, the same for every head: cross-entropy, and the share of labels that are right."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


def loss(
    logits: Float[Tensor, "batch *positions classes"], targets: Int[Tensor, "batch *positions"]
) -> Float[Tensor, "batch *positions"]:
    """Cross-entropy of each label, in nats."""
    return nn.functional.cross_entropy(logits.movedim(-1, 1).float(), targets, reduction="none")


def correct(
    logits: Float[Tensor, "batch *positions classes"], targets: Int[Tensor, "batch *positions"]
) -> Bool[Tensor, "batch *positions"]:
    """Whether the largest logit of each label is the right one."""
    return logits.argmax(dim=-1) == targets
