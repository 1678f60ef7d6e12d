"""Longformer: what it claims, how it starts, and which checkpoints it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LongformerConfig, LongformerModel

from xmodal import freeze
from xmodal.bodies import sites, skeleton
from xmodal.bodies.hub import HubBodyOptions
from xmodal.bodies.longformer import LongformerOptions
from xmodal.bodies.weights import build_body
from xmodal.errors import DamagedError, SpecError, UsageError
from xmodal.tensors import Tokens

NAME = "longformer-base"
GLOBAL = {f"attn[{layer}].{part}_global" for layer in range(12) for part in "qkv"}


@pytest.fixture
def folder(tiny_longformer: Path) -> Path:
    """A Longformer of 3 blocks with a window of 8 tokens and a context of 32, pooler included."""
    return tiny_longformer


def named(path: Path, **changes: object) -> LongformerOptions:
    return LongformerOptions.model_validate({"name": NAME, "path": str(path), **changes})


def changed(folder: Path, place: Path, **changes: object) -> Path:
    """A folder with the configuration of another, changed."""
    config = json.loads((folder / "config.json").read_text()) | changes
    (place / "config.json").write_text(json.dumps(config))
    return place


def test_its_sizes_are_the_published_ones() -> None:
    anatomy = LongformerOptions(name=NAME).anatomy()
    assert (anatomy.width, anatomy.depth, anatomy.heads, anatomy.inner) == (768, 12, 12, 3072)
    assert (anatomy.context, anatomy.vocabulary, anatomy.eps, anatomy.causal) == (4096, 50265, 1e-5, False)
    assert anatomy.details == {"types": 1, "window": 512}
    body = skeleton(LongformerOptions(name=NAME, init="random"))
    shapes = {str(site): tuple(parameter.shape) for site, parameter in body.claims()}
    assert shapes["pos.weight"] == (4098, 768)  # RoBERTa's first two rows are no token's
    assert shapes["embed.type.weight"] == (1, 768)
    windows = {block.attention.self.one_sided_attn_window_size for block in body.model.encoder.layer}
    assert windows == {256}


def test_what_only_global_tokens_would_pass_is_unused() -> None:
    unused = {str(site) for site in sites(LongformerOptions(name=NAME)) if not site.used}
    assert unused == {"embed.token.weight"} | {f"{place}.{kind}" for place in GLOBAL for kind in ("weight", "bias")}


def test_a_spec_freezes_what_is_used_and_refuses_the_rest() -> None:
    own = sites(LongformerOptions(name=NAME))
    frozen = freeze.parse("body - ln - pos").select(own, owner=NAME).frozen
    assert {site.role for site in frozen} == {"attn", "ffn", "embed"}
    assert all(site.used for site in frozen)
    with pytest.raises(SpecError, match="never uses it here"):
        freeze.parse("attn.q_global").select(own, owner=NAME)


def test_sites_are_where_transformers_puts_them(folder: Path) -> None:
    body = skeleton(named(folder))
    names = {str(site): body.source_names[parameter] for site, parameter in body.claims()}
    wanted = {
        "embed.token.weight": "embeddings.word_embeddings.weight",
        "pos.weight": "embeddings.position_embeddings.weight",
        "embed.type.weight": "embeddings.token_type_embeddings.weight",
        "ln.embed.bias": "embeddings.LayerNorm.bias",
        "attn[1].q.weight": "encoder.layer.1.attention.self.query.weight",
        "attn[1].k_global.weight": "encoder.layer.1.attention.self.key_global.weight",
        "attn[0].v_global.bias": "encoder.layer.0.attention.self.value_global.bias",
        "attn[1].out.weight": "encoder.layer.1.attention.output.dense.weight",
        "ln[0].attn.weight": "encoder.layer.0.attention.output.LayerNorm.weight",
        "ffn[0].up.weight": "encoder.layer.0.intermediate.dense.weight",
        "ffn[1].down.bias": "encoder.layer.1.output.dense.bias",
        "ln[1].ffn.weight": "encoder.layer.1.output.LayerNorm.weight",
    }
    assert {site: names[site] for site in wanted} == wanted


def test_a_random_one_is_drawn_as_roberta_and_as_transformers_draws_it() -> None:
    body = build_body(LongformerOptions(name=NAME, init="random", layers="0:1"), seed=0).body
    torch.manual_seed(0)
    config = LongformerConfig(num_hidden_layers=1, max_position_embeddings=4098, type_vocab_size=1)
    reference = dict(LongformerModel(config, add_pooling_layer=False).requires_grad_(False).named_parameters())
    names = {parameter: name for name, parameter in body.requires_grad_(False).model.named_parameters()}
    for site, parameter in body.claims():
        theirs = reference[names[parameter]]
        if site.kind == "bias" or site.role == "ln":
            wanted = float(site.kind == "weight")
            assert bool((theirs == wanted).all())
            assert not site.used or bool((parameter == wanted).all())
        elif site.used and site.part != "type":  # of which there are too few rows to measure
            assert float(parameter.std()) == pytest.approx(0.02, rel=0.02), site
            assert float(parameter.abs().max()) > 0.06  # not cut at two deviations, as BERT's are
            assert float(theirs.std()) == pytest.approx(0.02, rel=0.02), site


@torch.no_grad()
def test_the_whole_context_can_be_used_though_it_ends_within_a_window(folder: Path, tmp_path: Path) -> None:
    body = build_body(named(changed(folder, tmp_path, max_position_embeddings=31), init="random"), seed=0).body.eval()
    assert body.context == 29
    values = torch.empty(2, 29, 32).normal_(generator=torch.Generator().manual_seed(0))
    hidden = body(Tokens(values, torch.ones(2, 29, dtype=torch.bool)))
    assert hidden.shape == (2, 29, 32)
    assert bool(hidden.isfinite().all())


def test_the_size_of_tokens_is_that_of_the_token_embedding_alone(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors = {name: tensor * 50 if "_global" in name else tensor for name, tensor in tensors.items()}
    save_file(tensors, changed(folder, tmp_path) / "model.safetensors")
    built = build_body(named(tmp_path), seed=0)
    learned = tensors["embeddings.word_embeddings.weight"].double()
    assert built.token_rms == pytest.approx(float(learned.square().mean().sqrt()))
    assert all(parameter.is_meta != site.used for site, parameter in built.body.claims())


def test_a_language_model_of_the_hub_is_taken_without_its_output_layer(folder: Path, tmp_path: Path) -> None:
    tensors = {f"longformer.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    tensors |= {"longformer.embeddings.position_ids": torch.arange(34)[None], "lm_head.bias": torch.zeros(97)}
    tensors |= {"lm_head.dense.weight": torch.zeros(32, 32), "lm_head.layer_norm.weight": torch.ones(32)}
    save_file(tensors, changed(folder, tmp_path, attention_window=[8] * 3) / "model.safetensors")
    options = HubBodyOptions.model_validate({"name": "hf:someone/longformer", "path": str(tmp_path)})
    assert build_body(options, seed=0).source["digest"] == build_body(named(folder), seed=0).source["digest"]


def test_a_checkpoint_without_the_unused_is_not_whole(folder: Path, tmp_path: Path) -> None:
    tensors = {name: t for name, t in load_file(folder / "model.safetensors").items() if "query_global" not in name}
    save_file(tensors, changed(folder, tmp_path) / "model.safetensors")
    with pytest.raises(DamagedError, match=r"lacks .*query_global"):
        build_body(named(tmp_path), seed=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attention_window": 7}, "attention_window is 7"),
        ({"attention_window": [8, 16]}, r"attention_window is [8, 16]"),
        ({"attention_window": []}, "attention_window: 0"),
        ({"attention_window": "8"}, "attention_window: '8'"),
        ({"attention_window": [[8], 8]}, "attention_window: [8]"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"pad_token_id": 0}, "pad_token_id is 0"),
        ({"max_position_embeddings": 2}, "max_position_embeddings is 2"),
        ({"model_type": "roberta"}, "describes a 'roberta', not a longformer"),
    ],
)
def test_a_variant_that_is_not_built_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        named(changed(folder, tmp_path, **change)).anatomy()
    assert said in str(caught.value)
    assert caught.value.where == "body.path"
    assert caught.value.fix


def test_what_a_configuration_leaves_out_is_as_in_transformers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "longformer"}))
    anatomy, config = named(tmp_path).anatomy(), LongformerConfig()
    assert anatomy.details == {"types": config.type_vocab_size, "window": config.attention_window}
    assert anatomy.context == config.max_position_embeddings - 2
    assert (anatomy.width, anatomy.depth, anatomy.vocabulary) == (768, 12, config.vocab_size)
    assert (anatomy.heads, anatomy.inner, anatomy.eps) == (12, 3072, config.layer_norm_eps)
