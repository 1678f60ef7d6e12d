"""A batch in parts, and a batch shared by processes, make the same step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from xmodal.errors import RecipeError
from xmodal.recipe import Recipe, load_recipe
from xmodal.run.result import read_result
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


RECIPE = """
name: shared
task: {name: bit-xor, bits: 3}
tokenizer: {name: sequence, init: normal, std: 0.1}
body: {name: minilm-l6, init: random, layers: "0:1"}
head: {name: per-position}
train: {lr: 3e-3, batch_size: 6, steps: 6, eval_every: 3}
device: cpu
precision: float32
threads: 1
"""


def launched(recipe: Path, out: Path, *more: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """`accelerate launch` as the documentation has it; the recipe says that it is on the CPU."""
    words = ["--multi_gpu", "--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no"]
    words += ["--dynamo_backend", "no", "-m", "xmodal", "train", str(recipe), "--out", str(out), *more]
    command = [sys.executable, "-m", "accelerate.commands.launch", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def result_of(out: Path) -> dict[str, Any]:
    (folder,) = (out / "shared").iterdir()
    result = read_result(folder)
    assert result
    return result


def test_two_processes_make_the_run_of_one(tmp_path: Path) -> None:
    recipe = tmp_path / "shared.yaml"
    recipe.write_text(RECIPE)
    one = train(load_recipe(recipe), out=tmp_path / "one")
    ended = launched(recipe, tmp_path / "two")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("shared s0") == 1  # one of them speaks
    two = train(load_recipe(recipe), out=tmp_path / "two")
    assert not two.ran
    close(one, two)
    folder = two.folder
    assert json.loads((folder / "environment.json").read_text())["processes"] == 2
    again = launched(recipe, tmp_path / "two")
    assert again.returncode == 0
    assert "nothing to do" in again.stderr + again.stdout


def test_two_processes_go_on_where_one_was(tmp_path: Path) -> None:
    recipe, told = tmp_path / "shared.yaml", list[int]()
    recipe.write_text(RECIPE)
    whole = train(load_recipe(recipe), out=tmp_path / "whole")
    train(
        load_recipe(recipe),
        out=tmp_path / "cut",
        listeners=[lambda e: told.append(e.step)],
        stop=lambda: max(told, default=0) > 3,
    )
    ended = launched(recipe, tmp_path / "cut", "--resume")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert result_of(tmp_path / "cut")["test"]["accuracy"] == whole.result["test"]["accuracy"]
    assert result_of(tmp_path / "cut")["test"]["loss"] == pytest.approx(whole.result["test"]["loss"], abs=1e-5)


def test_a_batch_too_small_for_all_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "shared.yaml"
    recipe.write_text(RECIPE.replace("batch_size: 6", "batch_size: 1"))
    ended = launched(recipe, tmp_path / "two")
    assert ended.returncode != 0
    assert "a batch has 1 samples" in ended.stderr
    assert not (tmp_path / "two").exists()


def test_processes_with_different_recipes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text(RECIPE)
    program = tmp_path / "other.py"
    program.write_text(
        "import os, sys\n"
        "from xmodal.__main__ import main\n"
        f"sys.argv = ['xmodal', 'train', {str(tmp_path / 'shared.yaml')!r}, '--seed', os.environ['RANK']]\n"
        "main()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(program)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert ended.returncode != 0
    assert "the processes of this run were given different recipes" in ended.stderr
    assert not (tmp_path / "runs").exists()
