"""Several learners on one body: their frozen matrices are read once in a step, for all of them.

Each learner has parameters, batches and an optimiser of its own. What they share is computed on all their tokens at
once; what differs is stacked, and `torch.func.vmap` runs any model over the stack. No architecture is written twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from xmodal.heads import score
from xmodal.tensors import Batch


class Learners:
    """Models of one architecture, of which those parameters that are frozen and equal are held once.

    Args:
        models: of equal structure, in training mode; nothing random happens in them.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._base = models[0]
        self._own = _own([dict(model.named_parameters()) for model in models])
        self._own |= _own([dict(model.named_buffers()) for model in models])

    @property
    def numbers(self) -> int:
        """How many numbers each learner has for itself; all others are held once."""
        return sum(those[0].numel() for those in self._own.values())

    def losses(self, batches: Sequence[Batch]) -> Tensor:
        """Each learner's mean loss on its own batch, `[learners]`, in nats; their sum gives each its own gradients.

        Args:
            batches: one for each learner, of equal shapes.
        """
        own = {name: torch.stack(those) for name, those in self._own.items()}
        samples = torch.stack([batch.samples for batch in batches])
        targets = torch.stack([batch.targets for batch in batches])
        masks = [batch.mask for batch in batches if batch.mask is not None]
        mask = torch.stack(masks) if masks else None
        # Fused attention has no rule for a stack, and would be called once for each learner.
        with sdpa_kernel(SDPBackend.MATH):
            logits = vmap(self._one, in_dims=(0, 0, 0, 0 if masks else None))(own, samples, targets, mask)
        each = score.loss(logits.flatten(0, 1), targets.flatten(0, 1))
        return each.view(len(batches), -1).mean(dim=1)

    def _one(self, own: dict[str, Tensor], samples: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        return functional_call(self._base, own, (Batch(samples, targets, mask),))


def _own(learners: Sequence[dict[str, Any]]) -> dict[str, list[Tensor]]:
    """What is not the same in all of them, by name; from now on they share the memory of what is."""
    first, *others = learners
    own = {}
    for name, value in first.items():
        those = [value, *(other[name] for other in others)]
        if value.is_meta:
            continue  # token embeddings, which no body holds
        if any(each.requires_grad for each in those) or not all(torch.equal(value, each) for each in those[1:]):
            own[name] = those
        else:
            for each in those[1:]:
                each.data = value.data
    return own
