"""Fills the marks in the pages from the code, so that reference tables cannot grow old. Called by mkdocs and the tests.

| mark | becomes |
|---|---|
| `<!-- fields: MODULE:CLASS -->` | the fields of an options class |
| `<!-- options: SECTION NAME -->` | the fields of one component's options, without its name and what all bodies take |
| `<!-- architecture: NAME -->` | the shape of a body |
| `<!-- recipes -->` | every shipped recipe, with the first line of its header |
| `<!-- file: PATH -->` | a file of the repository |
| `<!-- demo output -->` | the output of `make demo`, as the README has it |
| `<!-- not run: WHY -->` | nothing; tells the tests that the block below is not run, and why |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from xmodal import inventory
from xmodal.bodies.options import BodyOptions
from xmodal.components import Options, load
from xmodal.recipe.library import shipped
from xmodal.recipe.schema import options_class

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(
    r"^<!-- (fields|options|architecture|recipes|file|demo output|not run)(?:: (.+?))? -->$", re.MULTILINE
)
DEMO = re.compile(r"<!-- demo output -->\n(.*?)<!-- end of demo output -->", re.DOTALL)
_WORDS = {
    "array": "list",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "mapping",
    "string": "text",
}
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "over", "maximum": "at most", "exclusiveMaximum": "under"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its marks filled, as mkdocs asks for it."""
    return expand(markdown)


def expand(markdown: str) -> str:
    """The text with every mark in it replaced.

    Raises:
        KeyError, AttributeError, OSError: a mark names what is not there; the build fails.
    """
    fill: dict[str, Callable[[str], str]] = {
        "fields": lambda said: fields(load(said)),
        "options": _options,
        "architecture": _architecture,
        "recipes": lambda _: _recipes(),
        "file": _file,
        "demo output": lambda _: demo_output(),
        "not run": lambda _: "",
    }
    return MARK.sub(lambda mark: fill[mark[1]](mark[2] or ""), markdown)


def fields(options: type[Options], *, without: tuple[str, ...] = ()) -> str:
    """A table of an options class: key, type, default, meaning."""
    schema = options.model_json_schema()
    rows = []
    for name, field in options.model_fields.items():
        if name in without:
            continue
        default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        meaning = " ".join((field.description or "").split())
        rows.append((f"`{name}`", _kind(schema["properties"][name]), default, meaning))
    return _table(("key", "takes", "default", "meaning"), rows)


def demo_output() -> str:
    """What stands between the marks of the README.

    Raises:
        ValueError: the README has no such block.
    """
    block = DEMO.search((ROOT / "README.md").read_text(encoding="utf-8"))
    if not block:
        raise ValueError("README.md has no block from <!-- demo output --> to <!-- end of demo output -->")
    return block[1].strip()


def _options(said: str) -> str:
    section, name = said.split()
    options = options_class(section, name)
    if options is None:
        raise KeyError(f"no {section} '{name}'")
    if list(options.model_fields) == ["name"]:
        return "No further options."
    common = tuple(BodyOptions.model_fields) if section == "body" else ("name",)
    return fields(options, without=common)


def _architecture(name: str) -> str:
    tables = {title: rows for title, _, rows in inventory.details(name)}
    return _table(("", name), tables["architecture"])


def _recipes() -> str:
    rows = []
    for name, path in shipped().items():
        header = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        rows.append((f"`{name}`", header))
    return _table(("recipe", "what it is"), rows)


def _file(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8").rstrip()
    return f'```yaml title="{path}"\n{text}\n```'


def _kind(said: dict[str, Any]) -> str:
    """What JSON schema says of a field, in words."""
    if "anyOf" in said:
        return "; or ".join(_kind(each) for each in said["anyOf"])
    if "const" in said or "enum" in said:
        return ", ".join(f"`{word}`" for word in said.get("enum", [said.get("const")]))
    if said.get("type") == "null":
        return "null"
    bounds = [f"{words} {said[key]:,}" for key, words in _BOUNDS.items() if key in said]
    return ", ".join([_WORDS[said.get("type", "object")], *bounds])


def _default(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(heads), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
