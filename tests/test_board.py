"""A study on a terminal: arms by seeds, what runs now, and the time left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from xmodal.console.board import Board, StudyView
from xmodal.recipe.source import shipped
from xmodal.run.events import Started, Stepped
from xmodal.study.arms import make_arms
from xmodal.study.design import Trial, make_design
from xmodal.study.events import Moved, Planned, Progress, StudyEvent, Waiting
from xmodal.study.factors import Asked
from xmodal.study.outcome import Outcome


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    arms = make_arms(Asked(shipped()["bit_xor_fpt"], freeze=["ffn"], tiny=True))
    design = make_design(arms, lr="1e-3:1e-1:3", seeds="3")
    report = [Trial(arm, 0.01, seed, "report") for seed in design.report for arm in arms.arms]
    return [*design.tuning_trials(design.rates), *report]


def shown(board: Board, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        console.print(board())
    return captured.get()


def test_many_runs_at_a_time_leave_room_for_how_many_are_left(trials: list[Trial]) -> None:
    board = Board()
    board.follow(Planned(0, 0, 12, ("ffn trained", "ffn frozen")))
    for trial in trials[:12]:
        board.follow(Moved(0, trial, None))
    *_, more, count = shown(board).splitlines()
    assert (more.strip(), count.strip()) == (f"and {len(trials[:12]) - 8} more", "0 of 12 runs")
    assert shown(board).count("reads weights and data") == 8


def test_the_board_follows_a_study(trials: list[Trial]) -> None:
    board = Board()
    board.follow(Planned(0, 0, 12, ("ffn trained", "ffn frozen")))
    assert "ffn trained" in shown(board)
    board.follow(Moved(0, trials[0], None))
    assert "ffn trained, lr 0.001, seed 1000: reads weights and data" in shown(board)
    board.follow(Moved(1, trials[0], Started(0, "x", "f", 400, False, {}, {}, {})))
    board.follow(Moved(1, trials[0], Stepped(120, 0.25, 1.0, 1e-3)))
    assert "seed 1000: step 120 of 400, loss 0.250" in shown(board)
    for number, (trial, val) in enumerate(zip(trials[:6], (0.5, 0.6, 0.9, 0.7, 0.8, 0.65), strict=True)):
        board.follow(Progress(0, number + 1, 11 - number, Outcome(trial, "done", val), True, 60.0))
    said = shown(board)
    assert "seed 1000" not in said
    assert [line.split()[:6] for line in said.splitlines()[2:4]] == [
        ["ffn", "trained", "3", "90.0", "at", "0.01"],
        ["ffn", "frozen", "3", "70.0", "at", "0.01"],
    ]
    assert "6 of 12 runs, about 1.0 min left" in said
    board.follow(Progress(0, 7, 5, Outcome(trials[6], "done", 0.9, 0.875), True, 60.0))
    board.follow(Progress(0, 8, 4, Outcome(trials[7], "diverged", 0.9, 0.5), True, 60.0))
    said = shown(board).splitlines()
    assert said[2].rstrip().endswith("87.5")
    assert said[3].rstrip().endswith("diverged")
    board.follow(Waiting(0, (trials[8],)))
    assert "seed 1: made by another process" in shown(board)
    assert max(map(len, shown(board, 40).splitlines())) <= 40


def test_elsewhere_a_run_is_a_line(trials: list[Trial], capsys: pytest.CaptureFixture[str]) -> None:
    view = StudyView()
    events: list[StudyEvent] = [
        Planned(0, 0, 12, ("a", "b")),
        Progress(0, 1, 11, Outcome(trials[0], "done", 0.5), True, 600.0),
        Progress(0, 2, 10, Outcome(trials[6], "failed", error="OSError: x"), True, 90.0),
        Progress(0, 3, 9, Outcome(trials[7], "done", 0.5, 0.75), False, 90.0),
        Waiting(0, (trials[8],)),
    ]
    for event in events:
        view(event)
    view.close()
    assert capsys.readouterr().err.splitlines() == [
        "1/12 ffn trained, lr 0.001, seed 1000: val 50.0 %; about 10 min left",
        "2/12 ffn trained, lr 0.01, seed 0: failed: OSError: x test –; about 1.5 min left",
        "3/12 ffn frozen, lr 0.01, seed 0: test 75.0 %, was there",
        "waiting for other processes, which make 1 of these runs",
    ]
