"""A study that was made before is found from its files, and is not where one of its runs is no longer what it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xmodal.recipe.lock import LOCK
from xmodal.recipe.source import shipped
from xmodal.run.result import RESULT, read_result, sealed
from xmodal.run.whole import write_json
from xmodal.study import finished as module
from xmodal.study.arms import make_arms
from xmodal.study.design import make_design
from xmodal.study.factors import Asked
from xmodal.study.finished import finished, question_of
from xmodal.study.reading import STUDY, differing, read_study, runs_of
from xmodal.study.study import run_study

SMALL = ("train.steps=4", "train.eval_every=2", "threads=1")
ASKED = Asked(shipped()["bit_xor_fpt"], freeze=["ffn"], overrides=SMALL, tiny=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    run_study(make_design(make_arms(ASKED), lr="1e-3", seeds="2"), out=out, question=question_of(ASKED, seeds="2"))
    return out


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """The folder of all runs, which a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


def run_in(out: Path) -> Path:
    """The folder of the first run of the study."""
    (file,) = out.glob(f"studies/*/{STUDY}")
    return out / runs_of(read_study(file.parent))[0]["folder"]


def rewrite(folder: Path, **said: Any) -> None:
    """Another result that nobody can tell from one that a run wrote."""
    result = read_result(folder) or {}
    write_json(folder / RESULT, sealed({**result, **said}))
    assert read_result(folder) != result


def another_score(folder: Path) -> None:
    result = read_result(folder) or {}
    rewrite(folder, test={**result["test"], "accuracy": 0.123})


def another_lock(folder: Path) -> None:
    (folder / LOCK).write_text((folder / LOCK).read_text() + "# edited\n")


def no_lock(folder: Path) -> None:
    (folder / LOCK).unlink()


def another_torch(folder: Path) -> None:
    file = folder / "environment.json"
    said = json.loads(file.read_text())
    write_json(file, {**said, "versions": {**said["versions"], "torch": "0.4.1"}})


def test_a_study_is_found_by_its_question(out: Path) -> None:
    found = finished(out, question_of(ASKED, seeds="2"))
    assert found
    assert (found[0].name, found[1]) == (STUDY, read_study(found[0].parent))
    assert finished(out, question_of(ASKED, seeds="3")) is None
    assert finished(out, None) is None


@pytest.mark.parametrize("spoil", [another_score, another_lock, no_lock, another_torch])
def test_a_study_is_not_found_where_a_run_is_another(out: Path, spoil: Callable[[Path], None]) -> None:
    spoil(run_in(out))
    assert finished(out, question_of(ASKED, seeds="2")) is None


def test_another_xmodal_asks_another_question(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real = question_of(ASKED, seeds="2"), module.version
    monkeypatch.setattr(module, "version", lambda name: "0.0.1" if name == "xmodal" else real(name))
    after = question_of(ASKED, seeds="2")
    assert before
    assert after
    assert after != before
    assert finished(out, after) is None


# In what a run differs


def test_a_run_is_told_by_what_it_did_and_by_its_lock(out: Path) -> None:
    (file,) = out.glob(f"studies/*/{STUDY}")
    (run, *_), folder = runs_of(read_study(file.parent)), run_in(out)
    result = read_result(folder) or {}
    assert differing(run, result, folder) == ""
    assert differing(run, {**result, "steps": 3}, folder) == "steps is 3, and was 4"
    assert differing(run, {**result, "best_step": 7}, folder) == f"best_step is 7, and was {run['best_step']}"
    another_lock(folder)
    assert differing(run, result, folder).endswith(f", and was {run['lock']}")
    no_lock(folder)
    assert differing(run, result, folder) == f"lock is gone, and was {run['lock']}"
