"""Our bodies compute what transformers' own models compute from the same folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, GPT2Config, GPT2Model, PreTrainedModel

from xmodal.bodies.gpt2 import GPT2Options
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.weights import build_body
from xmodal.tensors import Tokens
from xmodal.types import Body

Tiny = Callable[..., BodyOptions]
DROPOUTS = {
    "gpt2": ("embd_pdrop", "attn_pdrop", "resid_pdrop"),
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
}


def reference(options: BodyOptions, **changes: object) -> PreTrainedModel:
    assert options.path
    return AutoModel.from_pretrained(options.path, **changes).eval()


def keep(model: PreTrainedModel, layers: slice) -> None:
    holder, name = (model, "h") if isinstance(model, GPT2Model) else (model.get_submodule("encoder"), "layer")
    blocks = list(holder.get_submodule(name).children())
    assert len(blocks) == 3
    setattr(holder, name, nn.ModuleList(blocks[layers]))


def values(tokens: int = 11, width: int = 32) -> Tensor:
    return torch.empty(3, tokens, width).normal_(generator=torch.Generator().manual_seed(1))


def ours(body: Body, inputs: Tensor, mask: Tensor | None) -> Tensor:
    real = torch.ones(inputs.shape[:2], dtype=torch.bool) if mask is None else mask
    return body(Tokens(inputs, real, padded=mask is not None))


def theirs(model: PreTrainedModel, inputs: Tensor, mask: Tensor | None) -> Tensor:
    return model(inputs_embeds=inputs, attention_mask=mask).last_hidden_state


def right_padded(*lengths: int, tokens: int = 11) -> Tensor:
    return torch.arange(tokens) < torch.tensor(lengths)[:, None]


def largest_difference(left: Tensor, right: Tensor) -> float:
    return float((left - right).abs().max())


@torch.no_grad()
@pytest.mark.parametrize("mask", [None, right_padded(11, 7, 1)], ids=["whole", "padded"])
@pytest.mark.parametrize("layers", [None, "0:2", "-1", "::2"])
def test_hidden_states_are_those_of_transformers(tiny: Tiny, layers: str | None, mask: Tensor | None) -> None:
    kept = {None: slice(None), "0:2": slice(0, 2), "-1": slice(-1, None), "::2": slice(None, None, 2)}[layers]
    options = tiny(layers=layers)
    body = build_body(options, seed=0).body.eval()
    real = torch.ones(3, 11, dtype=torch.bool) if mask is None else mask
    same, eager = reference(options), reference(options, attn_implementation="eager")
    keep(same, kept)
    keep(eager, kept)
    inputs = values()
    hidden = ours(body, inputs, mask)
    assert hidden.dtype == torch.float32
    assert torch.equal(hidden, theirs(same, inputs, mask))
    # Another implementation of attention, which rounds otherwise; what padding computes is nobody's business.
    assert largest_difference(hidden[real], theirs(eager, inputs, mask)[real]) <= 1e-5


@torch.no_grad()
def test_a_promise_of_no_padding_changes_nothing(tiny: Tiny) -> None:
    body, inputs = build_body(tiny(), seed=0).body.eval(), values()
    everything = torch.ones(3, 11, dtype=torch.bool)
    assert largest_difference(ours(body, inputs, None), ours(body, inputs, everything)) <= 1e-5


@torch.no_grad()
def test_parity_at_the_widths_of_gpt2(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=97, n_layer=2)
    assert (config.n_embd, config.n_head, config.n_positions) == (768, 12, 1024)
    GPT2Model(config).save_pretrained(tmp_path)
    options = GPT2Options(name="gpt2", path=str(tmp_path))
    body, inputs, mask = build_body(options, seed=0).body.eval(), values(40, 768), right_padded(40, 21, 3, tokens=40)
    eager = reference(options, attn_implementation="eager")
    assert torch.equal(ours(body, inputs, None), theirs(reference(options), inputs, None))
    assert largest_difference(ours(body, inputs, mask)[mask], theirs(eager, inputs, mask)[mask]) <= 1e-5


@torch.no_grad()
def test_the_whole_context_can_be_used(tiny: Tiny) -> None:
    options = tiny()
    body, inputs = build_body(options, seed=0).body.eval(), values(64)
    assert body.context == 64
    assert torch.equal(ours(body, inputs, None), theirs(reference(options), inputs, None))


@torch.no_grad()
def test_training_mode_has_no_dropout_unless_the_recipe_says_so(tiny: Tiny, family: str) -> None:
    options, inputs = tiny(), values()
    model, body = reference(options), build_body(options, seed=0).body
    assert all(getattr(model.config, key) == 0.1 for key in DROPOUTS[family])  # what transformers would leave on
    assert body.training
    assert torch.equal(ours(body, inputs, None), theirs(model, inputs, None))
    assert torch.equal(ours(body, inputs, None), ours(body.eval(), inputs, None))


@torch.no_grad()
@pytest.mark.parametrize("mask", [None, right_padded(11, 7, 1)], ids=["whole", "padded"])
def test_dropout_is_that_of_transformers(tiny: Tiny, family: str, mask: Tensor | None) -> None:
    options, inputs = tiny(dropout=0.5), values()
    body, model = build_body(options, seed=0).body, reference(options, **dict.fromkeys(DROPOUTS[family], 0.5))
    torch.manual_seed(2)
    hidden = ours(body.train(), inputs, mask)
    torch.manual_seed(2)
    # The same masks; where the weights lie in memory may decide how a product rounds. Another mask would be far off.
    assert largest_difference(hidden, theirs(model.train(), inputs, mask)) <= 1e-5
    assert largest_difference(hidden, ours(body.eval(), inputs, mask)) > 0.1


@torch.no_grad()
def test_dropout_reaches_every_dropout(tiny: Tiny, family: str) -> None:
    body, inputs = build_body(tiny(dropout=0.5), seed=0).body, values()
    config = body.model.config
    assert [getattr(config, key) for key in DROPOUTS[family]] == [0.5] * len(DROPOUTS[family])
    places = {name: module for name, module in body.named_modules() if isinstance(module, nn.Dropout)}
    assert len(places) == 1 + 3 * 3  # the embedding's; in each block after attention, inside it, and after the ffn
    assert {module.p for module in places.values()} == {0.5}
    quiet = ours(body.eval(), inputs, None)
    body.train()
    for name, module in places.items():
        for other in places.values():
            other.p = 0.5 if other is module else 0.0
        assert largest_difference(ours(body, inputs, None), quiet) > 1e-2, f"{name} drops nothing"


def test_gradients_are_those_of_transformers(tiny: Tiny) -> None:
    options, inputs = tiny(), values()
    body, model = build_body(options, seed=0).body, reference(options)
    ours(body, inputs, None).square().sum().backward()
    theirs(model, inputs, None).square().sum().backward()
    wanted = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    mine = {body.source_names.get(p, n): p.grad for n, p in body.model.named_parameters() if p.grad is not None}
    assert mine.keys() == wanted.keys()
    assert len(mine) == sum(site.used for site, _ in body.claims())
    assert all(torch.equal(mine[name], wanted[name]) for name in wanted)
