"""The command line as a user calls it: what it prints, and with which code it exits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from xmodal import cli
from xmodal.recipe.source import shipped

SMALL = """\
extends: {parent}
name: small
task: {{bits: 3}}
body: {{init: random, layers: "0:1"}}
train: {{steps: 8, eval_every: 4, batch_size: 4, patience: null}}
threads: 1
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Xmodal = Callable[..., Ended]


@pytest.fixture
def xmodal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Xmodal:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def call(*words: str | Path) -> Ended:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(word) for word in words])
        said = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Ended(caught.value.code, said.out, said.err)

    return call


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL.format(parent=shipped()["bit_xor_fpt"]))
    return file


def assert_explains(ended: Ended, code: int, *words: str) -> None:
    """The exit code, the words, and neither a traceback nor output that a pipe would take for a result."""
    assert ended.code == code, ended
    said = " ".join(ended.err.split())
    for word in words:
        assert word in said, said
    assert "Traceback" not in ended.err
    assert not ended.out


def test_train_prints_a_result_and_leaves_a_folder(xmodal: Xmodal, recipe: Path, tmp_path: Path) -> None:
    ended = xmodal("train", recipe, "--out", tmp_path / "runs")
    assert ended.code == 0
    assert "small s0" in ended.out
    assert "majority" in ended.out
    for line in ("step 4/8", "step 8/8", "floors: majority", "all steps taken", "parameters train"):
        assert line in ended.err
    again = xmodal("train", recipe, "--out", tmp_path / "runs")
    assert again.code == 0
    assert "nothing to do" in again.err
    assert "--force" in again.err
    assert again.out == ended.out


def test_train_json_is_nothing_but_json(xmodal: Xmodal, recipe: Path, tmp_path: Path) -> None:
    ended = xmodal("train", recipe, "--seed", "3", "-o", "train.lr=1e-2", "--out", tmp_path, "--json")
    result = json.loads(ended.out)
    assert result["seed"] == 3
    assert result["status"] == "done"
    assert xmodal("report", tmp_path, "--json").out.strip().startswith("[")


def test_report_puts_runs_side_by_side(xmodal: Xmodal, recipe: Path, tmp_path: Path) -> None:
    for seed in ("0", "1"):
        xmodal("train", recipe, "--seed", seed, "--out", tmp_path / "runs")
    ended = xmodal("report", tmp_path / "runs")
    assert ended.code == 0
    assert "small s0" in ended.out
    assert "small s1" in ended.out
    assert "not over seeds" in ended.out


def test_nothing_is_wider_than_a_terminal_of_80(xmodal: Xmodal, recipe: Path, tmp_path: Path) -> None:
    xmodal("train", recipe, "--out", tmp_path / "runs")
    calls = [
        ("report", tmp_path / "runs"),
        ("explain", recipe),
        ("explain", "--body", "gpt2"),
        *(("list", kind) for kind in ("tasks", "tokenizers", "bodies", "heads", "recipes")),
        ("show", "minilm-l6"),
        ("show", "patch"),
        ("--help",),
        ("train", "--help"),
    ]
    for call in calls:
        ended = xmodal(*call)
        assert ended.code == 0, call
        assert max(map(len, ended.out.splitlines())) <= 80, call


def test_explain_counts_gpt2_without_a_download(xmodal: Xmodal) -> None:
    ended = xmodal("explain", "--body", "gpt2", "--freeze", "body - ln - pos", "--json")
    plan = json.loads(ended.out)
    parameters = {row["role"]: (row["parameters"], row["state"]) for row in plan["rows"]}
    assert parameters["ln"] == (38_400, "trainable")
    assert parameters["pos"] == (786_432, "trainable")
    assert parameters["embed"] == (38_597_376, "unused")
    assert plan["counts"]["total"] == 124_439_808
    assert [(clause["sign"], clause["text"]) for clause in plan["clauses"]] == [
        ("+", "body"),
        ("-", "ln"),
        ("-", "pos"),
    ]
    shown = xmodal("explain", "--body", "gpt2", "--freeze", "body - ln - pos").out
    for words in ("38,400", "786,432", "124,439,808", "38,597,376"):
        assert words in shown


def test_explain_takes_another_spec(xmodal: Xmodal, recipe: Path) -> None:
    said = json.loads(xmodal("explain", recipe, "--freeze", "all - head", "--json").out)
    assert said["spec"] == "all - head"
    assert_explains(xmodal("explain", "--body", "gpt2", "-o", "seed=3"), 2, "-o overrides a recipe")
    assert_explains(xmodal("explain", "--body", "gpt2", "--freeze", ""), 2, "the spec is empty")
    assert_explains(xmodal("explain", "--body", "hf:../../etc"), 2, "no body is 'hf:../../etc'")
    assert_explains(xmodal("check", "body", "hf:a b"), 2, "no body is 'hf:a b'")


