"""A recipe that runs in a blink: one random block of minilm-l6 on three-bit xor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped

SMALL = (
    "train.steps=12",
    "train.eval_every=4",
    "train.batch_size=4",
    "train.patience=null",
    "body.dropout=0.1",
    "threads=1",
)


@pytest.fixture
def small() -> Callable[..., Recipe]:
    def make(*overrides: str, seed: int = 0) -> Recipe:
        return load_recipe(shipped()["bit_xor_fpt"], [*SMALL, *overrides], seed=seed, tiny=True)

    return make


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs"
