"""The page: what it says, that it needs nothing else, and that nobody's text becomes part of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from making import make_run, recipe_of

from xmodal.errors import DamagedError
from xmodal.report.content import chapters
from xmodal.report.gather import Found, FoundStudy, gather
from xmodal.report.numbers import hundred, points
from xmodal.report.page import page
from xmodal.report.words import TINY, blemishes, effect_name, notes

HOSTILE = "</svg></style><script>alert('x')</script> $\\frac{1}$ & \"quoted\" _x"


class Outline(HTMLParser):
    """Tags with their attributes, and the rows of each table by its caption."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._in, self._caption = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag
        if tag == "caption":
            self._caption = ""
        elif tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        elif tag in ("td", "th"):
            self.tables[self._caption][-1].append("")

    def handle_data(self, data: str) -> None:
        if self._in == "caption":
            self._caption += data
        elif self._in in ("td", "th"):
            self.tables[self._caption][-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._in = ""


def of(*studies: FoundStudy) -> str:
    return page(chapters(Found([], studies, [])))


@pytest.fixture(scope="module")
def text(finished: Path) -> str:
    return page(chapters(gather([finished])))


@pytest.fixture(scope="module")
def said(finished: Path) -> Any:
    return gather([finished]).studies[0].said


def test_verdicts_are_said_in_words_before_any_table(text: str, said: Any) -> None:
    (effect,) = said["comparisons"]
    sentence = f"{points(effect['difference'])} points"
    assert text.index(effect["verdict"]) < text.index(sentence) < text.index("<table>")
    assert "against ffn trained" in text
    assert TINY in text


def test_the_numbers_are_those_of_the_study(text: str, said: Any) -> None:
    tables = Outline(text).tables
    arms = {row[0].removesuffix(" (control)"): row for row in tables["Arms"][1:]}
    for arm in said["arms"]:
        shown = [hundred(arm["mean"]), *map(hundred, arm["interval"]), str(arm["seeds"]), f"{arm['rate']:g}"]
        assert arms[arm["name"]][1:6] == shown
        assert arms[arm["name"]][-1] == arm["recipe_digest"]
    tests = [[arm["name"], str(run["seed"]), hundred(run["test"])] for arm in said["arms"] for run in arm["report"]]
    assert [row[:3] for row in tables["Test accuracy, %"][1 : 1 + len(tests)]] == tests
    curves = [[arm["name"], f"{at['rate']:g}", hundred(at["val"])] for arm in said["arms"] for at in arm["curve"]]
    assert [row[:3] for row in tables["Mean validation accuracy, %, by learning rate"][1:]] == curves
    (effect,) = said["comparisons"]
    assert tables["Differences in points of test accuracy"][1][1] == points(effect["difference"])
    assert len(tables["Validation accuracy, %, at each look"]) == 1 + 2 * 6
    assert len(tables["Root mean squares at step 0"]) == 1 + 6


def test_every_figure_has_words_and_numbers(text: str) -> None:
    figures = re.findall(r"<figure .*?</figure>", text, re.DOTALL)
    assert len(figures) >= 7
    for figure in figures:
        assert len(re.findall(r"<table>", figure)) == 1
        assert re.search(r'<svg role="img" aria-labelledby="\S+ \S+"', figure)
        assert re.search(r"<title id=\S+>.+?</title><desc id=\S+>.{20,}?</desc>", figure, re.DOTALL)


def test_an_id_stands_once(text: str) -> None:
    tags = Outline(text).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 100
    wanted = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert {one or other for one, other in wanted} <= set(ids)


def outside(text: str) -> Iterator[str]:
    """What a page would ask others for."""
    yield from re.findall(r"@import|\bsrc\s*=|<link|<script|<iframe|<object|<base", text, re.IGNORECASE)
    without = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    yield from re.findall(r"https?:|//\w+\.\w+|url\((?!#)[^)]*\)", without)
    yield from (found for found in re.findall(r'href="([^"]*)"', text) if not found.startswith(("#", "data:image/png")))


def test_a_page_asks_nobody_for_anything(text: str) -> None:
    assert list(outside(text)) == []
    assert "default-src 'none'" in text


@pytest.mark.parametrize("wrong", ['<img src="x">', "@import 'x'", '<a href="x">', "url(x)", "https://x.org"])
def test_asking_would_be_noticed(wrong: str) -> None:
    assert list(outside(wrong)) != []


def test_the_same_study_makes_the_same_bytes(text: str, finished: Path) -> None:
    assert page(chapters(gather([finished]))) == text


def test_nobodys_text_becomes_part_of_the_page(study: FoundStudy) -> None:
    said: Any = copy.deepcopy(study.said)
    said["control"] = said["arms"][0]["name"] = HOSTILE
    said["arms"][1]["spec"] = HOSTILE
    said["arms"][1]["report"][0] |= {"status": "failed", "error": HOSTILE}
    said["floors"] = {HOSTILE: 0.5}
    said["comparisons"][0] |= {"control": HOSTILE, "why": HOSTILE}
    said["mixed"] = {"torch": [HOSTILE, "\x00\u202e"]}
    hostile = of(replace(study, said=said))
    tags = {tag for tag, _ in Outline(hostile).tags}
    assert "script" not in tags
    assert hostile.count("<script") == 0
    assert hostile.count("</svg>") == hostile.count("<svg ")
    assert hostile.count("&lt;script&gt;") >= 5
    assert "\x00" not in hostile
    assert "\u202e" not in hostile


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["$", "_hidden", "漢字", "", "x" * 500, "a\nb"])
def test_any_name_can_be_drawn(study: FoundStudy, name: str) -> None:
    said: Any = copy.deepcopy(study.said)
    said["arms"][1]["name"] = said["comparisons"][0]["arm"] = name
    assert of(replace(study, said=said)).count("<figure ") >= 7


