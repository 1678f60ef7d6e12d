"""Twenty letters, one for all others, and padding."""

from __future__ import annotations

import string

import pytest
import torch
from torch import Tensor

from xmodal import seeds
from xmodal.errors import UsageError
from xmodal.tensors import Batch
from xmodal.tokenizers import build_tokenizer
from xmodal.tokenizers.amino_acid import AminoAcid
from xmodal.tokenizers.input_layer import InputLayer
from xmodal.tokenizers.options import AMINO_ACIDS, AminoAcidOptions
from xmodal.types import Continuous, Geometry, Letters, SampleSpec, Site, Symbols

X = 21


def build(class_token: bool = False) -> AminoAcid:
    options, sample = AminoAcidOptions(class_token=class_token), Letters(30)
    random = seeds.torch_generator("init.input", 0)
    layer = InputLayer(options.geometry(sample), 8, init="normal", std=0.1, token_rms=0.05, random=random)
    tokenizer = build_tokenizer(options, sample, layer)
    assert isinstance(tokenizer, AminoAcid)
    return tokenizer


def codes(*proteins: str) -> Tensor:
    most = max(map(len, proteins))
    return torch.tensor([list(protein.ljust(most, "\0").encode("ascii")) for protein in proteins])


def ids(letters: str) -> list[int]:
    return build().encode(codes(letters))[0].tolist()


def test_the_twenty_letters() -> None:
    assert len(AMINO_ACIDS) == 20
    assert ids("ACDEFGHIKLMNPQRSTVWY") == list(range(1, 21))


def test_case_does_not_matter() -> None:
    assert ids(AMINO_ACIDS.lower()) == ids(AMINO_ACIDS)
    assert ids("bjouzx") == [X] * 6


@pytest.mark.parametrize("letter", "BJOUZX")
def test_rare_and_ambiguous_residues_are_unknown(letter: str) -> None:
    assert ids(letter) == [X]


def test_every_other_sign_is_unknown() -> None:
    others = [sign for sign in string.printable if sign.upper() not in AMINO_ACIDS]
    assert set(ids("".join(others))) == {X}
    assert build().encode(torch.tensor([[128, 255, 1000]])).tolist() == [[X, X, X]]


def test_the_end_of_a_sequence_is_masked() -> None:
    tokenizer = build()
    proteins = codes("MKV", "M", "ACDXY")
    tokens = tokenizer(Batch(proteins, torch.zeros(3, dtype=torch.long)))
    assert tokens.padded
    assert tokens.mask.sum(dim=1).tolist() == [3, 1, 5]
    assert tokens.mask[0].tolist() == [True, True, True, False, False]
    weight = dict(tokenizer.claims())[Site("input")]
    assert weight.shape == (22, 8)
    assert torch.equal(tokens.values, weight[tokenizer.encode(proteins)])


def test_a_class_token_is_real() -> None:
    tokens = build(class_token=True)(Batch(codes("MKV", "M"), torch.zeros(2, dtype=torch.long)))
    assert tokens.prefix == 1
    assert tokens.mask.sum(dim=1).tolist() == [4, 2]


def test_the_table_is_neither_trained_nor_saved() -> None:
    tokenizer = build()
    assert [str(site) for site, _ in tokenizer.claims()] == ["input.weight"]
    assert list(tokenizer.state_dict()) == ["layer.weight"]


def test_geometry() -> None:
    assert AminoAcidOptions().geometry(Letters(1024)) == Geometry(1024, vocabulary=22)
    assert AminoAcidOptions(class_token=True).geometry(Letters(1023)) == Geometry(1024, prefix=1, vocabulary=22)


@pytest.mark.parametrize("sample", [Continuous((3, 4, 4)), Symbols(20, 10)])
def test_only_letters_are_read(sample: SampleSpec) -> None:
    with pytest.raises(UsageError, match="amino-acid reads letters") as caught:
        AminoAcidOptions().geometry(sample)
    assert str(sample) in caught.value.why
