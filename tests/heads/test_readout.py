"""Which positions a head reads, and what it makes of them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from xmodal import seeds
from xmodal.components import load
from xmodal.heads import HEADS, build_head
from xmodal.heads.options import HeadOptions
from xmodal.heads.readout import read_last, read_mean
from xmodal.tensors import Tokens
from xmodal.types import Classes, Head, PerPosition, Site, TargetSpec


def options(name: str, **said: object) -> HeadOptions:
    return load(HEADS[name].options).model_validate({"name": name, **said})


def build(name: str, target: TargetSpec, width: int, seed: int = 0, **said: object) -> Head:
    return build_head(options(name, **said), target, width, seeds.torch_generator("init.head", seed))


def numbered(batch: int, tokens: int, width: int = 2) -> Tensor:
    """Hidden states of which every one says where it stands: 100 * sample + position."""
    places = 100.0 * torch.arange(batch)[:, None] + torch.arange(tokens)
    return places[..., None].expand(batch, tokens, width).contiguous()


def tokens(lengths: tuple[int, ...], most: int, *, padded: bool = True, prefix: int = 0) -> Tokens:
    mask = torch.arange(most) < torch.tensor(lengths)[:, None]
    return Tokens(torch.zeros(len(lengths), most, 2), mask, padded=padded, prefix=prefix)


def set_layer(head: Head, weight: Tensor | float, bias: Tensor | float) -> Head:
    """Puts values into a head's output layer."""
    layer = dict(head.claims())
    with torch.no_grad():
        layer[Site("head")].copy_(torch.as_tensor(weight))
        layer[Site("head", kind="bias")].copy_(torch.as_tensor(bias))
    return head


def transparent(head: Head) -> Head:
    """Each logit becomes the first number of the vector it is read from."""
    return set_layer(head, torch.tensor([1.0, 0.0]), 0.0)


def test_the_last_real_token_is_read() -> None:
    head = transparent(build("last-token", Classes(3), 2))
    logits = head(numbered(3, 7), tokens((7, 1, 4), 7))
    assert logits.shape == (3, 3)
    assert logits[:, 0].tolist() == [6, 100, 203]
    assert head(numbered(2, 7), tokens((7, 7), 7, padded=False))[:, 0].tolist() == [6, 106]


def test_the_mean_leaves_out_the_class_token_and_padding() -> None:
    head = transparent(build("mean", Classes(2), 2))
    assert head(numbered(2, 6), tokens((6, 3), 6))[:, 0].tolist() == [2.5, 101]
    assert head(numbered(2, 6), tokens((6, 3), 6, prefix=1))[:, 0].tolist() == [3, 101.5]
    assert head(numbered(1, 6), tokens((6,), 6, padded=False, prefix=2))[:, 0].tolist() == [3.5]


def test_a_sample_without_data_has_a_mean() -> None:
    assert read_mean(numbered(1, 3), tokens((1,), 3, prefix=1)).tolist() == [[0, 0]]


def test_the_class_token_stands_first() -> None:
    head = transparent(build("class-token", Classes(2), 2))
    assert head(numbered(3, 5), tokens((5, 2, 1), 5, prefix=1))[:, 0].tolist() == [0, 100, 200]


@pytest.mark.parametrize("per_token", [1, 2, 3])
def test_label_j_comes_from_token_j_over_per_token(per_token: int) -> None:
    target = PerPosition(count=6, classes=4)
    head = transparent(build("per-position", target, 2, per_token=per_token))
    count = 6 // per_token
    logits = head(numbered(2, 9), tokens((9, 7), 9))
    assert logits.shape == (2, 6, 4)
    wanted = [[9 - count + j // per_token for j in range(6)], [107 - count + j // per_token for j in range(6)]]
    assert logits[..., 0].tolist() == wanted
    whole = head(numbered(2, 9), tokens((9, 9), 9, padded=False))
    assert whole[0, :, 0].tolist() == wanted[0]


def test_labels_of_one_token_have_weights_of_their_own() -> None:
    head = set_layer(build("per-position", PerPosition(count=4, classes=3), 2, per_token=2), 0.0, torch.arange(6.0))
    logits = head(numbered(1, 2), tokens((2,), 2))
    assert logits.tolist() == [[[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5]]]


@given(st.data())
def test_the_last_tokens_are_those_before_the_padding(data: st.DataObject) -> None:
    most, count = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    count = min(count, most)
    lengths = tuple(data.draw(st.lists(st.integers(count, most), min_size=1, max_size=4)))
    read = read_last(numbered(len(lengths), most), tokens(lengths, most), count)[..., 0].tolist()
    assert read == [[100 * i + p for p in range(length - count, length)] for i, length in enumerate(lengths)]


@pytest.mark.parametrize("name", HEADS)
def test_the_output_layer(name: str) -> None:
    target = PerPosition(count=100, classes=8) if name == "per-position" else Classes(400)
    said = {"per_token": 50} if name == "per-position" else {}
    head = build(name, target, 256, **said)
    claims = dict(head.claims())
    assert [(str(site), tuple(p.shape)) for site, p in claims.items()] == [
        ("head.weight", (400, 256)),
        ("head.bias", (400,)),
    ]
    assert isinstance(head, nn.Module)
    assert {id(p) for p in claims.values()} == {id(p) for p in head.parameters()}
    weight = claims[Site("head")].detach()
    assert float(weight.std()) == pytest.approx(256**-0.5, rel=0.02)
    assert abs(float(weight.mean())) < 5 / math.sqrt(256 * weight.numel())
    assert not claims[Site("head", kind="bias")].any()


def test_logits_start_at_unit_size() -> None:
    hidden = torch.randn(200, 1, 384, generator=seeds.torch_generator("data", 0))
    head = build("last-token", Classes(10), 384)
    logits = head(hidden, Tokens(hidden, torch.ones(200, 1, dtype=torch.bool), padded=False))
    assert float(logits.detach().std()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", HEADS)
def test_a_seed_draws_the_same_layer(name: str) -> None:
    target = PerPosition(count=2, classes=2) if name == "per-position" else Classes(4)
    one, again, other = (dict(build(name, target, 8, seed).claims())[Site("head")] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
