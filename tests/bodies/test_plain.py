"""Bodies without a past: the controls, and a transformer of any size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2Model

from xmodal import freeze
from xmodal.bodies import skeleton
from xmodal.bodies.plain import NoneOptions, TransformerOptions
from xmodal.bodies.weights import build_body
from xmodal.errors import SpecError, UsageError
from xmodal.tensors import Tokens


def options(name: str = "transformer", **said: object) -> TransformerOptions:
    return TransformerOptions.model_validate({"name": name, "width": 32, "heads": 4, "context": 64, **said})


def values(tokens: int = 11) -> Tensor:
    return torch.empty(3, tokens, 32).normal_(generator=torch.Generator().manual_seed(1))


def whole(inputs: Tensor) -> Tokens:
    return Tokens(inputs, torch.ones(inputs.shape[:2], dtype=torch.bool), padded=False)


@torch.no_grad()
def test_a_causal_one_computes_what_gpt2_computes() -> None:
    body = build_body(options(causal=True, depth=3), seed=0).body.eval()
    config = GPT2Config(vocab_size=9, n_positions=64, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0)
    model: Any = GPT2Model(config).eval()
    ours = {str(site): parameter for site, parameter in body.claims()}
    model.wpe.weight.copy_(ours["pos.weight"])
    for layer, block in enumerate(model.h):
        linears = {"attn.qkv": block.attn.c_attn, "attn.out": block.attn.c_proj}
        linears |= {"ffn.up": block.mlp.c_fc, "ffn.down": block.mlp.c_proj}
        for name, linear in linears.items():
            role, part = name.split(".")
            linear.weight.copy_(ours[f"{role}[{layer}].{part}.weight"].T)
    inputs = values()
    assert float((body(whole(inputs)) - model(inputs_embeds=inputs).last_hidden_state).abs().max()) <= 1e-5


@pytest.mark.parametrize(("name", "roles"), [("one-attention", {"pos", "ln", "attn"}), ("one-block", {"ffn"})])
def test_a_control_is_one_layer(name: str, roles: set[str]) -> None:
    claims = [site for site, _ in skeleton(options(name)).claims()]
    assert roles <= {site.role for site in claims}
    assert {site.layer for site in claims} == {0, None}
    assert ("ffn" in {site.role for site in claims}) == (name == "one-block")


@torch.no_grad()
def test_without_a_body_tokens_stay_as_they_are() -> None:
    body = build_body(NoneOptions(name="none", width=32), seed=0).body
    inputs = values()
    assert torch.equal(body(whole(inputs)), inputs)
    assert list(body.claims()) == []
    with pytest.raises(SpecError, match=r"hits nothing|nothing to call"):
        freeze.parse("body").on(body, name="none")
    assert freeze.parse("none").on(body, name="none").counts()["total"] == 0


def test_sizes_are_options() -> None:
    body = skeleton(options(depth=2, inner=40))
    shapes = {str(site): tuple(parameter.shape) for site, parameter in body.claims()}
    assert shapes["ffn[1].up.weight"] == (40, 32)
    assert shapes["pos.weight"] == (64, 32)
    assert len(options(depth=5, layers="::2").anatomy().layers) == 3


def test_random_is_gpt2s_scheme() -> None:
    body = build_body(options(width=256, heads=4, depth=8), seed=0).body
    for site, parameter in body.claims():
        if site.role in ("attn", "ffn") and site.kind == "weight":
            wanted = 0.02 / (4.0 if site.part in ("out", "down") else 1.0)
            assert float(parameter.detach().std()) == pytest.approx(wanted, rel=0.03), site


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"heads": 5}, "5 heads cannot share a width of 32 evenly"),
        ({"name": "one-block", "depth": 2}, "one-block has one block, not 2"),
        ({"path": "somewhere"}, "transformer reads no folder"),
    ],
)
def test_what_cannot_be_is_refused(said: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError) as caught:
        _ = options(**said).anatomy(), options(**said).check_init()
    assert caught.value.what == what
    assert caught.value.fix


def test_there_is_nothing_pretrained() -> None:
    with pytest.raises(UsageError, match="cannot start as 'pretrained'") as caught:
        options(init="pretrained").check_init()
    assert "random, random:flat or run:FOLDER" in caught.value.why


def test_no_body_has_nothing_to_drop_out() -> None:
    with pytest.raises(UsageError, match="nothing to drop out"):
        NoneOptions(name="none", dropout=0.1).check_init()
