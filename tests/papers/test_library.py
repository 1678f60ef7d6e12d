"""The papers' numbers: word for word those of the transcription, and those that the recipes' headers say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from xmodal.errors import UsageError
from xmodal.papers.library import Found, Table, cpu_scale, find_table, papers, shown, tables
from xmodal.recipe import load_recipe
from xmodal.recipe.source import shipped

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
EVERY = {found.name: found for found in tables()}


def grid(table: Table) -> list[list[Any]]:
    return [row.theirs for row in table.rows.values()]


def transcribed(said: Any) -> list[list[Any]]:
    """The numbers of a transcribed table, a list for each row, whatever form it has."""
    return [value if isinstance(value, list) else [value] for value in said.values()]


TURNED = {"table8", "table11", "table15", "table16", "table21"}
"""Tables that stand the other way round in the transcription: what are rows there are columns here, or one column."""


def reference(paper: str) -> dict[str, Any]:
    file = REFERENCE / f"{paper}.yaml"
    if not file.is_file():
        pytest.skip(f"no {file.name} beside the repository")
    return _numbers(yaml.safe_load(file.read_text(encoding="utf-8")))


def _numbers(said: Any) -> Any:
    """YAML 1.1 takes 1.0e4 for text."""
    if isinstance(said, dict):
        return {key: _numbers(value) for key, value in said.items()}
    if isinstance(said, list):
        return [_numbers(value) for value in said]
    return float(said) if isinstance(said, str) and re.fullmatch(r"[\d.]+e[\d]+", said) else said


@pytest.mark.parametrize("name", EVERY)
def test_the_numbers_are_those_of_the_transcription(name: str) -> None:
    found = EVERY[name]
    said = reference(found.paper_name)[found.table.key]
    ours = grid(found.table)
    if found.table_name in TURNED - {"table15", "table21"}:
        # One column of layers by start, or of starts by layers, row after row.
        assert [row[0] for row in ours] == [number for row in transcribed(said) for number in row]
    elif found.table_name in TURNED:
        assert list(said) == found.table.columns
        assert [list(column) for column in zip(*ours, strict=True)] == transcribed(said)
    elif found.table_name == "table10":
        assert ours == [[said["listops"], said["cifar10-lra"]]]
        assert said["speedup_per_epoch_after_first"] in found.table.about
    elif found.table_name == "table12":
        assert [row[0] for row in ours] == [value for start in said.values() for value in start.values()]
    else:
        assert ours == transcribed(said)
        names = [str(name) for name in said]
        assert list(found.table.rows) == names


@pytest.mark.parametrize("paper", papers())
def test_no_table_of_the_transcription_is_left_out(paper: str) -> None:
    said = reference(paper)
    assert {key for key in said if key.startswith("table")} == {table.key for table in papers()[paper].tables.values()}
    assert said.get("findings", []) == papers()[paper].findings
    digits = re.findall(r"[\d.]+e?-?\d*", papers()[paper].protocol.get("batch_size", ""))
    assert all(digit in str(said["protocol"]["batch_size"]) for digit in digits)
    assert "not checked against the" in papers()[paper].provenance


def test_a_number_is_shown_as_it_stands() -> None:
    assert [shown(*said) for said in ((100, None), (98.0, None), (4e5, None), (54.7, 1.4))] == [
        "100",
        "98.0",
        "400000",
        "54.7 ±1.4",
    ]


@pytest.mark.parametrize("name", [name for name, one in EVERY.items() if one.reproducible() and "lu2021" in name])
def test_every_cell_is_a_shipped_recipe_whose_header_says_the_same_number(name: str) -> None:
    found, compared = EVERY[name], 0
    for row in found.table.rows:
        for column in found.table.columns:
            recipe = found.recipe_of(row, column)
            if recipe is None or found.runs_of(column) != column:
                continue
            assert recipe in shipped()
            header = shipped()[recipe].read_text(encoding="utf-8")
            if found.table_name in re.sub(r"s? (\d)", r"\1", header) and (
                said := re.search(r"reports ([\d.]+) %", header)
            ):
                assert float(said[1]) == found.theirs(row, column)[0], (row, column)
                compared += 1
    assert compared or found.table_name not in ("table14", "table16")


def test_steps_are_no_fewer_than_those_to_convergence() -> None:
    found = find_table("lu2021/table6")
    for column in found.table.columns:
        steps = load_recipe(shipped()[f"lu2021/{found.paper.stems[column]}_fpt"]).train.steps
        assert steps >= max(found.theirs(row, column)[0] for row in found.table.rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": {"a": {"theirs": [1.0]}}}, "row a has 1 numbers for 2 columns"),
        ({"rows": {"a": {"theirs": [1.0, [1.0]]}}}, "a mean and its standard error"),
        ({"rows": {"a": {"theirs": [1.0, 2.0], "cells": {"z": {"note": "x"}}}}}, "speaks of z"),
        ({"rows": {"a": {"theirs": ["1", 2.0]}}}, "valid number"),
        ({"colums": []}, "Extra inputs"),
    ],
)
def test_a_table_with_a_fault_is_refused(change: dict[str, Any], said: str) -> None:
    whole = {"key": "k", "about": "a", "columns": ["x", "y"], "rows": {"a": {"theirs": [1.0, 2.0]}}}
    assert Table.model_validate(whole).unit == "percent"
    with pytest.raises(ValidationError, match=said):
        Table.model_validate({**whole, **change})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("lu2021/tabel2", "lu2021 has no table 'tabel2'; did you mean 'table2'?"),
        ("lu2012/table2", "no paper 'lu2012'; did you mean 'lu2021/table"),
        ("rothermel", "no paper 'rothermel'; did you mean 'rothermel2021'?"),
        ("lu2021", "lu2021 is a paper, and a table is wanted"),
        ("lu2021/", "a table is wanted"),
        ("", "no paper ''"),
    ],
)
def test_what_is_no_table_is_explained(asked: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_table(asked)
    assert said in caught.value.what
    assert caught.value.why
    assert caught.value.fix


def test_a_cell_has_its_own_recipe_and_note() -> None:
    found = find_table("lu2021/table1")
    assert isinstance(found, Found)
    assert found.recipe_of("fpt", "cifar10") == "lu2021/cifar10_fpt_large"
    assert found.note_of("fpt", "cifar10").startswith("the 36-layer model")
    assert found.recipe_of("fpt", "remote-homology") == "lu2021/homology_fpt"
    table = find_table("lu2021/table7")
    assert table.recipe_of("fpt-12-layers", "cifar10-lra-train") == table.recipe_of("fpt-12-layers", "cifar10-lra")


def test_the_small_scale_knows_every_body_and_task_of_the_recipes() -> None:
    scale = cpu_scale()
    for found in EVERY.values():
        for row in found.table.rows:
            for column in found.table.columns:
                if recipe := found.recipe_of(row, column):
                    body = load_recipe(shipped()[recipe]).body.name
                    assert (body in scale.bodies) != (body in scale.absent)
                    assert found.runs_of(column) in scale.tasks
