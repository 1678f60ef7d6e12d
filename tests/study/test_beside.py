"""Runs of a study that take their steps in one pass find what they find one after another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from xmodal.engine import Learners
from xmodal.recipe import Recipe
from xmodal.recipe.source import shipped
from xmodal.run import session
from xmodal.run.events import Evaluated, Event
from xmodal.run.result import read_result
from xmodal.study.arms import make_arms
from xmodal.study.attempts import Attempt, Job
from xmodal.study.beside import Beside, groups
from xmodal.study.design import Design, make_design
from xmodal.study.factors import Asked
from xmodal.study.study import Interrupted, run_study


@pytest.fixture
def design(tiny_bert: Path) -> Design:
    few = ("train.steps=6", "train.eval_every=2", "threads=1", "body.init=pretrained", f"body.path={tiny_bert}")
    arms = make_arms(Asked(shipped()["bit_xor_fpt"], freeze=["ffn"], overrides=few, tiny=True))
    return make_design(arms, lr="1e-3:1e-2:3", seeds="3", margin=0.05)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    original = Learners.losses

    def spy(self: Learners, batches: Sequence[Any]) -> torch.Tensor:
        sizes.append(len(batches))
        return original(self, batches)

    monkeypatch.setattr(Learners, "losses", spy)
    return sizes


def test_the_study_is_the_same(design: Design, tmp_path: Path, passes: list[int]) -> None:
    plain = run_study(design, out=tmp_path / "plain")
    assert passes == []
    joint = run_study(design, out=tmp_path / "joint", together=4)
    assert joint.result == plain.result
    assert joint.ran == plain.ran
    # Three rates of the tuning seed, then three report seeds. Where the feed-forward layers train, each goes alone.
    assert passes == [3] * 12
    folder = tmp_path / "joint" / joint.result["arms"][1]["report"][0]["folder"]
    assert '"beside": 2' in (folder / "environment.json").read_text()


def test_a_study_that_is_stopped_goes_on(design: Design, tmp_path: Path) -> None:
    whole = run_study(design, out=tmp_path / "whole", together=4).result
    asked = iter([*[False] * 30, *[True] * 10_000])
    with pytest.raises(Interrupted):
        run_study(design, out=tmp_path / "broken", together=4, stop=lambda: next(asked))
    assert run_study(design, out=tmp_path / "broken", together=4).result == whole


@pytest.mark.parametrize("spec", ["body - ln - pos", "body - ln - pos + input"])
@pytest.mark.parametrize("looks", [2, 3, 5, 7, 8])
def test_a_group_that_is_killed_ends_with_the_same_bits(design: Design, tmp_path: Path, spec: str, looks: int) -> None:
    """After so many looks: between those of one step, or where one run has ended and others have not."""
    recipe = design.arms.control.recipe
    jobs = []
    for seed, steps in enumerate((4, 6, 6)):
        train = recipe.train.model_copy(update={"steps": steps, "patience": None})
        jobs.append((recipe.model_copy(update={"freeze": spec, "seed": seed, "train": train}), True))
    counted = itertools.count(1)

    def kill(_: int, event: Event) -> None:
        if isinstance(event, Evaluated) and event.split == "val" and next(counted) == looks:
            raise KeyboardInterrupt

    whole = _made(jobs, tmp_path / "whole", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        _made(jobs, tmp_path / "broken", kill)
    assert _made(jobs, tmp_path / "broken", lambda *_: None) == whole
    assert len(set(whole)) == 3


@pytest.mark.parametrize("looks", [2, 3, 4, 5])
def test_one_that_diverged_keeps_its_place_until_then(design: Design, tmp_path: Path, looks: int) -> None:
    recipe = design.arms.control.recipe
    spec, jobs = {"freeze": "body - ln - pos"}, []
    wild = {"optimizer": "sgd", "clip_norm": None, "lr": 1000.0}
    for seed in range(3):
        train = recipe.train.model_copy(update={"steps": 6, "patience": None, **(wild if seed == 1 else {})})
        jobs.append((recipe.model_copy(update={**spec, "seed": seed, "train": train}), True))
    counted = itertools.count(1)

    def kill(_: int, event: Event) -> None:
        if isinstance(event, Evaluated) and event.split == "val" and next(counted) == looks:
            raise KeyboardInterrupt

    whole = _made(jobs, tmp_path / "whole", lambda *_: None)
    (folder,) = (tmp_path / "whole").glob("*/*-s1")
    result = read_result(folder) or {}
    assert result["status"] == "diverged"
    assert 0 < result["steps"] < 6
    with pytest.raises(KeyboardInterrupt):
        _made(jobs, tmp_path / "broken", kill)
    assert _made(jobs, tmp_path / "broken", lambda *_: None) == whole


def _made(jobs: Sequence[Job], out: Path, listen: Callable[[int, Event], None]) -> list[bytes]:
    """The last checkpoint of each, made in one group."""
    made = {n: what for n, what in Beside(out, lambda: False, listen, 8).follow(jobs) if isinstance(what, Attempt)}
    folders = [run.folder for number in range(len(jobs)) if (run := made[number].run)]
    return [b"".join(_bytes(folder / "checkpoint" / "last.safetensors")) for folder in folders]


def _bytes(file: Path) -> Iterator[bytes]:
    for name, tensor in sorted(load_file(file).items()):
        yield name.encode() + tensor.numpy().tobytes()


def test_a_run_that_cannot_start_is_the_end_of_that_one(
    design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = session._Session.run

    def run(self: Any) -> Any:
        if self.recipe.seed == 1:
            raise MemoryError("no room")
        return real(self)

    monkeypatch.setattr(session._Session, "run", run)
    arms = run_study(design, out=tmp_path, together=4).result["arms"]
    assert [run["status"] for arm in arms for run in arm["report"]] == ["done", "failed", "done"] * 2
    assert arms[0]["report"][1]["error"] == "out of memory: no room"
    assert read_result(tmp_path / arms[0]["report"][0]["folder"])


def test_runs_are_grouped_by_what_they_share(design: Design) -> None:
    trained, frozen = design.arms.arms
    recipes = [(trial.recipe, True) for trial in design.tuning_trials(design.rates)]
    numbers = [n for n, (recipe, _) in enumerate(recipes) if recipe.freeze == frozen.recipe.freeze]
    alone = [[n] for n in range(len(recipes)) if n not in numbers]  # what trains there is most of the model
    assert sorted(groups(recipes, 8)) == sorted([*alone, numbers])
    assert sorted(groups(recipes, 2)) == sorted([*alone, numbers[:2], numbers[2:]])
    dropped = [(_with_dropout(recipe), test) for recipe, test in recipes]
    assert groups(dropped, 8) == [[number] for number in range(len(recipes))]
    assert trained.recipe.freeze != frozen.recipe.freeze


def _with_dropout(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"body": recipe.body.model_copy(update={"dropout": 0.1})})


def test_a_run_without_room_beside_others_is_made_alone(
    design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = session._Session.run

    def run(self: Any) -> Any:
        if self.beside and self.recipe.seed == 1:
            raise MemoryError("no room")
        return real(self)

    monkeypatch.setattr(session._Session, "run", run)
    arms = run_study(design, out=tmp_path, together=4).result["arms"]
    assert {run["status"] for arm in arms for run in arm["report"]} == {"done"}


def test_where_too_little_or_all_but_the_head_is_frozen_runs_are_made_alone(design: Design) -> None:
    recipe = design.arms.control.recipe
    for spec, alone in (("body - ln - pos", False), ("none", True), ("body + input", True)):
        jobs = [(recipe.model_copy(update={"freeze": spec, "seed": seed}), True) for seed in range(3)]
        assert groups(jobs, 8) == ([[0], [1], [2]] if alone else [[0, 1, 2]])


def test_nothing_begins_once_a_study_is_stopped(design: Design, tmp_path: Path) -> None:
    events: list[Event] = []
    beside = Beside(tmp_path, lambda: bool(events), lambda _, event: events.append(event), 8)
    jobs = [(trial.recipe.model_copy(update={"freeze": "body"}), True) for trial in design.tuning_trials(design.rates)]
    made = dict(beside.follow(jobs[:3]))
    assert [attempt.run is None for attempt in made.values() if isinstance(attempt, Attempt)] == [False, True, True]
    assert len(list(tmp_path.glob("*/*/recipe.lock.yaml"))) == 1
