"""Padding changes nothing, a causal body does not see the future, and samples do not see each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from xmodal import seeds
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.weights import build_body
from xmodal.components import load
from xmodal.heads import HEADS, build_head
from xmodal.heads.options import HeadOptions
from xmodal.tensors import Tokens
from xmodal.types import Body, Classes, Head, PerPosition

Tiny = Callable[..., BodyOptions]
LENGTHS = (9, 5, 7)
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture
def body(tiny: Tiny) -> Body:
    return build_body(tiny(), seed=0).body.eval()


def head(name: str) -> Head:
    target = PerPosition(count=4, classes=3) if name == "per-position" else Classes(3)
    said = {"name": name, "per_token": 2} if name == "per-position" else {"name": name}
    options: HeadOptions = load(HEADS[name].options).model_validate(said)
    return build_head(options, target, 32, seeds.torch_generator("init.head", 0))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(seed))


def pad(values: Tensor, lengths: tuple[int, ...], extra: int, rubbish: float = 0.0) -> Tokens:
    """Tokens of which sample `i` has `lengths[i]`, and `extra` more on the right; where nothing is real, rubbish."""
    values = torch.cat([values, torch.zeros(len(values), extra, 32)], dim=1)
    mask = torch.arange(values.shape[1]) < torch.tensor(lengths)[:, None]
    return Tokens(torch.where(mask[..., None], values, rubbish), mask, padded=True, prefix=1)


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("extra", [1, 20])
def test_padding_on_the_right_changes_no_logit(body: Body, name: str, extra: int) -> None:
    read, values = head(name), draw(3, 9, 32)
    tokens = pad(values, LENGTHS, 0)
    wanted = read(body(tokens), tokens)
    assert wanted.abs().max() > 0.1
    more = pad(values, LENGTHS, extra, rubbish=3.0)
    torch.testing.assert_close(read(body(more), more), wanted, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_a_sample_is_read_as_if_it_were_alone(body: Body, name: str) -> None:
    read, values = head(name), draw(3, 9, 32)
    together = pad(values, LENGTHS, 3, rubbish=3.0)
    logits = read(body(together), together)
    for index, length in enumerate(LENGTHS):
        one = values[index : index + 1, :length]
        alone = Tokens(one, torch.ones(1, length, dtype=torch.bool), padded=False, prefix=1)
        torch.testing.assert_close(logits[index : index + 1], read(body(alone), alone), **CLOSE)


@torch.no_grad()
def test_a_batch_may_be_of_any_samples(body: Body) -> None:
    one, other = draw(2, 6, 32), draw(2, 6, 32, seed=1)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mixed = torch.stack([one[0], other[1]])
    for padded in (True, False):
        left, right = (body(Tokens(values, mask, padded=padded)) for values in (one, mixed))
        torch.testing.assert_close(left[0], right[0], **CLOSE)
        assert not torch.allclose(left[1], right[1], atol=0.1)


@torch.no_grad()
@pytest.mark.parametrize("padded", [True, False])
def test_only_a_causal_body_is_blind_to_the_future(body: Body, padded: bool) -> None:
    values, mask = draw(1, 8, 32), torch.ones(1, 8, dtype=torch.bool)
    before = body(Tokens(values, mask, padded=padded))
    for changed in range(8):
        other = values.clone()
        other[:, changed] = draw(32, seed=changed + 1)
        after = body(Tokens(other, mask, padded=padded))
        moved = (after - before).abs().amax(dim=-1)[0] > 1e-3
        assert moved[changed:].all()  # every later token sees it
        if body.causal:
            torch.testing.assert_close(after[:, :changed], before[:, :changed], **CLOSE)
        else:
            assert moved.all()


@torch.no_grad()
def test_positions_are_the_bodys_own(body: Body) -> None:
    same = draw(1, 1, 32).expand(1, 5, 32).contiguous()
    hidden = body(Tokens(same, torch.ones(1, 5, dtype=torch.bool), padded=False))
    for left in range(5):
        for right in range(left):
            assert not torch.allclose(hidden[:, left], hidden[:, right], atol=1e-2)
