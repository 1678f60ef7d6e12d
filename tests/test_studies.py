"""Committed studies are of the arms that their command makes today, and the page shows them as `xmodal report` does."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import pytest

from xmodal import cli
from xmodal.recipe.source import shipped
from xmodal.study.arms import make_arms
from xmodal.study.design import make_design
from xmodal.study.factors import Asked
from xmodal.study.reading import read_study

STUDIES = Path(__file__).parents[1] / "benchmarks" / "studies"
COMMANDS = {
    "bit-xor-controls": "xmodal ablate bit_xor_fpt --controls std --lr 1e-4:1e-2:5 --seeds 5 -o threads=1",
    "lu-rothermel": (
        'xmodal ablate bit_xor_fpt --vary "freeze=body - ln - pos,none" --vary body.init=pretrained,random '
        "--lr 1e-5:1e-2:7 --seeds 3 -o threads=1"
    ),
    "mnist-controls": (
        "xmodal ablate mnist_16 --controls std --lr 3e-4:3e-2:5 --seeds 5 -o 'body.layers=\"0:6\"' -o threads=1"
    ),
    "quickstart-ffn": "xmodal ablate --freeze ffn",
}
"""What made them; the page gives the same line."""
PAGE = STUDIES.parent / "README.md"


def _options(command: str) -> argparse.Namespace:
    options = argparse.ArgumentParser()
    options.add_argument("recipe", nargs="?", default="quickstart")
    for name in ("--freeze", "--vary", "-o"):
        options.add_argument(name, action="append", default=[], dest="override" if name == "-o" else None)
    for name, usual in (("--controls", ""), ("--lr", ""), ("--seeds", "3")):
        options.add_argument(name, default=usual)
    return options.parse_args(shlex.split(command)[2:])


def test_there_is_a_command_for_every_study() -> None:
    assert {file.parent.name for file in STUDIES.glob("*/study.json")} == set(COMMANDS)
    for command in COMMANDS.values():
        assert command in PAGE.read_text().splitlines()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_study_is_of_the_arms_as_they_are(name: str) -> None:
    said, words = read_study(STUDIES / name), _options(COMMANDS[name])
    asked = Asked(shipped()[words.recipe], words.freeze, words.vary, controls=words.controls, overrides=words.override)
    design = make_design(make_arms(asked), lr=words.lr, seeds=words.seeds)
    assert said["digest"] == design.digest()
    arms = {arm.name: arm for arm in design.arms.arms}
    assert list(arms) == [arm["name"] for arm in said["arms"]]
    for arm in said["arms"]:
        made = arms[arm["name"]].recipe
        assert (arm["recipe_digest"], arm["spec"]) == (made.digest(), made.freeze)
        assert (arm["trainable"], arm["total"]) == (arms[arm["name"]].trainable, arms[arm["name"]].total)
    assert set(design.rates) <= set(said["rates"])
    assert (said["report_seeds"], said["tuning_seeds"]) == (list(design.report), list(design.tuning))


@pytest.mark.parametrize("name", [*COMMANDS, "../precision/bit-xor", "../precision/mnist"])
def test_the_page_shows_what_the_study_says(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        cli.main(["report", str(STUDIES / name)])
    shown = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "\n".join(shown).strip("\n") in PAGE.read_text()
