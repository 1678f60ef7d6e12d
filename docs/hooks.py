"""Fills the marks in the pages from the code, so that reference tables cannot grow old. Called by mkdocs and the tests.

| mark | becomes |
|---|---|
| `<!-- fields: MODULE:CLASS -->` | the fields of an options class |
| `<!-- options: SECTION NAME -->` | the fields of one component's options, without its name and what all bodies take |
| `<!-- architecture: NAME -->` | the shape of a body |
| `<!-- recipes -->` | every shipped recipe, with the first line of its header |
| `<!-- file: PATH -->` | a file of the repository |
| `<!-- demo output -->` | the output of `make demo`, as the README has it |
| `<!-- paper: PAPER/TABLE -->` | a paper's table, as it ships |
| `<!-- study: NAME -->` | arms and verdicts of a committed study |
| `<!-- grammar -->` | the grammar of the freeze language, as its parser has it |
| `<!-- messages -->` | every message of an error, with placeholders for what it fills in |
| `<!-- figure: FILE -->` | a picture in SVG, inside the page, so that it takes its colours |
| `<!-- benchmarks -->` | `benchmarks/README.md`, its pictures and pages beside it |
| `<!-- not run: REASON -->`, `<!-- run by: FILE -->` | nothing; how the block below is checked, or the whole page |
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from xmodal import errors, inventory
from xmodal.bodies.options import BodyOptions
from xmodal.components import Options, load
from xmodal.freeze.spec import GRAMMAR
from xmodal.papers.library import find_table, shown
from xmodal.recipe.schema import options_class
from xmodal.recipe.source import shipped
from xmodal.report.numbers import hundred, points
from xmodal.study.reading import read_study

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
MARK = re.compile(
    r"^<!-- (fields|options|architecture|recipes|file|demo output|grammar|messages|benchmarks|paper|study|figure|"
    r"not run|run by)(?:: (.+?))? -->$",
    re.MULTILINE,
)
KINDS = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)]
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


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """The pictures and pages of committed studies, beside the page that shows them."""
    for file in sorted((ROOT / "benchmarks" / "studies").rglob("*")):
        if file.suffix in (".png", ".html"):
            place = f"explanation/{file.relative_to(ROOT / 'benchmarks').as_posix()}"
            files.append(File.generated(config, place, abs_src_path=str(file)))
    return files


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
        "grammar": lambda _: f"```text\n{GRAMMAR.strip()}\n```",
        "messages": lambda _: _messages(),
        "benchmarks": lambda _: _benchmarks(),
        "paper": _paper,
        "study": _study,
        "figure": lambda said: (DOCS / said).read_text(encoding="utf-8"),
        "not run": lambda _: "",
        "run by": lambda _: "",
    }
    text = MARK.sub(lambda mark: fill[mark[1]](mark[2] or ""), markdown)
    # On the site, on_files lays them beside the pages of explanation.
    text = text.replace("](../../benchmarks/studies/", "](studies/")
    return text.replace("](../benchmarks/studies/", "](explanation/studies/")


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


def _benchmarks() -> str:
    """The page of what was measured, without its title."""
    return (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").partition("\n")[2].strip()


def _paper(name: str) -> str:
    """Rows and columns as they are in the paper, with what it says of single numbers below."""
    found = find_table(name)
    rows = [[row, *(shown(*found.theirs(row, column)) for column in found.table.columns)] for row in found.table.rows]
    notes = [
        f"{row}, {column}: {cell.note}"
        for row, said in found.table.rows.items()
        for column, cell in said.cells.items()
        if cell.note
    ]
    notes += [f"{row}: {said.about}" for row, said in found.table.rows.items() if said.about]
    title = f"`{name}`. {found.table.about}." + "".join(f" {note}." for note in notes)
    return f"{_table((found.paper_name, *found.table.columns), rows)}\n\n{title}"


def _study(name: str) -> str:
    """Every arm with its score, and what the study says of its difference to the control."""
    study = read_study(ROOT / "benchmarks" / "studies" / name)
    against = {said["arm"]: said for said in study["comparisons"]}
    rows = []
    for arm in study["arms"]:
        low, high = arm["interval"]
        row = [arm["name"], f"{arm['rate']:g}", hundred(arm["mean"]), f"{hundred(low)} to {hundred(high)}"]
        said = against.get(arm["name"])
        rows.append([*row, *([points(said["difference"]), said["verdict"]] if said else ["", "the control"])])
    heads = ("arm", "rate", "test %", "95 % over seeds", "points less the control", "verdict")
    return f"{_table(heads, rows)}\n\n`benchmarks/studies/{name}`, {len(study['report_seeds'])} seeds."


def _messages() -> str:
    """A table for each part of the package."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part, kind, text in messages():
        found.setdefault(part, []).append((f"`{kind}`", text))
    return "\n\n".join(f"### From {part}\n\n{_table(('error', 'message'), rows)}" for part, rows in found.items())


