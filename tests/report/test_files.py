"""What `xmodal report` leaves on disk, and what it says where it cannot."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from making import change, make_run, recipe_of
from PIL import Image
from typer.testing import CliRunner

from xmodal.cli import app
from xmodal.errors import UsageError, XmodalError
from xmodal.study.reading import STUDY


def report(*words: object) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, words)])


def test_figures_and_tables_lie_beside_each_other(finished: Path, tmp_path: Path) -> None:
    done = report(finished, "--figures", tmp_path / "figures")
    assert done.exit_code == 0, done.output
    names = {file.name for file in (tmp_path / "figures").iterdir()}
    drawn = {name[:-4] for name in names if name.endswith(".svg")}
    assert drawn == {f"study-1-{name}" for name in ("effects", "scores", "rates", "learning", "norms")} | {
        "study-1-freeze-1",
        "study-1-freeze-2",
    }
    endings = ("svg", "png", "md", "tex", "csv")
    assert names >= {f"{name}.{ending}" for name in drawn for ending in endings}
    assert {f"study-1-arms.{ending}" for ending in endings[2:]} <= names
    with Image.open(tmp_path / "figures" / "study-1-effects.png") as image:
        assert image.width == 1000


def test_the_tables_hold_every_digit(finished: Path, tmp_path: Path) -> None:
    report(finished, "--figures", tmp_path)
    said = json.loads((finished / STUDY).read_text(encoding="utf-8"))
    with (tmp_path / "study-1-scores.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    tests = [run["test"] for arm in said["arms"] for run in arm["report"]]
    assert [float(row["test"]) for row in rows[: len(tests)]] == tests
    with (tmp_path / "study-1-effects.csv").open(encoding="utf-8") as stream:
        (effect,) = csv.DictReader(stream)
    (wanted,) = said["comparisons"]
    assert [float(effect[key]) for key in ("points", "95 % from", "to", "p", "sees")] == [
        wanted["difference"],
        *wanted["interval"],
        wanted["p"],
        wanted["detectable"],
    ]


def test_the_same_study_leaves_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert report(finished, "--figures", tmp_path / name, "--html", tmp_path / f"{name}.html").exit_code == 0
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_an_svg_stands_alone(finished: Path, tmp_path: Path) -> None:
    from xml.etree import ElementTree

    report(finished, "--figures", tmp_path)
    for file in tmp_path.glob("*.svg"):
        tree = ElementTree.parse(file).getroot()
        assert tree.tag == "{http://www.w3.org/2000/svg}svg"
        assert re.fullmatch(r"0 0 [\d.]+ [\d.]+", tree.attrib["viewBox"])
        assert any(element.text for element in tree.iter("{http://www.w3.org/2000/svg}text"))


def test_the_terminal_shows_a_study_that_is_named(finished: Path) -> None:
    named, all_of_it = report(finished), report(finished.parent.parent)
    assert "ffn frozen" in named.output
    assert "seeds would have seen" in named.output or "edge" in named.output
    assert "ffn frozen" not in all_of_it.output
    assert [study["control"] for study in json.loads(report(finished, "--json").output)] == ["ffn trained"]


@pytest.mark.parametrize("option", ["--html", "--figures"])
def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path, option: str) -> None:
    run = make_run(tmp_path / "runs", recipe_of())
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = report(run, option, tmp_path / "file" / "below")
    assert isinstance(done.exception, XmodalError)
    assert f"choose another place with {option}" in done.exception.fix
    taken = tmp_path / "runs" if option == "--html" else tmp_path / "file"
    done = report(run, option, taken)
    assert isinstance(done.exception, UsageError)
    assert str(taken) in done.exception.where


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it may not")
def test_a_folder_without_leave_is_an_error(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", recipe_of())
    (tmp_path / "closed").mkdir(mode=0o500)
    assert isinstance(report(run, "--html", tmp_path / "closed" / "x.html").exception, XmodalError)


def test_what_is_damaged_is_left_out_and_the_rest_is_written(tmp_path: Path) -> None:
    good, bad = (make_run(tmp_path / "runs", recipe_of(seed=seed)) for seed in (0, 1))
    change(bad / "result.json", "steps", 7)
    done = report(tmp_path / "runs", "--html", tmp_path / "x.html")
    assert done.exit_code == 3
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "its digest is not that of what it says" in text
    assert str(bad / "result.json") in text
    assert good.name.split("-")[0] in text


def test_attention_needs_a_place(tmp_path: Path) -> None:
    run = make_run(tmp_path, recipe_of())
    assert isinstance(report(run, "--attention", "bit-xor-fpt").exception, UsageError)
    done = report(run, "--attention", "bit-xor-fpt", "--sample", "-1", "--html", tmp_path / "x.html")
    assert done.exit_code == 2


@pytest.mark.parametrize("edited", [True, False])
def test_a_run_whose_lock_file_was_edited_or_is_gone_is_left_out(copied: Path, tmp_path: Path, edited: bool) -> None:
    for lock in (copied.parent.parent / "bit-xor-fpt").rglob("recipe.lock.yaml"):
        text = lock.read_text(encoding="utf-8")
        assert "batch_size: 4" in text
        if edited:
            lock.write_text(text.replace("batch_size: 4", "batch_size: 5", 1), encoding="utf-8")
        else:
            lock.unlink()
    done = report(copied, "--html", tmp_path / "x.html")
    assert done.exit_code == 3, done.output
    assert ("lock is gone, and was " in done.output) != edited
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "What trains" not in text
    assert "the run is no longer what the study" in text
