"""Several learners on one body: their frozen matrices are read once in a step, for all of them.

Each learner has parameters, batches and an optimiser of its own. What they share is computed on all their tokens at
once; what differs is stacked, and `torch.func.vmap` runs any model over the stack. No architecture is written twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from xmodal.assemble import assemble
from xmodal.engine.prefix import prefix_of
from xmodal.heads import score
from xmodal.recipe import Recipe
from xmodal.tensors import Batch
from xmodal.types import Letters, Symbols

_OWN: dict[str, Any] = {"name": True, "seed": True, "tiny": True, "lock": True}
"""What may differ between learners on one body, beside how they train; only their batches are as large."""
LEAST = 0.5
"""Share of a model that must be held once for all; where more is each learner's own, one pass saves nothing."""
_FROZEN: dict[str, bool] = {}
"""Whether enough is frozen, by what recipes have in common."""
_BODY = "body."
"""How the names of a body's tensors begin in a model."""
_SAME = ("pretrained", "run:")
"""Starts of inits that give every seed the same body."""


def company(recipe: Recipe) -> str:
    """What recipes that can train together have in common; empty where a recipe trains alone.

    It trains alone if its body draws masks in every step (dropout), differs from seed to seed, or is compiled; if
    batches are computed in parts, or blocks again; if samples differ in length; and if less than half of the model is
    frozen, or all of it but the head.
    """
    sample, body = recipe.task.sample(), recipe.body
    ragged = isinstance(sample, Letters) or (isinstance(sample, Symbols) and not sample.fixed)
    inits = [body.init, *(body.parts or {}).values()]
    odd = recipe.compile or recipe.gradient_checkpointing or recipe.train.accumulate
    if body.dropout or odd or ragged or not all(init.startswith(_SAME) for init in inits):
        return ""
    key = f"{recipe.train.batch_size} {recipe.model_dump_json(exclude=_OWN | {'train': True})}"
    if key not in _FROZEN:
        assembled = assemble(recipe, weights=False)
        counts = assembled.plan.counts()
        enough = counts["frozen"] >= LEAST * (counts["frozen"] + counts["trainable"])
        _FROZEN[key] = enough and bool(prefix_of(recipe, assembled).why)
    return key if _FROZEN[key] else ""


class Learners:
    """Models of one architecture, of which those parameters that are frozen and equal are held once.

    Args:
        models: of equal structure, in training mode; nothing random happens in them.
        instead: what each takes in place of parameters of its own, by name; the same names for all.
    """

    def __init__(self, models: Sequence[nn.Module], instead: Sequence[Mapping[str, Tensor]] = ()) -> None:
        self._base = models[0]
        self._own = share(models)
        own = sum(those[0].numel() for those in self._own.values())
        whole = sum(each.numel() for each in models[0].parameters() if not each.is_meta)
        self.shared = 1 - own / whole
        """The share of a model's numbers that is held once for all."""
        for name in instead[0] if instead else ():
            self._own[name] = [those[name] for those in instead]

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


def share(models: Sequence[nn.Module]) -> dict[str, list[Tensor]]:
    """Lets models of one architecture hold once what of them is frozen and equal.

    Frozen parameters outside the body, which may be equal by accident, are each model's own: so it does not depend on
    who is there whether they are stacked.

    Returns:
        The others of their parameters and buffers by name, each model's own in their order.
    """
    first, *others = [{**dict(model.named_parameters()), **dict(model.named_buffers())} for model in models]
    own = {}
    for name, value in first.items():
        those = [value, *(other[name] for other in others)]
        if value.is_meta:
            continue  # token embeddings, which no body holds
        apart = isinstance(value, nn.Parameter) and not name.startswith(_BODY)
        if not (apart or any(each.requires_grad for each in those)) and all(
            torch.equal(value, each) for each in those[1:]
        ):
            for each in those[1:]:
                each.data = value.data
        else:
            own[name] = those
    return own
