"""Every family keeps the conformance suite, and the suite catches bodies that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from broken import BROKEN
from torch import Tensor

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
