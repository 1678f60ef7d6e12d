"""Every block of the README, the tutorials and the how-tos is run by a test, or says why it is not.

A `console` block that begins with `$ ` is run as it stands, and what it prints is compared (`tests/test_docs.py`); a
recipe with a title is checked there. The commands of a `sh` block are rehearsed here: run in their order, on the tiny
form of each recipe, so that files, options and the order of steps are proved. Any other block, and one that cannot be
rehearsed, stands below a mark: `<!-- run by: tests/FILE.py -->` or `<!-- not run: REASON -->`.

A page that one test runs from top to bottom says so once, with `<!-- run by: tests/FILE.py -->` below its title. That
covers its commands and the files that it gives; a block that is left out still says why.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import DOCS, FENCE, PAGES, ROOT, SHELL, mark, name_of, whole

from xmodal import cli

TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
TEXTS += [page for page in PAGES if page.relative_to(DOCS).parts[0] in ("tutorial", "how-to")]
# Those that run Python without a title, too. The others run commands, and write the files that have one.
RUN_PYTHON = ("tests/test_howtos.py", "tests/end_to_end/test_plugin.py")
DEMO = "<!-- demo output -->\n"


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """What each block is, how it begins, and what it holds: console, recipe, sh, marked, or nothing that is known."""
    by = whole(text)
    for block in FENCE.finditer(text):
        info, before = block["info"], text[: block.start()]
        how, where = mark(block)
        if how:
            yield f"{how}: {where}", info, block["body"]
        elif by:
            ran = info in SHELL or 'title="' in info or (info == "python" and by in RUN_PYTHON)
            yield f"run by: {by}" if ran else "", info, block["body"]
        elif info == "console" and block["body"].startswith("$ "):
            yield "console", info, block["body"]
        elif info.startswith("yaml title="):
            yield "recipe", info, block["body"]
        elif info == "sh" or before.endswith(DEMO):
            yield "demo" if before.endswith(DEMO) else "sh", info, block["body"]
        else:
            yield "", info, block["body"]


def names(test: str, file: Path) -> bool:
    """Whether a test names a page, with its ending or without."""
    return bool(re.search(rf"\b{re.escape(file.stem)}(\.md)?\"", (ROOT / test).read_text(encoding="utf-8")))


def unknown(text: str) -> list[str]:
    return [f"{info}: {body[:60]}" for kind, info, body in blocks(text) if not kind]


@pytest.mark.parametrize("file", TEXTS, ids=name_of)
def test_every_block_is_run_or_says_why_not(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert unknown(text) == []
    for kind, _, _ in blocks(text):
        how, _, where = kind.partition(": ")
        if how == "run by":
            taken = whole(text) == where == "tests/test_docs.py"  # it takes every page with this mark
            assert taken or names(where, file), f"{where} does not name {file.name}"
        if how == "not run":
            assert len(where) > 15, "a reason is a reason"


def test_a_block_without_a_word_would_be_noticed() -> None:
    text = "```python\nimport os\n```\n\n<!-- not run: it is long, very long -->\n```python\nimport os\n```\n"
    assert unknown(text) == ["python: import os\n"]
    page = "# Page\n\n<!-- run by: tests/test_docs.py -->\n\n```sh\nls\n```\n\n```python\nimport os\n```\n"
    assert unknown(page) == ["python: import os\n"]
    assert len(unknown(page.replace("-->\n\n", "-->\n"))) == 1
    assert unknown(page.replace("test_docs", "test_howtos")) == []


def test_there_are_blocks_of_every_kind() -> None:
    kinds = [kind for file in TEXTS for kind, _, _ in blocks(file.read_text(encoding="utf-8"))]
    counts = {kind: sum(each.startswith(kind) for each in kinds) for kind in ("console", "recipe", "sh", "run by")}
    idle = sum(kind.startswith("not run") for kind in kinds)
    sys.stdout.write(f"{counts}, not run: {idle}\n")
    assert min(counts.values()) >= 3
    assert idle < len(kinds) / 2


def commands(text: str) -> list[list[str]]:
    """The words of each line of the unmarked `sh` blocks."""
    bodies = [body.replace("\\\n", " ") for kind, _, body in blocks(text) if kind == "sh"]
    lines = [line for body in bodies for line in body.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def rehearsed(words: list[str]) -> list[str]:
    """The same on a tiny recipe, without questions; DIGEST is that of the one run that is there."""
    found = []
    for word in words:
        start, _, path = word.rpartition("=run:") if "=run:" in word else ("", "", word)
        if "DIGEST" in path:
            (path,) = map(str, Path().glob(path.replace("DIGEST", "*")))
        found.append(f"{start}=run:{path}" if start else path)
    if found[0] in ("train", "ablate", "reproduce", "explain") and not any("lock.yaml" in word for word in found):
        found += ["--tiny"] * (found[0] != "explain" and "--tiny" not in found)
    if found[0] in ("ablate", "reproduce"):
        found += ["--yes", "--workers", "0"]
    return found


REHEARSED = [file for file in TEXTS if commands(file.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("file", REHEARSED, ids=name_of)
def test_the_commands_of_a_page_work_one_after_the_other(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = file.read_text(encoding="utf-8")
    for kind, info, body in blocks(text):
        if kind == "recipe":
            Path(info.partition('title="')[2].partition('"')[0]).write_text(body, encoding="utf-8")
    for program, *words in commands(text):
        here = program == "xmodal" and words[0] != "get"
        assert here, (
            f"only xmodal is rehearsed, and what fetches is not; mark the block of: {program} {' '.join(words)}"
        )
        with pytest.raises(SystemExit) as ended:
            cli.main(rehearsed(words))
        said = capsys.readouterr()
        assert ended.value.code == 0, f"xmodal {' '.join(words)}: {said.err[-800:]}"


def test_there_are_commands_to_rehearse() -> None:
    assert sum(len(commands(file.read_text(encoding="utf-8"))) for file in REHEARSED) >= 15
