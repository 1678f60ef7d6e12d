"""The package of a how-to page, built from the page and installed into a folder as pip would do it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import blocks, title


def install(page: Path, source: Path, target: Path) -> None:
    """Writes the files of the package into `source` and installs it into `target`."""
    for block in blocks(page):
        if title(block) == "pyproject.toml" or re.fullmatch(r"xmodal_\w+\.py", title(block)):
            (source / title(block)).write_text(block["body"], encoding="utf-8")
    assert len(list(source.iterdir())) == 2, "a page is a package of one file"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--target", target, "."], cwd=source, capture_output=True, text=True)
    if done.returncode and re.search("No matching distribution|Connection|Max retries|timed out", done.stderr):
        pytest.fail(f"the package registry failed, which has hatchling to build with: {done.stderr[-500:]}")
    assert done.returncode == 0, done.stderr
