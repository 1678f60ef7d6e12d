"""Finished runs beside a paper's numbers: each is put where it belongs, and none where it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xmodal.errors import MissingError
from xmodal.papers.against import SHIPPED, against
from xmodal.papers.cells import Wanted, cells_of
from xmodal.papers.library import find_table
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped
from xmodal.run.result import sealed
from xmodal.run.session import train
from xmodal.run.whole import write_json

TABLE = find_table("lu2021/table9")
TINY = {"steps": 2, "eval_every": 2, "batch_size": 4, "patience": None}


def run(recipe: Recipe, out: Path, seed: int = 0, **training: Any) -> None:
    said = recipe.model_copy(update={"seed": seed, "train": recipe.train.model_copy(update=training), "threads": 1})
    train(said, out=out)


def beside(out: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for cell in against(TABLE, [out])["cells"]:
        if cell["column"] == "bit-xor":
            found.setdefault(cell["row"], []).append(cell)
    return found


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recipe]:
    """The recipes of a column whose runs take a blink: every experiment of the table, in this test, is of two steps."""
    from xmodal.papers import against as module

    def short(recipe: Recipe) -> Recipe:
        body = recipe.body.model_copy(update={"layers": "0:1"})
        return recipe.model_copy(update={"train": recipe.train.model_copy(update=TINY), "body": body})

    def small(wanted: Wanted) -> list[Any]:
        from dataclasses import replace

        picked = Wanted(wanted.table, wanted.scale, wanted.protocol, ["bit-xor"])
        made = cells_of(picked)
        return [
            replace(one, recipe=one.recipe and short(one.recipe), base=one.base and short(one.base)) for one in made
        ]

    monkeypatch.setattr(module, "cells_of", small)
    return {cell.row: cell.recipe for cell in small(Wanted(TABLE, "cpu", "published")) if cell.recipe}


def test_a_run_is_put_to_its_cell(cells: dict[str, Recipe], tmp_path: Path) -> None:
    for seed in range(3):
        run(cells["random"], tmp_path, seed)
    found = beside(tmp_path)
    (ours,) = found["random"]
    assert (ours["called"], ours["seeds"], ours["alike"], ours["rate"]) == ("cpu, published", 3, True, 1e-3)
    assert ours["interval"][0] <= ours["mean"] <= ours["interval"][1]
    assert ours["difference"] == pytest.approx(ours["mean"] - 100)
    assert ours["floor"] == pytest.approx(50, abs=5)
    assert ours["legacy"]
    assert [cell["mean"] for cell in found["pretrained"]] == [None]


def test_the_shipped_recipe_is_told_from_the_protocols(cells: dict[str, Recipe], tmp_path: Path) -> None:
    base = load_recipe(shipped()["lu2021/bit_xor_random"])
    body = base.body.model_copy(update={"layers": "0:1"})
    run(base.model_copy(update={"body": body}), tmp_path, **TINY)
    (ours,) = beside(tmp_path)["random"]
    assert ours["called"] == SHIPPED


def test_another_rate_is_another_line_and_is_no_published_one(cells: dict[str, Recipe], tmp_path: Path) -> None:
    run(cells["random"], tmp_path)
    run(cells["random"], tmp_path, lr=0.5)
    one, other = beside(tmp_path)["random"]
    assert (one["called"], other["called"]) == ("cpu, published", "cpu, published, but for train.lr")
    assert (one["seeds"], other["seeds"]) == (1, 1)


def test_a_run_that_only_has_the_name_says_in_what_it_differs(cells: dict[str, Recipe], tmp_path: Path) -> None:
    run(cells["random"], tmp_path, batch_size=8)
    (ours,) = beside(tmp_path)["random"]
    assert ours["called"] == "cpu, published, but for train.batch_size"
    assert not ours["alike"]


def test_tuning_seeds_and_strangers_are_counted_and_left_out(cells: dict[str, Recipe], tmp_path: Path) -> None:
    run(cells["random"], tmp_path, seed=1000)
    train(load_recipe(shipped()["quickstart"], tiny=True), out=tmp_path)
    said = against(TABLE, [tmp_path])
    assert (said["tuning_runs"], said["other_runs"]) == (1, 1)
    assert all(cell["mean"] is None for cell in said["cells"])
    assert len(said["cells"]) == 3 * 7


def test_a_result_changed_by_hand_is_told(cells: dict[str, Recipe], tmp_path: Path) -> None:
    run(cells["random"], tmp_path)
    (file,) = tmp_path.rglob("result.json")
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
    said = against(TABLE, [tmp_path])
    assert "cannot be read" in said["damaged"][0]


def rewrite(file: Path, **said: Any) -> None:
    """Another result, as a run would have written it."""
    write_json(file, sealed({**json.loads(file.read_text()), **said}))


def test_the_floor_is_the_largest(cells: dict[str, Recipe], tmp_path: Path) -> None:
    run(cells["random"], tmp_path)
    (file,) = tmp_path.rglob("result.json")
    rewrite(file, floors={"chance": 0.25, "majority": 0.375, "other": 0.125})
    (ours,) = beside(tmp_path)["random"]
    assert ours["floor"] == 37.5


def test_runs_that_diverged_are_counted(cells: dict[str, Recipe], tmp_path: Path) -> None:
    for seed in range(3):
        run(cells["random"], tmp_path, seed)
    (ours,) = beside(tmp_path)["random"]
    assert ours["diverged"] == 0
    for file in sorted(tmp_path.rglob("result.json"))[:2]:
        rewrite(file, status="diverged", test=None, val=None)
    (ours,) = beside(tmp_path)["random"]
    assert (ours["diverged"], ours["seeds"]) == (2, 1)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_lock_file_of_another_recipe_is_told(cells: dict[str, Recipe], tmp_path: Path, replaced: bool) -> None:
    run(cells["random"], tmp_path / "ours")
    run(cells["random"], tmp_path / "other", batch_size=5)
    (lock,), (other,) = ((tmp_path / name).rglob("recipe.lock.yaml") for name in ("ours", "other"))
    before = lock.read_text()
    lock.write_text(other.read_text() if replaced else before.replace("batch_size: 4", "batch_size: 5"))
    assert lock.read_text() != before
    said = against(TABLE, [tmp_path / "ours"])
    (damaged,) = said["damaged"]
    assert "recipe.lock.yaml is not of the recipe that ran" in damaged
    assert all(cell["mean"] is None for cell in said["cells"])
    assert (said["tuning_runs"], said["other_runs"]) == (0, 0)


def test_no_runs_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no finished run"):
        against(TABLE, [tmp_path])
