"""`train.group_by_length` reaches the batches, where samples differ in length; elsewhere it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from xmodal.errors import UsageError
from xmodal.recipe import load_recipe
from xmodal.recipe.source import shipped
from xmodal.run.bare import bare_loop, endless, task_of
from xmodal.run.job import Asked


def lengths(tmp_path: Path, *more: str) -> list[int]:
    """The spread of lengths in each of some batches."""
    task = "task={name: listops, train: 64, val: 4, test: 4, longer_than: 4, shorter_than: 120, max_length: 120}"
    body = ["body={name: minilm-l6, init: random, layers: '0:1'}", "device=cpu", "train.batch_size=8"]
    recipe = endless(load_recipe(shipped()["listops_fpt"], [task, *body, *more]))
    moves, spreads = bare_loop(recipe, task_of(recipe), tmp_path).moves(), list[int]()
    what = next(moves)
    for _ in range(8):
        while not isinstance(what, Asked):
            what = next(moves)
        assert what.batch.mask is not None
        each = what.batch.mask.sum(dim=1)
        spreads.append(int(each.max() - each.min()))
        what = moves.send(what.alone())
    return spreads


def test_batches_are_alike_in_length(tmp_path: Path) -> None:
    assert sum(lengths(tmp_path, "train.group_by_length=true")) < 0.5 * sum(lengths(tmp_path))


def test_samples_of_one_length_cannot_be_grouped(tmp_path: Path) -> None:
    recipe = endless(load_recipe(shipped()["bit_xor_fpt"], ["body.init=random", "train.group_by_length=true"]))
    with pytest.raises(UsageError, match="cannot be grouped by length"):
        bare_loop(recipe, task_of(recipe), tmp_path)
