from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from stopping import StopAt, same_tensors, spy_on_assembly

from xmodal.errors import DamagedError, MissingError, UsageError, XmodalError
from xmodal.recipe import Recipe, load_recipe
from xmodal.run import session
from xmodal.run.events import Ended, Evaluated, Event, Started, Stepped
from xmodal.run.job import Job
from xmodal.run.result import MEASURED, comparable
from xmodal.run.session import Run, train
from xmodal.tasks import build_task
from xmodal.tasks.bits import BitXor

Small = Callable[..., Recipe]


def checkpoint(run: Run, name: str = "best") -> Path:
    return run.folder / "checkpoint" / f"{name}.safetensors"


def steps_in(folder: Path) -> list[int]:
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [event["step"] for event in events if event["event"] == "stepped"]


def test_a_run_leaves_a_folder_that_explains_itself(small: Small, out: Path) -> None:
    events: list[Event] = []
    run = train(small(), out=out, listeners=[events.append])
    assert run.ran
    assert run.folder.parent == out / "bit-xor-fpt"
    assert {path.name for path in run.folder.iterdir()} == {
        ".claim",
        "recipe.lock.yaml",
        "events.jsonl",
        "result.json",
        "environment.json",
        "checkpoint",
        "body.json",
    }
    result = json.loads((run.folder / "result.json").read_text())
    assert result == run.result.to_dict()
    assert result["schema"] == 1
    assert result["status"] == "done"
    assert result["stopped"] == "steps"
    assert result["steps"] == 12
    assert result["best_step"] in (4, 8, 12)
    assert result["test"]["items"] == 16
    assert result["test"]["interval"][0] < result["test"]["accuracy"] < result["test"]["interval"][1]
    assert result["val"]["step"] == result["best_step"]
    assert set(result["floors"]) == {"chance", "majority"}
    assert set(result["steps_to"]) == {"0.75", "0.9", "0.95", "0.99"}
    assert set(result["digests"]) == {"body", "data.train", "data.val", "data.test", "frozen"}
    assert all(result[key] for key in MEASURED)
    assert steps_in(run.folder) == list(range(1, 13))
    started, ended = events[0], events[-1]
    assert isinstance(started, Started)
    assert started.norms["tokens"] > 0
    assert started.norms["hidden"] == pytest.approx(1, abs=0.1)  # it leaves through a layer norm
    assert isinstance(ended, Ended)
    assert [e.split for e in events if isinstance(e, Evaluated)] == ["val", "val", "val", "test"]


def test_samples_it_was_trained_on_are_predicted_when_that_is_asked_for(small: Small, tmp_path: Path) -> None:
    events = list[Event]()
    run = train(small("train.score_train=24"), out=tmp_path, listeners=[events.append])
    said = run.result["train"]
    assert run.result.train
    assert run.result.train.accuracy == said["accuracy"]
    assert (said["items"], said["labels"]) == (24, 72)
    assert [e.split for e in events if isinstance(e, Evaluated)] == ["val", "val", "val", "test", "train"]
    whole = train(small("train.score_train=10000"), out=tmp_path).result["train"]
    assert whole["items"] == len(build_task(small().task, 0).split("train"))
    assert "train" not in train(small(), out=tmp_path).result.to_dict()
    untested = train(small("train.score_train=24"), out=tmp_path / "later", test=False)
    assert "train" not in untested.result.to_dict()
    assert train(small("train.score_train=24"), out=tmp_path / "later").result["train"] == said


def test_a_run_that_was_not_tested_is_tested_when_that_is_asked_for(small: Small, tmp_path: Path) -> None:
    straight, events = train(small(), out=tmp_path / "straight"), list[Event]()
    untested = train(small(), out=tmp_path / "later", test=False)
    assert (untested.result["status"], untested.result["test"]) == ("done", None)
    unread = {"test": None, "floors": {}}  # floors are scores on the test split
    assert comparable(untested.result) == comparable(straight.result) | unread
    assert not train(small(), out=tmp_path / "later", test=False).ran
    tested = train(small(), out=tmp_path / "later", listeners=[events.append])
    assert tested.ran
    assert comparable(tested.result) == comparable(straight.result)
    assert not [event for event in events if isinstance(event, Stepped)]
    same_tensors(checkpoint(tested), checkpoint(straight))
    assert not train(small(), out=tmp_path / "later").ran
    # Who asks for no test takes one that is there.
    assert not train(small(), out=tmp_path / "straight", test=False).ran


