"""The LSTM: cell by cell what its formula says, residual or not, and how it starts."""

from __future__ import annotations

import math

import pytest
import torch
from small import WIDTH, draw, moved, small, whole
from torch import Tensor

from xmodal.bodies.body import Body
from xmodal.bodies.lstm import LstmOptions
from xmodal.bodies.weights import build_body


def by_hand(body: Body, sample: Tensor, *, residual: bool, depth: int) -> Tensor:
    """One sample, one token at a time, after Ba 2016 and the code of Lu 2021: gates i, f, o, then the new cell."""
    at = {str(site): parameter.double() for site, parameter in body.claims()}

    def norm(vector: Tensor, place: str) -> Tensor:
        centred = vector - vector.mean()
        return centred / (centred.square().mean() + 1e-6).sqrt() * at[f"{place}.weight"] + at[f"{place}.bias"]

    tokens = list(sample.double())
    for layer in range(depth):
        state = cell = torch.zeros(WIDTH, dtype=torch.float64)
        outputs = []
        for token in tokens:
            told = at[f"rnn[{layer}].ih.weight"] @ token + at[f"rnn[{layer}].ih.bias"]
            known = at[f"rnn[{layer}].hh.weight"] @ state + at[f"rnn[{layer}].hh.bias"]
            gates = norm(told, f"ln[{layer}].ih") + norm(known, f"ln[{layer}].hh")
            i, f, o, g = gates[:WIDTH], gates[WIDTH : 2 * WIDTH], gates[2 * WIDTH : 3 * WIDTH], gates[3 * WIDTH :]
            cell = norm(f.sigmoid() * cell + i.sigmoid() * g.tanh(), f"ln[{layer}].cell")
            state = o.sigmoid() * cell.tanh()
            outputs.append(state)
        tokens = [t + o for t, o in zip(tokens, outputs, strict=True)] if residual else outputs
    return torch.stack(tokens)


@torch.no_grad()
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_it_computes_its_formula(residual: bool, depth: int) -> None:
    body = moved("lstm", residual=residual, depth=depth)
    inputs = draw(2, 7, WIDTH)
    hidden = body(whole(inputs))
    for sample, found in zip(inputs, hidden, strict=True):
        wanted = by_hand(body, sample, residual=residual, depth=depth).float()
        torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-5)


def test_the_published_size_and_parts() -> None:
    anatomy = LstmOptions().anatomy()
    assert (anatomy.width, anatomy.depth, anatomy.eps, anatomy.causal) == (768, 3, 1e-6, True)
    assert anatomy.details == {"residual": False}
    parts = {(site.role, site.part, site.kind) for site, _ in build_body(small("lstm"), seed=0).body.claims()}
    wanted = {("rnn", part) for part in ("ih", "hh")} | {("ln", part) for part in ("ih", "hh", "cell")}
    assert parts == {(*place, kind) for place in wanted for kind in ("weight", "bias")}


def test_every_random_tensor_is_uniform_as_the_papers_code_draws_it() -> None:
    for site, drawn in build_body(small("lstm"), seed=0).body.claims():
        parameter, count = drawn.detach(), drawn.numel()
        bound = 1 / math.sqrt(count if site.role == "ln" else WIDTH)
        std = bound / math.sqrt(3)
        assert 0.85 * bound < float(parameter.abs().max()) <= bound, site
        assert abs(float(parameter.mean())) <= 5 * std / math.sqrt(count), site
        assert abs(float(parameter.std(correction=0)) - std) <= 5 * std / math.sqrt(2 * count), site


def test_flat_starts_norms_at_one_and_biases_at_zero() -> None:
    for site, drawn in build_body(small("lstm", init="random:flat"), seed=0).body.claims():
        parameter = drawn.detach()
        if site.kind == "bias" or site.role == "ln":
            wanted = 1.0 if site.kind == "weight" else 0.0
            assert torch.equal(parameter, torch.full_like(parameter, wanted)), site
        else:
            assert abs(float(parameter.std(correction=0)) - 0.02) <= 5 * 0.02 / math.sqrt(2 * parameter.numel()), site


@torch.no_grad()
def test_it_remembers_across_tokens() -> None:
    body, inputs = moved("lstm"), draw(1, 20, WIDTH)
    other = inputs.clone()
    other[:, 0] = draw(WIDTH, seed=5)
    assert (body(whole(other)) - body(whole(inputs)))[:, -1].abs().max() > 0
