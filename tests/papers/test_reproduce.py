"""Tables run from end to end on next to nothing: what runs, what is written, and what goes wrong."""

from __future__ import annotations

import json
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pages import keys, page, sections

from xmodal.errors import MissingError, UsageError
from xmodal.papers import reproduce as module
from xmodal.papers.against import against
from xmodal.papers.cells import Wanted
from xmodal.papers.library import Found, Table, find_table
from xmodal.papers.reproduce import Plan, Reproduced, make_plan, reproduce
from xmodal.run import session
from xmodal.run.result import sealed
from xmodal.run.whole import write_json

ONE = ("threads=1",)


def plan(name: str = "lu2021/table2", seeds: str = "", **said: Any) -> Plan:
    options = {"tiny": True, "columns": ["bit-xor"], "overrides": ONE, **said}
    return make_plan(Wanted(find_table(name), **options), seeds)


def test_a_table_is_written_and_nothing_runs_twice(tmp_path: Path) -> None:
    made = reproduce(plan(), out=tmp_path)
    assert (made.whole, made.ran) == (True, 4)
    assert made.file.parent.parent == tmp_path / "reproductions"
    assert json.loads(made.file.read_text()) == json.loads(json.dumps(made.result))
    cells = made.result["cells"]
    assert [cell["row"] for cell in cells] == ["language", "random", "bit-memory", "vision"]
    for cell in cells:
        assert (cell["status"], cell["seeds"], cell["interval"], cell["rate"]) == ("done", 1, None, 1e-3)
        assert cell["difference"] == cell["mean"] - 100
        assert (tmp_path / cell["runs"][0]["folder"] / "result.json").is_file()
    assert made.result["floors"]["bit-xor"]["chance"] == 50
    assert len(made.result["legacy"]) == 1
    assert all((tmp_path / study).is_file() for study in made.result["studies"])
    first = made.file.read_bytes()
    again = reproduce(plan(), out=tmp_path)
    assert (again.ran, again.file, again.file.read_bytes()) == (0, made.file, first)
    elsewhere = reproduce(plan(), out=tmp_path / "elsewhere")
    assert elsewhere.file.read_bytes() == first


def test_every_choice_is_a_table_of_its_own(tmp_path: Path) -> None:
    plans = [plan(), plan(protocol="audited"), plan(rows=["random"]), plan(seeds="2"), plan(overrides=["train.lr=1"])]
    assert len({one.digest() for one in plans}) == len(plans)
    assert plan().digest() == plan().digest()


def test_audited_rates_are_tuned_on_other_seeds(tmp_path: Path) -> None:
    asked = plan(protocol="audited", rows=["language", "random"])
    (part,) = asked.parts
    assert len(part.design.rates) == 5
    assert not {*part.design.tuning} & {*part.design.report}
    made = reproduce(asked, out=tmp_path)
    for cell in made.result["cells"]:
        assert cell["seeds"] == 3
        assert cell["interval"][0] <= cell["mean"] <= cell["interval"][1]
    study = json.loads((tmp_path / made.result["studies"][0]).read_text())
    assert study["comparisons"][0]["verdict"]
    assert made.result["legacy"] == []


