"""What `auto` is: measured once for a machine, kept, and the same for machines that are told so."""

from __future__ import annotations

import json
import os

import pytest

from xmodal import sources
from xmodal.errors import UnwrittenError, UsageError
from xmodal.run import precision
from xmodal.run.precision import FILE, VARIABLE, Choice, automatic


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    automatic.cache_clear()


def test_it_is_measured_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first = automatic("cpu")
    assert first.precision in ("float32", "bf16-frozen")
    assert "a matrix product in bfloat16 takes" in first.why
    (kept,) = json.loads((sources.home() / FILE).read_text()).values()
    assert kept == {"precision": first.precision, "why": first.why}
    automatic.cache_clear()
    monkeypatch.setattr(precision, "_measured", lambda device: pytest.fail("it was measured again"))
    assert automatic("cpu") == first


def test_another_machine_that_shares_the_folder_measures_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    automatic("cpu")
    automatic.cache_clear()
    monkeypatch.setattr(precision, "_processor", lambda: "another")
    monkeypatch.setattr(precision, "_measured", lambda device: Choice("bf16-frozen", "it was measured"))
    assert automatic("cpu").why == "it was measured"
    assert len(json.loads((sources.home() / FILE).read_text())) == 2


def test_where_it_cannot_be_kept_the_processes_that_follow_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UnwrittenError("cannot write")

    monkeypatch.setattr(precision, "write_json", refuse)
    monkeypatch.setenv(VARIABLE, "")  # so that it is as before when this test is over
    said = automatic("cpu")
    assert os.environ[VARIABLE] == said.precision


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": {"precision": "float8", "why": ""}}', "\0"])
def test_a_file_that_says_nothing_is_made_again(content: str) -> None:
    sources.home().mkdir(parents=True)
    (sources.home() / FILE).write_text(content)
    assert automatic("cpu").precision in ("float32", "bf16-frozen")
    assert len(json.loads((sources.home() / FILE).read_text())) == 1


def test_machines_that_must_agree_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "bf16-frozen")
    assert automatic("cpu") == Choice("bf16-frozen", f"{VARIABLE} says so")
    assert not (sources.home() / FILE).exists()


def test_they_are_told_of_precisions_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "float8")
    with pytest.raises(UsageError, match="there is no precision 'float8'"):
        automatic("cpu")


def test_bfloat16_must_be_faster_to_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter([0.0, 1.3, 2.0, 3.0] * precision.ROUNDS)  # begin and end of each product, float32 and bfloat16
    monkeypatch.setattr(precision, "perf_counter", lambda: next(turns))
    assert automatic("cpu").precision == "bf16-frozen"
    automatic.cache_clear()
    (sources.home() / FILE).unlink()
    turns = iter([0.0, 1.1, 2.0, 3.0] * precision.ROUNDS)
    assert automatic("cpu").precision == "float32"
