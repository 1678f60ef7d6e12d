"""Runs in processes of their own: the same table, and a process that dies is the end of its run alone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xmodal.errors import DamagedError, RecipeError, UnwrittenError, UsageError
from xmodal.recipe.source import shipped
from xmodal.run import session
from xmodal.run.bare import resolve
from xmodal.run.events import Event, Started, Stepped
from xmodal.run.folder import RunFolder
from xmodal.study import study as studies
from xmodal.study.arms import Arms, make_arms
from xmodal.study.attempts import Attempt, Workers, attempt
from xmodal.study.design import Trial, make_design
from xmodal.study.events import Moved, Progress, StudyEvent, Waiting
from xmodal.study.factors import Asked
from xmodal.study.study import Interrupted, run_study

ENDLESS = ("train.steps=1000000", "train.eval_every=1000000", "threads=1")


def arms(*overrides: str) -> Arms:
    return make_arms(Asked(shipped()["bit_xor_fpt"], freeze=["ffn"], overrides=overrides, tiny=True))


@pytest.fixture(scope="module")
def few() -> Arms:
    return arms("train.steps=4", "train.eval_every=2", "threads=1")


def test_processes_make_the_same_study(few: Arms, tmp_path: Path) -> None:
    design, events = make_design(few, lr="1e-3", seeds="3"), list[StudyEvent]()
    here = run_study(design, out=tmp_path / "here")
    there = run_study(design, out=tmp_path / "there", workers=2, listen=events.append)
    assert there.result == here.result
    assert there.file.read_text() == here.file.read_text()
    ended = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in ended] == [1, 2, 3, 4, 5, 6]
    assert ended[-1].missing == 0
    begun = [event.event for event in events if isinstance(event, Moved)]
    assert sum(event is None for event in begun) == sum(isinstance(event, Started) for event in begun) == 6
    assert run_study(design, out=tmp_path / "there", workers=2).ran == 0


def pids() -> Iterator[int]:
    """Processes that `spawn` has started from this one."""
    me = str(os.getpid())
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            if stat[1] == me and b"spawn_main" in (entry / "cmdline").read_bytes():
                yield int(entry.name)
        except OSError:
            continue


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc, which is not here")
def test_a_process_that_is_killed_ends_its_run_and_no_other(tmp_path: Path) -> None:
    recipes = [arm.recipe for arm in arms(*ENDLESS).arms]
    short = recipes[1].model_copy(update={"train": recipes[1].train.model_copy(update={"steps": 2, "eval_every": 1})})
    workers, found = Workers(1, tmp_path, lambda: False), dict[int, Attempt]()
    try:
        for number, what in workers.follow([(recipes[0], True), (short, True)]):
            if number == 0 and isinstance(what, Stepped):
                (pid,) = pids()
                os.kill(pid, signal.SIGKILL)
            if isinstance(what, Attempt):
                found[number] = what
    finally:
        workers.close()
    assert found[0].error == "its process was ended by SIGKILL; the system does so where memory runs out"
    assert found[1].run
    assert found[1].run.result["status"] == "done"
    assert not list(pids())


def test_runs_in_processes_save_themselves_when_the_study_is_stopped(tmp_path: Path) -> None:
    design, asked = make_design(arms(*ENDLESS), lr="1e-3", seeds="1"), threading.Event()
    training: list[int] = []

    def listen(event: StudyEvent) -> None:
        training.append(event.training)
        if event.training == 2:
            asked.set()

    with pytest.raises(Interrupted):
        run_study(design, out=tmp_path, workers=2, listen=listen, stop=asked.is_set)
    assert max(training) == 2
    assert len(list(tmp_path.glob("*/*/checkpoint/last.safetensors"))) == 2
    assert not list((tmp_path / "studies").glob("*/study.json"))


# In this process


def test_a_run_that_another_process_makes_is_waited_for(
    few: Arms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design, events = make_design(few, lr="1e-3", seeds="2"), list[StudyEvent]()
    whole = run_study(design, out=tmp_path / "whole").result
    monkeypatch.setattr(studies, "PAUSE", 0.01)
    recipe = Trial(few.control, 1e-3, 1, "report").recipe
    claim = RunFolder(tmp_path / "shared", resolve(recipe)).claimed()
    claim.__enter__()

    def listen(event: StudyEvent) -> None:
        events.append(event)
        if isinstance(event, Waiting):
            claim.__exit__(None, None, None)

    assert run_study(design, out=tmp_path / "shared", listen=listen).result == whole
    (held,) = (event.trials for event in events if isinstance(event, Waiting))
    assert [(trial.arm.name, trial.seed) for trial in held] == [(few.control.name, 1)]
    # All the others were made before.
    first = next(number for number, event in enumerate(events) if isinstance(event, Waiting))
    assert sum(isinstance(event, Progress) for event in events[:first]) == 3


@pytest.mark.parametrize("error", [UnwrittenError("no space"), DamagedError("cut off"), UsageError("other recipe")])
def test_what_every_run_would_meet_ends_the_study(
    few: Arms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    calls: list[Any] = []

    def train(recipe: Any, **_: Any) -> Any:
        calls.append(recipe)
        raise error

    monkeypatch.setattr(session, "train", train)
    with pytest.raises(type(error)) as caught:
        run_study(make_design(few, lr="1e-3"), out=tmp_path)
    assert caught.value is error
    assert len(calls) == 1


def test_memory_that_runs_out_is_said_so(few: Arms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(recipe: Any, **_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(session, "train", train)
    said = attempt((few.control.recipe, True), tmp_path, lambda _: None, lambda: False)
    assert said == Attempt(error="out of memory: the system refused it")


def test_errors_cross_to_another_process_whole() -> None:
    import multiprocessing

    here, there = multiprocessing.Pipe()
    errors = [
        UnwrittenError("what", where="where", why="why", fix="fix"),
        RecipeError([UsageError("one", fix="mend it"), UsageError("two", where="line 2")]),
    ]
    for error in errors:
        here.send(error)
        got = there.recv()
        assert (type(got), str(got), vars(got).keys()) == (type(error), str(error), vars(error).keys())
        assert len(getattr(got, "problems", ())) == len(getattr(error, "problems", ()))


def test_steps_are_told_a_few_times_a_second(tmp_path: Path) -> None:
    recipe = arms("train.steps=300", "train.eval_every=300", "threads=1").control.recipe
    workers, steps = Workers(1, tmp_path, lambda: False), list[Event]()
    began = time.monotonic()
    try:
        steps = [what for _, what in workers.follow([(recipe, True)]) if isinstance(what, Stepped)]
    finally:
        workers.close()
    assert 1 <= len(steps) <= 4 * (time.monotonic() - began) + 1
