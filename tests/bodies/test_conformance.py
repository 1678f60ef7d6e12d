"""Every family keeps the conformance suite, and the suite catches bodies that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    assert made - {conformance._built} == set(CHECKS)
    assert all(check.__doc__ for check in CHECKS)


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


class Blind(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return model(inputs_embeds=tokens.values).last_hidden_state


class Prophet(Bert):
    def __init__(self, options: BodyOptions) -> None:
        from dataclasses import replace

        super().__init__(options)
        self.anatomy = replace(self.anatomy, causal=True)


class Restless(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        return super().forward(model, tokens) + torch.rand(()) * 1e-3


class Sober(Bert):
    def build(self, dropout: float) -> nn.Module:
        return super().build(0.0)


class Detached(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        from dataclasses import replace

        return super().forward(model, replace(tokens, values=tokens.values.detach()))


class Drifting(Bert):
    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        if model.training:
            with torch.no_grad():
                model.embeddings.position_ids += 0
                model.embeddings.token_type_ids += 1
                model.embeddings.token_type_ids %= 2
        return super().forward(model, tokens)


class Unseeded(Bert):
    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        return Constant(0.01)


BROKEN = {
    Forgetful: "claims_are_total_and_disjoint",
    Repeating: "claims_are_total_and_disjoint",
    Dynamic: "sites_are_known_without_building",
    Heavy: "a_skeleton_holds_no_memory",
    Wide: "hidden_states_have_the_width_of_the_anatomy",
    Blind: "padding_changes_nothing",
    Prophet: "it_looks_where_it_says",
    Restless: "it_repeats_itself",
    Sober: "dropout_is_the_recipes_own",
    Detached: "a_gradient_reaches_the_input_layer",
    Drifting: "a_step_moves_only_what_trains",
    Unseeded: "a_random_start_is_the_seeds",
}


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], BodyOptions]:
    def options(family: type) -> BodyOptions:
        monkeypatch.setattr(conformance, "build_family", family)
        monkeypatch.setattr(bodies, "build_family", family)
        return BertOptions(name="antiberty", init="random", layers="0:2")

    return options


@pytest.mark.parametrize("family", BROKEN, ids=lambda family: family.__name__)
def test_a_broken_promise_is_caught(family: type, breaking: Callable[[type], BodyOptions]) -> None:
    options = breaking(family)
    check = getattr(conformance, BROKEN[family])
    # Options say nothing of causality; what the family makes of its anatomy does.
    if family is Prophet:
        patched = Prophet(options).anatomy
        options = _Said(options, patched)  # type: ignore[assignment]
    with pytest.raises(Broken) as caught:
        check(options)
    assert caught.value.what.startswith("the body ")
    assert caught.value.fix


class _Said:
    """Options whose anatomy is another's."""

    def __init__(self, options: BodyOptions, anatomy: object) -> None:
        self._options, self._anatomy = options, anatomy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._options, name)

    def anatomy(self) -> Any:
        return self._anatomy


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
