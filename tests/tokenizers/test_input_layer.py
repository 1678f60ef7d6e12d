"""How the input layer starts: a scale that is said, and directions that depend on the seed alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from xmodal import seeds
from xmodal.tokenizers.input_layer import InputLayer
from xmodal.tokenizers.options import AminoAcidOptions, InputInit, PatchOptions, SequenceOptions
from xmodal.types import Geometry

NUMBERS, SYMBOLS = Geometry(10, inputs=16), Geometry(10, vocabulary=16)


def build(
    geometry: Geometry, init: InputInit, *, width: int = 64, std: float = 0.3, token_rms: float = 0.05, seed: int = 0
) -> InputLayer:
    random = seeds.torch_generator("init.input", seed)
    return InputLayer(geometry, width, init=init, std=std, token_rms=token_rms, random=random)


def rms(values: Tensor) -> float:
    return float(values.detach().square().mean().sqrt())


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeds.torch_generator("data", 0))


@pytest.mark.parametrize(("inputs", "width"), [(16, 64), (48, 48), (100, 64), (1, 64)])
def test_orthogonal_numbers(inputs: int, width: int) -> None:
    weight = build(Geometry(10, inputs=inputs), "orthogonal", width=width).weight.detach()
    assert weight.shape == (width, inputs)
    gram = weight.T @ weight if inputs <= width else weight @ weight.T
    torch.testing.assert_close(gram, 2 * torch.eye(min(inputs, width)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("vocabulary", "width"), [(16, 64), (100, 64)])
def test_orthogonal_symbols(vocabulary: int, width: int) -> None:
    weight = build(Geometry(10, vocabulary=vocabulary), "orthogonal", width=width).weight.detach()
    assert weight.shape == (vocabulary, width)
    gram = weight @ weight.T if vocabulary <= width else weight.T @ weight
    torch.testing.assert_close(gram, 2 * torch.eye(min(vocabulary, width)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("geometry", [NUMBERS, SYMBOLS])
def test_normal_has_the_deviation_that_was_asked_for(geometry: Geometry) -> None:
    weight = build(geometry, "normal", width=1024).weight.detach()
    assert float(weight.std()) == pytest.approx(0.3, rel=0.03)
    assert abs(float(weight.mean())) < 0.01


@pytest.mark.parametrize("inputs", [1, 16, 192])
def test_norm_matched_numbers_enter_at_the_bodys_scale(inputs: int) -> None:
    layer = build(Geometry(10, inputs=inputs), "norm-matched", width=1024)
    tokens = layer(noise(64, 10, inputs), None)
    assert rms(tokens.values) == pytest.approx(0.05, rel=0.1)


def test_norm_matched_symbols_enter_at_the_bodys_scale() -> None:
    layer = build(SYMBOLS, "norm-matched", width=1024)
    tokens = layer(torch.arange(16).reshape(2, 8), None)
    assert rms(tokens.values) == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize(("init", "scale"), [("normal", 0.3), ("orthogonal", 0.3), ("norm-matched", 0.05)])
@pytest.mark.parametrize("what", [{"inputs": 16}, {"vocabulary": 16}])
def test_the_class_token_has_the_scale_of_the_others(init: InputInit, scale: float, what: dict[str, int]) -> None:
    layer = build(Geometry(10, prefix=1, **what), init, width=4096)
    assert layer.class_token is not None
    assert layer.class_token.shape == (1, 4096)
    assert rms(layer.class_token) == pytest.approx(scale, rel=0.1)


def test_a_linear_layer_has_a_bias_of_zero_and_an_embedding_none() -> None:
    linear, embedding = build(NUMBERS, "orthogonal"), build(SYMBOLS, "normal")
    assert [str(site) for site, _ in linear.claims()] == ["input.weight", "input.bias"]
    assert [str(site) for site, _ in embedding.claims()] == ["input.weight"]
    assert linear.bias is not None
    assert not linear.bias.any()
    for layer in (linear, embedding, build(Geometry(3, prefix=1, inputs=2), "normal")):
        assert {id(p) for _, p in layer.claims()} == {id(p) for p in layer.parameters()}
        assert all(p.dtype == torch.float32 for p in layer.parameters())


def test_the_linear_layer_is_linear() -> None:
    layer, raw = build(NUMBERS, "normal"), noise(2, 3, 16)
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.copy_(noise(64))
    wanted = torch.einsum("bti,wi->btw", raw, layer.weight) + layer.bias
    torch.testing.assert_close(layer(raw, None).values, wanted)


@pytest.mark.parametrize("geometry", [NUMBERS, SYMBOLS, Geometry(11, prefix=1, inputs=16)])
@pytest.mark.parametrize("init", ["orthogonal", "normal", "norm-matched"])
def test_a_seed_draws_the_same_layer_whatever_the_body(geometry: Geometry, init: InputInit) -> None:
    one, other_body, other_seed = (
        build(geometry, init),
        build(geometry, init, token_rms=0.2),
        build(geometry, init, seed=1),
    )
    assert torch.equal(build(geometry, init).weight, one.weight)
    assert not torch.equal(one.weight, other_seed.weight)
    scale = 4.0 if init == "norm-matched" else 1.0
    for left, right in zip(one.parameters(), other_body.parameters(), strict=True):
        torch.testing.assert_close(left * scale, right)  # the same directions, at the body's scale


def test_defaults_are_those_of_the_papers() -> None:
    assert PatchOptions(size=1).init == "orthogonal"
    assert SequenceOptions().init == AminoAcidOptions().init == "normal"
    assert not PatchOptions(size=1).class_token
    gain = build(Geometry(1, inputs=1), PatchOptions(size=1).init).weight.detach().norm()
    assert float(gain) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("std", [0.0, -1.0, float("inf")])
def test_a_deviation_is_positive(std: float) -> None:
    with pytest.raises(ValueError, match="std"):
        SequenceOptions(std=std)
