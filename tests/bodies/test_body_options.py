"""What a recipe may say about a body: slices of blocks, schemes, and folders with a `config.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import GPT2Config

from xmodal import sources
from xmodal.bodies import BODIES, gpt2, skeleton
from xmodal.bodies.bert import BertOptions
from xmodal.bodies.gpt2 import GPT2Options
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.weights import build_body
from xmodal.components import load
from xmodal.errors import MissingError, UsageError

Tiny = Callable[..., BodyOptions]
Config = Callable[..., BodyOptions]


def kept(layers: str | None) -> tuple[int, ...]:
    return GPT2Options(name="gpt2", layers=layers).anatomy().layers


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        (None, range(12)),
        ("0:2", [0, 1]),
        ("0:6", range(6)),
        ("6:", range(6, 12)),
        ("-1", [11]),
        ("-2", [10]),
        ("-12", [0]),
        ("1", [1]),
        ("11", [11]),
        ("::2", range(0, 12, 2)),
        (":", range(12)),
        ("1:-1", range(1, 11)),
        ("::-1", range(11, -1, -1)),
        (" 2 : 8 : 3 ", [2, 5]),
        ("0:12", range(12)),
    ],
)
def test_slices_are_pythons(layers: str | None, wanted: list[int] | range) -> None:
    assert kept(layers) == tuple(wanted)


@pytest.mark.parametrize(
    "layers",
    ["x", "", " ", "-", "-:2", ":-", "::-", "1:2:3:4", "1,2", "1.0", "::0", "0 1", "12345:", "None", "--1", "+1"],
)
def test_what_is_no_slice(layers: str) -> None:
    with pytest.raises(UsageError, match="is not a slice") as caught:
        kept(layers)
    assert f"'{layers}'" in caught.value.what
    assert caught.value.where == "body.layers"
    assert '"0:6"' in caught.value.fix


@pytest.mark.parametrize("layers", ["12", "-13", "0:13", "12:", "-13:", "13:14", "0:-13"])
def test_past_the_last_block(layers: str) -> None:
    with pytest.raises(UsageError, match="goes past the last block") as caught:
        kept(layers)
    assert caught.value.why == "gpt2 has 12, numbered 0 to 11"


@pytest.mark.parametrize("layers", ["2:1", "3:3", "0:2:-1", "-1:0"])
def test_no_block_left(layers: str) -> None:
    with pytest.raises(UsageError, match=f"layers '{layers}' keeps no block") as caught:
        kept(layers)
    assert caught.value.where == "body.layers"
    assert "12" in caught.value.why


edges = st.none() | st.integers(-12, 12)


@given(edges, edges, st.none() | st.integers(-3, 3).filter(bool))
def test_any_slice_equals_pythons(start: int | None, stop: int | None, step: int | None) -> None:
    def write(edge: int | None) -> str:
        return "" if edge is None else str(edge)

    wanted = tuple(range(12)[start:stop:step])
    layers = f"{write(start)}:{write(stop)}" + (f":{write(step)}" if step is not None else "")
    if wanted and start != 12:
        assert kept(layers) == wanted
    else:
        with pytest.raises(UsageError):
            kept(layers)


@given(st.text(alphabet="0123456789:- x", max_size=8))
def test_no_text_crashes(layers: str) -> None:
    try:
        assert kept(layers)
    except UsageError as error:
        assert error.where == "body.layers"


@pytest.mark.parametrize("name", [name for name in BODIES if name in sources.BODIES or name.endswith(":")])
def test_a_wrong_scheme_names_the_right_ones(name: str) -> None:
    said = name + "some-model" if name.endswith(":") else name
    options = load(BODIES[name].options).model_validate({"name": said, "init": "pretraned"})
    with pytest.raises(UsageError, match="did you mean 'pretrained'") as caught:
        options.check_init()
    assert caught.value.where == "body.init"
    assert "permuted" in caught.value.why
    assert "run:FOLDER" in caught.value.why
    assert ("random:scaled" in caught.value.why) == name.startswith("gpt2")


def test_bert_has_no_scaled_scheme() -> None:
    with pytest.raises(UsageError, match="no init 'random:scaled'"):
        BertOptions(name="minilm-l6", init="random:scaled").check_init()


def test_a_wrong_scheme_builds_nothing(tiny: Tiny) -> None:
    with pytest.raises(UsageError, match="no init 'randm'; did you mean 'random'"):
        build_body(tiny(init="randm"), seed=0)


@pytest.mark.parametrize("init", ["pretrained", "random", "random:flat", "statistics", "permuted", "run:anywhere"])
def test_right_schemes(tiny: Tiny, init: str) -> None:
    tiny(init=init).check_init()


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_rate(rate: float) -> None:
    with pytest.raises(ValueError, match="dropout"):
        GPT2Options(name="gpt2", dropout=rate)


@pytest.fixture
def config(tiny: Tiny, tmp_path: Path) -> Config:
    """Options of a folder whose `config.json` is the tiny body's with some keys changed; None takes a key out."""

    def write(**changes: Any) -> BodyOptions:
        content = json.loads(Path(str(tiny().path), "config.json").read_text()) | changes
        text = json.dumps({key: value for key, value in content.items() if value is not None})
        (tmp_path / "config.json").write_text(text)
        return tiny(tmp_path, init="random")

    return write


