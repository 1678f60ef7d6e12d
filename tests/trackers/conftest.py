"""A recipe that runs in a blink, with three looks at validation."""

from __future__ import annotations

import pytest

import xmodal
from xmodal.recipe import Recipe


@pytest.fixture
def recipe() -> Recipe:
    return xmodal.load("quickstart", overrides={"train.steps": 6, "train.eval_every": 2, "threads": 1}, tiny=True)