@cache
def messages() -> tuple[tuple[str, str, str], ...]:
    """Part of the package, error and text of each message that the code holds, once each."""
    package, all_of_them = ROOT / "xmodal", list[tuple[str, str, str]]()
    for part in sorted({file.relative_to(package).parts[0].removesuffix(".py") for file in package.rglob("*.py")}):
        files = [package / f"{part}.py", *(package / part).rglob("*.py")]
        trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
        said = {(kind, text) for tree in trees for kind, node in written(tree) for text in _texts(node, tree)}
        all_of_them += [(part, kind, text) for kind, text in sorted(said)]
    return tuple(all_of_them)


def written(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The first sentence of each error: what its class is given, or a function that hands it on as `what`."""
    makers = {name: (name, 0) for name in KINDS}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["Exception"]:
            init = next(
                (each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None
            )
            if init and "what" in (words := [word.arg for word in init.args.args[1:]]):
                makers[node.name] = ("SpecError", words.index("what"))
        if isinstance(node, ast.FunctionDef) and "what" in (words := [word.arg for word in node.args.args]):
            inner = [
                call for call in calls if _name(call) in KINDS and ast.unparse(call).split("(")[1].startswith("what,")
            ]
            if kinds := [_name(call) for call in inner if node.lineno <= call.lineno <= (node.end_lineno or 0)]:
                makers[node.name] = (kinds[0], words.index("what") - (words[0] == "self"))
    for call in calls:
        kind, at = makers.get(_name(call), ("", 0))
        if kind and len(call.args) > at and ast.unparse(call.args[at]) != "fault.what":
            yield kind, call.args[at]


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _texts(said: ast.expr, tree: ast.Module) -> Iterator[str]:
    """Each text that the expression can be. What is filled in becomes a word in capitals."""
    if isinstance(said, ast.IfExp):
        yield from (*_texts(said.body, tree), *_texts(said.orelse, tree))
    elif isinstance(said, ast.Constant) and isinstance(said.value, str):
        yield escape(said.value, quote=False)
    elif isinstance(said, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else _filled(part) for part in said.values]
        text = re.sub(r"(?<=[a-z'`])(?:[A-Z_]{3,}|…)+$", "", "".join(map(str, parts)))  # an end that need not be there
        if "\n" not in text:
            yield escape(text, quote=False)
    elif isinstance(said, ast.BinOp) and isinstance(said.op, ast.Add):
        yield from _texts(said.left, tree)
    elif isinstance(said, ast.Name) and said.id == "what":
        for node in ast.walk(tree):
            for target in node.targets if isinstance(node, ast.Assign) else ():
                names = [ast.unparse(name) for name in getattr(target, "elts", [target])]
                values = getattr(node.value, "elts", [node.value])
                if "what" in names and len(names) == len(values):
                    yield from _texts(values[names.index("what")], tree)


def _filled(part: Any) -> str:
    """A word for what is filled in; nothing for a suggestion, which need not be there."""
    if isinstance(part, ast.FormattedValue | ast.Subscript | ast.Starred):
        return _filled(part.value)
    if isinstance(part, ast.Call):
        if ast.unparse(part.func) in ("did_you_mean", "near"):
            return ""
        return _filled(part.args[0] if part.args else part.func)
    if isinstance(part, ast.GeneratorExp | ast.ListComp):
        return _filled(part.elt)
    if isinstance(part, ast.Attribute):
        return part.attr.strip("_").upper()
    return part.id.strip("_").upper() if isinstance(part, ast.Name) and part.id not in ("near", "hint") else "…"


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
