"""Symbols become rows of an embedding, and the batch's mask is kept."""

from __future__ import annotations

import pytest
import torch

from xmodal import seeds
from xmodal.errors import UsageError
from xmodal.tensors import Batch
from xmodal.tokenizers import build_tokenizer
from xmodal.tokenizers.input_layer import InputLayer
from xmodal.tokenizers.options import SequenceOptions
from xmodal.types import Continuous, Geometry, Letters, SampleSpec, Site, Symbols, Tokenizer

SAMPLE = Symbols(vocabulary=5, max_length=4)
IDS = torch.tensor([[0, 1, 4, 1], [3, 2, 0, 0]])


def build(class_token: bool = False) -> Tokenizer:
    options = SequenceOptions(class_token=class_token)
    random = seeds.torch_generator("init.input", 0)
    layer = InputLayer(options.geometry(SAMPLE), 8, init="normal", std=0.1, token_rms=0.05, random=random)
    return build_tokenizer(options, SAMPLE, layer)


def batch(mask: torch.Tensor | None = None) -> Batch:
    return Batch(IDS, torch.zeros(2, dtype=torch.long), mask)


def test_a_symbol_is_its_row() -> None:
    tokenizer = build()
    weight = dict(tokenizer.claims())[Site("input")]
    tokens = tokenizer(batch())
    assert torch.equal(tokens.values, weight[IDS])
    assert (tokens.padded, tokens.prefix) == (False, 0)
    assert tokens.mask.shape == (2, 4)
    assert tokens.mask.all()


def test_the_mask_of_the_batch_is_kept() -> None:
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    tokens = build()(batch(mask))
    assert tokens.padded
    assert torch.equal(tokens.mask, mask)


@pytest.mark.parametrize("padded", [True, False])
def test_a_class_token_stands_in_front_and_is_real(padded: bool) -> None:
    mask = torch.tensor([[True] * 4, [True, True, False, False]]) if padded else None
    tokenizer = build(class_token=True)
    claims = dict(tokenizer.claims())
    assert [str(site) for site in claims] == ["input.weight", "input.class.weight"]
    tokens = tokenizer(batch(mask))
    assert tokens.values.shape == (2, 5, 8)
    assert (tokens.padded, tokens.prefix) == (padded, 1)
    assert torch.equal(tokens.values[:, 0], claims[Site("input", part="class")].expand(2, 8))
    assert torch.equal(tokens.values[:, 1:], claims[Site("input")][IDS])
    assert tokens.mask.sum(dim=1).tolist() == ([5, 3] if padded else [5, 5])
    assert tokens.mask[:, 0].all()


def test_geometry() -> None:
    assert SequenceOptions().geometry(SAMPLE) == Geometry(4, vocabulary=5)
    assert SequenceOptions(class_token=True).geometry(SAMPLE) == Geometry(5, prefix=1, vocabulary=5)
    assert SequenceOptions().geometry(Symbols(16, 2000, fixed=False)) == Geometry(2000, vocabulary=16)


@pytest.mark.parametrize("sample", [Continuous((3, 4, 4)), Letters(9)])
def test_only_symbols_are_read(sample: SampleSpec) -> None:
    with pytest.raises(UsageError, match="sequence reads symbols") as caught:
        SequenceOptions().geometry(sample)
    assert str(sample) in caught.value.why
