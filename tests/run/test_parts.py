"""A batch in parts, and a batch shared by processes, make the same step."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from xmodal.errors import RecipeError
from xmodal.recipe import Recipe
from xmodal.run.session import Run, train

Make = Callable[..., Recipe]


def close(one: Run, two: Run) -> None:
    left, right = (load_file(run.folder / "checkpoint/last.safetensors") for run in (one, two))
    assert left.keys() == right.keys()
    for name in left:
        assert torch.allclose(left[name].float(), right[name].float(), atol=1e-5, rtol=1e-4), name
    assert one.result["test"]["accuracy"] == two.result["test"]["accuracy"]


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_a_batch_in_parts_is_the_batch(small: Make, tmp_path: Path, parts: int) -> None:
    whole = train(small("body.dropout=0.0"), out=tmp_path / "whole")
    in_parts = train(small("body.dropout=0.0", f"train.accumulate={parts}"), out=tmp_path / "parts")
    close(whole, in_parts)
    assert in_parts.result["recipe_digest"] != whole.result["recipe_digest"]


def test_more_parts_than_samples_are_refused(small: Make) -> None:
    with pytest.raises(RecipeError, match="accumulate: 5 parts of a batch of 4"):
        small("train.accumulate=5")


def launch(recipe: Path, out: Path, *more: str, processes: int = 2, code: int = 0) -> str:
    """`accelerate launch` on the CPU, as the documentation has it."""
    words = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(processes), "--num_machines", "1"]
    words += [
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "-m",
        "xmodal",
        "train",
        str(recipe),
        "--out",
        str(out),
    ]
    ended = subprocess.run(
        [sys.executable, *words, *more], capture_output=True, text=True, timeout=300, env=os.environ.copy()
    )
    assert (ended.returncode == 0) == (code == 0), ended.stderr[-3000:]
    return ended.stdout + ended.stderr
