"""Two hundred finished runs are reported in seconds, and a study of them is found at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest
from making import make_run, recipe_of

RUNS, SECONDS, AT_ONCE = 200, 10.0, 2.0
SMALLEST = """\
name: smallest
task: {name: bit-xor, bits: 3}
tokenizer: {name: sequence}
body: {name: transformer, init: random, width: 8, heads: 1, depth: 1, causal: false, context: 16}
freeze: body
head: {name: per-position}
train: {lr: 1e-3, steps: 2, eval_every: 2, batch_size: 4}
threads: 1
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("many")
    for number in range(RUNS):
        rate, seed = divmod(number, 5)
        looks = [0.5 + 0.001 * rate + 0.01 * look for look in range(20)]
        make_run(out, recipe_of(f"train.lr={1e-4 * (rate + 1):.3g}", seed=seed), looks)
    return out


@pytest.mark.parametrize("page", [False, True], ids=["terminal", "page"])
def test_two_hundred_runs_take_seconds(many: Path, tmp_path: Path, page: bool) -> None:
    file = tmp_path / "report.html"
    words = [sys.executable, "-m", "xmodal", "report", str(many), *(["--html", str(file)] if page else [])]
    done, took = run(words)
    assert (file.read_text(encoding="utf-8") if page else done.stdout).count("bit-xor-fpt") >= RUNS
    assert took < SECONDS


def test_a_study_of_two_hundred_runs_is_found_at_once(tmp_path: Path) -> None:
    recipe = tmp_path / "smallest.yaml"
    recipe.write_text(SMALLEST)
    words = [sys.executable, "-m", "xmodal", "ablate", str(recipe), "--freeze", "ffn", "--lr", "1e-3"]
    words += ["--seeds", str(RUNS // 2), "--workers", "0", "--out", str(tmp_path / "runs")]
    first, _ = run(words)
    assert f"{RUNS} of {RUNS} runs were made now" in first.stderr
    again, took = run(words)
    assert f"0 of {RUNS} runs were made now" in again.stderr
    assert again.stdout == first.stdout
    assert took < AT_ONCE


def run(words: list[str]) -> tuple[subprocess.CompletedProcess[str], float]:
    """What a command said, and the seconds of a processor that it took, which others at work here do not make more."""
    began = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ended = getrusage(RUSAGE_CHILDREN)
    return done, ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