def test_a_study_without_scores_is_still_a_page(study: FoundStudy) -> None:
    said: Any = copy.deepcopy(study.said)
    nothing = {"mean": None, "interval": None, "rate": None, "edge": None, "seeds": 0, "curve": [], "report": []}
    for arm in said["arms"]:
        arm |= nothing
        arm["tuning"] = [{**run, "status": "failed", "val": None, "error": "it broke"} for run in arm["tuning"]]
    lacking = {"difference": None, "interval": None, "p": None, "p_holm": None, "detectable": None, "pairs": 0}
    said["comparisons"][0] |= lacking
    said["floors"] = {}
    empty = of(replace(study, said=said, runs={}, missing=3))
    assert "no difference is known" in empty
    assert "3 of its" in empty
    assert "it broke" in empty


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    first = recipe_of("train.lr=0.5", tiny=False)
    second = recipe_of("train.lr=0.25", tiny=False)
    make_run(tmp_path, first)
    make_run(tmp_path, second, versions={"python": "3.13.0", "xmodal": "0.1.0"})
    make_run(tmp_path, second.model_copy(update={"seed": 1}), status="diverged")
    text = page(chapters(gather([tmp_path])))
    names = {row[0] for row in Outline(text).tables["Runs"][1:]}
    assert names == {f"bit-xor-fpt {first.digest()[:8]}", f"bit-xor-fpt {second.digest()[:8]}"}
    assert "runs of different python: 3.12.1, 3.13.0" in text
    assert "seed 1: diverged" in text
    assert TINY not in text


def test_tiny_runs_are_marked(tmp_path: Path) -> None:
    make_run(tmp_path, recipe_of())
    text = page(chapters(gather([tmp_path])))
    assert TINY in text
    assert Outline(text).tables["Runs"][1][0] == "bit-xor-fpt (tiny)"


def test_what_was_left_out_is_said_with_its_reason(tmp_path: Path) -> None:
    error = DamagedError("cannot be read", where="runs/<x>", why="its digest", fix="run it again")
    make_run(tmp_path, recipe_of())
    text = page(chapters(gather([tmp_path])), [error])
    assert "cannot be read</strong>: <code>runs/&lt;x&gt;</code>. its digest" in text


# Words beside numbers


