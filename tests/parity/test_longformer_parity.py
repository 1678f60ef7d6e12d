"""Our Longformer computes what transformers' own computes from the same folder, within a window and beyond it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from xmodal.bodies.longformer import LongformerOptions
from xmodal.bodies.weights import build_body
from xmodal.tensors import Tokens
from xmodal.types import Body

WINDOW, WIDTH = 8, 32
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
LENGTHS = [5, 8, 11, 29, 32]  # within a window, one, beyond it, several, the whole context


@pytest.fixture
def folder(tiny_longformer: Path) -> Path:
    """A Longformer of 3 blocks with a window of 8 tokens and a context of 32."""
    return tiny_longformer


def options(folder: Path, **changes: object) -> LongformerOptions:
    return LongformerOptions.model_validate({"name": "longformer-base", "path": str(folder), **changes})


def reference(folder: Path, **changes: object) -> PreTrainedModel:
    return AutoModel.from_pretrained(folder, **changes).eval()


def values(tokens: int) -> Tensor:
    return torch.empty(3, tokens, WIDTH).normal_(generator=torch.Generator().manual_seed(1))


def right_padded(*lengths: int) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def ours(body: Body, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
    real = torch.ones(inputs.shape[:2], dtype=torch.bool) if mask is None else mask
    return body(Tokens(inputs, real, padded=mask is not None))


def theirs(model: PreTrainedModel, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
    return model(inputs_embeds=inputs, attention_mask=None if mask is None else mask.long()).last_hidden_state


def largest_difference(left: Tensor, right: Tensor) -> float:
    return float((left - right).abs().max())


@torch.no_grad()
@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("layers", [None, "0:2", "-1", "::2"])
def test_hidden_states_are_those_of_transformers(folder: Path, layers: str | None, tokens: int) -> None:
    body, model = build_body(options(folder, layers=layers), seed=0).body.eval(), reference(folder)
    kept = {None: slice(None), "0:2": slice(0, 2), "-1": slice(-1, None), "::2": slice(None, None, 2)}[layers]
    encoder = model.get_submodule("encoder")
    encoder.layer = nn.ModuleList(list(encoder.get_submodule("layer").children())[kept])
    inputs = values(tokens)
    hidden = ours(body, inputs)
    assert hidden.dtype == torch.float32
    assert hidden.shape == (3, tokens, WIDTH)
    assert largest_difference(hidden, theirs(model, inputs)) <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("lengths", [(5, 3, 1), (11, 8, 7), (16, 9, 1), (29, 13, 2)])
def test_padded_batches_are_those_of_transformers(folder: Path, lengths: tuple[int, ...]) -> None:
    body, mask = build_body(options(folder), seed=0).body.eval(), right_padded(*lengths)
    inputs = values(max(lengths))
    assert largest_difference(ours(body, inputs, mask)[mask], theirs(reference(folder), inputs, mask)[mask]) <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("length", [3, 8, 11])
def test_right_padding_changes_no_real_token(folder: Path, length: int) -> None:
    body = build_body(options(folder), seed=0).body.eval()
    alone = ours(body, values(length))
    for more in (1, WINDOW, 32 - length):
        inputs = torch.cat([values(length), torch.full((3, more, WIDTH), 3.0)], dim=1)
        padded = ours(body, inputs, (torch.arange(length + more) < length).expand(3, -1))
        assert largest_difference(alone, padded[:, :length]) <= 1e-5


@torch.no_grad()
def test_a_block_sees_half_a_window_on_each_side(folder: Path) -> None:
    body, inputs = build_body(options(folder, layers="0:1"), seed=0).body.eval(), values(29)
    before = ours(body, inputs)
    for changed in (0, 14, 28):
        other = inputs.clone()
        other[:, changed] *= -1
        moved = (ours(body, other) - before).abs().amax(dim=(0, 2)) > 1e-5
        assert moved.tolist() == [abs(token - changed) <= WINDOW // 2 for token in range(29)]


def test_gradients_are_those_of_transformers(folder: Path) -> None:
    inputs, mask = values(21), right_padded(21, 12, 4)
    body, model = build_body(options(folder), seed=0).body, reference(folder)
    ours(body, inputs, mask)[mask].square().sum().backward()
    theirs(model, inputs, mask)[mask].square().sum().backward()
    wanted = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    mine = {body.source_names.get(p, n): p.grad for n, p in body.model.named_parameters() if p.grad is not None}
    # There, padding is looked up in the token embedding and so reaches it, with a gradient of zero.
    assert mine.keys() == wanted.keys() - {"embeddings.word_embeddings.weight"}
    assert len(mine) == sum(site.used for site, _ in body.claims())
    for name, gradient in mine.items():
        assert largest_difference(gradient, wanted[name]) <= 1e-5 * max(1.0, float(wanted[name].abs().max())), name


@torch.no_grad()
def test_dropout_reaches_every_dropout_and_is_off_unless_said(folder: Path) -> None:
    inputs = values(11)
    sober = build_body(options(folder), seed=0).body
    assert all(getattr(reference(folder).config, key) == 0.1 for key in DROPOUTS)  # what transformers would leave on
    assert torch.equal(ours(sober.train(), inputs), ours(sober.eval(), inputs))
    body = build_body(options(folder, dropout=0.5), seed=0).body
    quiet = ours(body.eval(), inputs)
    body.train()
    places = {name: module for name, module in body.named_modules() if isinstance(module, nn.Dropout)}
    inside = [block.attention.self for block in body.model.encoder.layer]  # a rate, not a module
    assert len(places) == 1 + 2 * 3  # the embedding's; in each block after attention and after the ffn
    assert {module.p for module in places.values()} | {attention.dropout for attention in inside} == {0.5}
    for module in places.values():
        module.p = 0.0
    assert largest_difference(ours(body, inputs), quiet) > 1e-2, "attention weights are not dropped"
    for attention in inside:
        attention.dropout = 0.0
    for name, module in places.items():
        module.p = 0.5
        assert largest_difference(ours(body, inputs), quiet) > 1e-2, f"{name} drops nothing"
        module.p = 0.0
    assert torch.equal(ours(body, inputs), quiet)


@torch.no_grad()
def test_half_precision_gives_nearly_the_same(folder: Path) -> None:
    body, inputs, mask = build_body(options(folder), seed=0).body.eval(), values(21), right_padded(21, 12, 4)
    exact = ours(body, inputs, mask)[mask]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = ours(body, inputs, mask)[mask]
    assert bool(low.isfinite().all())
    assert float((low - exact).square().mean().sqrt()) <= 0.05 * float(exact.std())
