"""`init: run:FOLDER`: the body that a run of ours ended with, or a refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from xmodal.bodies.lineage import check_runs
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.weights import build_body, digest
from xmodal.errors import DamagedError, MissingError, UsageError, XmodalError
from xmodal.types import Site

Tiny = Callable[..., BodyOptions]
TRAINED = ("ln[0].attn.weight", "ln[1].ffn.bias", "pos.weight", "ffn[1].up.weight")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Where the run that trained the body lies."""
    return tmp_path / "run"


def tensors_of(options: BodyOptions, seed: int) -> dict[str, Tensor]:
    return {str(site): p.detach() for site, p in build_body(options, seed).body.claims() if site.used}


def finish(run: Path, options: BodyOptions, seed: int = 3) -> dict[str, Tensor]:
    """Writes what a finished run leaves of its body, as `xmodal.run.session` does; returns the body's tensors."""
    built = build_body(options, seed)
    ended = {str(site): (site, p.detach()) for site, p in built.body.claims() if site.used}
    trained = {name: ended[name][1] + 0.5 for name in TRAINED}
    ended |= {name: (ended[name][0], tensor) for name, tensor in trained.items()}
    description = {
        **built.source,
        "options": options.model_dump(mode="json"),
        "seed": seed,
        "trained_digest": digest(dict(ended.values())),
    }
    (run / "checkpoint").mkdir(parents=True)
    (run / "body.json").write_text(json.dumps(description))
    best = trained | {
        "head.weight": torch.ones(2, 32),
        "input.weight": torch.ones(2, 32),
        "input.class.weight": torch.ones(1),
    }
    save_file(best, run / "checkpoint" / "best.safetensors")
    return {name: tensor for name, (_, tensor) in ended.items()}


def describe(run: Path, **changes: Any) -> None:
    file = run / "body.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def retrain(run: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = run / "checkpoint" / "best.safetensors"
    save_file(change(load_file(file)), file)


def refusal(options: BodyOptions) -> XmodalError:
    with pytest.raises(XmodalError) as caught:
        build_body(options, seed=0)
    return caught.value


@pytest.mark.parametrize("start", ["random", "pretrained", "permuted"])
def test_what_was_trained_lies_over_what_it_started_as(tiny: Tiny, run: Path, start: str) -> None:
    ended = finish(run, tiny(init=start))
    built = build_body(tiny(init=f"run:{run}"), seed=0)
    found = {str(site): parameter for site, parameter in built.body.claims() if site.used}
    assert found.keys() == ended.keys()
    for name, tensor in ended.items():
        assert torch.equal(found[name], tensor), name
    description = json.loads((run / "body.json").read_text())
    assert built.source["digest"] == description["trained_digest"]
    assert built.source["source"] == f"run:{run}"
    assert json.loads(built.source["started_as"])["digest"] == description["digest"]


def test_the_token_embedding_is_that_of_the_start(tiny: Tiny, run: Path) -> None:
    finish(run, tiny())
    assert build_body(tiny(init=f"run:{run}"), 0).token_rms == build_body(tiny(), 0).token_rms != 0.02


def test_the_seed_of_the_pupil_does_not_matter(tiny: Tiny, run: Path) -> None:
    finish(run, tiny(init="random"))
    one, two = (build_body(tiny(init=f"run:{run}"), seed) for seed in (0, 1))
    assert one.source["digest"] == two.source["digest"]


def test_a_body_of_a_body(tiny: Tiny, run: Path, tmp_path: Path) -> None:
    finish(run, tiny(init="random"))
    second = tmp_path / "second"
    ended = finish(second, tiny(init=f"run:{run}"))
    found = tensors_of(tiny(init=f"run:{second}"), 0)
    assert all(torch.equal(found[name], ended[name]) for name in ended)


@pytest.mark.parametrize("name", ["ln[0].attn.weight", "pos.weight"])
def test_one_changed_bit_is_seen(tiny: Tiny, run: Path, name: str) -> None:
    finish(run, tiny(init="random"))

    def flip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors[name].view(torch.uint8).flatten()[0] ^= 1
        return tensors

    retrain(run, flip)
    error = refusal(tiny(init=f"run:{run}"))
    assert isinstance(error, DamagedError)
    assert error.what == "the body is not the one that the run ended with"
    assert error.where == str(run)
    assert "--force" in error.fix


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 4},
        {"trained_digest": "0" * 64},
    ],
)
def test_a_changed_description_is_seen(tiny: Tiny, run: Path, changes: dict[str, Any]) -> None:
    finish(run, tiny(init="random"))
    describe(run, **changes)
    assert isinstance(refusal(tiny(init=f"run:{run}")), DamagedError)


