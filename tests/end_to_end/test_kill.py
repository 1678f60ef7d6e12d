"""Killed with SIGKILL again and again, a run ends with the bits of one that was never stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from xmodal.recipe.source import shipped
from xmodal.run.result import comparable

RECIPE = """\
extends: {parent}
name: killed
task: {{bits: 3}}
body: {{init: random, layers: "0:1", dropout: 0.1}}
train: {{steps: 40, eval_every: 4, batch_size: 4, patience: null}}
threads: 1
"""


def test_killed_ten_times_and_resumed_is_the_same_to_the_bit(tmp_path: Path) -> None:
    recipe = tmp_path / "killed.yaml"
    recipe.write_text(RECIPE.format(parent=shipped()["bit_xor_fpt"]))

    def go(out: str, *seeds: int) -> list[str]:
        command = [sys.executable, str(Path(__file__).with_name("killer.py")), str(recipe), str(tmp_path / out)]
        done = subprocess.run([*command, *map(str, seeds)], check=True, capture_output=True, text=True, timeout=900)
        return done.stdout.split("\n")[:-1]

    assert go("straight") == ["ended 0"]
    ends = go("killed", *range(100, 118))
    assert ends.count("killed") >= 10, ends
    assert ends[-1] == "ended 0"

    straight, killed = (next((tmp_path / out / "killed").iterdir()) for out in ("straight", "killed"))
    one, two = (json.loads((folder / "result.json").read_text()) for folder in (straight, killed))
    assert one["status"] == "done"
    assert json.dumps(comparable(one)) == json.dumps(comparable(two))
    for name in ("best", "last"):
        left, right = (load_file(folder / "checkpoint" / f"{name}.safetensors") for folder in (straight, killed))
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)
    assert not list(killed.rglob("*.part"))
    steps = [json.loads(line) for line in (killed / "events.jsonl").read_text().splitlines()]
    assert [event["step"] for event in steps if event["event"] == "stepped"] == list(range(1, 41))
