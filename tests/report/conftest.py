"""A small study that really ran, once for all tests of reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from xmodal.recipe.source import shipped
from xmodal.report.gather import FoundStudy, gather
from xmodal.study.arms import make_arms
from xmodal.study.design import make_design
from xmodal.study.factors import Asked
from xmodal.study.study import run_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study: two arms, three rates or more, three seeds, in the tiny form of bit-xor."""
    asked = Asked(shipped()["bit_xor_fpt"], freeze=["ffn"], overrides=("threads=1",), tiny=True)
    return run_study(make_design(make_arms(asked), lr="1e-3:1e-2:3"), out=tmp_path_factory.mktemp("runs")).file.parent


@pytest.fixture
def study(finished: Path) -> FoundStudy:
    return gather([finished]).studies[0]


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The same study with its runs, which a test may spoil."""
    shutil.copytree(finished.parent.parent, tmp_path / "runs")
    return tmp_path / "runs" / "studies" / finished.name
