"""The method on one page: a recipe becomes a model here, and nowhere else.

    samples --tokenizer--> tokens --body--> hidden states --head--> logits
               (trained)            (mostly frozen)        (trained)

The freeze spec of the recipe then says which parameters of the three train (`xmodal.freeze`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from xmodal import freeze, seeds
from xmodal.bodies import skeleton
from xmodal.bodies.body import Body
from xmodal.bodies.family import STD
from xmodal.bodies.weights import Weighted, build_body
from xmodal.heads import build_head
from xmodal.tensors import Batch, Tokens
from xmodal.tokenizers import build_tokenizer
from xmodal.tokenizers.input_layer import InputLayer
from xmodal.types import Head, SampleSpec, Site, TargetSpec, Tokenizer

if TYPE_CHECKING:
    from xmodal.freeze import Plan
    from xmodal.recipe import Recipe


class Model(nn.Module):
    """Tokenizer, body and head, one after the other.

    Args:
        tokenizer: makes tokens of samples.
        body: reads them.
        head: makes logits of what the body says of each of them.
        ranks: the body meets the tokens in this order, the lowest first, and the head as they were: a control. None
            leaves them as they come.
    """

    ranks: Tensor | None

    def __init__(self, tokenizer: Tokenizer, body: Body, head: Head, ranks: Tensor | None = None) -> None:
        super().__init__()
        self.tokenizer: Any = tokenizer
        self.body: Any = body
        self.head: Any = head
        self.register_buffer("ranks", ranks, persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """Logits of a batch: `[batch classes]`, or `[batch count classes]` for a target per position."""
        return self.head(*self.said(batch))

    def said(self, batch: Batch) -> tuple[Tensor, Tokens]:
        """What the head is given: hidden states, and the tokens that they stand for."""
        tokens = self.tokenizer(batch)
        hidden = self.body(tokens) if self.ranks is None else self._shuffled(tokens, self.ranks)
        return hidden, tokens.behind(hidden, self.body.prefix)

    def _shuffled(self, tokens: Tokens, ranks: Tensor) -> Tensor:
        """Hidden states of the tokens where they stand, read in another order; class tokens and padding stay."""
        last = len(ranks)
        ranks = ranks[: tokens.values.shape[1]].expand(len(tokens.values), -1).clone()
        ranks[:, : tokens.prefix] = -1
        order = ranks.masked_fill(~tokens.mask, last).argsort(dim=1, stable=True)
        hidden, prefix = self.body(tokens.taken(order)), self.body.prefix
        back = order.argsort(dim=1)[..., None].expand(-1, -1, hidden.shape[2])
        return torch.cat([hidden[:, :prefix], hidden[:, prefix:].gather(1, back)], dim=1)

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter of the three, exactly once."""
        yield from self.tokenizer.claims()
        yield from self.body.claims()
        yield from self.head.claims()


@dataclass(frozen=True)
class Assembled:
    """A model and its freeze plan.

    Attributes:
        model: on its device; frozen parameters take no gradient.
        plan: which parameters train.
        source: where the body's values come from, with their digest.
    """

    model: Model
    plan: Plan
    source: dict[str, str]


def assemble(
    recipe: Recipe,
    *,
    device: torch.device | str = "cpu",
    weights: bool = True,
    specs: tuple[SampleSpec, TargetSpec] | None = None,
) -> Assembled:
    """The model that a recipe describes.

    Args:
        recipe: a checked recipe; its seed draws the input layer, the head and a random body.
        device: where the model lives. Random values are drawn on the CPU, so every device starts alike.
        weights: False leaves the body on the meta device, for a look at its plan.
        specs: what a sample and a target are, where the task is not to be asked, which may have to look at its data.

    Raises:
        MissingError: the body's weights are not on this machine.
        SpecError: a clause of the freeze spec hits nothing.
    """
    weighted = build_body(recipe.body, recipe.seed, device) if weights else Weighted(skeleton(recipe.body), STD, {})
    body = weighted.body
    sample, target = specs or (recipe.task.sample(), recipe.task.target())
    geometry = recipe.tokenizer.geometry(sample)
    layer = InputLayer(
        geometry,
        body.width,
        init=recipe.tokenizer.init,
        std=recipe.tokenizer.std,
        token_rms=weighted.token_rms,
        random=seeds.torch_generator("init.input", recipe.seed),
    )
    tokenizer = build_tokenizer(recipe.tokenizer, sample, layer)
    head = build_head(recipe.head, target, body.width, seeds.torch_generator("init.head", recipe.seed))
    ranks = None
    if recipe.tokenizer.order == "shuffled":
        ranks = torch.randperm(geometry.tokens, generator=seeds.torch_generator("order.tokens", recipe.seed)).to(device)
    model = Model(tokenizer, body, head, ranks)
    for trained in (model.tokenizer, model.head):
        trained.to(device)
    plan = freeze.parse(recipe.freeze).on(model, name=recipe.body.name)
    plan.apply()
    return Assembled(model, plan, weighted.source)
