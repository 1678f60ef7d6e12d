"""What is run in the place of a paper's cell, and that nothing of how it differs is left unsaid."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from xmodal import sources
from xmodal.errors import MissingError, RecipeError, UsageError
from xmodal.papers.cells import ProtocolName, ScaleName, Wanted, cells_of, changed, differences, enforce_here, lacking
from xmodal.papers.library import find_table, tables
from xmodal.recipe import load_recipe
from xmodal.recipe.source import shipped

HOMOLOGY = Path(__file__).parents[1] / "data" / "homology"
WHOLE = [found.name for found in tables() if found.reproducible()]


def wanted(name: str = "lu2021/table2", **said: Any) -> Wanted:
    return Wanted(find_table(name), **said)


@pytest.mark.parametrize("protocol", get_args(ProtocolName))
@pytest.mark.parametrize("scale", get_args(ScaleName))
@pytest.mark.parametrize("name", WHOLE)
def test_every_cell_is_a_recipe_or_says_why_not_and_every_key_that_differs_is_told(
    name: str, scale: ScaleName, protocol: ProtocolName
) -> None:
    cells = cells_of(wanted(name, scale=scale, protocol=protocol))
    told = {(key.key, *cell) for key in differences(cells) for cell in key.cells}
    assert any(cell.recipe for cell in cells)
    for cell in cells:
        assert bool(cell.recipe) != bool(cell.why)
        if cell.recipe and cell.base:
            assert cell.recipe.task.name == cell.runs_in
            assert cell.recipe.name.endswith("-cpu") == (scale == "cpu")
            keys = {key for key, _, _ in changed(cell.base, cell.recipe)}
            assert keys == {key for key, row, column in told if (row, column) == (cell.row, cell.column)}
            assert bool(cell.recipe.faults) == (protocol == "published" and name.startswith("lu2021"))


def by_row(said: Wanted) -> dict[str, Any]:
    return {cell.row: cell.recipe for cell in cells_of(said)}


def test_as_published_the_last_step_counts_and_the_known_faults_are_on() -> None:
    for made in by_row(wanted(columns=["listops"], scale="full")).values():
        assert made.train.eval_every == made.train.steps
        assert made.train.patience is None
        assert made.train.lr == 1e-3
        legacy = made.legacy
        assert (legacy.listops_tokens, legacy.read_padding) == ("512-without-brackets", True)
        assert legacy.sampled_evaluation == 25
        assert made.body.dropout == (0.0 if made.body.name == "vit-b16" else 0.1)
    assert by_row(wanted(columns=["mnist"], scale="full"))["random"].legacy.read_padding is None


def test_as_published_gpt2_starts_as_it_did_then() -> None:
    """The papers' random GPT-2 was not scaled: a factor of 4.9 in what writes to the residual stream of 12 blocks."""
    for name in WHOLE:
        for cell in cells_of(wanted(name, scale="full")):
            for made in filter(None, (cell.recipe, cell.before)):
                assert made.body.init != "random" or not made.body.name.startswith("gpt2"), (name, cell.row)
        audited = [cell.recipe for cell in cells_of(wanted(name, scale="full", protocol="audited")) if cell.recipe]
        assert "random:flat" not in {made.body.init for made in audited}
    rows = by_row(wanted("lu2021/table8", scale="full"))
    assert {rows[f"random-{layers}"].body.init for layers in (12, 24, 36)} == {"random:flat"}
    assert by_row(wanted("lu2021/table21", columns=["mnist"], scale="full"))["output"].body.init == "random:flat"
    own = by_row(wanted("lu2021/table8", scale="full", overrides=["body.init=permuted"], rows=["random-12"]))
    assert own["random-12"].body.init == "permuted"


def test_as_published_embeddings_start_with_a_deviation_of_one() -> None:
    for task in ("listops", "remote-homology"):
        rows = by_row(wanted(columns=[task], scale="full")).values()
        assert {(made.tokenizer.init, made.tokenizer.std) for made in rows} == {("normal", 1.0)}


def test_audited_no_fault_is_on() -> None:
    for made in by_row(wanted("lu2021/table13", columns=["listops"], protocol="audited", scale="full")).values():
        assert made.legacy is None
        assert made.body.dropout == 0
        assert made.train.patience


def test_the_small_scale_changes_the_body_and_keeps_the_arm() -> None:
    rows = by_row(wanted("lu2021/table9", columns=["bit-xor"]))
    assert {row: made.body.init for row, made in rows.items()} == {
        "pretrained": "pretrained",
        "statistics": "statistics",
        "random": "random",
    }
    assert {made.body.name for made in rows.values()} == {"minilm-l6"}
    specs = {row: made.freeze for row, made in by_row(wanted("lu2021/table13", columns=["mnist"])).items()}
    assert specs["+both"] == "body - ln - pos - attn - ffn"
    assert by_row(wanted("lu2021/table1", columns=["cifar10"]))["full"].body.layers == "0:3"


