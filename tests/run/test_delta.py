"""What a run trained travels as one file, and is believed only where it is laid over the run's own body."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import xmodal
from xmodal.recipe import Recipe
from xmodal.run import bare
from xmodal.run.bare import task_of
from xmodal.run.checkpoint import content_digest
from xmodal.run.delta import FORMAT, LARGEST, read_delta

FROM_FILES = """\
name: from-files
task: {{name: bit-xor, bits: 3}}
tokenizer: {{name: sequence}}
body: {{name: gpt2, path: "{path}", layers: "0:2"}}
freeze: body - ln - pos
head: {{name: per-position}}
train: {{lr: 0.01, steps: 4, eval_every: 2, batch_size: 4}}
threads: 1
"""


@pytest.fixture
def recipe(tmp_path: Path, tiny_gpt2: Path) -> Recipe:
    file = tmp_path / "own.yaml"
    file.write_text(FROM_FILES.format(path=tiny_gpt2))
    return xmodal.load(file)


@pytest.fixture
def run(recipe: Recipe, tmp_path: Path) -> xmodal.Run:
    return xmodal.train(recipe, out=tmp_path / "runs")


@pytest.fixture
def delta(run: xmodal.Run, tmp_path: Path) -> Path:
    return xmodal.export(run.folder, tmp_path / "delta.safetensors")


def batch(recipe: Recipe) -> xmodal.Batch:
    return task_of(recipe).split("test").batch(torch.arange(5))


def test_the_model_gives_the_runs_own_logits_to_the_bit(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    real: Callable[..., Any] = bare.assemble
    monkeypatch.setattr(bare, "assemble", lambda *said, **more: built.append(real(*said, **more)) or built[-1])
    run = xmodal.train(recipe, out=tmp_path / "runs")
    own = built[0].model.eval()  # as the run left it, at its best step
    samples = batch(recipe)
    file = xmodal.export(run.folder, tmp_path / "delta.safetensors")
    shutil.rmtree(run.folder.parent)  # nothing of the run is needed any more
    model = xmodal.load_model(file)
    assert not model.training
    with torch.no_grad():
        assert torch.equal(model(samples), own(samples))


def test_a_run_folder_does_as_well(run: xmodal.Run, delta: Path, recipe: Recipe) -> None:
    with torch.no_grad():
        assert torch.equal(xmodal.load_model(run.folder)(batch(recipe)), xmodal.load_model(delta)(batch(recipe)))


def test_the_file_holds_what_was_trained_and_says_of_what(run: xmodal.Run, delta: Path) -> None:
    assert load_file(delta).keys() == load_file(run.folder / "checkpoint" / "best.safetensors").keys()
    with safe_open(delta, framework="pt") as opened:
        header = opened.metadata()
    assert header["format"] == FORMAT
    assert header["body"] == "gpt2"
    assert header["body_digest"] == run.result.digests["body"]
    assert "freeze: body - ln - pos" in header["recipe"]
    assert header["xmodal"]
    assert json.loads(header["result"])["test"] == run.result["test"]
    assert xmodal.export(run.folder, delta, force=True).read_bytes() == delta.read_bytes()


def test_the_tasks_data_need_not_be_there(tmp_path: Path, tiny_gpt2: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("x,y,kind\n" + "".join(f"{i},{i % 7},{'ab'[i % 2]}\n" for i in range(60)))
    file = tmp_path / "own.yaml"
    task = f'task: {{name: table, path: "{table}", columns: [x, y], label: kind}}'
    text = FROM_FILES.format(path=tiny_gpt2).replace("task: {name: bit-xor, bits: 3}", task)
    text = text.replace("tokenizer: {name: sequence}", "tokenizer: {name: patch, size: 1}")
    file.write_text(text.replace("per-position", "mean"))
    run = xmodal.train(xmodal.load(file), out=tmp_path / "runs")
    samples = batch(xmodal.load(file))
    delta = xmodal.export(run.folder, tmp_path / "delta.safetensors")
    table.unlink()
    with torch.no_grad():
        assert xmodal.load_model(delta)(samples).shape == (5, 2)


def test_other_weights_are_refused(delta: Path, tiny_gpt2: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(tiny_gpt2, kept)
    try:
        tensors = load_file(tiny_gpt2 / "model.safetensors")
        tensors["h.0.attn.c_attn.weight"][0, 0] += 1
        save_file(tensors, tiny_gpt2 / "model.safetensors")
        with pytest.raises(xmodal.XmodalError, match="other weights than the run was made with"):
            xmodal.load_model(delta)
        (tiny_gpt2 / "model.safetensors").unlink()
        with pytest.raises(xmodal.MissingError):
            xmodal.load_model(delta)
    finally:
        shutil.copytree(kept, tiny_gpt2, dirs_exist_ok=True)


def changed(file: Path, act: Callable[[dict[str, Tensor], dict[str, str]], None]) -> None:
    with safe_open(file, framework="pt") as opened:
        header = dict(opened.metadata())
    tensors = load_file(file)
    act(tensors, header)
    save_file(tensors, file, metadata=header)


def resealed(file: Path, act: Callable[[dict[str, Tensor], dict[str, str]], None]) -> None:
    """Changed by somebody who knows how the digest is made."""

    def forge(tensors: dict[str, Tensor], header: dict[str, str]) -> None:
        del header["digest"]
        act(tensors, header)
        header["digest"] = content_digest(tensors, json.dumps(header, sort_keys=True))

    changed(file, forge)


def spec(**said: Any) -> Callable[[dict[str, Tensor], dict[str, str]], None]:
    """The target said to be another."""

    def act(_: dict[str, Tensor], header: dict[str, str]) -> None:
        sample, target = json.loads(header["specs"])
        header["specs"] = json.dumps([sample, target | said])

    return act


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda _, header: header.update(specs='["a", "b"]'), "pop"),
        (spec(count="3"), "valid integer"),
        (spec(count=-5), "such as none are"),
        (spec(count=10**13), "such as none are"),
        (spec(count=LARGEST + 1), "such as none are"),
        (spec(ahead=1), "valid boolean"),
        (spec(classes=3), "is not of finite float32"),
        (lambda _, header: header.update(result="null"), "its result is none"),
        (lambda tensors, _: tensors.update({"head.evil": torch.zeros(1)}), "it holds head.evil"),
        (lambda tensors, _: tensors.pop("ln.final.weight"), "it lacks ln.final.weight"),
        (lambda tensors, _: tensors["ln.final.weight"].fill_(float("nan")), "is not of finite float32"),
        (
            lambda tensors, _: tensors.update({"ln.final.bias": tensors["ln.final.bias"].double()}),
            "not of finite float32",
        ),
    ],
)
def test_a_file_that_was_sealed_again_must_still_fit_its_recipe(
    delta: Path, act: Callable[[dict[str, Tensor], dict[str, str]], None], why: str
) -> None:
    resealed(delta, act)
    with pytest.raises(xmodal.MissingError, match="not a delta that can be read") as caught:
        xmodal.load_model(delta)
    assert why in caught.value.why


def test_a_body_other_than_the_runs_own_is_not_handed_out(delta: Path) -> None:
    resealed(delta, lambda tensors, _: tensors["ln.final.weight"].add_(1))
    with pytest.raises(xmodal.MissingError, match="the body is not the one that the run ended with"):
        xmodal.load_model(delta)


def test_the_best_parameters_of_another_run_are_not_exported(run: xmodal.Run, recipe: Recipe, tmp_path: Path) -> None:
    other = xmodal.train(recipe, seed=1, out=tmp_path / "runs")
    shutil.copy(other.folder / "checkpoint" / "best.safetensors", run.folder / "checkpoint")
    with pytest.raises(xmodal.MissingError, match="the checkpoint cannot be read"):
        xmodal.export(run.folder, tmp_path / "new.safetensors")


def test_a_run_that_rounded_its_body_is_laid_over_none(recipe: Recipe, tiny_gpt2: Path, tmp_path: Path) -> None:
    rounded = xmodal.train(recipe.model_copy(update={"precision": "bf16-frozen"}), out=tmp_path / "runs")
    with pytest.raises(xmodal.UsageError, match="held its frozen matrices in bfloat16"):
        xmodal.load_delta(rounded.folder, xmodal.plan(own(tiny_gpt2)))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-9]), ""),
        (lambda file: file.write_bytes(b""), ""),
        (lambda file: file.write_bytes(b"PK\x03\x04 a pickle, perhaps"), ""),
        (lambda file: changed(file, lambda tensors, _: tensors["ln.final.weight"].add_(1)), "it was changed"),
        (lambda file: changed(file, lambda _, header: header.update(body_digest="0")), "it was changed"),
        (lambda file: changed(file, lambda _, header: header.update(schema="2")), "it has schema 2"),
        (lambda file: changed(file, lambda _, header: header.pop("digest")), "digest"),
        (lambda file: changed(file, lambda _, header: header.clear()), "not one that xmodal export wrote"),
    ],
    ids=["cut", "empty", "other", "tensor", "header", "schema", "unsealed", "foreign"],
)
def test_a_damaged_file_is_refused(delta: Path, damage: Callable[[Path], None], why: str) -> None:
    damage(delta)
    with pytest.raises(xmodal.MissingError, match="not a delta that can be read") as caught:
        xmodal.load_model(delta)
    error = caught.value
    assert (error.exit_code, error.where) == (3, str(delta))
    assert why in error.why
    assert error.why
    assert "xmodal export" in error.fix


def test_what_is_not_there_is_refused(tmp_path: Path, run: xmodal.Run) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")  # to read it would never end
    for name in ("nothing.safetensors", "pipe.safetensors", "runs"):
        with pytest.raises(xmodal.MissingError) as caught:
            xmodal.load_model(tmp_path / name)
        assert caught.value.exit_code == 3
        assert caught.value.fix
    (run.folder / "result.json").unlink()
    with pytest.raises(xmodal.MissingError, match="no trained model"):
        xmodal.export(run.folder, tmp_path / "new.safetensors")
    assert not (tmp_path / "new.safetensors").exists()


def test_a_file_that_is_there_is_kept(run: xmodal.Run, delta: Path, tmp_path: Path) -> None:
    with pytest.raises(xmodal.UsageError, match="there already"):
        xmodal.export(run.folder, delta)
    with pytest.raises(xmodal.UsageError, match="a delta is a safetensors file"):
        xmodal.export(run.folder, tmp_path / "delta.bin")
    with pytest.raises(xmodal.XmodalError, match=r"cannot write x\.safetensors") as caught:
        xmodal.export(run.folder, delta / "x.safetensors")
    assert caught.value.exit_code == 1
    assert "--out" not in caught.value.fix


def test_an_export_spoils_no_run_and_no_other_file(
    run: xmodal.Run, recipe: Recipe, delta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = xmodal.train(recipe, seed=1, out=tmp_path / "runs")
    monkeypatch.setenv("HOME", str(run.folder.parent))
    home = f"~/{run.folder.name}"
    (tmp_path / "link").symlink_to(other.folder)
    for folder in (run.folder, home, other.folder, tmp_path / "link"):
        for name in ("checkpoint/best.safetensors", "x.safetensors"):
            with pytest.raises(xmodal.UsageError, match="in the folder of a run"):
                xmodal.export(home, f"{folder}/{name}", force=True)
    weights = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(1)}, weights)
    before = weights.read_bytes()
    with pytest.raises(xmodal.UsageError, match="there already") as caught:
        xmodal.export(run.folder, weights, force=True)
    assert "not one that xmodal export wrote" in caught.value.why
    assert weights.read_bytes() == before
    (tmp_path / "loop.safetensors").symlink_to("loop.safetensors")
    with pytest.raises(xmodal.UsageError, match="no path can be"):
        xmodal.export(run.folder, tmp_path / "loop.safetensors")
    assert xmodal.export(run.folder, delta, force=True) == delta
    long = tmp_path / f"{'l' * 243}.safetensors"  # as long as a name may be
    assert xmodal.export(run.folder, long).is_file()


def test_an_export_that_is_interrupted_leaves_nothing(
    run: xmodal.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    there = set(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        xmodal.export(run.folder, tmp_path / "d.safetensors")
    assert set(tmp_path.iterdir()) == there


def own(folder: Path, layers: int = 2) -> Any:
    model: Any = transformers.GPT2Model.from_pretrained(folder)
    model.h = model.h[:layers]
    return model


def test_it_is_laid_over_a_model_of_your_own(delta: Path, recipe: Recipe, tiny_gpt2: Path) -> None:
    model = own(tiny_gpt2)
    left = xmodal.load_delta(delta, xmodal.plan(model))
    assert {name.partition(".")[0] for name in left} == {"input", "head"}
    ours = xmodal.load_model(delta)
    tokens = ours.tokenizer(batch(recipe))
    with torch.no_grad():
        theirs = model.eval()(inputs_embeds=tokens.values).last_hidden_state
        assert torch.equal(theirs, ours.body(tokens))
    wrapped: Any = transformers.GPT2LMHeadModel.from_pretrained(tiny_gpt2)
    wrapped.transformer.h = wrapped.transformer.h[:2]
    xmodal.load_delta(delta, xmodal.plan(wrapped, "none"))  # whatever the plan's own spec
    assert torch.equal(wrapped.transformer.ln_f.weight, model.ln_f.weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: model.h[1].attn.c_attn.weight.data.add_(1), "other values"),
        (lambda model: model.half(), "holds float16 in"),
        (lambda model: setattr(model, "h", model.h[:1]), "has no ln[1]"),
    ],
    ids=["values", "precision", "layers"],
)
def test_another_body_is_refused_and_left_as_it_is(
    delta: Path, tiny_gpt2: Path, change: Callable[[Any], Any], said: str
) -> None:
    model = own(tiny_gpt2)
    change(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(xmodal.UsageError) as caught:
        xmodal.load_delta(delta, xmodal.plan(model))
    assert said in str(caught.value)
    assert caught.value.fix
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_delta_of_a_folder_and_of_its_file_are_the_same(run: xmodal.Run, delta: Path) -> None:
    one, two = read_delta(run.folder), read_delta(delta)
    assert (one.body_digest, one.trained_digest, one.recipe.digest()) == (
        two.body_digest,
        two.trained_digest,
        two.recipe.digest(),
    )
    assert one.said == two.said
