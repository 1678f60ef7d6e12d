"""Patches against numpy, which cuts them another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from xmodal import seeds
from xmodal.errors import UsageError
from xmodal.tensors import Batch
from xmodal.tokenizers import build_tokenizer
from xmodal.tokenizers.input_layer import InputLayer
from xmodal.tokenizers.options import PatchOptions
from xmodal.tokenizers.patch import Patch
from xmodal.types import Continuous, Geometry, Letters, SampleSpec, Symbols


def build(sample: SampleSpec, size: int, width: int = 8, **said: object) -> Patch:
    options = PatchOptions.model_validate({"size": size, **said})
    random = seeds.torch_generator("init.input", 0)
    layer = InputLayer(
        options.geometry(sample), width, init=options.init, std=options.std, token_rms=0.05, random=random
    )
    tokenizer = build_tokenizer(options, sample, layer)
    assert isinstance(tokenizer, Patch)
    return tokenizer


def squares(images: np.ndarray, size: int) -> np.ndarray:
    """Patches in reading order; in a patch channel after channel, in a channel row after row."""
    _, _, height, width = images.shape
    patches = []
    for top in range(0, height, size):
        for left in range(0, width, size):
            patches.append([list(image[:, top : top + size, left : left + size].ravel()) for image in images])
    return np.stack(patches, axis=1)


def counting(*shape: int) -> Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape)


def batch(samples: Tensor) -> Batch:
    return Batch(samples, torch.zeros(len(samples), dtype=torch.long))


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 4, 4), 2), ((3, 8, 8), 4), ((3, 6, 4), 2), ((2, 5, 5), 1), ((3, 4, 4), 4)]
)
def test_images_are_cut_in_reading_order(shape: tuple[int, int, int], size: int) -> None:
    samples = counting(2, *shape)
    cut = build(Continuous(shape), size).cut(samples)
    assert np.array_equal(cut.numpy(), squares(samples.numpy(), size))


def test_the_first_patches_by_hand() -> None:
    image = counting(1, 1, 4, 4)
    cut = build(Continuous((1, 4, 4)), 2).cut(image)
    assert cut.tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]


def test_rows_are_cut_one_after_the_other() -> None:
    samples = counting(2, 3, 6)
    cut = build(Continuous((3, 6)), 2).cut(samples)
    assert cut.shape == (2, 9, 2)
    assert np.array_equal(cut.numpy(), samples.numpy().reshape(2, 9, 2))
    assert cut[0, 2:4].tolist() == [[4, 5], [6, 7]]  # the end of a row, then the start of the next


@pytest.mark.parametrize(
    ("vocabulary", "wanted"), [(2, [-1.0, 1.0, 1.0, -1.0]), (3, [-1.0, 0.0, 0.0, -1.0]), (1, [-1.0, 1.0, 1.0, -1.0])]
)
def test_symbols_are_numbers_from_minus_one_to_one(vocabulary: int, wanted: list[float]) -> None:
    samples = torch.tensor([[0, 1, 1, 0]])
    cut = build(Symbols(vocabulary, 4), 2).cut(samples)
    assert cut.shape == (1, 2, 2)
    assert cut.flatten().tolist() == wanted


def test_the_last_symbol_is_one() -> None:
    cut = build(Symbols(5, 5), 1).cut(torch.arange(5)[None])
    assert cut[0, :, 0].tolist() == [-1, -0.5, 0, 0.5, 1]


sizes = st.integers(1, 4)


@given(channels=st.integers(1, 3), rows=sizes, columns=sizes, size=sizes)
def test_patches_are_a_permutation_of_the_pixels(channels: int, rows: int, columns: int, size: int) -> None:
    shape = (channels, rows * size, columns * size)
    samples = counting(2, *shape)
    cut = build(Continuous(shape), size).cut(samples)
    assert cut.shape == (2, rows * columns, channels * size * size)
    for image, patches in zip(samples, cut, strict=True):
        assert torch.equal(patches.flatten().sort().values, image.flatten())
    assert np.array_equal(cut.numpy(), squares(samples.numpy(), size))


@given(rows=sizes, pieces=sizes, size=sizes)
def test_pieces_are_the_rows_in_order(rows: int, pieces: int, size: int) -> None:
    samples = counting(2, rows, pieces * size)
    assert torch.equal(build(Continuous((rows, pieces * size)), size).cut(samples).flatten(), samples.flatten())


@pytest.mark.parametrize(
    ("sample", "size", "wanted"),
    [
        (Continuous((1, 32, 32)), 4, Geometry(64, inputs=16)),
        (Continuous((3, 32, 32)), 4, Geometry(64, inputs=48)),
        (Continuous((1, 32, 32)), 1, Geometry(1024, inputs=1)),
        (Continuous((6, 1000)), 50, Geometry(120, inputs=50)),
        (Symbols(2, 10), 1, Geometry(10, inputs=1)),
    ],
)
def test_the_geometry_of_the_papers_tasks(sample: SampleSpec, size: int, wanted: Geometry) -> None:
    assert PatchOptions(size=size).geometry(sample) == wanted
    with_class = PatchOptions(size=size, class_token=True).geometry(sample)
    assert with_class == Geometry(wanted.tokens + 1, prefix=1, inputs=wanted.inputs)


@pytest.mark.parametrize(
    ("sample", "size"),
    [(Continuous((1, 28, 28)), 4), (Continuous((2, 6)), 3), (Continuous((3, 4, 6)), 2), (Symbols(2, 6), 2)],
)
@pytest.mark.parametrize("class_token", [True, False])
def test_the_geometry_is_what_is_made(sample: SampleSpec, size: int, class_token: bool) -> None:
    tokenizer = build(sample, size, class_token=class_token)
    shape = sample.shape if isinstance(sample, Continuous) else (6,)
    samples = torch.zeros(2, *shape) if isinstance(sample, Continuous) else torch.zeros(2, 6, dtype=torch.long)
    tokens = tokenizer(batch(samples))
    geometry = PatchOptions(size=size, class_token=class_token).geometry(sample)
    assert tokens.values.shape == (2, geometry.tokens, 8)
    assert tokens.prefix == geometry.prefix
    assert tokens.mask.all()
    assert not tokens.padded


@pytest.mark.parametrize(
    ("sample", "size", "said"),
    [
        (Continuous((1, 28, 28)), 5, "patches of 5 do not fill an image of 28x28"),
        (Continuous((1, 4, 6)), 4, "patches of 4 do not fill an image of 4x6"),
        (Continuous((1, 6, 4)), 4, "patches of 4 do not fill an image of 6x4"),
        (Continuous((6, 1000)), 7, "patches of 7 do not fill rows of 1000 numbers"),
        (Symbols(2, 10), 20, "patches of 20 do not fill a sequence of 10 symbols"),
    ],
)
def test_patches_must_fill_the_sample(sample: SampleSpec, size: int, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        PatchOptions(size=size).geometry(sample)
    assert caught.value.what == said
    assert "not a multiple" in caught.value.why
    advised = [int(word) for word in caught.value.fix.removeprefix("set tokenizer.size to one of ").split(", ")]
    for size in advised:  # advice that works
        PatchOptions(size=size).geometry(sample)


@pytest.mark.parametrize(
    ("sample", "advice"),
    [
        (Letters(10), "use tokenizer amino-acid"),
        (Symbols(2, 10, fixed=False), "use tokenizer sequence"),
        (Continuous((3, 4, 4, 4)), "add a tokenizer of your own"),
        (Continuous((4,)), "add a tokenizer of your own"),
    ],
)
def test_what_cannot_be_cut(sample: SampleSpec, advice: str) -> None:
    with pytest.raises(UsageError, match="patch cannot cut samples of this task") as caught:
        PatchOptions(size=1).geometry(sample)
    assert caught.value.fix.endswith(advice)
    assert str(sample) in caught.value.why