def test_a_lost_or_a_foreign_tensor_is_seen(tiny: Tiny, run: Path) -> None:
    finish(run, tiny(init="random"))
    retrain(run, lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "pos.weight"})
    assert isinstance(refusal(tiny(init=f"run:{run}")), DamagedError)
    retrain(run, lambda tensors: tensors | {"attn[9].out.weight": torch.ones(2)})
    error = refusal(tiny(init=f"run:{run}"))
    assert isinstance(error, DamagedError)
    assert error.what == "unknown tensor attn[9].out.weight"


def test_a_tensor_that_was_reshaped_is_seen(tiny: Tiny, run: Path) -> None:
    finish(run, tiny(init="random"))
    retrain(run, lambda tensors: tensors | {"pos.weight": tensors["pos.weight"].reshape(32, 64)})
    error = refusal(tiny(init=f"run:{run}"))
    assert isinstance(error, DamagedError)
    assert "pos.weight" in error.what
    assert "(32, 64)" in error.what


@pytest.mark.parametrize("digest", [None, ""])
def test_a_run_that_has_not_ended(tiny: Tiny, run: Path, digest: str | None) -> None:
    finish(run, tiny(init="random"))
    describe(run, trained_digest=digest)
    options = tiny(init=f"run:{run}")
    error = refusal(options)
    assert isinstance(error, MissingError)
    assert "has not ended" in error.what
    assert "--resume" in error.fix
    with pytest.raises(MissingError, match="has not ended"):
        options.identity()


def test_no_run(tiny: Tiny, run: Path) -> None:
    error = refusal(tiny(init=f"run:{run}"))
    assert isinstance(error, MissingError)
    assert error.what == f"no run in {run}"