SIZES = {
    "gpt2": ("n_embd", "n_layer", "n_head", "n_inner", "n_positions", "vocab_size"),
    "bert": (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "vocab_size",
        "type_vocab_size",
    ),
}


def test_a_folder_says_the_shape(config: Config) -> None:
    options = config(max_position_embeddings=50, n_positions=50, layer_norm_eps=1e-6, layer_norm_epsilon=1e-6)
    anatomy, body = options.anatomy(), skeleton(options)
    assert (anatomy.context, anatomy.eps) == (50, 1e-6)
    assert body.context == 50
    assert {module.eps for module in body.modules() if isinstance(module, nn.LayerNorm)} == {1e-6}


def test_missing_sizes_are_the_librarys_defaults(config: Config, family: str) -> None:
    anatomy = config(**dict.fromkeys(SIZES[family])).anatomy()
    inner, context, vocabulary = {"gpt2": (3072, 1024, 50257), "bert": (3072, 512, 30522)}[family]
    assert (anatomy.width, anatomy.depth, anatomy.heads, anatomy.inner) == (768, 12, 12, inner)
    assert (anatomy.context, anatomy.vocabulary) == (context, vocabulary)


def test_a_config_of_another_family(config: Config, family: str) -> None:
    other = {"gpt2": "llama", "bert": "roberta"}[family]
    with pytest.raises(UsageError, match=f"describes a '{other}', not a {family}") as caught:
        config(model_type=other).anatomy()
    assert caught.value.where == "body.path"
    with pytest.raises(UsageError, match=f"describes a None, not a {family}"):
        config(model_type=None).anatomy()


@pytest.mark.parametrize("value", [0, -1, 3.5, "32", True, [32], 10**12])
def test_hostile_sizes(config: Config, family: str, value: object) -> None:
    for key in SIZES[family]:
        with pytest.raises(UsageError, match=key) as caught:
            config(**{key: value}).anatomy()
        assert repr(value) in caught.value.what
        assert caught.value.where == "body.path"


def test_more_blocks_than_any_body_has(config: Config, family: str) -> None:
    key = {"gpt2": "n_layer", "bert": "num_hidden_layers"}[family]
    assert config(**{key: 999}).anatomy().depth == 999
    with pytest.raises(UsageError, match=key):
        config(**{key: 1000}).anatomy()


def test_heads_must_share_the_width(config: Config) -> None:
    with pytest.raises(UsageError, match="head") as caught:
        config(n_head=5, num_attention_heads=5).anatomy()
    assert "32" in caught.value.what
    assert "5" in caught.value.what


@pytest.mark.parametrize("eps", [0, -1e-5, "tiny", [1], True, float("nan"), float("inf")])
def test_hostile_eps(config: Config, family: str, eps: object) -> None:
    key = {"gpt2": "layer_norm_epsilon", "bert": "layer_norm_eps"}[family]
    with pytest.raises(UsageError, match=key):
        config(**{key: eps}).anatomy()


def test_gpt2_in_the_words_of_other_models(tmp_path: Path) -> None:
    """transformers reads them by its `attribute_map`."""
    said = {"num_attention_heads": 2, "hidden_size": 24, "num_hidden_layers": 3, "max_position_embeddings": 50}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", **said}))
    found = gpt2.read(tmp_path)
    theirs = GPT2Config.from_dict({"model_type": "gpt2", **said})
    assert (found.heads, found.width, found.depth, found.context) == (2, 24, 3, 50)
    assert (theirs.n_head, theirs.n_embd, theirs.n_layer, theirs.n_positions) == (2, 24, 3, 50)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_head": 4, **said}))
    with pytest.raises(UsageError, match="n_head: 4 and num_attention_heads: 2, which are one"):
        gpt2.read(tmp_path)


VARIANTS = [
    ("gpt2", "activation_function", "relu"),
    ("gpt2", "scale_attn_weights", False),
    ("gpt2", "scale_attn_by_inverse_layer_idx", True),
    ("gpt2", "reorder_and_upcast_attn", True),
    ("gpt2", "add_cross_attention", True),
    ("bert", "hidden_act", "gelu_new"),
    ("bert", "position_embedding_type", "relative_key"),
    ("bert", "is_decoder", True),
    ("bert", "add_cross_attention", True),
]


@pytest.mark.parametrize(("family", "key", "value"), VARIANTS, indirect=["family"])
def test_variants_that_are_not_built(config: Config, key: str, value: object) -> None:
    with pytest.raises(UsageError, match="a variant that xmodal does not build") as caught:
        config(**{key: value}).anatomy()
    assert f"{key} is {value!r}" in caught.value.why


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "[" * 100_000, "\xff"])
def test_what_is_no_config(tiny: Tiny, tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"config\.json") as caught:
        tiny(tmp_path).anatomy()
    assert caught.value.where == "body.path"


def test_a_folder_without_config(tiny: Tiny, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingError, match=r"no .*config\.json") as caught:
            tiny(folder).anatomy()
        assert caught.value.exit_code == 3
        assert "model.safetensors" in caught.value.fix


def test_other_inner_widths_and_one_token_type(config: Config) -> None:
    options = config(n_inner=48, intermediate_size=48, type_vocab_size=1)
    shapes = {str(site): tuple(parameter.shape) for site, parameter in skeleton(options).claims()}
    assert sorted(shapes["ffn[0].up.weight"]) == [32, 48]
    assert shapes.get("embed.type.weight", (1, 32)) == (1, 32)
    build_body(options, seed=0)