def test_explain_and_train_agree_on_what_trains(xmodal: Xmodal, recipe: Path, tmp_path: Path) -> None:
    counts = json.loads(xmodal("explain", recipe, "--json").out)["counts"]
    result = json.loads(xmodal("train", recipe, "--out", tmp_path, "--json").out)
    assert {key: result["parameters"][key] for key in counts} == counts


def test_check_says_ok_or_everything_that_is_wrong(xmodal: Xmodal, recipe: Path, tmp_path: Path) -> None:
    whole = xmodal("check", *shipped().values())
    assert whole.code == 0
    assert "homology-minilm, 2 file(s); data/remote-homology is not there, and was not read" in whole.out
    broken = tmp_path / "broken.yaml"
    broken.write_text(recipe.read_text().replace("steps: 8", "stepz: 8").replace("bits: 3", "bits: two"))
    ended = xmodal("check", broken)
    assert_explains(
        ended, 2, f"{broken}:5", "no key 'stepz' in train; did you mean 'steps'?", f"{broken}:3", "2 problems"
    )
    both = xmodal("check", recipe, broken)
    assert both.code == 2
    assert "small.yaml: ok" in both.out


def test_check_reads_the_users_own_files_whole(xmodal: Xmodal, recipe: Path, tmp_path: Path) -> None:
    rows = [f"{number},{'ab'[number % 2]}" for number in range(40)]
    words = ("check", recipe, "-o", "task={name: table, columns: [size], path: own.csv}", "-o", "head.name=mean")
    words = (*words, "-o", "tokenizer={name: patch, size: 1}")
    words = tuple(str(word).replace("own.csv", str(tmp_path / "own.csv")) for word in words)
    (tmp_path / "own.csv").write_text("\n".join(["size,label", *rows, ""]))
    assert xmodal(*words).code == 0
    (tmp_path / "own.csv").write_text("\n".join(["size,label", *rows, "wide,a", ""]))
    assert_explains(xmodal(*words), 2, "own.csv:42: 'wide' in column 'size' is not a number")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("train", "nowhere.yaml"), 2, ("nowhere.yaml",)),
        (("train", "quikstart"), 2, ("no recipe 'quikstart'; did you mean 'quickstart'?", "xmodal list recipes")),
        (("train", "quickstart", "-o", "trian.lr=1"), 2, ("no key 'trian'; did you mean 'train'?", "-o trian")),
        (("train", "quickstart", "-o", "body.dropout"), 2, ("-o body.dropout",)),
        (("train", "quickstart", "-o", "freeze=body - scale"), 2, ("scale", "minilm-l6 has", "fix:")),
        (("train", "quickstart", "-o", "device=cuda:7"), 2, ("no device 'cuda:7' on this machine", "auto or cpu")),
        (("train", "quickstart", "-o", "body.name=gpt2"), 3, ("gpt2", "xmodal get body gpt2")),
        (("train", "mnist_fpt"), 3, ("mnist", "xmodal get data mnist")),
        (("train", "quickstart", "-o", "body.init=run:nowhere"), 3, ("no run in nowhere",)),
        (("explain",), 2, ("a recipe or --body",)),
        (("explain", "--body", "gtp2"), 2, ("no body 'gtp2'; did you mean 'gpt2'?",)),
        (("explain", "--body", "gpt2", "--freeze", "body - ln[12]"), 2, ("12", "gpt2")),
        (("explain", "--body", "gpt2", "--freeze", "body - attn.q"), 2, ("qkv",)),
        (("explain", "--body", "gpt2", "--freeze", "body -"), 2, ("^",)),
        (("report", "nowhere"), 3, ("no such folder of runs", "nowhere")),
        (("show", "mnits"), 2, ("nothing is called 'mnits'; did you mean 'mnist'?",)),
        (("get", "body", "gtp2"), 2, ("gpt2",)),
        (("get", "data", "minst"), 2, ("mnist",)),
        (("train", "quickstart", "--sed", "1"), 2, ("--sed",)),
    ],
)
def test_what_goes_wrong_is_explained(xmodal: Xmodal, words: tuple[str, ...], code: int, said: tuple[str, ...]) -> None:
    assert_explains(xmodal(*words), code, *said)


