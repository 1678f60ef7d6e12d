"""The how-tos "Add a tokenizer", "Add a head" and "Add a task", done as the pages say, each in folders of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from built import install
from pages import DOCS, ROOT, blocks, run_page, scripts, title

PAGES = ["add-a-tokenizer", "add-a-head", "add-a-task"]


def of(name: str) -> Path:
    return DOCS / "how-to" / f"{name}.md"


@pytest.mark.parametrize("name", PAGES)
def test_the_file_is_short_and_one(name: str) -> None:
    (code,) = [block["body"] for block in blocks(of(name)) if title(block).startswith("xmodal_")]
    assert len([line for line in code.splitlines() if line.strip()]) <= 60


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_the_page_does_what_it_shows(name: str, tmp_path: Path) -> None:
    for folder in ("source", "target", "work"):
        (tmp_path / folder).mkdir()
    install(of(name), tmp_path / "source", tmp_path / "target")
    found = [block for block in scripts(of(name)) if block["body"] != "pip install .\n"]
    assert len(found) == len(scripts(of(name))) - 1
    assert len(found) >= 4
    assert "--tiny\n" in "".join(block["body"] for block in found) or "--tiny --json" in of(name).read_text()
    seen = os.pathsep.join([str(ROOT), str(tmp_path / "target")])
    run_page(found, of(name), tmp_path / "work", {"PYTHONPATH": seen})