@pytest.mark.parametrize(
    "description",
    [
        "",
        "[]",
        "{}",
        '{"options": {}, "seed": 1, "trained_digest": "0"}',
        '{"options": [], "seed": 1}',
        '{"options": {"name": "gpt2"}, "seed": "1"}',
        '{"options": {"name": ["gpt2"]}, "seed": 1, "trained_digest": "0"}',
        '{"options": {"name": "gpt2", "evil": 1}, "seed": 1, "trained_digest": "0"}',
        '{"options": {"name": "gpt2", "dropout": "high"}, "seed": 1, "trained_digest": "0"}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:60],
)
def test_a_description_that_no_run_writes(tiny: Tiny, run: Path, description: str) -> None:
    finish(run, tiny(init="random"))
    (run / "body.json").write_text(description)
    error = refusal(tiny(init=f"run:{run}"))
    assert isinstance(error, DamagedError)
    assert "body.json" in error.where


def test_a_body_that_this_xmodal_does_not_know(tiny: Tiny, run: Path) -> None:
    finish(run, tiny(init="random"))
    describe(run, options={"name": "gpt5"})
    error = refusal(tiny(init=f"run:{run}"))
    assert isinstance(error, DamagedError)
    assert error.what == "the run's body cannot be made"
    assert "no body 'gpt5'" in error.why
    assert error.where.endswith("body.json")


def test_a_lost_checkpoint(tiny: Tiny, run: Path) -> None:
    finish(run, tiny(init="random"))
    file = run / "checkpoint" / "best.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert refusal(tiny(init=f"run:{run}")).what == "not a safetensors file"
    file.unlink()
    error = refusal(tiny(init=f"run:{run}"))
    assert isinstance(error, MissingError)
    assert error.what == f"no {file}"


def test_other_blocks(tiny: Tiny, run: Path) -> None:
    finish(run, tiny(init="pretrained"))
    error = refusal(tiny(init=f"run:{run}", layers="::-1"))
    assert "another architecture" in error.what
    assert re.search(r"layers \((0, 1.*)\) and not \((.*1, 0)\)", error.why)


def test_a_tiny_form_is_no_start_of_a_whole_recipe(tiny: Tiny, run: Path) -> None:
    finish(run, tiny(init="random"))
    describe(run, tiny=True)
    for options in (tiny(init=f"run:{run}"), tiny(init="random", parts={"attn": f"run:{run}"})):
        assert check_runs(options, tiny=True) == []
        with pytest.raises(UsageError, match="was the tiny form of its recipe") as caught:
            check_runs(options, tiny=False)
        assert caught.value.where in ("body.init", "body.parts.attn")


@pytest.mark.parametrize("layers", ["0:2", "-1"])
def test_another_number_of_blocks(tiny: Tiny, run: Path, layers: str) -> None:
    finish(run, tiny(init="random"))
    error = refusal(tiny(init=f"run:{run}", layers=layers))
    assert isinstance(error, UsageError)
    assert "another architecture" in error.what
    assert error.where == "body.init"


def test_another_number_of_heads(tiny: Tiny, run: Path, tmp_path: Path) -> None:
    options = tiny(init="random")
    finish(run, options)
    config = json.loads(Path(str(options.path), "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps(config | {"n_head": 2, "num_attention_heads": 2}))
    error = refusal(tiny(other, init=f"run:{run}"))  # every shape is the same
    assert isinstance(error, UsageError)
    assert "another architecture" in error.what
    assert "body.path" in error.fix


def test_another_family(tiny: Tiny, family: str, run: Path, tiny_gpt2: Path, tiny_bert: Path) -> None:
    finish(run, tiny(init="random"))
    from xmodal.bodies.bert import BertOptions
    from xmodal.bodies.gpt2 import GPT2Options

    if family == "bert":
        other: BodyOptions = GPT2Options(name="gpt2", path=str(tiny_gpt2), init=f"run:{run}")
    else:
        other = BertOptions(name="minilm-l6", path=str(tiny_bert), init=f"run:{run}")
    assert "another architecture" in refusal(other).what


def test_the_blocks_of_the_run_are_its_own_choice(tiny: Tiny, run: Path) -> None:
    finish(run, tiny(init="pretrained", layers="1:"))
    first = build_body(tiny(init="pretrained", layers="1:"), 0).body
    pupil = build_body(tiny(init=f"run:{run}", layers="1:"), 0).body
    place = Site("attn", 0, "out")
    assert torch.equal(dict(first.claims())[place], dict(pupil.claims())[place])


def test_the_identity_is_the_body_and_not_the_folder(tiny: Tiny, run: Path) -> None:
    finish(run, tiny(init="random"))
    digest = json.loads((run / "body.json").read_text())["trained_digest"]
    assert tiny(init=f"run:{run}").identity()["init"] == f"run:{digest}"
    assert tiny(parts={"attn": f"run:{run}", "ffn": "random"}).identity()["parts"] == {
        "attn": f"run:{digest}",
        "ffn": "random",
    }
    assert "init" not in tiny().identity()


def test_runs_that_start_from_each_other_are_an_error(tiny: Tiny, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for run, other in ((first, second), (second, first)):
        finish(run, tiny())
        options = json.loads((run / "body.json").read_text())["options"]
        describe(run, options=options | {"init": f"run:{other}"})
    with pytest.raises(DamagedError) as caught:
        build_body(tiny(init=f"run:{first}"), 0)
    assert caught.value.what == "runs that start from each other"
    assert caught.value.why == f"{first} -> {second} -> {first}"


def test_the_attention_of_one_body_in_the_rest_of_another(tiny: Tiny, run: Path) -> None:
    ended = finish(run, tiny(init="random"))
    plain = tensors_of(tiny(), seed=0)
    built = build_body(tiny(parts={"attn": f"run:{run}", "ffn": "random"}), seed=0)
    random = tensors_of(tiny(init="random"), seed=0)
    for name, tensor in {str(site): p.detach() for site, p in built.body.claims() if site.used}.items():
        origin = {"attn": ended, "ffn": random}.get(name.partition("[")[0], plain)
        assert torch.equal(tensor, origin[name]), name
    assert built.source["parts.attn"] == f"run:{run}"
    assert built.source["parts.ffn"] == "random"


def test_a_part_that_is_not_there_is_named(tiny: Tiny) -> None:
    with pytest.raises(UsageError, match="has no relpos") as caught:
        build_body(tiny(parts={"relpos": "random"}), seed=0)
    assert caught.value.where == "body.parts.relpos"
    with pytest.raises(UsageError, match="no role 'atn'; did you mean 'attn'"):
        tiny(parts={"atn": "random"}).check_init()
    with pytest.raises(UsageError, match="no init 'randm'") as caught:
        tiny(parts={"attn": "randm"}).check_init()
    assert caught.value.where == "body.parts.attn"


def test_a_run_is_judged_before_anything_is_built(tiny: Tiny, run: Path, tmp_path: Path) -> None:
    assert check_runs(tiny(init=f"run:{run}", parts={"attn": f"run:{run}", "ffn": "random"})) == [str(run)]
    finish(run, tiny(init="random"))
    assert check_runs(tiny(init=f"run:{run}")) == []
    with pytest.raises(UsageError, match="another architecture") as caught:
        check_runs(tiny(layers="0:1", parts={"attn": f"run:{run}"}))
    assert caught.value.where == "body.parts.attn"
    (run / "body.json").write_text("{")
    with pytest.raises(DamagedError, match="cannot be read"):
        check_runs(tiny(init=f"run:{run}"))
