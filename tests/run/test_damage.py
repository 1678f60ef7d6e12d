"""A run folder that was damaged or edited, and what must never be lost or believed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from stopping import StopAt, spy_on_assembly

from xmodal.errors import DamagedError, MissingError, UsageError, XmodalError
from xmodal.heads import score
from xmodal.recipe import Recipe, load_recipe
from xmodal.run import bare, session
from xmodal.run.checkpoint import load_tensors, save_tensors
from xmodal.run.events import Event, Started, Stepped
from xmodal.run.result import comparable, read_result, sealed
from xmodal.run.session import Run, train

Small = Callable[..., Recipe]


def stopped(recipe: Recipe, out: Path, step: int = 5) -> Path:
    """The folder of a run that was interrupted after `step`."""
    stop = StopAt(step)
    return train(recipe, out=out, listeners=[stop], stop=stop.asked).folder


def meddled(recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> Path:
    """The folder of a run in which a frozen tensor moved after `step`."""

    def meddle(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == step:
            held[0].plan.frozen()["ffn[0].up.weight"].data[0, 0] += 1e-3

    with monkeypatch.context() as patch:
        held = spy_on_assembly(patch)
        with pytest.raises(XmodalError, match=r"ffn\[0\]\.up\.weight"):
            train(recipe, out=out, listeners=[meddle])
    return next((out / recipe.name).iterdir())


@pytest.mark.parametrize("step", [6, 12])
def test_what_was_trained_on_a_moved_body_is_never_saved(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    folder = meddled(small(), tmp_path / "moved", monkeypatch, step)
    assert load_tensors(folder / "checkpoint" / "last.safetensors")[1]["step"] < step
    again = train(small(), out=tmp_path / "moved", resume=True)
    assert comparable(again.result) == comparable(train(small(), out=tmp_path / "straight").result)


@pytest.mark.parametrize("look", [1, 2])
def test_a_look_without_a_finite_loss_is_divergence(
    small: Small, out: Path, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    original, calls = score.loss, []

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if torch.is_inference_mode_enabled():
            calls.append(1)
        return original(logits, targets) * (math.nan if len(calls) == look else 1)

    monkeypatch.setattr(score, "loss", loss)
    run = train(small(), out=out)
    assert run.result["status"] == "diverged"
    assert run.result["best_step"] == 4 * (look - 1)
    assert (run.result["test"] is None) == (look == 1)
    text = (run.folder / "result.json").read_text() + (run.folder / "events.jsonl").read_text()
    assert "NaN" not in text


def test_force_keeps_a_finished_run_when_a_new_one_cannot_start(
    small: Small, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(small(), out=out)
    before = {file.name: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()}

    def missing(*_: object, **__: object) -> None:
        raise MissingError("no data")

    with monkeypatch.context() as patch:
        patch.setattr(bare, "build_task", missing)
        with pytest.raises(MissingError):
            train(small(), out=out, force=True)
    assert {file.name: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()} == before


def test_a_best_checkpoint_of_another_step_is_refused(small: Small, out: Path) -> None:
    still = small("train.lr=1e-12")  # no later look is better than the first, so step 4 stays the best
    best = stopped(still, out) / "checkpoint" / "best.safetensors"
    tensors, state = load_tensors(best)
    save_tensors(best, tensors, state | {"step": 3})
    with pytest.raises(DamagedError, match="checkpoint cannot be read") as caught:
        train(still, out=out, resume=True)
    assert "the best step was 4" in caught.value.why


@pytest.mark.parametrize("known", [True, False])
def test_a_best_that_was_written_just_before_a_kill(small: Small, tmp_path: Path, known: bool) -> None:
    folder = stopped(small(), tmp_path / "killed")
    best, new = (folder / "checkpoint" / f"{name}.safetensors" for name in ("best", "next"))
    tensors, state = load_tensors(best)
    if known:  # the last checkpoint names it, and it was not yet in its place
        best.rename(new)
    else:  # the last checkpoint does not know of it
        save_tensors(new, {name: tensor + 1 for name, tensor in tensors.items()}, state | {"step": 8})
    again = train(small(), out=tmp_path / "killed", resume=True)
    assert comparable(again.result) == comparable(train(small(), out=tmp_path / "straight").result)
    assert not new.exists()


@pytest.mark.parametrize("other", [{"seed": 1}, {"override": "train.lr=1e-4"}])
@pytest.mark.parametrize("name", ["last", "best", "next"])
def test_a_checkpoint_of_another_run_is_refused(small: Small, out: Path, name: str, other: dict[str, Any]) -> None:
    still = "train.lr=1e-12"  # the first look stays the best, so its file is read again
    folder = stopped(small(still), out) / "checkpoint"
    foreign = small(other.get("override", still), seed=other.get("seed", 0))
    source = stopped(foreign, out) / "checkpoint" / f"{name.replace('next', 'best')}.safetensors"
    (folder / f"{name}.safetensors").write_bytes(source.read_bytes())
    with pytest.raises(DamagedError) as caught:
        train(small(still), out=out, resume=True)
    assert caught.value.where == str(folder / f"{name}.safetensors")
    assert "it is of the run" in caught.value.why
    assert caught.value.exit_code == 3


def test_a_result_of_another_run_is_refused(small: Small, out: Path) -> None:
    runs = [train(small(seed=seed), out=out) for seed in (0, 1)]
    (runs[0].folder / "result.json").write_bytes((runs[1].folder / "result.json").read_bytes())
    with pytest.raises(DamagedError, match="result is of another run") as caught:
        train(small(), out=out)
    assert "seed 1" in caught.value.why


@pytest.mark.parametrize("what", ["a tensor", "a shape", "the optimiser", "the step"])
def test_a_changed_checkpoint_is_refused(small: Small, out: Path, what: str) -> None:
    last = stopped(small(), out) / "checkpoint" / "last.safetensors"
    tensors, state = load_tensors(last)
    metadata = {"state": json.dumps(state), "digest": "0"}
    match what:
        case "a tensor":
            tensors["head.bias"] = tensors["head.bias"] + 1
        case "a shape":
            tensors["head.bias"] = tensors["head.bias"][:1]
        case "the optimiser":
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("optimizer/")}
        case _:
            metadata["state"] = json.dumps(state | {"step": 999})
    save_file(tensors, last, metadata=metadata)
    with pytest.raises(DamagedError) as caught:
        train(small(), out=out, resume=True)
    assert caught.value.where == str(last)
    assert "--force" in caught.value.fix
    result = read_result(last.parents[1])
    assert result is not None
    assert result["status"] == "interrupted"  # what was known stays known


@pytest.mark.parametrize("change", [{"step": 999}, {"step": "5"}, {"step": -5}, {"looks": 3}, {"best_step": 9}])
def test_a_state_that_no_run_can_have_is_refused(small: Small, out: Path, change: dict[str, object]) -> None:
    last = stopped(small(), out) / "checkpoint" / "last.safetensors"
    tensors, state = load_tensors(last)
    save_tensors(last, tensors, state | change)
    with pytest.raises(DamagedError, match="checkpoint cannot be read"):
        train(small(), out=out, resume=True)


@pytest.mark.parametrize("junk", [b"[1]\n", b"3\n", b'{"event": "x"}\n', b"\xff\n", b'{"event": "x", "step": "1"}\n'])
def test_junk_in_the_ledger_costs_no_more_than_the_ledger(small: Small, out: Path, junk: bytes) -> None:
    folder = stopped(small(), out)
    (folder / "events.jsonl").write_bytes(junk)
    assert train(small(), out=out, resume=True).result["status"] == "done"
    for line in (folder / "events.jsonl").read_text().splitlines():
        assert json.loads(line)["event"]


@pytest.mark.parametrize("junk", ['{"schema": 1}', '{"schema": 1, "status": "done"}', "[]", "{"])
def test_a_result_that_is_none_is_named(small: Small, out: Path, junk: str) -> None:
    folder = train(small(), out=out).folder
    (folder / "result.json").write_text(junk)
    with pytest.raises(DamagedError) as caught:
        train(small(), out=out)
    assert caught.value.where == str(folder / "result.json")
    assert "delete the folder of this run" in caught.value.fix


@pytest.mark.parametrize("junk", ["", "threads: [", "a: 1"])
def test_a_lock_file_that_is_none_is_named(small: Small, out: Path, junk: str) -> None:
    folder = stopped(small(), out)
    (folder / "recipe.lock.yaml").write_text(junk)
    with pytest.raises(DamagedError) as caught:
        train(small(), out=out, resume=True)
    assert caught.value.where == str(folder / "recipe.lock.yaml")
    assert "delete the folder of this run" in caught.value.fix


def test_without_its_lock_file_a_run_does_not_go_on(small: Small, out: Path) -> None:
    (stopped(small(), out) / "recipe.lock.yaml").unlink()
    with pytest.raises(DamagedError, match=r"no recipe\.lock\.yaml"):
        train(small(), out=out, resume=True)
    assert train(small(), out=out, force=True).result["status"] == "done"


def test_other_threads_are_a_warning(small: Small, out: Path) -> None:
    stopped(small(), out)
    events: list[Event] = []
    recipe = small().model_copy(update={"threads": 2})
    try:
        train(recipe, out=out, resume=True, listeners=[events.append])
    finally:
        torch.set_num_threads(1)
    assert isinstance(events[0], Started)
    assert any("number of threads is 2" in warning for warning in events[0].warnings)


def test_a_finished_run_is_not_handed_out_for_other_bytes(small: Small, out: Path) -> None:
    run = train(small(), out=out)
    lock = session.Lock(versions={}, digests={"body": "0" * 64}, threads=1)
    with pytest.raises(XmodalError, match="other bytes"):
        train(small().model_copy(update={"lock": lock}), out=out)
    assert run.folder.exists()


def test_a_link_in_the_folder_is_removed_and_not_followed(small: Small, out: Path, tmp_path: Path) -> None:
    folder: Run = train(small(), out=out)
    elsewhere = tmp_path / "elsewhere"
    (folder.folder / "checkpoint").rename(elsewhere)
    (folder.folder / "checkpoint").symlink_to(elsewhere)
    train(small(), out=out, force=True)
    assert load_file(elsewhere / "best.safetensors")
    assert not (folder.folder / "checkpoint").is_symlink()


@pytest.mark.parametrize(
    "edit",
    [{"name": "a[/b]"}, {"name": "a\x1b[2J"}, {"floors": {"x[/y]": 0.5}}, {"coverage": {"test": {"skipped": 3}}}],
    ids=["markup", "escape codes", "floor", "coverage"],
)
def test_a_result_edited_by_hand_is_damaged(small: Small, out: Path, edit: dict[str, Any]) -> None:
    folder = train(small(), out=out).folder
    file = folder / "result.json"
    said = {**json.loads(file.read_text()), **edit}
    file.write_text(json.dumps(said))
    with pytest.raises(DamagedError, match="cannot be read") as caught:
        read_result(folder)
    file.write_text(json.dumps(sealed(said)))  # by somebody who knows of the digest
    with pytest.raises(DamagedError) as caught:
        read_result(folder)
    assert "digest" not in caught.value.why
    assert next(iter(edit)) in caught.value.why


OWN = """\
name: own
task: {{name: table, path: {data}, column: seq}}
tokenizer: {{name: sequence}}
body: {{name: none, width: 8}}
freeze: none
head: {{name: mean}}
train: {{lr: 0.01, steps: 8, eval_every: 4}}
"""


@pytest.fixture
def own(tmp_path: Path) -> Callable[[int], Recipe]:
    """A recipe with data of its own, which are those of `kind`."""

    def make(kind: int) -> Recipe:
        rows = [f"{'AC' if n % 2 else 'CA'}{'AC'[n % (2 + kind) == 0]},{n % 2}" for n in range(60)]
        (tmp_path / "own.csv").write_text("\n".join(["seq,label", *rows]))
        (tmp_path / "own.yaml").write_text(OWN.format(data=tmp_path / "own.csv"))
        return load_recipe(tmp_path / "own.yaml")

    return make


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_checkpoint_made_with_other_data_is_refused(own: Callable[[int], Recipe], out: Path, name: str) -> None:
    other = stopped(own(2), out / "other") / "checkpoint" / f"{name}.safetensors"
    here = stopped(own(1), out) / "checkpoint" / f"{name}.safetensors"
    here.write_bytes(other.read_bytes())
    with pytest.raises(DamagedError) as caught:
        train(own(1), out=out, resume=True)
    assert caught.value.where == str(here)


def test_a_run_does_not_go_on_with_other_data(own: Callable[[int], Recipe], out: Path) -> None:
    stopped(own(1), out)
    with pytest.raises(UsageError, match="the data or the weights have changed since this run") as caught:
        train(own(2), out=out, resume=True)
    assert "data.train" in caught.value.why
    assert caught.value.exit_code == 2


def test_a_result_made_with_other_data_is_refused(own: Callable[[int], Recipe], out: Path) -> None:
    other = train(own(2), out=out / "other").folder / "result.json"
    here = train(own(1), out=out).folder / "result.json"
    here.write_bytes(other.read_bytes())
    with pytest.raises(DamagedError, match="result is of another run") as caught:
        train(own(1), out=out)
    assert "data.train" in caught.value.why


def test_a_result_without_its_lock_file_is_refused(own: Callable[[int], Recipe], out: Path) -> None:
    (train(own(1), out=out).folder / "recipe.lock.yaml").unlink()
    with pytest.raises(DamagedError, match=r"no recipe.lock.yaml beside the result.json"):
        train(own(2), out=out)


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-9])])
def test_a_best_that_is_lost_is_told_before_training(small: Small, out: Path, damage: Callable[[Path], None]) -> None:
    best = stopped(small(), out) / "checkpoint" / "best.safetensors"
    damage(best)
    events: list[Event] = []
    with pytest.raises(DamagedError) as caught:
        train(small(), out=out, resume=True, listeners=[events.append])
    assert caught.value.where == str(best)
    assert not events


def test_a_ledger_in_another_encoding_costs_no_more_than_the_ledger(small: Small, out: Path) -> None:
    ledger = stopped(small(), out) / "events.jsonl"
    ledger.write_bytes(ledger.read_text().replace("\n", " ").encode("utf-16"))
    assert train(small(), out=out, resume=True).result["status"] == "done"


def test_a_run_that_cannot_begin_leaves_no_folder(small: Small, out: Path) -> None:
    with pytest.raises(MissingError):
        train(small("body.init=run:nowhere"), out=out)
    with pytest.raises(XmodalError, match="run folder cannot be written") as caught:
        train(small(), out=out / "o\udcff")
    assert "no text" in caught.value.why
    assert not list(out.rglob("*"))


def test_a_checkpoint_says_which_run_it_is_of(own: Callable[[int], Recipe], out: Path) -> None:
    run = train(own(1), out=out)
    digests = run.result["digests"]
    assert {"body", "data.train", "data.val", "data.test", "frozen"} == digests.keys()
    for name in ("last", "best"):
        said = load_tensors(run.folder / "checkpoint" / f"{name}.safetensors")[1]["run"]
        assert said == {"recipe": run.result["recipe_digest"], "seed": 0, **digests}
