"""A result is read by attribute, and is the same as the file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import keys, page, sections
from pydantic import ValidationError

from xmodal.recipe import Recipe
from xmodal.run.result import CHANGED, Result, Scores, mixed, read_result
from xmodal.run.session import Run, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    import xmodal

    return train(xmodal.load("quickstart", tiny=True), out=tmp_path_factory.mktemp("runs"))


def test_attributes_and_keys_say_the_same(run: Run) -> None:
    result, said = run.result, json.loads((run.folder / "result.json").read_text())
    assert result.to_dict() == said == read_result(run.folder)
    assert result.test
    assert result.test.accuracy == result["test"]["accuracy"] == said["test"]["accuracy"]
    assert result.val
    assert result.val.step == result.best_step == said["best_step"]
    assert result.schema_version == said["schema"] == 1
    for name in Result.model_fields:
        if name in said and name not in ("test", "val"):
            assert getattr(result, name) == said[name]


def test_what_was_read_cannot_be_changed(run: Run) -> None:
    said = run.result.to_dict()
    said["test"]["accuracy"] = 1.5
    assert run.result["test"]["accuracy"] <= 1
    with pytest.raises(ValidationError, match="frozen"):
        run.result.status = "failed"
    with pytest.raises(KeyError):
        run.result["accuracy"]


def test_a_run_that_is_there_has_the_same_result(run: Run, tmp_path: Path) -> None:
    import xmodal

    again = train(xmodal.load("quickstart", tiny=True), out=run.folder.parents[1])
    assert not again.ran
    assert again.result == run.result
    assert pickle.loads(pickle.dumps(run.result)) == run.result  # between processes of a study


def test_an_interrupted_run_has_a_result_too(small: Callable[..., Recipe], out: Path) -> None:
    result = train(small(), out=out, stop=lambda: True).result
    assert (result.status, result.test, result.val, result.error) == ("interrupted", None, None, "")


def test_every_field_is_documented_and_in_the_reference() -> None:
    text = sections(page("reference/run-folder.md"), 2)["result.json"]
    fields = {field.alias or name for name, field in Result.model_fields.items()}
    assert fields == set(keys(text.split("### ")[0]))
    assert {*Scores.model_fields} < set(keys(sections(page("reference/run-folder.md"), 3)["Scores"]))
    for model in (Result, Scores):
        assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_what_was_changed_in_every_run_is_told_as_well() -> None:
    one, other = {"torch": "2.14.1"}, {"torch": "2.9.0"}
    assert mixed([one, one]) == {}
    assert mixed([one, other]) == {"torch": ["2.14.1", "2.9.0"]}
    assert mixed([{"torch": CHANGED}, {"torch": CHANGED}]) == {"torch": [CHANGED]}
