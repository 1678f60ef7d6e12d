"""Committed results belong to the recipes as they are, and the recipes' headers say what the results say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from xmodal.recipe import load_recipe
from xmodal.recipe.source import shipped
from xmodal.run.session import resolve

PENDING = {name for name, path in shipped().items() if "Not yet run" in path.read_text()}
"""Recipes that no run has been committed for yet, as their headers say."""
ASKED = {"quickstart": 0.99, "bit-xor-fpt": 0.99, "bit-memory-fpt": 0.99, "mnist-fpt": 0.96}
"""What these recipes were written to reach on the test split."""
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
BODIES = RESULTS.parent / "bodies"
"""`body.json` of the runs whose bodies other recipes start from."""


def results() -> dict[str, Any]:
    return {file.name: json.loads(file.read_text()) for file in sorted(RESULTS.glob("*-s*.json"))}


def of(result: dict[str, Any]) -> str:
    """The shipped recipe that a result is of."""
    return next(name for name in shipped() if name.replace("/", "-").replace("_", "-") == result["name"])


def test_there_is_a_result_for_every_recipe() -> None:
    run = {of(result) for result in results().values()}
    assert run | PENDING == set(shipped())
    assert not run & PENDING
    assert len(run) >= 16
    assert [result["seed"] for result in results().values() if result["name"] == "bit-xor-fpt"] == [0, 1, 2, 3, 4]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the runs that recipes start from: a body is known by the digest in its `body.json`."""
    for file in BODIES.glob("*.json"):
        place = tmp_path / "runs" / file.stem / "0"
        place.mkdir(parents=True)
        (place / "body.json").write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("file", results())
def test_a_result_is_of_the_recipe_as_it_is(file: str) -> None:
    result = results()[file]
    recipe = load_recipe(shipped()[of(result)], ["device=cpu"])
    assert file == f"{recipe.name}-s{result['seed']}.json"
    assert result["recipe_digest"] == resolve(recipe).digest()
    assert result["schema"] == 1
    assert result["status"] == "done"


@pytest.mark.parametrize("file", [file for file, result in results().items() if result["name"] in ASKED])
def test_a_result_reaches_what_was_asked(file: str) -> None:
    result = results()[file]
    assert result["test"]["accuracy"] >= ASKED[result["name"]]
    assert result["test"].get("accuracy_hidden", 1) >= 0.99


def test_what_a_body_learned_elsewhere_shows() -> None:
    assert results()["bit-xor-random-s0.json"]["test"]["accuracy"] < 0.6
    for name in ("mnist-fpt", "fashion-mnist-fpt"):
        result = results()[f"{name}-s0.json"]
        assert result["test"]["accuracy"] > result["floors"]["linear"]


@pytest.mark.parametrize("name", sorted(set(shipped()) - PENDING))
def test_a_header_says_what_the_result_says(name: str) -> None:
    header = " ".join(line.lstrip("# ") for line in shipped()[name].read_text().splitlines() if line.startswith("#"))
    result = results()[f"{name.replace('/', '-').replace('_', '-')}-s0.json"]
    expected = re.search(r"expect ([\d.]+) %", header)
    assert expected
    assert float(expected[1]) == round(100 * result["test"]["accuracy"], 1)
    takes = re.search(r"[Tt]akes about (\d+) (second|minute)s? on two cores", header)
    assert takes
    seconds = int(takes[1]) * (60 if takes[2] == "minute" else 1)
    assert 0.5 * result["seconds"] < seconds < 2 * result["seconds"]


@pytest.mark.parametrize("name", [name for name, path in shipped().items() if 'init: "run:' in path.read_text()])
def test_a_recipe_that_starts_from_a_run_says_how_to_make_it(name: str) -> None:
    text = shipped()[name].read_text()
    made = text.partition('init: "run:runs/')[2].partition('"')[0]
    recipe = next(shipped_name for shipped_name, path in shipped().items() if f"name: {made}\n" in path.read_text())
    first = text.index(f"#   xmodal train recipes/{recipe}.yaml")
    assert first < text.index(f"#   xmodal train recipes/{name}.yaml")
