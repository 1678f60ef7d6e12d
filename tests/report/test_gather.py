"""Which runs and studies are found, and which are not believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import change, make_run, recipe_of

from xmodal.errors import MissingError
from xmodal.report.gather import FoundStudy, gather
from xmodal.run.result import RESULT
from xmodal.study.reading import STUDY, runs_of


def test_a_study_comes_with_its_runs(study: FoundStudy) -> None:
    assert study.named
    assert study.missing == 0
    assert study.runs.keys() == {run["folder"] for run in runs_of(study.said)}
    assert len(study.runs) >= 12


def test_all_of_runs_holds_the_study_and_what_belongs_to_none(copied: Path) -> None:
    alone = make_run(copied.parent.parent, recipe_of("train.lr=0.5"))
    found = gather([copied.parent.parent])
    assert [study.named for study in found.studies] == [False]
    assert [run.folder for run in found.loose()] == [alone]
    assert len(found.runs) == len(found.studies[0].runs) + 1


def test_a_folder_named_twice_counts_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, recipe_of())
    assert [found.folder for found in gather([run, tmp_path, tmp_path]).runs] == [run]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("margin", 0.5, "its seal"),
        ("arms", [], "arms"),
        ("floors", {"chance": 2.0}, "floors.chance"),
        ("schema", 2, "schema 1"),
        ("seal", None, "its seal"),
    ],
)
def test_a_study_changed_by_hand_is_not_believed(copied: Path, key: str, value: object, said: str) -> None:
    change(copied / STUDY, key, value)
    found = gather([copied])
    assert found.studies == []
    assert said in found.damaged[0].why
    assert "xmodal ablate" in found.damaged[0].fix


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', "\x00", '{"schema": 1, "margin": NaN}'])
def test_a_study_that_is_none_is_said(copied: Path, text: str) -> None:
    (copied / STUDY).write_text(text, encoding="utf-8")
    assert len(gather([copied]).damaged) == 1


@pytest.mark.parametrize("folder", ["/etc", "../../elsewhere"])
def test_a_study_leads_nowhere_else(copied: Path, folder: str) -> None:
    text = (copied / STUDY).read_text(encoding="utf-8")
    name = gather([copied]).studies[0].said["arms"][0]["report"][0]["folder"]
    (copied / STUDY).write_text(text.replace(name, folder), encoding="utf-8")
    assert "below the folder of all runs" in gather([copied]).damaged[0].why


def test_a_run_changed_by_hand_is_left_out_of_its_study(copied: Path) -> None:
    folder = gather([copied]).studies[0].said["arms"][0]["report"][0]["folder"]
    change(copied.parent.parent / folder / RESULT, "steps", 7)
    found = gather([copied])
    assert folder not in found.studies[0].runs
    assert "digest" in found.damaged[0].why


def test_another_result_in_a_runs_place_is_left_out(copied: Path) -> None:
    one, other = (run["folder"] for run in gather([copied]).studies[0].said["arms"][0]["report"][:2])
    out = copied.parent.parent
    (out / one / RESULT).write_bytes((out / other / RESULT).read_bytes())
    assert "seed is 1, and was 0" in gather([copied]).damaged[0].why


def test_missing_runs_are_counted(copied: Path) -> None:
    (copied.parent.parent / "bit-xor-fpt").rename(copied.parent.parent / "elsewhere")
    study = gather([copied]).studies[0]
    assert (study.runs, study.missing) == ({}, len(runs_of(study.said)))


def test_nothing_to_report_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no finished run"):
        gather([tmp_path])
    with pytest.raises(MissingError, match="no such folder"):
        gather([tmp_path / "none"])


def test_an_environment_changed_by_hand_is_told(copied: Path) -> None:
    folder = gather([copied]).studies[0].said["arms"][0]["report"][0]["folder"]
    change(copied.parent.parent / folder / "environment.json", "threads", 64)
    (error,) = gather([copied]).damaged
    assert error.what.startswith("the runs are no longer made with what the study")
    assert error.where == str(copied / STUDY)
    assert "changed by hand" in error.why
    assert error.fix.startswith("give the same xmodal ablate again")