def test_as_published_every_arm_has_its_own_rate() -> None:
    parts = plan("lu2021/table1").parts
    assert [(part.design.rates, [cell.row for cell in part.cells]) for part in parts] == [
        ((1e-3,), ["fpt", "full"]),
        ((3e-4,), ["lstm"]),
    ]
    (swept,) = plan("rothermel2021/table1", columns=["listops"]).parts
    assert swept.design.rates == (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    assert len(swept.design.report) == 3


def test_what_cannot_be_run_is_missing_with_its_reason(tmp_path: Path) -> None:
    made = reproduce(plan("lu2021/table17", columns=["listops"]), out=tmp_path)
    cells = {cell["row"]: cell for cell in made.result["cells"]}
    assert cells["gpt2"]["status"] == "done"
    assert (cells["t5-encoder"]["status"], cells["t5-encoder"]["mean"]) == ("missing", None)
    assert "no stand-in" in cells["t5-encoder"]["why"]
    assert cells["t5-encoder"]["theirs"] == 15.4


def test_a_run_that_fails_is_a_result_of_its_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = session.train

    def train(recipe: Any, **said: Any) -> Any:
        if "vision" in recipe.name:
            raise RuntimeError("out of memory")
        return real(recipe, **said)

    monkeypatch.setattr(session, "train", train)
    made = reproduce(plan(), out=tmp_path)
    cells = {cell["row"]: cell for cell in made.result["cells"]}
    assert (cells["vision"]["status"], cells["vision"]["mean"]) == ("failed", None)
    assert "RuntimeError: out of memory" in cells["vision"]["why"]
    assert cells["language"]["status"] == "done"
    monkeypatch.setattr(session, "train", real)
    assert reproduce(plan(), out=tmp_path).ran == 1


def test_a_table_that_is_interrupted_goes_on(tmp_path: Path) -> None:
    asked = plan(columns=["bit-xor", "bit-memory"])
    whole = reproduce(asked, out=tmp_path / "whole")
    asks = count()
    broken = reproduce(asked, out=tmp_path / "broken", stop=lambda: next(asks) > 30)
    assert not broken.whole
    assert {cell["status"] for cell in broken.result["cells"]} >= {"missing"}
    assert "its column has not run to its end" in {cell["why"] for cell in broken.result["cells"]}
    done = reproduce(asked, out=tmp_path / "broken")
    assert done.whole
    assert done.file == tmp_path / "broken" / whole.file.relative_to(tmp_path / "whole")
    assert done.file.read_bytes() == whole.file.read_bytes()


def test_versions_that_differ_between_the_studies_of_a_table_are_told(tmp_path: Path) -> None:
    asked = plan("lu2021/table1", rows=["fpt", "lstm"])
    made = reproduce(asked, out=tmp_path)
    assert made.result["mixed"] == {}
    (lstm,) = (cell for cell in made.result["cells"] if cell["row"] == "lstm")
    for run in lstm["runs"]:
        file = tmp_path / run["folder"] / "environment.json"
        said = json.loads(file.read_text())
        write_json(file, sealed({**said, "versions": {**said["versions"], "torch": "0.4.1"}}))
    again = reproduce(asked, out=tmp_path)
    assert again.ran == 0
    studies = [json.loads((tmp_path / study).read_text()) for study in again.result["studies"]]
    assert [study["mixed"] for study in studies] == [{}, {}]
    assert again.result["mixed"] == {"torch": ["0.4.1", version("torch")]}


def test_a_whole_table_that_is_interrupted_keeps_its_numbers(tmp_path: Path) -> None:
    asked = plan(columns=["bit-xor", "bit-memory"])
    whole = reproduce(asked, out=tmp_path)
    assert all(cell["mean"] is not None for cell in whole.result["cells"])
    first = whole.file.read_bytes()
    broken = reproduce(asked, out=tmp_path, stop=lambda: True)
    assert (broken.whole, broken.ran, broken.file) == (False, 0, whole.file)
    assert broken.result == whole.result
    assert broken.file.read_bytes() == first


# A body that another run makes

SMALL = (
    "train.steps=2", "bit-memory:task.bits=100", "bit-memory:task.val=4", "bit-memory:task.test=4", "body.layers='0:1'",
    *ONE,
)  # fmt: skip


def started(**said: Any) -> Plan:
    return plan(tiny=False, rows=["random", "bit-memory"], overrides=SMALL, **said)


def test_a_body_is_trained_first_and_frozen_then(tmp_path: Path) -> None:
    assert started().preview()["before"] == ["lu2021-bit-memory-full-cpu"]
    made = reproduce(started(), out=tmp_path)
    assert made.ran == 3
    cell = made.result["cells"][1]
    assert (cell["row"], cell["status"]) == ("bit-memory", "done")
    body = json.loads((tmp_path / cell["runs"][0]["folder"] / "body.json").read_text())
    assert body["source"].startswith(f"run:{tmp_path / 'lu2021-bit-memory-full-cpu'}")
    assert reproduce(started(), out=tmp_path).ran == 0
    moved = reproduce(started(), out=tmp_path / "other")
    assert moved.file.read_bytes() == made.file.read_bytes()


def test_cells_of_such_a_body_keep_their_numbers_too(tmp_path: Path) -> None:
    whole = reproduce(started(), out=tmp_path)
    broken = reproduce(started(), out=tmp_path, stop=lambda: True)
    assert not broken.whole
    assert broken.result["cells"] == whole.result["cells"]


def test_where_that_body_fails_its_cells_do_and_the_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = session.train

    def train(recipe: Any, **said: Any) -> Any:
        if recipe.freeze == "none":
            raise RuntimeError("out of memory")
        return real(recipe, **said)

    monkeypatch.setattr(session, "train", train)
    made = reproduce(started(), out=tmp_path)
    assert [cell["status"] for cell in made.result["cells"]] == ["done", "failed"]
    assert "lu2021-bit-memory-full-cpu failed: RuntimeError: out of memory" in made.result["cells"][1]["why"]


def test_nothing_is_run_where_something_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        reproduce(plan(tiny=False), out=tmp_path)
    assert list(tmp_path.glob("lu2021*")) == []


def test_seeds_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="no seeds"):
        plan(seeds="some")


