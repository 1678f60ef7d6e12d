"""How a body is looked at from outside: random tokens, what it makes of them, and how far two states lie apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xmodal.bodies.body import Body
from xmodal.bodies.family import STD, Constant
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.weights import build_body
from xmodal.tensors import Tokens
from xmodal.types import Site

TOLERANCE = 1e-5
LONG = 11
LENGTHS = ((7, LONG), (61, 70))
"""Real tokens, and tokens with those behind them: a few, and more than any small table or buffer holds."""


def built(options: BodyOptions) -> Body:
    """A random body in evaluation, in which what starts as a constant has noise: a factor of 0 hides what is behind."""
    body, random = build_body(options, seed=0).body.eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for site, parameter in body.claims():
            if site.used and isinstance(body.family.draw(site, tuple(parameter.shape)), Constant):
                parameter += torch.empty(parameter.shape).normal_(0, STD, generator=random)
    return body


def without(options: BodyOptions, gone: Callable[[Site, nn.Parameter], bool]) -> Body:
    """A body in which the parameters that are `gone` are 0."""
    body = built(options)
    with torch.no_grad():
        for site, parameter in body.claims():
            if site.used and gone(site, parameter):
                parameter.zero_()
    return body


def blocks(body: Body) -> list[nn.Module]:
    """Those that it keeps, in order; none where its family does not say where they are."""
    return list(body.model.get_submodule(body.family.blocks)) if body.family.blocks else []


def drops(body: Body) -> list[bool]:
    """Of each block that is called, whether it gives other numbers when it is called again."""
    found: list[bool] = []

    def again(block: nn.Module, given: Any, named: Any, said: Any) -> None:
        one, other = (each if isinstance(each, Tensor) else each[0] for each in (said, block.forward(*given, **named)))
        found.append(not torch.equal(one, other))

    for block in blocks(body):
        block.register_forward_hook(again, with_kwargs=True)
    run(body, values(body))
    return found


def mixes(body: Body) -> bool:
    """Whether the last state changes with the tokens before it."""
    pair = values(body)
    pair[1] = pair[0]
    pair[1, :-1] *= -1
    one, other = run(body, pair)
    return apart(one[-1], other[-1], among=one) > TOLERANCE


def farthest(body: Body) -> list[int]:
    """For each of seven tokens, how many places behind it the state is that changes most when the token does."""
    given = values(body, LENGTHS[0][0])[:1]
    count = given.shape[1]
    others = given.repeat(count, 1, 1)
    others[torch.arange(count), torch.arange(count)] *= -1
    moved = (run(body, others) - run(body, given))[:, body.prefix :].square().sum(-1)
    return [(int(most) - token) % count for token, most in enumerate(moved.argmax(-1))]


def lengths(body: Body) -> list[tuple[int, int]]:
    """`LENGTHS`, or what the body takes of them."""
    most = body.context or LENGTHS[-1][-1]
    return sorted({(min(few, most - 1), min(many, most)) for few, many in LENGTHS})


def noise(shape: tuple[int, ...]) -> Tensor:
    """N(0, 1), the same for the same shape."""
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(0))


def values(body: Body, count: int = LONG) -> Tensor:
    """Two samples of `count` random tokens, or of as many as the body takes."""
    return noise((2, min(count, body.context or count), body.width))


def tokens(values: Tensor, mask: Tensor | None = None) -> Tokens:
    """Them as a body takes them; without a mask all are real."""
    real = torch.ones(values.shape[:2], dtype=torch.bool) if mask is None else mask
    return Tokens(values, real, padded=mask is not None)


def run(body: nn.Module, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """What the body makes of them."""
    with torch.no_grad():
        return body(tokens(values, mask))


def moved_by_dropout(options: BodyOptions, rate: float) -> float:
    """The root mean square of what dropout of that rate adds to states in training, over eight times."""
    body = built(options.model_copy(update={"dropout": rate}))
    given = values(body)
    plain = run(body, given)
    body.train()
    return float(torch.stack([(run(body, given) - plain).square().mean() for _ in range(8)]).mean().sqrt())


def repeats(body: Body) -> bool:
    """Whether it makes the same bits of the same tokens twice."""
    given = values(body)
    return torch.equal(run(body, given), run(body, given))


def apart(one: Tensor, other: Tensor, among: Tensor | None = None) -> float:
    """How far states lie apart at most, in sizes of a feature: the largest it has `among` these, or `one`.

    A feature that is smaller than most counts as a middling one.
    """
    size = (one if among is None else among).detach().abs().flatten(0, -2).amax(dim=0)
    size = size.clamp(min=size.median()).clamp(min=torch.finfo(size.dtype).tiny)
    return float(((one - other).detach().abs() / size).max())