def test_a_row_that_would_be_another_again_is_told() -> None:
    cells = {cell.row: cell for cell in cells_of(wanted("lu2021/table17", columns=["listops"]))}
    assert cells["gpt2"].recipe
    assert cells["bert"].why == "at this scale it is the same experiment as 'gpt2'"
    assert "has no stand-in at this scale" in cells["longformer"].why
    assert all(cell.recipe for cell in cells_of(wanted("lu2021/table17", columns=["listops"], scale="full")))


def test_rothermels_arms() -> None:
    rows = by_row(wanted("rothermel2021/table1", columns=["listops"], scale="full"))
    said = {row: (made.body.init, made.freeze, made.train.batch_size, made.train.steps) for row, made in rows.items()}
    assert said == {
        "frozen-random": ("random:flat", "body - ln - pos", 8, 300_000),
        "frozen-pretrained": ("pretrained", "body - ln - pos", 8, 300_000),
        "unfrozen-random": ("random:flat", "none", 8, 300_000),
        "unfrozen-pretrained": ("pretrained", "none", 8, 300_000),
    }
    assert len({made.name for made in rows.values()}) == 4


def test_the_body_that_another_starts_from_comes_first() -> None:
    (cell,) = cells_of(wanted(columns=["mnist"], rows=["bit-memory"]))
    assert cell.before
    assert (cell.before.task.name, cell.before.freeze, cell.before.body.name) == ("bit-memory", "none", "minilm-l6")


def test_overrides_hold_for_all_or_for_one_column() -> None:
    said = wanted(columns=["mnist", "bit-xor"], rows=["random"], overrides=["train.lr=0.5", "bit-xor:task.bits=4"])
    lr = {cell.column: cell.recipe.train.lr for cell in cells_of(said) if cell.recipe}
    assert lr == {"bit-xor": 0.5, "mnist": 0.5}
    assert {key.key: key.ours for key in differences(cells_of(said))}["task.bits"] == 4
    with pytest.raises(RecipeError, match="no key 'bits'"):
        cells_of(wanted(columns=["mnist"], overrides=["task.bits=4"]))


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"columns": ["bitxor"]}, "lu2021/table2 has no task 'bitxor'; did you mean 'bit-xor'?"),
        ({"rows": ["langage"]}, "lu2021/table2 has no row 'langage'; did you mean 'language'?"),
        ({"name": "lu2021/table11"}, "lu2021/table11 has no recipes"),
    ],
)
def test_what_is_not_in_the_table_is_explained(said: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError) as caught:
        cells_of(wanted(**said))
    assert what in caught.value.what
    assert caught.value.why
    assert caught.value.fix


# What is on this machine


def test_what_is_missing_is_named_with_what_gets_it() -> None:
    said = wanted(scale="full", columns=["bit-xor", "cifar10", "remote-homology"])
    cells = cells_of(said)
    assert set(lacking(cells)) == {
        "xmodal get body gpt2, from the hub",
        "xmodal get body vit-b16, from the hub",
        "xmodal get data cifar10",
        "-o remote-homology:task.path=FOLDER with the files of remote-homology, for there is no data/remote-homology",
    }
    with pytest.raises(MissingError) as caught:
        enforce_here(said, cells)
    assert caught.value.exit_code == 3
    assert "xmodal get body gpt2, from the hub" in caught.value.fix
    assert "--scale cpu" in caught.value.fix
    assert "body gpt2 for language on bit-xor" in caught.value.why


def test_what_can_run_without_it_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    said = wanted(columns=["bit-xor"])
    with pytest.raises(MissingError) as caught:
        enforce_here(said, cells_of(said))
    assert "or leave out what needs it: --row random --row bit-memory" in caught.value.fix
    enforce_here(said, cells_of(wanted(columns=["bit-xor"], rows=["random", "bit-memory"])))
    monkeypatch.setattr(sources, "status", lambda *_: "here")
    enforce_here(said, cells_of(said))
    path = wanted(columns=["remote-homology"], overrides=[f"remote-homology:task.path={HOMOLOGY}"])
    enforce_here(path, cells_of(path))


@pytest.mark.parametrize("name", WHOLE)
def test_tiny_forms_need_nothing_but_data(name: str) -> None:
    cells = cells_of(wanted(name, tiny=True))
    assert not [need for need in lacking(cells) if "body" in need]
    assert all(cell.recipe.train.steps == 2 for cell in cells if cell.recipe)
    assert load_recipe(shipped()["lu2021/bit_xor_fpt"]).train.steps > 2
