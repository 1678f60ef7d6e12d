"""`xmodal ablate` as a user calls it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from xmodal import cli
from xmodal.recipe.source import shipped
from xmodal.study.factors import Asked

SMALL = """\
extends: {parent}
name: small
task: {{bits: 3}}
body: {{init: random, layers: "0:1"}}
train: {{steps: {steps}, eval_every: 2, batch_size: 4, patience: null}}
threads: 1
"""
Ablate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ablate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ablate:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    recipe = tmp_path / "small.yaml"
    recipe.write_text(SMALL.format(parent=shipped()["bit_xor_fpt"], steps=4))

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["ablate", str(recipe), "--out", str(tmp_path / "runs"), "--workers", "0", *words])
        said = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, said.out, said.err

    return call


def test_a_study_prints_tables_and_a_verdict(ablate: Ablate) -> None:
    words = ("--freeze", "ffn", "--freeze", "attn", "--arm", "norms: body - ln", "--lr", "1e-3")
    code, out, err = ablate(*words)
    assert code == 0, err
    for said in ("less ffn trained, attn trained", "ffn × attn", "verdict", "floors: majority", "over seeds"):
        assert said in out
    assert max(map(len, out.split("95 %: Student's")[0].splitlines())) <= 80
    assert "\x1b" not in out
    assert "at most 15 runs and 60 steps" in err
    assert "min left" in err
    code, again, err = ablate(*words)
    assert (code, again) == (0, out)
    assert err.startswith("0 of 15 runs were made now; ")


def test_runs_that_share_a_pass_do_so_in_one_process(ablate: Ablate) -> None:
    code, out, err = ablate("--freeze", "ffn", "--lr", "1e-3", "--together", "4", "--dry-run")
    assert (code, err) == (0, "")
    assert "no arm can share a pass, so --together changes nothing" in out  # bodies that differ from seed to seed
    code, _, err = ablate("--freeze", "ffn", "--lr", "1e-3", "--together", "4", "--workers", "2")
    assert code == 2
    assert "--together and --workers contradict each other" in err


def test_a_study_that_is_there_is_found_without_building_anything(
    ablate: Ablate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xmodal.study import arms

    words = ("--freeze", "ffn", "--lr", "1e-3", "--json")
    first = ablate(*words)
    with monkeypatch.context() as patch:
        patch.setattr(arms, "assemble", lambda *_, **__: pytest.fail("a model was built"))
        assert ablate(*words)[:2] == first[:2]
    # A run that was changed by hand is refused; one that is gone is made again.
    result = next((tmp_path / "runs" / "small").glob("*-s1/result.json"))
    said = json.loads(result.read_text())
    said["test"]["accuracy"] = 0.123
    result.write_text(json.dumps(said))
    code, out, err = ablate(*words)
    assert (code, out) == (3, "")
    assert "it was changed: its digest is not that of what it says" in err
    result.unlink()
    assert ablate(*words)[:2] == first[:2]


@pytest.mark.parametrize(
    "words", [("-o", "train.lr=2e-3"), ("--margin", "0.02"), ("--seeds", "4"), ("--controls", "std")]
)
def test_another_question_is_another_study(ablate: Ablate, tmp_path: Path, words: tuple[str, ...]) -> None:
    from xmodal.study.finished import question_of

    asked = {"freeze": ["ffn"], "overrides": (), "controls": ""}
    judged = {"margin": 0.01, "seeds": "3"}
    named = {"-o": "overrides", "--margin": "margin", "--seeds": "seeds", "--controls": "controls"}[words[0]]
    value = {"overrides": (words[1],), "margin": 0.02}.get(named, words[1])
    recipe = tmp_path / "small.yaml"
    other = ({**asked, named: value}, judged) if named in asked else (asked, {**judged, named: value})
    assert question_of(Asked(recipe, **asked), **judged) == question_of(Asked(recipe, **asked), **judged)
    assert question_of(Asked(recipe, **asked), **judged) != question_of(Asked(recipe, **other[0]), **other[1])


def test_a_study_of_own_data_has_no_question(tmp_path: Path) -> None:
    from xmodal.study.finished import question_of

    rows = "".join(f"{n},{'ab'[n % 2]}\n" for n in range(40))
    (tmp_path / "own.csv").write_text("n,label\n" + rows)
    recipe = tmp_path / "own.yaml"
    recipe.write_text(
        f"name: own\ntask: {{name: table, path: {tmp_path / 'own.csv'}, columns: [n]}}\n"
        "tokenizer: {name: patch, size: 1}\nbody: {name: none, width: 8}\nfreeze: none\nhead: {name: mean}\n"
        "train: {lr: 0.01, steps: 2, eval_every: 1}\n"
    )
    assert question_of(Asked(recipe, vary=["train.batch_size=2,4"])) is None


def test_a_study_killed_three_times_ends_with_the_same_table(tmp_path: Path) -> None:
    """Once while it tunes, once while the grid is extended, and once among the report seeds."""
    recipe = tmp_path / "small.yaml"
    recipe.write_text(SMALL.format(parent=shipped()["bit_xor_fpt"], steps=20))
    words = ["ablate", str(recipe), "--freeze", "ffn", "--lr", "1e-4:1e-3:3", "--workers", "0", "--json"]
    command = [sys.executable, "-m", "xmodal", *words]
    whole = subprocess.run([*command, "--out", str(tmp_path / "whole")], capture_output=True, text=True, check=True)
    killed, grown = tmp_path / "killed", len(json.loads(whole.stdout)["rates"])
    assert grown > 3
    for runs in (2, 7, 2 * grown + 3):
        process = subprocess.Popen(
            [*command, "--out", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 60
        while len(list(killed.glob("small/*/result.json"))) < runs and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    done = subprocess.run([*command, "--out", str(killed)], capture_output=True, text=True, check=True)
    assert done.stdout == whole.stdout


def test_the_processes_of_a_study_that_is_killed_save_their_runs(tmp_path: Path) -> None:
    recipe, out = tmp_path / "small.yaml", tmp_path / "runs"
    recipe.write_text(SMALL.format(parent=shipped()["bit_xor_fpt"], steps=10**6).replace("every: 2", f"every: {10**6}"))
    words = ["ablate", str(recipe), "--freeze", "ffn", "--lr", "1e-3", "--seeds", "1", "--workers", "2"]
    command = [sys.executable, "-m", "xmodal", *words, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def count(pattern: str) -> int:
        return len(list(out.glob(f"small/*/{pattern}")))

    until = time.monotonic() + 120
    while count("events.jsonl") < 2 and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait()
    while count("result.json") < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert count("checkpoint/last.safetensors") == 2
    results = [json.loads(file.read_text()) for file in out.glob("small/*/result.json")]
    assert [result["status"] for result in results] == ["interrupted", "interrupted"]


def test_json_is_the_file_and_nothing_else(ablate: Ablate, tmp_path: Path) -> None:
    code, out, _ = ablate("--freeze", "ffn", "--lr", "1e-3", "--seeds", "1", "--json")
    assert code == 0
    (file,) = (tmp_path / "runs" / "studies").glob("small-*/study.json")
    assert json.loads(out) == json.loads(file.read_text())


def test_a_dry_run_runs_nothing(ablate: Ablate, tmp_path: Path) -> None:
    code, out, _ = ablate("--freeze", "ffn", "--seeds", "5", "--dry-run")
    assert code == 0
    assert "tuning: 10 runs, seeds 1000" in out
    assert "report: 10 runs, seeds 0, 1, 2, 3, 4" in out
    assert json.loads(ablate("--freeze", "ffn", "--dry-run", "--json")[1])["report_runs"] == 6
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to compare"),
        (("--freeze", "relpos"), "--freeze relpos"),
        (("--freeze", "scale?"), "changes nothing"),
        (("--freeze", "ffn", "--seeds", "0,1", "--tuning-seeds", "1,2"), "would choose the rate and report the score"),
        (("--freeze", "ffn", "--lr", "1:2"), "no grid of rates"),
        (("--vary", "body.initt=a,b"), "did you mean 'init'"),
    ],
)
def test_what_is_no_study_is_explained(ablate: Ablate, words: tuple[str, ...], said: str) -> None:
    code, out, err = ablate(*words)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())
    assert "fix:" in err


def test_a_failed_run_ends_with_code_1(ablate: Ablate, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal.run import session

    monkeypatch.setattr(session, "train", lambda *_, **__: [][0])
    code, out, _ = ablate("--freeze", "ffn", "--lr", "1e-3", "--seeds", "3")
    assert code == 1
    assert "failed IndexError" in out
    assert "not resolved" in out


def test_a_study_that_is_interrupted_goes_on(tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(SMALL.format(parent=shipped()["bit_xor_fpt"], steps=60))
    words = ["ablate", str(recipe), "--freeze", "ffn", "--lr", "1e-3", "--out", str(tmp_path / "runs")]
    command = [sys.executable, "-m", "xmodal", *words]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "runs").rglob("result.json")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 130, err
    assert not out
    assert "the same command goes on" in err
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "was there" in done.stderr


def test_an_interrupt_at_the_question_ends_with_130(ablate: Ablate, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> bool:
        raise typer.Abort

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", interrupted)
    assert ablate("--freeze", "ffn")[0] == 130
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: False)
    code, _, err = ablate("--freeze", "ffn")
    assert (code, err.splitlines()[-1]) == (0, "nothing was run")