def test_the_preview_counts_what_the_studies_do() -> None:
    said = plan(protocol="audited").preview()
    assert said["runs"] == 4 * (5 + 3)
    assert said["most_steps"] == 2 * said["runs"]
    assert module.TABLE == "table.json"


def trained_table() -> Found:
    """As table 7, on a task that needs no data."""
    row = {"theirs": [50, 97], "recipe": "lu2021/{task}_random"}
    columns = {"columns": ["bit-xor", "bit-xor-train"], "trained": {"bit-xor-train": "bit-xor"}}
    table = Table.model_validate({"key": "key", "about": "Test and train accuracy", "rows": {"random": row}} | columns)
    return find_table("lu2021/table2")._replace(table_name="trained", table=table)


@pytest.fixture
def on_training(tmp_path: Path) -> tuple[Plan, Reproduced]:
    found = trained_table()
    here = make_plan(Wanted(found, tiny=True, overrides=[*ONE, "train.score_train=8"]))
    return here, reproduce(here, out=tmp_path)


def test_accuracy_on_training_is_read_off_the_runs_of_its_test_accuracy(
    on_training: tuple[Plan, Reproduced], tmp_path: Path
) -> None:
    here, made = on_training
    assert (here.preview()["runs"], made.ran) == (1, 1)
    test, trained = made.result["cells"]
    assert (test["column"], trained["column"]) == ("bit-xor", "bit-xor-train")
    assert test["runs"] == trained["runs"]
    result = json.loads((tmp_path / trained["runs"][0]["folder"] / "result.json").read_text())
    assert test["mean"] == 100 * result["test"]["accuracy"]
    assert trained["mean"] == 100 * result["train"]["accuracy"]
    assert trained["difference"] == trained["mean"] - 97.0
    assert result["train"]["items"] == 8
    assert plan("lu2021/table7", columns=["cifar10-lra-train"]).preview()["runs"] == 3


def test_a_run_stands_beside_its_accuracy_on_training(on_training: tuple[Plan, Reproduced], tmp_path: Path) -> None:
    found = against(trained_table(), [tmp_path])["cells"]
    assert {cell["column"]: cell["mean"] for cell in found} == {
        cell["column"]: cell["mean"] for cell in on_training[1].result["cells"]
    }


def test_the_reference_has_every_key_of_a_table(tmp_path: Path) -> None:
    made = reproduce(plan(rows=["random"]), out=tmp_path).result
    text = sections(page("reference/papers.md"), 2)["table.json"]
    assert keys(text.split("### ")[0]) == list(made)
    assert set(keys(sections(text, 3)["Cells"])) == made["cells"][0].keys()
