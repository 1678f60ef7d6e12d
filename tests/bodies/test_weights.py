"""Weights come from a folder whole or not at all: every tensor is accounted for, and every fault has its message."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from xmodal import sources
from xmodal.bodies.bert import BertOptions
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.weights import build_body, digest
from xmodal.errors import DamagedError, MissingError, XmodalError
from xmodal.types import Site

Tiny = Callable[..., BodyOptions]
Tensors = dict[str, Tensor]
Variant = Callable[[Callable[[Tensors], Tensors]], BodyOptions]

PREFIX = {"gpt2": "transformer.", "bert": "bert."}
TOKEN = {"gpt2": "wte.weight", "bert": "embeddings.word_embeddings.weight"}
POSITION = {"gpt2": "wpe.weight", "bert": "embeddings.position_embeddings.weight"}
LAST = {"gpt2": "h.2.mlp.c_proj.bias", "bert": "encoder.layer.2.output.dense.bias"}
IGNORED = {
    "gpt2": {
        "lm_head.weight": (97, 32),
        "transformer.h.0.attn.bias": (1, 1, 64, 64),
        "transformer.h.2.attn.masked_bias": (1,),
    },
    "bert": {
        "bert.embeddings.position_ids": (1, 64),
        "bert.pooler.dense.weight": (32, 32),
        "bert.pooler.dense.bias": (32,),
        "cls.predictions.bias": (97,),
        "cls.predictions.transform.dense.weight": (32, 32),
        "cls.seq_relationship.weight": (2, 32),
    },
}


@pytest.fixture
def variant(tiny: Tiny, tmp_path: Path) -> Variant:
    """Makes options of the tiny body in a folder of its own, with the tensors changed by a function."""

    def write(change: Callable[[Tensors], Tensors]) -> BodyOptions:
        folder, original = tmp_path / "variant", Path(str(tiny().path))
        folder.mkdir(exist_ok=True)
        shutil.copyfile(original / "config.json", folder / "config.json")
        tensors = change(load_file(original / "model.safetensors"))
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / "model.safetensors")
        return tiny(folder)

    return write


def refusal(options: BodyOptions) -> XmodalError:
    with pytest.raises(XmodalError) as caught:
        build_body(options, seed=0)
    assert caught.value.exit_code == 3
    return caught.value


def bits(options: BodyOptions) -> str:
    return build_body(options, seed=0).source["digest"]


def test_the_values_are_those_of_the_file(tiny: Tiny, family: str) -> None:
    options = tiny()
    body = build_body(options, seed=0).body
    held = load_file(Path(str(options.path), "model.safetensors"))
    for name, parameter in body.model.named_parameters():
        if name != TOKEN[family]:
            assert torch.equal(parameter, held[name]), name
            assert parameter.dtype == torch.float32
            assert parameter.requires_grad


def test_the_unused_token_embedding_is_measured_and_not_held(tiny: Tiny, family: str) -> None:
    options = tiny()
    built = build_body(options, seed=0)
    unused = {site: parameter for site, parameter in built.body.claims() if not site.used}
    assert [str(site) for site in unused] == ["embed.token.weight"]
    assert all(parameter.is_meta for parameter in unused.values())
    assert not any(parameter.is_meta for site, parameter in built.body.claims() if site.used)
    assert not any(buffer.is_meta for buffer in built.body.model.buffers())
    learned = load_file(Path(str(options.path), "model.safetensors"))[TOKEN[family]].double()
    assert built.token_rms == pytest.approx(float(learned.square().mean().sqrt()))


def test_the_source_is_said(tiny: Tiny) -> None:
    options = tiny()
    source = build_body(options, seed=0).source
    assert source.keys() == {"source", "digest"}
    assert source["source"] == options.path


def test_prefixes_and_what_is_ignored(tiny: Tiny, variant: Variant, family: str) -> None:
    def as_language_model(tensors: Tensors) -> Tensors:
        extra = {name: torch.ones(shape) for name, shape in IGNORED[family].items()}
        return {PREFIX[family] + name: tensor for name, tensor in tensors.items()} | extra

    assert bits(variant(as_language_model)) == bits(tiny())


def test_a_tensor_that_is_there_twice(variant: Variant, family: str) -> None:
    name = POSITION[family]
    error = refusal(
        variant(
            lambda tensors: (
                {PREFIX[family] + n: t for n, t in tensors.items()} | {name: torch.zeros_like(tensors[name])}
            )
        )
    )
    assert isinstance(error, DamagedError)
    assert name in error.what


def test_a_missing_tensor(variant: Variant, family: str) -> None:
    error = refusal(variant(lambda tensors: {n: t for n, t in tensors.items() if n != LAST[family]}))
    assert isinstance(error, DamagedError)
    assert error.what == f"the checkpoint lacks {LAST[family]}"
    assert error.where.endswith("model.safetensors")
    assert "1 tensors missing and 0 that nobody claims" in error.why


def test_a_tensor_that_nobody_claims(variant: Variant) -> None:
    error = refusal(variant(lambda tensors: tensors | {"h.0.adapter.weight": torch.ones(2)}))
    assert isinstance(error, DamagedError)
    assert error.what == "the checkpoint has unknown h.0.adapter.weight"


def test_a_block_too_many(variant: Variant, family: str) -> None:
    pattern = {"gpt2": "h.2.", "bert": "encoder.layer.2."}[family]
    more = variant(lambda ts: ts | {n.replace(".2.", ".3."): t for n, t in ts.items() if n.startswith(pattern)})
    assert "has unknown" in refusal(more).what
    assert ".3." in refusal(more.model_copy(update={"layers": "0:1"})).what


def test_dropped_blocks_must_not_be_there_but_may(tiny: Tiny, variant: Variant, family: str) -> None:
    pattern = {"gpt2": "h.2.", "bert": "encoder.layer.2."}[family]
    shorter = variant(lambda tensors: {n: t for n, t in tensors.items() if not n.startswith(pattern)})
    first = shorter.model_copy(update={"layers": "0:2"})
    assert bits(first) == bits(tiny(layers="0:2"))
    assert "lacks" in refusal(shorter).what


def test_a_wrong_shape(variant: Variant, family: str) -> None:
    def turn(tensors: Tensors) -> Tensors:
        name = POSITION[family]
        return tensors | {name: tensors[name].T.contiguous()}

    error = refusal(variant(turn))
    assert isinstance(error, DamagedError)
    assert error.what == f"{POSITION[family]} has the shape (32, 64), not (64, 32)"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_loaded_as_float32(variant: Variant, family: str, dtype: torch.dtype) -> None:
    options = variant(lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
    built = build_body(options, seed=0)
    held = load_file(Path(str(options.path), "model.safetensors"))
    used = {name: p for name, p in built.body.model.named_parameters() if name != TOKEN[family]}
    assert {parameter.dtype for parameter in used.values()} == {torch.float32}
    assert all(torch.equal(parameter, held[name].float()) for name, parameter in used.items())
    assert built.token_rms == pytest.approx(float(held[TOKEN[family]].double().square().mean().sqrt()))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool])
def test_numbers_that_are_no_weights(variant: Variant, family: str, dtype: torch.dtype) -> None:
    name = POSITION[family]
    error = refusal(variant(lambda tensors: tensors | {name: tensors[name].to(dtype)}))
    assert isinstance(error, DamagedError)
    assert name in error.what


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(variant: Variant, family: str, value: float) -> None:
    name = POSITION[family]

    def spoilt(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        spoilt = tensors[name].clone()
        spoilt.view(-1)[-1] = value
        return tensors | {name: spoilt}

    error = refusal(variant(spoilt))
    assert isinstance(error, DamagedError)
    assert error.what == f"{name} has numbers that are not finite"


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_half_written_file(variant: Variant, kept: float) -> None:
    options = variant(dict)
    file = Path(str(options.path), "model.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    error = refusal(options)
    assert isinstance(error, DamagedError)
    assert error.what == "not a safetensors file"
    assert error.where == str(file)


def test_a_pickle_is_never_opened(variant: Variant, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "it ran",)  # type: ignore[return-value]

    options = variant(dict)
    file = Path(str(options.path), "model.safetensors")
    torch.save({"wte.weight": Evil()}, file)
    assert refusal(options).what == "not a safetensors file"
    file.rename(file.with_name("pytorch_model.bin"))
    error = refusal(options)
    assert isinstance(error, MissingError)
    assert error.what == f"no {file}"
    assert "model.safetensors" in error.fix
    assert not (tmp_path / "it ran").exists()


def test_a_missing_file(variant: Variant) -> None:
    options = variant(dict)
    Path(str(options.path), "model.safetensors").unlink()
    error = refusal(options)
    assert isinstance(error, MissingError)
    assert not isinstance(error, DamagedError)


def test_a_body_that_is_not_here_names_its_command() -> None:
    error = refusal(BertOptions(name="minilm-l6"))
    assert isinstance(error, MissingError)
    assert error.fix == "xmodal get body minilm-l6"


def test_an_installed_body_is_verified_and_its_origin_kept(tiny_bert: Path) -> None:
    def build(place: Path) -> dict[str, object]:
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(tiny_bert / name, place / name)
        return {"route": "test", "origin": "nowhere", "licence": "MIT", "cautions": ["not the real one"]}

    place = sources.install("bodies", "minilm-l6", build)
    # What lies there is whole, and still not the body of that name.
    error = refusal(BertOptions(name="minilm-l6", layers="0:3"))
    assert "belong to different models" in error.why
    assert error.fix == "fetch it again: xmodal get body minilm-l6 --force"
    options = BertOptions(name="minilm-l6", path=str(place))
    source = build_body(options, seed=0).source
    assert (source["route"], source["origin"], source["cautions"]) == ("test", "nowhere", "not the real one")
    content = bytearray((place / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (place / "model.safetensors").write_bytes(content)
    error = refusal(BertOptions(name="minilm-l6"))
    assert isinstance(error, DamagedError)
    assert error.fix == "xmodal get body minilm-l6 --force"


def test_the_digest_sees_every_bit(tiny: Tiny) -> None:
    tensors = {site: p.detach().clone() for site, p in build_body(tiny(), seed=0).body.claims() if site.used}
    before, seen = digest(tensors), set()
    assert before == bits(tiny())
    for tensor in tensors.values():
        flat = tensor.view(torch.uint8).flatten()
        flat[-1] ^= 1
        seen.add(digest(tensors))
        flat[-1] ^= 1
    assert len(seen | {before}) == len(tensors) + 1
    assert digest(tensors) == before
    assert digest(dict(reversed(tensors.items()))) == before  # the order of claims is no matter
    renamed = {Site("pos", part="x") if site == Site("pos") else site: tensor for site, tensor in tensors.items()}
    assert digest(renamed) != before


@pytest.mark.weights
def test_the_real_minilm() -> None:
    built = build_body(BertOptions(name="minilm-l6"), seed=0)
    assert built.body.width == 384
    assert 0.02 < built.token_rms < 0.15
    assert built.source["digest"] == build_body(BertOptions(name="minilm-l6"), seed=1).source["digest"]
    assert "fine-tune" in built.source["cautions"]
