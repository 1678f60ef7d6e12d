"""The code blocks of how-to pages do what they say, one after another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pages import DOCS, FENCE

EXPORT = DOCS / "how-to" / "export-a-model.md"
TRACK = DOCS / "how-to" / "track-runs.md"


def run_blocks(page: Path, folder: Path, *, shell: bool) -> dict[str, Any]:
    """Runs the blocks of a page in `folder`, and gives the names that its Python has at the end."""
    names: dict[str, Any] = {}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    ran = {"sh": 0, "python": 0}
    for block in FENCE.finditer(page.read_text(encoding="utf-8")):
        ran[block["info"]] += 1
        if block["info"] == "python":
            exec(compile(block["body"], f"{page.name}, block {ran['python']}", "exec"), names)
        elif shell:
            environment = {**os.environ, "PATH": path, "PYTHONPATH": str(DOCS.parent)}
            command = block["body"].replace("xmodal ", f"{sys.executable} -m xmodal ")
            subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, check=True, timeout=300)
    assert ran["python"] >= 2
    return names


def test_export_a_model(tmp_path: Path, tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_gpt2, tmp_path / "my-gpt2")
    monkeypatch.chdir(tmp_path)
    names = run_blocks(EXPORT, tmp_path, shell=True)
    assert names["logits"].shape == (4, 3, 2)
    assert {site.partition(".")[0] for site in names["layers"]} == {"input", "head"}
    norm = names["mine"].ln_f.weight
    assert norm.equal(names["model"].body.model.ln_f.weight)


def test_track_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    names = run_blocks(TRACK, tmp_path, shell=False)
    assert list(names["run"].folder.glob("tensorboard/events*"))
    assert len(names["losses"]) == names["recipe"].train.steps
