"""The documentation says what there is, no less and no more, and its examples do what they show.

After a change that an example shows, this writes what it prints now:
`XMODAL_UPDATE_DOCS=1 pytest tests/test_docs.py -k console`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pages import (
    DOCS,
    FENCE,
    PAGES,
    ROOT,
    TEXTS,
    blocks,
    commands,
    examples,
    hooks,
    name_of,
    page,
    run_page,
    scripts,
    sections,
    title,
    whole,
)

import xmodal
from xmodal import freeze
from xmodal.bodies import sites as body_sites
from xmodal.components import load
from xmodal.recipe.library import find_recipe
from xmodal.recipe.schema import COMPONENTS
from xmodal.types import Site

# What holds for all pages


def test_every_page_is_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(_leaves(nav)) == [str(file.relative_to(DOCS)) for file in PAGES]
    assert len(PAGES) >= 15
    assert [next(iter(part)) for part in nav] == ["Home", "Tutorial", "How-to", "Reference", "Explanation"]


@pytest.mark.parametrize("file", [ROOT / "README.md", DOCS / "index.md"], ids=name_of)
def test_every_page_is_linked_where_pages_are_listed(file: Path) -> None:
    linked = {(file.parent / link.partition("#")[0]).resolve() for link in links(file)}
    assert [name_of(page) for page in PAGES if page not in linked and page.name != "index.md"] == []


def _leaves(nav: Any) -> Iterator[str]:
    for part in nav if isinstance(nav, list) else nav.values():
        if isinstance(part, str):
            yield part
        else:
            yield from _leaves(part)


def links(file: Path) -> list[str]:
    text = FENCE.sub("", file.read_text(encoding="utf-8"))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


@pytest.mark.parametrize("file", TEXTS, ids=name_of)
def test_relative_links_resolve(file: Path) -> None:
    broken = []
    for link in links(file):
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(file: Path) -> list[str]:
    """The ids that the site gives to the headings of a page."""
    from markdown.extensions.toc import slugify

    text = FENCE.sub("", file.read_text(encoding="utf-8"))
    return [slugify(re.sub(r"[`*]", "", heading), "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]


def test_there_are_links_to_check() -> None:
    assert sum(len(links(file)) for file in TEXTS) >= 50
    assert any("#" in link for file in TEXTS for link in links(file))


def lines(file: Path) -> Iterator[list[str]]:
    """The words of each `xmodal` and `make` command in the code blocks of a page."""
    for block in blocks(file):
        if block["info"].split(" ")[0] not in ("sh", "bash", "console", ""):
            continue
        for line in block["body"].replace("\\\n", " ").splitlines():
            words = line.strip().removeprefix("$ ")
            if re.match(r"(xmodal|make) ", words):
                yield shlex.split(re.split(r" (?:2?>|[|&])", words)[0], comments=True)


@pytest.mark.parametrize("file", TEXTS, ids=name_of)
def test_commands_exist(file: Path) -> None:
    here = {title(block) for block in blocks(file)}
    for words in lines(file):
        if words[0] == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{re.escape(words[1])}:", makefile, re.MULTILINE), words
            continue
        known, rest = command_of(words)
        assert known, f"no such command: {' '.join(words)}"
        flags = {option for parameter in known.params for option in parameter.opts} | {"--help", "-h", "--debug"}
        assert [word for word in rest if re.match(r"--?[a-z]", word) and word not in flags] == [], words
        if words[1] in ("train", "check") and rest and not rest[0].startswith("-"):
            made_by_a_run = rest[0].startswith("runs/") or rest[0] in ("RECIPE", "body") or "*" in rest[0]
            assert made_by_a_run or rest[0] in here or rest[0] == "my_xor.yaml" or find_recipe(rest[0]).is_file()


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    for count in (3, 2):
        if found := commands().get(" ".join(words[:count])):
            return found, words[count:]
    return (commands()["xmodal"], words[1:]) if words[1].startswith("-") else (None, [])


def test_there_are_commands_to_check() -> None:
    assert sum(len(list(lines(file))) for file in TEXTS) >= 50


# Pages that a mark below the title says a test runs from top to bottom: `<!-- run by: tests/FILE.py -->`.
WHOLE = {file: by for file in PAGES if (by := whole(file.read_text(encoding="utf-8")))}
RUN_HERE = [file for file, by in WHOLE.items() if by == "tests/test_docs.py"]


@pytest.mark.parametrize("file", [file for file in TEXTS if examples(file) and file not in WHOLE], ids=name_of)
def test_a_console_example_prints_what_it_shows(file: Path, tmp_path: Path) -> None:
    run_page(examples(file), file, tmp_path)


@pytest.mark.parametrize("file", RUN_HERE, ids=name_of)
def test_every_command_of_the_page_does_what_it_shows(file: Path, tmp_path: Path) -> None:
    assert len(scripts(file)) >= 3
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    run_page(scripts(file), file, tmp_path)


def test_there_are_examples_to_run() -> None:
    assert sum(len(examples(file)) for file in TEXTS if file not in WHOLE) >= 7
    assert len(RUN_HERE) >= 5


def test_every_whole_recipe_in_the_pages_is_right(tmp_path: Path) -> None:
    checked = []
    for file in TEXTS:
        if file in WHOLE:
            continue  # their commands read them, with the data or the component that they need
        recipes = {title(block): block["body"] for block in blocks(file) if block["info"].startswith("yaml")}
        for name, text in recipes.items():
            if name:
                (tmp_path / name).write_text(text, encoding="utf-8")
        for name in recipes:
            if name and not name.startswith("broken"):
                checked.append(xmodal.load(tmp_path / name).name)
    assert len(checked) >= 4


def test_the_specs_in_the_readme_mean_something() -> None:
    text = sections((ROOT / "README.md").read_text(encoding="utf-8"), 2)["The freeze language"]
    specs = [re.split(r"  +", line)[0] for line in text.split("```")[1].splitlines()[1:]]
    sites = body_sites(load(COMPONENTS["body"]["gpt2"].options)(name="gpt2"))
    sites += [Site("input"), Site("head"), Site("head", kind="bias")]
    selections = [freeze.parse(spec).select(sites, owner="gpt2").frozen for spec in specs]
    assert len(set(selections)) == len(specs) == 5


def test_every_mark_is_filled() -> None:
    marks = [mark for file in PAGES for mark in hooks().MARK.findall(file.read_text(encoding="utf-8"))]
    assert len(marks) >= 25
    for file in PAGES:
        left = re.findall(r"<!-- .*? -->", page(str(file.relative_to(DOCS))))
        assert left == [], f"{name_of(file)} has marks that docs/hooks.py does not know"
    with pytest.raises(KeyError):
        hooks().expand("<!-- options: task bit-or -->")


def test_no_page_asks_another_host_for_anything() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
    assert "://" not in json.dumps(settings)
    assert [name_of(file) for file in PAGES if "```mermaid" in file.read_text(encoding="utf-8")] == []


def test_make_and_ci_agree() -> None:
    ci = ROOT / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert "make test" in ci.read_text(encoding="utf-8")
