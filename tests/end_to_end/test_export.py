"""`xmodal export` and `xmodal train --track` as a user calls them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

QUICK = ("train", "quickstart", "--tiny", "--json")


def xmodal(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xmodal", *words],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run in it, which TensorBoard was told of."""
    place = tmp_path_factory.mktemp("place")
    pytest.importorskip("tensorboard")
    done = xmodal(place, *QUICK, "--track", "tensorboard")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    return place


def run_in(place: Path) -> str:
    (run,) = (place / "runs" / "quickstart").iterdir()
    return str(run)


def test_a_tracked_run_has_its_curves(place: Path) -> None:
    assert list(Path(run_in(place)).glob("tensorboard/events*"))


def test_export_writes_a_file_and_says_what_reads_it(place: Path) -> None:
    done = xmodal(place, "export", run_in(place), "one.safetensors")
    assert (done.returncode, done.stdout) == (0, "")
    assert 'xmodal.load_model("one.safetensors") reads it' in done.stderr
    again = xmodal(place, "export", run_in(place), "one.safetensors")
    assert again.returncode == 2
    assert "the file is there already" in again.stderr
    assert xmodal(place, "export", run_in(place), "one.safetensors", "--force").returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("export", "runs/nothing", "new.safetensors"), 3, "no runs/nothing"),
        (("export", "runs", "new.safetensors"), 3, "no trained model"),
        (("export", "RUN", "new.bin"), 2, "call it new.safetensors"),
        ((*QUICK, "--seed", "9", "--track", "tensorbord"), 2, "did you mean 'tensorboard'?"),
    ],
    ids=["nothing", "no run", "name", "tracker"],
)
def test_what_cannot_be_done_is_said_in_a_word(place: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = xmodal(place, *(run_in(place) if word == "RUN" else word for word in words))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(place.glob("new*"))
