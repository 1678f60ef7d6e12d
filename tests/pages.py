"""The pages of the documentation, for the tests that hold them to the code."""

from __future__ import annotations

import importlib.util
import re
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
