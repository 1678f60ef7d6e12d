"""The course of a run, from lines that anybody may have written."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import make_run, recipe_of

from xmodal.report.trace import read_trace
from xmodal.run.result import EVENTS, course_of


def test_looks_and_norms_are_read(tmp_path: Path) -> None:
    trace = read_trace(make_run(tmp_path, recipe_of(), [0.5, 0.25]), {})
    assert trace.looks == ((10, 0.5), (20, 0.25))
    assert trace.norms == {"tokens": 0.1, "hidden": 1.0}
    assert trace.fault == ""


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "7",
        "\x00",
        "[" * 100_000,
        '{"event": "evaluated", "step": 30, "split": "val", "scores": {"accuracy": NaN}}',
        '{"event": "evaluated", "step": 30, "split": "val", "scores": {"accuracy": 1e999}}',
        '{"event": "evaluated", "step": -1, "split": "val", "scores": {"accuracy": 0.5}}',
        '{"event": "evaluated", "step": "30", "split": "val", "scores": {"accuracy": 0.5}}',
        '{"event": "evaluated", "step": 30, "split": "val", "scores": {"accuracy": true}}',
        '{"event": "evaluated", "step": 30, "split": "val", "scores": []}',
        '{"event": "started", "norms": 7}',
    ],
)
def test_a_line_that_cannot_be_read_is_said(tmp_path: Path, line: str) -> None:
    folder = make_run(tmp_path, recipe_of())
    with (folder / EVENTS).open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    trace = read_trace(folder, {})
    assert len(trace.looks) == 2
    assert trace.fault == "events.jsonl: 1 line cannot be read"


def test_no_events_is_said(tmp_path: Path) -> None:
    trace = read_trace(tmp_path, {})
    assert trace.looks == ()
    assert "No such file" in trace.fault


def test_looks_that_were_edited_are_not_shown(tmp_path: Path) -> None:
    folder = make_run(tmp_path, recipe_of(), [0.5, 0.25])
    said = {"course": course_of([(10, 0.5), (20, 0.25)])}
    assert read_trace(folder, said).looks == ((10, 0.5), (20, 0.25))
    (folder / EVENTS).write_text((folder / EVENTS).read_text().replace("0.25", "0.99"))
    trace = read_trace(folder, said)
    assert (trace.looks, trace.norms) == ((), {})
    assert trace.fault == "events.jsonl: its looks at validation are not those of the result"