def test_runs_that_did_not_end_well_are_marked(study: FoundStudy) -> None:
    said: Any = copy.deepcopy(study.said)
    assert blemishes(said) == []
    one, other = said["arms"][0]["report"][0], said["arms"][1]["tuning"][0]
    one["status"] = "diverged"
    other |= {"status": "failed", "error": "it broke"}
    assert blemishes(said) == [
        f"{said['arms'][0]['name']}, lr {one['rate']:g}, seed {one['seed']}: diverged",
        f"{said['arms'][1]['name']}, lr {other['rate']:g}, seed {other['seed']}: failed it broke",
    ]


@pytest.mark.parametrize(
    ("factors", "verdict", "interact"),
    [
        (["ffn", "init"], "supported", True),
        (["ffn", "init"], "contradicted", False),
        (["ffn", "init"], "not resolved", False),
        (["ffn"], "supported", False),
    ],
)
def test_an_interaction_that_is_supported_is_said(
    study: FoundStudy, factors: list[str], verdict: str, interact: bool
) -> None:
    contrasts = [{"factors": factors, "verdict": verdict}]
    assert any("factors interact" in line for line in notes({**study.said, "contrasts": contrasts})) == interact


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, True),
        ({"verdict": "contradicted"}, True),
        ({"verdict": "not resolved"}, False),
        ({"rate": 0.001}, False),
        ({"tuning_seeds": [1000, 1001]}, True),
        ({"tuning_seeds": [1000, 1001, 1002]}, False),
        ({"swept": False}, False),
    ],
)
def test_two_rates_that_few_tuning_seeds_chose_are_told_beside_a_verdict(
    study: FoundStudy, changed: dict[str, Any], told: bool
) -> None:
    said: Any = copy.deepcopy(study.said)
    control, arm = said["arms"]
    control |= {"name": "whole", "rate": 0.001, "curve": [{"rate": 0.001, "val": 0.5}, {"rate": 0.01, "val": 0.75}]}
    arm |= {"name": "half", "rate": changed.get("rate", 0.01)}
    arm["curve"] = [{"rate": 0.01, "val": 0.875}, {"rate": 0.1, "val": 1.0}]
    effect = {"arm": "half", "control": "whole", "verdict": changed.get("verdict", "supported")}
    said |= {"comparisons": [effect], "contrasts": [], "reversals": [], "tuning_seeds": [1000]}
    said |= {key: value for key, value in changed.items() if key in said}
    by = "1 tuning seed" if len(said["tuning_seeds"]) == 1 else f"{len(said['tuning_seeds'])} tuning seeds"
    line = (
        f"half: at rate 0.01, whole at 0.001, by {by}, whose luck is in no interval here; "
        "at one rate for both, on validation: +12.5 at 0.01"
    )
    assert (line in notes(said)) == told
    assert any("luck" in note for note in notes(said)) == told


@pytest.mark.parametrize(("means", "verdict"), [((1.0, 0.995), "contradicted"), ((1.0, 0.98), "contradicted")])
def test_two_arms_at_the_ceiling_are_no_proof_that_they_are_equal(
    study: FoundStudy, means: tuple[float, float], verdict: str
) -> None:
    said: Any = copy.deepcopy(study.said)
    for arm, score in zip(said["arms"], means, strict=True):
        arm["mean"] = score
    said["comparisons"][0]["verdict"] = verdict
    line = "at the ceiling, where no difference could be seen: ffn frozen"
    assert (line in notes(said)) == (min(means) >= 0.99)
    said["comparisons"][0]["verdict"] = "supported"
    assert line not in notes(said)


def test_a_tiny_study_says_that_it_is_one(study: FoundStudy) -> None:
    assert notes(study.said)[0].startswith("tiny: ")
    assert not notes({**study.said, "tiny": False})[0].startswith("tiny")


def test_a_main_effect_is_called_by_its_levels() -> None:
    levels = [{"ffn": ffn, "init": init} for init in ("pretrained", "random") for ffn in ("trained", "frozen")]
    study = {"arms": [{"levels": one} for one in (*levels, {})]}
    assert effect_name({"factors": ["ffn"]}, study) == "ffn: frozen less trained"
    assert effect_name({"factors": ["init"]}, study) == "init: random less pretrained"
    assert effect_name({"factors": ["ffn", "init"]}, study) == "ffn × init"
    assert effect_name({"arm": "norms"}, study) == "norms"
