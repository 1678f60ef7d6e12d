"""Every family keeps the conformance suite, and the suite catches bodies that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xmodal import bodies
from xmodal.bodies import conformance
from xmodal.bodies.bert import Bert, BertOptions
from xmodal.bodies.conformance import CHECKS, Broken, Check, small
from xmodal.bodies.family import Constant, Draw
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.plain import Transformer, TransformerOptions
from xmodal.components import Entry
from xmodal.tensors import Tokens
from xmodal.types import Site

# One of each family; the sizes of a family share its code.
NAMES = ["antiberty", "gpt2", "minilm-l6", "smollm2-135m", "t5-small", "timm:vit_tiny_patch16_224", "vit-s14-saliency"]
NAMES += ["linformer", "longformer-base", "lstm", "none", "one-attention", "one-block", "transformer"]


@pytest.mark.parametrize("check", CHECKS, ids=conformance.title)
@pytest.mark.parametrize("name", NAMES)
def test_every_family_keeps_it(name: str, check: Check) -> None:
    check(small(name))


def test_no_check_is_forgotten() -> None:
    made = {
        value
        for name, value in vars(conformance).items()
        if getattr(value, "__module__", "") == conformance.__name__
        and getattr(value, "__annotations__", {}).get("options") == "BodyOptions"
    }
    assert made == set(CHECKS)
    assert all(check.__doc__ for check in CHECKS)
    assert set(BROKEN.values()) == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=conformance.title)
def test_a_short_context_and_causality_keep_it(check: Check) -> None:
    check(small("transformer", width=8, heads=2, context=5, causal=True))


def test_small_is_random_and_two_blocks() -> None:
    options = small("minilm-l6")
    assert (options.init, options.layers) == ("random", "0:2")
    assert small("minilm-l6", layers="-1").layers == "-1"


# Bodies that break one promise each


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


class Rezero(Transformer):
    """Whole: it starts what writes to the residual stream at zero, as several published schemes do."""

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        return Constant(0.0) if site.part in ("out", "down") else super().draw(site, shape)


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], BodyOptions]:
    def options(family: type) -> BodyOptions:
        monkeypatch.setattr(conformance, "build_family", family)
        monkeypatch.setattr(bodies, "build_family", family)
        if issubclass(family, Transformer):
            return TransformerOptions(name="transformer", width=24)
        return BertOptions(name="antiberty", init="random", layers="0:2")

    return options


@pytest.mark.parametrize("family", BROKEN, ids=lambda family: family.__name__)
def test_a_broken_promise_is_caught(family: type, breaking: Callable[[type], BodyOptions]) -> None:
    options = breaking(family)
    check = getattr(conformance, BROKEN[family])
    with pytest.raises(Broken) as caught:
        check(options)
    assert caught.value.what.startswith("the body ")
    assert caught.value.fix


@pytest.mark.parametrize("check", CHECKS, ids=conformance.title)
def test_what_starts_at_zero_is_not_broken(check: Check, breaking: Callable[[type], BodyOptions]) -> None:
    check(breaking(Rezero))


def test_an_entry_is_two_references() -> None:
    assert all(isinstance(entry, Entry) for entry in bodies.BODIES.values())


class Faulty(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return tokens.values @ torch.zeros(1, 1)


def test_a_fault_of_the_bodys_own_names_its_line(breaking: Callable[[type], BodyOptions]) -> None:
    with pytest.raises(RuntimeError) as caught:
        conformance.it_repeats_itself(breaking(Faulty))
    fault = conformance.own_fault(caught.value)
    line = Faulty.forward.__code__.co_firstlineno + 1
    assert fault.what.startswith("the body raises RuntimeError: mat1 and mat2")
    assert (fault.why, fault.fix) == (f"at {__file__}:{line}", "mend it there, or what it was given")