def test_bench_data_measures_any_recipe(xmodal: Xmodal, recipe: Path) -> None:
    ended = xmodal("bench", "data", recipe, "--rounds", "3", "--json")
    assert ended.code == 0
    assert [row["unit"] for row in json.loads(ended.out)["rows"]] == ["samples/s", "samples/s", "x"]
    assert_explains(xmodal("bench", "data"), 3, "cifar10 is not on this machine", "xmodal get data cifar10")


def test_a_run_that_diverges_exits_with_4(xmodal: Xmodal, recipe: Path, tmp_path: Path) -> None:
    ended = xmodal(
        "train",
        recipe,
        "-o",
        "train.lr=1000",
        "-o",
        "train.optimizer=sgd",
        "-o",
        "train.clip_norm=null",
        "--out",
        tmp_path,
    )
    assert ended.code == 4
    assert "no longer finite" in ended.err
    assert "diverged" in ended.out


def test_a_damaged_body_exits_with_3(xmodal: Xmodal, recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gpt2"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2}))
    (folder / "model.safetensors").write_bytes(b"half")
    changes = ("body.name=gpt2", "body.init=pretrained", f"body.path={folder}")
    words = [word for change in changes for word in ("-o", change)]
    assert_explains(
        xmodal("train", recipe, *words, "--out", tmp_path / "runs"), 3, "not a safetensors file", str(folder)
    )


def test_debug_shows_the_traceback(xmodal: Xmodal, capsys: pytest.CaptureFixture[str]) -> None:
    from xmodal.errors import UsageError

    with pytest.raises(UsageError):
        cli.main(["train", "quikstart", "--debug"])
    capsys.readouterr()


def test_an_internal_error_is_one_line_and_exits_with_1(xmodal: Xmodal, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal.recipe import schema

    monkeypatch.setattr(schema, "json_schema", lambda: 1 / 0)
    assert_explains(xmodal("schema"), 1, "internal error: ZeroDivisionError", "--debug")


def test_the_schema_is_json(xmodal: Xmodal) -> None:
    assert json.loads(xmodal("schema").out)["title"] == "xmodal recipe"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_run_and_it_goes_on(recipe: Path, tmp_path: Path, number: int) -> None:
    recipe.write_text(recipe.read_text().replace("steps: 8, eval_every: 4", "steps: 100000, eval_every: 100000"))
    command = [sys.executable, "-m", "xmodal", "train", str(recipe), "--out", str(tmp_path / "runs")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = ""
    while "writing" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    time.sleep(1)
    process.send_signal(number)
    out, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert not out
    assert "interrupted, saved; go on with --resume" in rest
    folder = next((tmp_path / "runs" / "small").iterdir())
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "interrupted"
    assert result["steps"] > 0
    assert (folder / "checkpoint" / "last.safetensors").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_step_ends_at_once(recipe: Path, tmp_path: Path, number: int) -> None:
    program = (
        "import time; from xmodal.run import bare; from xmodal.cli import main\n"
        "bare.build_task = lambda *_, **__: (print('reading', flush=True), time.sleep(60))\n"
        f"main(['train', {str(recipe)!r}, '--out', {str(tmp_path / 'runs')!r}])"
    )
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "reading\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == "interrupted\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("words", ["--version", "--help", "list heads"])
def test_output_that_a_full_disk_refuses_is_an_error(words: str) -> None:
    command = f"{sys.executable} -m xmodal {words} > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("standard output: the output cannot be written\n  why: No space left")


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m xmodal schema | head -c 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout == "{"


@pytest.mark.weights
def test_a_language_body_learns_xor_and_its_random_twin_does_not(tmp_path: Path) -> None:
    """The claim of the quickstart, in as few steps as show it."""
    scores = {}
    for init in ("pretrained", "random"):
        words = [
            "train",
            "quickstart",
            "-o",
            f"body.init={init}",
            "-o",
            "train.steps=100",
            "--out",
            str(tmp_path),
            "--json",
        ]
        command = [sys.executable, "-m", "xmodal", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
        scores[init] = json.loads(done.stdout)["test"]["accuracy"]
    assert scores["pretrained"] > 0.95
    assert scores["random"] < 0.8


def test_an_interrupt_while_modules_are_loaded_is_answered_in_a_word() -> None:
    code = (
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from xmodal.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_run_that_was_stopped_does_not_claim_that_test_was_read(capsys: pytest.CaptureFixture[str]) -> None:
    from xmodal import console

    result = {"name": "x", "recipe_digest": "0" * 12, "seed": 0, "status": "interrupted"}
    result |= {"best_step": 0, "steps": 3, "test": None}
    console.show_results([result])
    assert "test was not read" in capsys.readouterr().out
