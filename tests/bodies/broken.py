"""Bodies that break one promise each, and the check that must see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from xmodal.bodies.bert import Bert
from xmodal.bodies.family import Constant, Draw
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.plain import Transformer
from xmodal.tensors import Tokens
from xmodal.types import Site


class Forgetful(Bert):
    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        yield from (claim for claim in super().claims(model) if claim[0].role != "ffn")


class Repeating(Bert):
    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        yield from super().claims(model)
        yield Site("scale"), model.embeddings.LayerNorm.weight


class Swapped(Bert):
    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        for site, parameter in super().claims(model):
            yield replace(site, layer=None if site.layer is None else 1 - site.layer), parameter


class Far(Transformer):
    blocks = ""

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        for site, parameter in super().claims(model):
            yield replace(site, layer=None if site.layer is None else 7 + site.layer), parameter


class Dynamic(Bert):
    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        for site, parameter in super().claims(model):
            if isinstance(model, nn.Module) or site.role != "pos":
                yield site, parameter


class Heavy(Bert):
    def build(self, dropout: float) -> nn.Module:
        return super().build(dropout).to_empty(device="cpu")


class Wide(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        hidden = super().forward(model, tokens)
        return torch.cat([hidden, hidden], dim=1)


class Imageless(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return super().forward(model, tokens) / (tokens.grid is None)


class Blind(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return model(inputs_embeds=tokens.values).last_hidden_state


class BlindFar(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return super().forward(model, replace(tokens, padded=tokens.padded and tokens.values.shape[1] < 17))


class Loud(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return super().forward(model, tokens) + torch.eye(512)[0] * 1e5 + 0.05 * tokens.padded


class Sociable(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        hidden = super().forward(model, tokens)
        return hidden + hidden.mean(dim=0)


class Prophet(Bert):
    def __init__(self, options: BodyOptions) -> None:
        super().__init__(options)
        self.anatomy = replace(self.anatomy, causal=True)


class Nostalgic(Transformer):
    def build(self, dropout: float) -> nn.Module:
        model: Any = super().build(dropout)
        model.causal = True
        return model


class Ahead(Nostalgic):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        back = replace(tokens, values=tokens.values.flip(1), mask=tokens.mask.flip(1))
        return super().forward(model, back).flip(1)


class Late(Nostalgic):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        hidden = super().forward(model, tokens)
        return torch.cat([hidden[:, :1], hidden[:, :-1]], dim=1)


class Turned(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return super().forward(model, tokens).roll(1, dims=1)


class Late4(Bert):
    """Forgets a matrix of a block behind the first two."""

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        yield from (claim for claim in super().claims(model) if claim[0].layer != 3)


class Norming(Bert):
    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        for site, parameter in super().claims(model):
            yield replace(site, role="ln", part="up") if (site.role, site.part) == ("ffn", "up") else site, parameter


class Hidden(Bert):
    """Calls the matrices that make attention positions."""

    role = "pos"

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        for site, parameter in super().claims(model):
            moved = site.role == "attn" and site.part in ("q", "k", "v")
            yield replace(site, role=self.role) if moved else site, parameter


class Fed(Hidden):
    role = "ffn"


class Leaking(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        hidden = super().forward(model, tokens)
        return hidden + 0.5 * hidden.flip(1) if model.training else hidden


class Careless(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return super().forward(model, replace(tokens, padded=tokens.padded and not model.training))


class Seeding(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        torch.manual_seed(0)
        return super().forward(model, tokens)


class Clamping(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        tokens.values.data.clamp_(-1, 1)
        return super().forward(model, tokens)


class Fixed(Bert):
    def build(self, dropout: float) -> nn.Module:
        return super().build(0.1 if dropout else 0.0)


class Crossed(Bert):
    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        for site, parameter in super().claims(model):
            role = {"attn": "ffn", "ffn": "attn"}.get(site.role, site.role) if site.layer == 1 else site.role
            yield replace(site, role=role), parameter


class Mixed(Bert):
    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        for site, parameter in super().claims(model):
            yield replace(site, role={"attn": "ffn", "ffn": "attn"}.get(site.role, site.role)), parameter


class Short(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        read = replace(tokens, values=tokens.values[:, :100], mask=tokens.mask[:, :100])
        hidden, spare = super().forward(model, read), max(0, tokens.values.shape[1] - 100)
        return torch.cat([hidden, hidden[:, -1:].expand(-1, spare, -1)], dim=1)


class Restless(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return super().forward(model, tokens) + torch.rand(()) * 1e-3


class Sober(Bert):
    def build(self, dropout: float) -> nn.Module:
        return super().build(0.0)


class Half(Sober):
    def build(self, dropout: float) -> nn.Module:
        model: Any = super().build(dropout)
        model.embeddings.dropout.p = dropout
        return model


class Moderate(Bert):
    def build(self, dropout: float) -> nn.Module:
        model: Any = super().build(dropout)
        for module in model.encoder.layer[1].modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout_prob"):
                module.dropout_prob = 0.0
        return model


class Detached(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return super().forward(model, replace(tokens, values=tokens.values.detach()))


class HalfDetached(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        values = torch.cat([tokens.values[:, :1], tokens.values[:, 1:].detach()], dim=1)
        return super().forward(model, replace(tokens, values=values))


class Aside(Detached):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return super().forward(model, tokens) + tokens.values


class Dead(Bert):
    def build(self, dropout: float) -> nn.Module:
        model: Any = super().build(dropout)
        for block in model.encoder.layer:
            block.output.dense.register_forward_hook(lambda module, given, said: said * 0)
        return model


class Drifting(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        if model.training:
            with torch.no_grad():
                model.embeddings.position_ids += 0
                model.embeddings.token_type_ids += 1
                model.embeddings.token_type_ids %= 2
        return super().forward(model, tokens)


class Hoarding(Bert):
    def build(self, dropout: float) -> nn.Module:
        model: Any = super().build(dropout)
        model.kept = torch.rand(())
        return model

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return super().forward(model, tokens) + model.kept


class Unseeded(Bert):
    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        return Constant(0.01)


class Flat(Bert):
    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        return super().draw(site, shape) if site.role == "pos" else Constant(0.0)


BROKEN = {
    Forgetful: "claims_are_total_and_disjoint",
    Late4: "claims_are_total_and_disjoint",
    Norming: "claims_are_total_and_disjoint",
    Repeating: "claims_are_total_and_disjoint",
    Swapped: "each_block_is_claimed_as_itself",
    Far: "each_block_is_claimed_as_itself",
    Dynamic: "sites_are_known_without_building",
    Heavy: "a_skeleton_holds_no_memory",
    Wide: "hidden_states_have_the_width_of_the_anatomy",
    Imageless: "hidden_states_have_the_width_of_the_anatomy",
    Blind: "padding_changes_nothing",
    BlindFar: "padding_changes_nothing",
    Loud: "padding_changes_nothing",
    Sociable: "the_last_real_token_is_where_it_is_read",
    Late: "the_last_real_token_is_where_it_is_read",
    Prophet: "it_looks_where_it_says",
    Nostalgic: "it_looks_where_it_says",
    Ahead: "it_looks_where_it_says",
    Turned: "a_state_stands_where_its_token_does",
    Mixed: "attention_mixes_and_feed_forward_does_not",
    Hidden: "attention_mixes_and_feed_forward_does_not",
    Fed: "attention_mixes_and_feed_forward_does_not",
    Crossed: "attention_mixes_and_feed_forward_does_not",
    Short: "the_whole_context_can_be_used",
    Restless: "it_repeats_itself",
    Seeding: "it_repeats_itself",
    Clamping: "it_repeats_itself",
    Leaking: "training_computes_what_evaluation_does",
    Careless: "training_computes_what_evaluation_does",
    Sober: "dropout_is_the_recipes_own",
    Half: "dropout_is_the_recipes_own",
    Moderate: "dropout_is_the_recipes_own",
    Fixed: "dropout_is_the_recipes_own",
    Detached: "a_gradient_reaches_the_input_layer",
    HalfDetached: "a_gradient_reaches_the_input_layer",
    Aside: "a_gradient_reaches_the_input_layer",
    Dead: "a_gradient_reaches_the_input_layer",
    Drifting: "a_step_moves_only_what_trains",
    Hoarding: "its_state_goes_round",
    Unseeded: "a_random_start_is_the_seeds",
    Flat: "a_random_start_is_the_seeds",
}
