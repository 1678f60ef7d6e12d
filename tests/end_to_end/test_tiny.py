"""The tiny form of every shipped recipe runs from end to end: the same path on next to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from xmodal.recipe import load_recipe
from xmodal.recipe.source import shipped
from xmodal.run.session import train

HOMOLOGY = Path(__file__).parents[1] / "data" / "homology"


@pytest.mark.weights("vit-s14-saliency")
@pytest.mark.parametrize("name", shipped())
def test_it_runs_for_two_steps(name: str, tmp_path: Path) -> None:
    own = [f"task.path={HOMOLOGY}"] if "homology" in name else []
    result = train(load_recipe(shipped()[name], own, tiny=True), out=tmp_path).result
    assert (result["status"], result["steps"]) == ("done", 2)
    assert 0 <= result["test"]["accuracy"] <= 1
    assert result["floors"]
