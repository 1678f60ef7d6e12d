"""Llama and T5: they compute what transformers computes, claim everything, honour masks and start as published."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import save
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModel, LlamaConfig, LlamaModel, T5Config, T5EncoderModel

from xmodal import freeze, sources
from xmodal.bodies import BODIES, sites, skeleton
from xmodal.bodies.hub import HubBodyOptions
from xmodal.bodies.llama import LlamaOptions
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.t5 import T5Options
from xmodal.bodies.weights import build_body
from xmodal.components import load
from xmodal.errors import MissingError, SpecError, UsageError
from xmodal.tensors import Tokens

WIDTH = 32
KINDS = ["llama", "llama-biased", "t5", "t5-gated"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models of 3 blocks, as transformers saves them."""
    llama: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 3, "vocab_size": 97}
    llama |= {"num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5}
    llama |= {"bos_token_id": None, "eos_token_id": None}
    t5: dict[str, Any] = {"vocab_size": 97, "d_model": WIDTH, "d_kv": 6, "d_ff": 48, "num_layers": 3, "num_heads": 4}
    models = {
        "llama": LlamaModel(LlamaConfig(**llama)),
        "llama-biased": LlamaModel(LlamaConfig(**llama, attention_bias=True)),
        "t5": T5EncoderModel(T5Config(**t5)),
        "t5-gated": T5EncoderModel(T5Config(**t5, feed_forward_proj="gated-gelu")),
    }
    return {kind: save(model, tmp_path_factory.mktemp(kind)) for kind, model in models.items()}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def named(kind: str, folders: dict[str, Path], **changes: object) -> BodyOptions:
    options, name = (LlamaOptions, "smollm2-135m") if kind.startswith("llama") else (T5Options, "t5-small")
    return options.model_validate({"name": name, "path": str(folders[kind]), **changes})


def values(tokens: int = 11) -> Tensor:
    return torch.empty(3, tokens, WIDTH).normal_(generator=torch.Generator().manual_seed(1))


def right_padded(*lengths: int, tokens: int = 11) -> Tensor:
    return torch.arange(tokens) < torch.tensor(lengths)[:, None]


def reference(kind: str, folder: Path) -> Any:
    model = T5EncoderModel if kind.startswith("t5") else AutoModel
    return model.from_pretrained(folder).eval()


@torch.no_grad()
@pytest.mark.parametrize("mask", [None, right_padded(11, 7, 1)], ids=["whole", "padded"])
@pytest.mark.parametrize("layers", [None, "0:2", "::2"])
def test_hidden_states_are_those_of_transformers(
    kind: str, folders: dict[str, Path], layers: str | None, mask: Tensor | None
) -> None:
    body = build_body(named(kind, folders, layers=layers), seed=0).body.eval()
    model = reference(kind, folders[kind])
    owner, name = (model.encoder, "block") if kind.startswith("t5") else (model, "layers")
    kept = {None: slice(None), "0:2": slice(0, 2), "::2": slice(None, None, 2)}[layers]
    setattr(owner, name, nn.ModuleList(list(getattr(owner, name))[kept]))
    inputs = values()
    real = torch.ones(3, 11, dtype=torch.bool) if mask is None else mask
    hidden = body(Tokens(inputs, real, padded=mask is not None))
    theirs = model(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
    assert hidden.dtype == torch.float32
    assert float((hidden - theirs)[real].abs().max()) <= 1e-5


def test_claims_are_total_disjoint_and_known_without_building(kind: str, folders: dict[str, Path]) -> None:
    for layers in (None, "0:1", "::2"):
        options = named(kind, folders, layers=layers)
        body = skeleton(options)
        claims = list(body.claims())
        assert [site for site, _ in claims] == sites(options)
        assert len({site for site, _ in claims}) == len(claims)
        assert {id(parameter) for _, parameter in claims} == {id(parameter) for parameter in body.parameters()}
        assert all(parameter.is_meta for _, parameter in claims)
        assert not any(buffer.is_meta for buffer in body.buffers())


@torch.no_grad()
def test_appended_padding_changes_nothing_and_the_future_is_unseen_where_it_must_be(
    kind: str, folders: dict[str, Path]
) -> None:
    body = build_body(named(kind, folders), seed=0).body.eval()
    short = values(7)
    alone = body(Tokens(short, torch.ones(3, 7, dtype=torch.bool)))
    padded = body(Tokens(torch.cat([short, values(4)], dim=1), right_padded(7, 7, 7)))
    size = float(alone.abs().max())
    assert float((alone - padded[:, :7]).abs().max()) <= 1e-5 * size
    longer = body(Tokens(torch.cat([short, values(4)], dim=1), torch.ones(3, 11, dtype=torch.bool)))
    changed = float((alone - longer[:, :7]).abs().max())
    assert (changed <= 1e-5 * size) == kind.startswith("llama")


def test_every_random_tensor_has_the_published_deviation(kind: str, folders: dict[str, Path]) -> None:
    options = named(kind, folders, init="random")
    body = skeleton(options)
    width, heads, head, inner, blocks = WIDTH, 4, 8 if kind.startswith("llama") else 6, 48, 3
    for site, parameter in body.claims():
        draw = body.family.draw(site, tuple(parameter.shape))
        if site.role == "ln" or site.kind == "bias":
            assert draw.value == float(site.kind == "weight")
            continue
        if kind.startswith("llama"):
            wanted = 0.02 / (math.sqrt(2 * blocks) if site.part in ("out", "down") else 1)
        else:
            wanted = {
                "q": (width * head) ** -0.5,
                "out": (heads * head) ** -0.5,
                "down": inner**-0.5,
                "token": 1.0,
            }.get(site.part, width**-0.5)
        assert draw.std == pytest.approx(wanted), site
    drawn = {site: p for site, p in build_body(options, seed=0).body.claims() if site.used}
    for site, parameter in drawn.items():
        draw = body.family.draw(site, tuple(parameter.shape))
        if site.role not in ("ln",) and site.kind == "weight":
            assert float(parameter.detach().std()) == pytest.approx(draw.std, rel=0.25)


def test_t5_is_drawn_as_transformers_draws_it() -> None:
    torch.manual_seed(0)
    config = T5Config(vocab_size=97, d_model=128, d_kv=16, d_ff=256, num_layers=2, num_heads=8)
    model = T5EncoderModel(config)
    body = skeleton(T5Options.model_validate({"name": "t5-small"}))
    attention = model.encoder.block[0].layer[0].SelfAttention.requires_grad_(False)  # type: ignore[attr-defined]
    assert float(attention.q.weight.std()) == pytest.approx((128 * 16) ** -0.5, rel=0.05)
    assert float(attention.o.weight.std()) == pytest.approx((8 * 16) ** -0.5, rel=0.05)
    draws = {str(site): body.family.draw(site, tuple(p.shape)) for site, p in body.claims()}
    assert draws["attn[0].q.weight"].std == pytest.approx((512 * 64) ** -0.5)
    assert draws["relpos.weight"].std == pytest.approx(512**-0.5)


def test_dropout_is_the_recipes_own(kind: str, folders: dict[str, Path]) -> None:
    tokens = Tokens(values(), torch.ones(3, 11, dtype=torch.bool))
    still, wild = (build_body(named(kind, folders, dropout=rate), seed=0).body.train() for rate in (0.0, 0.5))
    assert torch.equal(still(tokens), still(tokens))
    assert not torch.equal(wild(tokens), wild(tokens))


def test_t5_keeps_its_first_block(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="cannot do without its first block") as caught:
        skeleton(named("t5", folders, layers="1:"))
    assert caught.value.where == "body.layers"


def test_nothing_in_smollm2_is_called_pos() -> None:
    options = LlamaOptions(name="smollm2-135m")
    with pytest.raises(SpecError, match="nothing to call `pos`") as caught:
        freeze.parse("body - ln - pos").select(sites(options), owner="smollm2-135m")
    assert "`- pos?`" in caught.value.fix
    plan = freeze.parse("body - ln - pos?").on(skeleton(options), name="smollm2-135m")
    assert plan.counts()["trainable"] == 61 * 576


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("llama", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "type 'yarn'"),
        ("llama", {"num_key_value_heads": 3}, "4 heads cannot share them evenly"),
        ("llama", {"rope_parameters": None, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "type 'linear'"),
        ("llama", {"rope_parameters": None, "rope_theta": "x"}, "rope_theta: 'x', where a number between 0"),
        ("llama", {"rope_parameters": None, "rope_theta": -5}, "rope_theta: -5, where a number between 0"),
        ("llama", {"head_dim": 9}, "heads of width 9"),
        ("t5", {"feed_forward_proj": "gated-silu"}, "feed_forward_proj is 'gated-silu'"),
        ("t5", {"feed_forward_proj": ["relu"]}, "feed_forward_proj is ['relu']"),
        ("t5", {"num_attention_heads": 3}, "num_attention_heads: 3, which are one"),
    ],
)
def test_a_variant_that_is_not_built_is_refused(
    folders: dict[str, Path], tmp_path: Path, kind: str, change: dict[str, object], said: str
) -> None:
    config = json.loads((folders[kind] / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError) as caught:
        named(kind, {kind: tmp_path}).anatomy()
    assert said in str(caught.value)
    assert caught.value.fix


def test_both_spellings_of_the_rotary_base(folders: dict[str, Path], tmp_path: Path) -> None:
    config = json.loads((folders["llama"] / "config.json").read_text())
    config.pop("rope_parameters", None)
    for said in ({"rope_theta": 5e4}, {"rope_parameters": {"rope_type": "default", "rope_theta": 5e4}}):
        (tmp_path / "config.json").write_text(json.dumps(config | said))
        assert named("llama", {"llama": tmp_path}).anatomy().details["rope_theta"] == 5e4


# Any model of the hub


def test_a_model_of_the_hub_is_built_by_the_family_of_its_configuration(kind: str, folders: dict[str, Path]) -> None:
    options = HubBodyOptions.model_validate({"name": "hf:someone/some-model", "path": str(folders[kind])})
    tokens = Tokens(values(), torch.ones(3, 11, dtype=torch.bool))
    one, two = (build_body(each, seed=0).body.eval() for each in (options, named(kind, folders)))
    with torch.no_grad():
        assert torch.equal(one(tokens), two(tokens))


def test_a_model_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(MissingError) as caught:
        HubBodyOptions(name="hf:someone/some-model").anatomy()
    assert caught.value.fix == "xmodal get body hf:someone/some-model"
    assert caught.value.exit_code == 3


def test_an_unknown_architecture_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(UsageError, match="no family for models of the type 'mamba'") as caught:
        HubBodyOptions(name="hf:a/b", path=str(tmp_path)).anatomy()
    assert "bert, gpt2, llama, longformer, t5" in caught.value.why
    save_file({f"mixer.{number}.weight": torch.zeros(1) for number in range(5)}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError) as caught:
        HubBodyOptions(name="hf:a/b", path=str(tmp_path)).anatomy()
    assert "nobody claims its 5 tensors: mixer.0.weight, mixer.1.weight, mixer.2.weight, and so on" in caught.value.why


def test_a_model_that_brings_its_own_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "auto_map": {"AutoModel": "evil.Evil"}}')
    with pytest.raises(UsageError, match="asks to run its own code") as caught:
        HubBodyOptions(name="hf:a/b", path=str(tmp_path)).anatomy()
    assert "never run" in caught.value.why


# The real weights


@torch.no_grad()
@pytest.mark.weights("smollm2-135m", "minilm-l6", "antiberty")
@pytest.mark.parametrize("name", ["smollm2-135m", "minilm-l6", "antiberty"])
def test_real_weights_compute_what_transformers_computes(name: str) -> None:
    options = load(BODIES[name].options).model_validate({"name": name})
    body = build_body(options, seed=0).body.eval()
    model = AutoModel.from_pretrained(sources.find("bodies", name), dtype=torch.float32).eval()
    inputs = 0.1 * torch.empty(2, 9, body.width).normal_(generator=torch.Generator().manual_seed(1))
    mask = right_padded(9, 4, tokens=9)
    hidden = body(Tokens(inputs, mask))
    theirs = model(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
    assert float((hidden - theirs)[mask].abs().max()) <= 1e-5 * max(1.0, float(theirs.abs().max()))
