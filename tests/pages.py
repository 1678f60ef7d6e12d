"""The pages of the documentation, for the tests that hold them to the code."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import typer.main

from xmodal.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
WIDTH = 80
PRECISION = "precision float32: XMODAL_PRECISION says so\n"
"""What `explain` says under these tests, and the pages leave out: on the machine of a reader it is measured."""
SHELL = ("sh", "bash", "console")
Blocks = list[re.Match[str]]
MARK = re.compile(r"<!-- (not run|run by): (.+) -->\n\Z")
WHOLE = re.compile(r"\A# .+\n\n<!-- run by: (.+) -->\n(?!```)")
CONTRACTS = ("Task", "Split", "Claimant", "Tokenizer", "Body", "Head")


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def hooks() -> Any:
    """The module that fills the pages; mkdocs loads it by path too."""
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def page(path: str) -> str:
    """A page as a reader gets it, with its marks filled."""
    return hooks().expand((DOCS / path).read_text(encoding="utf-8"))


def sections(text: str, level: int) -> dict[str, str]:
    """What stands under each heading of that level, up to the next of it or above."""
    marks = re.compile(rf"^(#{{1,{level}}}) (.+)$", re.MULTILINE)
    found = list(marks.finditer(FENCE.sub(lambda block: re.sub(r"^#", " ", block[0], flags=re.MULTILINE), text)))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return {m[2]: text[m.end() : end] for m, end in zip(found, ends, strict=True) if len(m[1]) == level}


def keys(text: str) -> list[str]:
    """The words in code type in the first column of each table."""
    cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def commands() -> dict[str, Any]:
    """Every command of the program by its words, and the program itself."""
    found: dict[str, Any] = {}

    def walk(words: str, command: Any) -> None:
        if not getattr(command, "commands", None) or words == "xmodal":
            found[words] = command
        for name, inner in getattr(command, "commands", {}).items():
            walk(f"{words} {name}", inner)

    walk("xmodal", typer.main.get_command(app))
    return found


def blocks(file: Path) -> list[re.Match[str]]:
    """The code blocks of a page."""
    return list(FENCE.finditer(file.read_text(encoding="utf-8")))


def title(block: re.Match[str]) -> str:
    """The name of the file that a block is, or nothing."""
    found = re.search(r'title="([^"]+)"', block["info"])
    return found[1] if found else ""


def examples(file: Path) -> list[re.Match[str]]:
    """The console blocks of a page that show a command with its output."""
    return [block for block in blocks(file) if block["info"] == "console" and block["body"].startswith("$ ")]


def mark(block: re.Match[str]) -> tuple[str, str]:
    """What the mark above a block says: `run by` and a test, `not run` and a reason, or nothing."""
    found = MARK.search(block.string[: block.start()])
    return (found[1], found[2]) if found else ("", "")


def whole(text: str) -> str:
    """The test that runs a page from top to bottom, as the mark below its title says, or nothing."""
    found = WHOLE.match(text)
    return found[1] if found else ""


def scripts(file: Path) -> list[re.Match[str]]:
    """The shell blocks of a page, those left out that a mark says are not run."""
    return [block for block in blocks(file) if block["info"] in SHELL and mark(block)[0] != "not run"]


def write_files(file: Path, folder: Path) -> None:
    """Every file that a page gives, where it says."""
    for block in blocks(file):
        if title(block):
            (folder / title(block)).parent.mkdir(parents=True, exist_ok=True)
            (folder / title(block)).write_text(block["body"], encoding="utf-8")


def run(block: re.Match[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Runs a block in a folder, and gives the block back with what it prints now. One without a `$` is run line by
    line, must succeed, and is given back as it was."""
    line, _, _ = block["body"].partition("\n")
    shows = line.startswith("$ ")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        ["bash", "-c", line.removeprefix("$ ")] if shows else ["bash", "-euo", "pipefail", "-c", block["body"]],
        cwd=folder,
        env={
            **os.environ,
            "PATH": path,
            "COLUMNS": str(WIDTH),
            "NO_COLOR": "1",
            "PYTHONIOENCODING": "utf-8",
            **(environment or {}),
        },
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    if not shows:
        assert done.returncode == 0, f"{block['body']}\n{done.stdout}{done.stderr}"
        return block[0]
    printed = "".join(row.rstrip() + "\n" for row in (done.stdout + done.stderr).rstrip().splitlines())
    return f"```console\n{line}\n{printed.replace(PRECISION, '')}```"


def run_page(found: Blocks, file: Path, folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Runs blocks of a page in order, in a folder with the files of the page, and compares what they print.

    With XMODAL_UPDATE_DOCS in the environment it is written into the page instead.
    """
    write_files(file, folder)
    for block in found:
        now = run(block, folder, environment)
        if os.environ.get("XMODAL_UPDATE_DOCS"):
            file.write_text(file.read_text(encoding="utf-8").replace(block[0], now), encoding="utf-8")
        else:
            assert now == block[0]