def test_floors_are_computed_once_for_the_same_data(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(session, "_FLOORS", {})
    monkeypatch.setattr(BitXor, "floors", lambda self: asked.append(1) or {"chance": 1 / len(asked)})
    some, other = small(), small(seed=1)
    one = [train(some, out=tmp_path / name).result["floors"] for name in "ab"]
    assert (one, train(other, out=tmp_path).result["floors"]) == ([{"chance": 1.0}] * 2, {"chance": 0.5})


def test_trainable_and_reached_parameters_are_counted(small: Small, out: Path) -> None:
    parameters = train(small(), out=out).result["parameters"]
    assert parameters["trainable"] + parameters["frozen"] + parameters["unused"] == parameters["total"]
    # Of 512 position rows only the 6 of a 3-bit sample ever get a gradient; all else that trains does.
    assert parameters["trainable"] - parameters["reached"] == (512 - 6) * 384


def test_two_runs_of_one_recipe_and_seed_are_the_same_bits(small: Small, tmp_path: Path) -> None:
    one, two = (train(small(), out=tmp_path / name) for name in "ab")
    assert comparable(one.result) == comparable(two.result)
    for name in ("best", "last"):
        same_tensors(checkpoint(one, name), checkpoint(two, name))


def test_another_seed_is_another_run(small: Small, out: Path) -> None:
    one, two = train(small(), out=out), train(small(seed=1), out=out)
    assert one.folder != two.folder
    assert one.result["digests"]["data.test"] != two.result["digests"]["data.test"]
    with pytest.raises(AssertionError):
        same_tensors(checkpoint(one), checkpoint(two))


@pytest.mark.parametrize("stops", [[1], [4], [5, 6, 11], [12]])
def test_a_run_that_was_stopped_and_goes_on_is_the_run_that_was_not(
    small: Small, tmp_path: Path, stops: list[int]
) -> None:
    straight = train(small(), out=tmp_path / "straight")
    for step in stops:
        stop = StopAt(step)
        run = train(small(), out=tmp_path / "stopped", resume=True, listeners=[stop], stop=stop.asked)
        assert run.result["status"] == "interrupted"
        assert run.result["test"] is None
    resumed = train(small(), out=tmp_path / "stopped", resume=True)
    assert comparable(resumed.result) == comparable(straight.result)
    assert steps_in(resumed.folder) == list(range(1, 13))
    for name in ("best", "last"):
        same_tensors(checkpoint(resumed, name), checkpoint(straight, name))


def test_a_finished_run_is_not_run_twice(small: Small, out: Path) -> None:
    first = train(small(), out=out)
    again = train(small(), out=out)
    assert not again.ran
    assert again.result == first.result
    assert train(small(), out=out, force=True).ran


def test_an_unfinished_run_says_how_to_go_on(small: Small, out: Path) -> None:
    stop = StopAt(5)
    train(small(), out=out, listeners=[stop], stop=stop.asked)
    with pytest.raises(UsageError) as caught:
        train(small(), out=out)
    assert "has not ended" in caught.value.what
    assert "interrupted" in caught.value.why
    assert "--resume" in caught.value.fix
    assert "--force" in caught.value.fix
    assert train(small(), out=out, force=True).result["status"] == "done"


def test_the_test_split_is_read_once(small: Small, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal.tasks import bits

    read: dict[int, list[int]] = {}
    original = bits._Pairs.batch

    def counting(self: bits._Pairs, indices: torch.Tensor) -> object:
        read.setdefault(len(self), []).extend(indices.tolist())
        return original(self, indices)

    monkeypatch.setattr(bits.BitXor, "floors", lambda self: {})
    monkeypatch.setattr(bits._Pairs, "batch", counting)
    train(small(), out=out)
    assert sorted(read[16]) == list(range(16))  # test: a quarter of 64
    assert sorted(read[8]) == sorted(3 * list(range(8)))  # validation: three looks


def test_patience_ends_a_run_that_no_longer_improves(small: Small, out: Path) -> None:
    result = train(small("train.lr=1e-12", "train.patience=2", "train.steps=40"), out=out).result
    assert result["status"] == "done"
    assert result["stopped"] == "patience"
    assert result["best_step"] == 4
    assert result["steps"] == 12


def test_divergence_keeps_the_last_good_value(small: Small, out: Path) -> None:
    class Break:
        def __call__(self, event: Event) -> None:
            if isinstance(event, Stepped) and event.step == 6:
                trainable["head.weight"].data.fill_(float("inf"))

    from xmodal.run import session

    original, trainable = session.Loop, {}

    class Spy(original):  # type: ignore[misc,valid-type]
        def __init__(self, job: Job) -> None:
            super().__init__(job)
            trainable.update(self.job.trainable)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "Loop", Spy)
        run = train(small(), out=out, listeners=[Break()])
    assert run.result["status"] == "diverged"
    assert run.result["steps"] == 6
    assert run.result["best_step"] == 4
    assert run.result["test"]["accuracy"] > 0
    assert 0 < run.result["last_loss"] < 10
    assert not train(small(), out=out).ran  # it has ended


def test_a_frozen_tensor_that_moves_fails_the_run(small: Small, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = spy_on_assembly(monkeypatch)

    def meddle(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 6:
            moved[0].plan.frozen()["ffn[0].up.weight"].data[0, 0] += 1e-3

    with pytest.raises(XmodalError, match=r"ffn\[0\]\.up\.weight"):
        train(small(), out=out, listeners=[meddle])
    folder = next((out / "bit-xor-fpt").iterdir())
    assert json.loads((folder / "result.json").read_text())["status"] == "failed"


def test_a_lock_file_runs_to_the_same_numbers(small: Small, tmp_path: Path) -> None:
    first = train(small(), out=tmp_path / "a")
    again = train(load_recipe(first.folder / "recipe.lock.yaml"), out=tmp_path / "b")
    assert comparable(again.result) == comparable(first.result)
    assert again.folder.name == first.folder.name


def test_a_lock_file_refuses_other_bytes(small: Small, tmp_path: Path) -> None:
    lock = train(small(), out=tmp_path / "a").folder / "recipe.lock.yaml"
    changed = tmp_path / "changed.yaml"
    changed.write_text(lock.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(XmodalError) as caught:
        train(load_recipe(changed), out=tmp_path / "b")
    assert "other bytes than the lock file names" in caught.value.what
    assert "body is " in caught.value.why
    assert "data.test is " in caught.value.why


def test_other_versions_are_a_warning(small: Small, tmp_path: Path) -> None:
    lock = train(small(), out=tmp_path / "a").folder / "recipe.lock.yaml"
    recipe = load_recipe(lock)
    assert recipe.lock is not None
    older = {**recipe.lock.versions, "torch": "2.9.0"}
    recipe = recipe.model_copy(update={"lock": recipe.lock.model_copy(update={"versions": older})})
    events: list[Event] = []
    train(recipe, out=tmp_path / "b", listeners=[events.append])
    assert isinstance(events[0], Started)
    assert ["torch is" in warning and "2.9.0" in warning for warning in events[0].warnings] == [True]


def test_a_folder_of_another_recipe_is_refused(small: Small, out: Path) -> None:
    run = train(small(), out=out)
    lock = run.folder / "recipe.lock.yaml"
    lock.write_text(lock.read_text().replace("lr: 0.003", "lr: 0.004"))
    with pytest.raises(UsageError) as caught:
        train(small(), out=out)
    assert "another run" in caught.value.what
    assert str(lock) in caught.value.where
    assert "--out" in caught.value.fix


def test_a_cut_off_checkpoint_is_named(small: Small, out: Path) -> None:
    stop = StopAt(5)
    run = train(small(), out=out, listeners=[stop], stop=stop.asked)
    last = checkpoint(run, "last")
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(DamagedError) as caught:
        train(small(), out=out, resume=True)
    assert "checkpoint cannot be read" in caught.value.what
    assert str(last) in caught.value.where
    assert "--force" in caught.value.fix


def test_a_body_trained_by_a_run_starts_another(small: Small, tmp_path: Path) -> None:
    first = train(small("freeze=none", "name=teacher"), out=tmp_path)
    second = small(f"body.init=run:{first.folder}", "name=pupil")
    digest = second.digest()
    run = train(second, out=tmp_path)
    body = json.loads((run.folder / "body.json").read_text())
    assert body["digest"] == json.loads((first.folder / "body.json").read_text())["trained_digest"]
    # The digest names the body, not the folder that it lies in.
    moved = first.folder.rename(tmp_path / "elsewhere")
    assert small(f"body.init=run:{moved}", "name=pupil").digest() == digest


def test_a_result_does_not_stand_for_data_that_have_changed(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, recipe = tmp_path / "own.csv", tmp_path / "own.yaml"
    rows = [f"{'AC' if n % 2 else 'CA'}{'AC'[n % 3 == 0]},{n % 2}" for n in range(60)]
    data.write_text("\n".join(["seq,label", *rows]))
    recipe.write_text(
        f"name: own\ntask: {{name: table, path: {data}, column: seq}}\ntokenizer: {{name: sequence}}\n"
        "body: {name: none, width: 8}\nfreeze: none\nhead: {name: mean}\ntrain: {lr: 0.01, steps: 2, eval_every: 1}\n"
    )
    train(load_recipe(recipe), out=out)
    assert not train(load_recipe(recipe), out=out).ran
    data.write_text("\n".join(["seq,label", *rows[:-3]]))
    with pytest.raises(UsageError, match="the data or the weights have changed since this run") as error:
        train(load_recipe(recipe), out=out)
    assert "--force" in error.value.fix
    damage = DamagedError("not a line of ListOps", fix="mend it")  # as tasks say it that read when they are built
    monkeypatch.setattr(session, "task_of", Mock(side_effect=damage))
    with pytest.raises(DamagedError, match="not a line of ListOps"):
        train(load_recipe(recipe), out=out)
    monkeypatch.setattr(session, "task_of", Mock(side_effect=MissingError("no such table", fix="name it")))
    assert not train(load_recipe(recipe), out=out).ran
