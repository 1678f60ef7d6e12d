"""What there is has its entry in the documentation: counted, name by name."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pages import DOCS, ROOT, commands, hooks, keys, page, sections

import xmodal
from xmodal import errors
from xmodal.recipe.legacy import LegacyOptions
from xmodal.recipe.schema import COMPONENTS, Recipe, TrainOptions, options_class

FEWEST = {
    "public names": 16,
    "names of documented modules": 90,
    "names that plugins import": 15,
    "commands": 15,
    "flags": 60,
    "recipe fields": 25,
    "options of components": 200,
    "errors": 8,
    "exit codes": 6,
    "messages": 300,
}
"""How many there were when this was written, roughly: a count that falls below has lost its way."""


def anchors(site: Path) -> set[str]:
    return set(re.findall(r'id="(xmodal[\w.]*)"', (site / "reference" / "api.html").read_text(encoding="utf-8")))


def public(reference: str) -> list[str]:
    """The reference itself and, where it is a class or a module, the public functions and classes that it makes."""
    module, _, name = reference.rpartition(".")
    it = getattr(importlib.import_module(module), name, None) or importlib.import_module(reference)
    home = it.__module__ if isinstance(it, type) else getattr(it, "__name__", "")
    inner = vars(it).items() if isinstance(it, type | ModuleType) and it is not Recipe else ()
    own = [each for each, what in inner if callable(what) and getattr(what, "__module__", "") == home]
    named = [] if isinstance(it, ModuleType) else [reference]
    return named + [f"{reference}.{each}" for each in own if not each.startswith("_")]


IMPORTS = re.compile(r"^from (xmodal[\w.]*) import ([\w, ]+)$", re.MULTILINE)


def _howtos() -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(DOCS.glob("how-to/add-*.md")))


def counted(site: Path) -> dict[str, tuple[list[str], list[str]]]:
    """For each kind of thing: what there is, and what of it has no entry."""
    there, ids = dict[str, tuple[list[str], list[str]]](), anchors(site)
    homes = {name: f"{home}.{name}" for name, home in xmodal._HOMES.items()}
    tails = {each.rpartition(".")[2] for each in ids}
    there["public names"] = (list(homes), [n for n, home in homes.items() if home not in ids and n not in tails])
    said = re.findall(r"^::: ([\w.]+)$", page("reference/api.md"), re.MULTILINE)
    names = [name for reference in said for name in public(reference)]
    there["names of documented modules"] = (names, [name for name in names if name not in ids])
    imported = {f"{home}.{name}" for home, names in IMPORTS.findall(_howtos()) for name in names.split(", ")}
    there["names that plugins import"] = (sorted(imported), sorted(imported - ids))
    cli = sections(page("reference/cli.md"), 2)
    there["commands"] = (list(commands()), [words for words in commands() if words not in cli])
    flags = [(words, flag) for words, command in commands().items() for it in command.params for flag in it.opts]
    flags = [(words, flag) for words, flag in flags if flag.startswith("-") and flag != "--help"]
    named = {words: {key.split(" ")[0] for key in keys(text)} for words, text in cli.items()}
    there["flags"] = ([f"{w} {f}" for w, f in flags], [f"{w} {f}" for w, f in flags if f not in named.get(w, ())])
    recipe = sections(page("reference/recipe.md"), 2)
    fields = {"Top level": Recipe, "train": TrainOptions, "legacy": LegacyOptions}
    pairs = [(section, field) for section, model in fields.items() for field in model.model_fields]
    there["recipe fields"] = (
        [f"{section}: {field}" for section, field in pairs],
        [f"{section}: {field}" for section, field in pairs if field not in keys(recipe.get(section, ""))],
    )
    there["options of components"] = _options()
    kinds = [it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, errors.XmodalError)]
    catalogue = page("reference/errors.md")
    tables = sections(catalogue, 2)
    there["errors"] = (
        [kind.__name__ for kind in kinds],
        [kind.__name__ for kind in kinds if kind.__name__ not in keys(tables["Kinds of errors"])],
    )
    codes = ["0", "4", "130", *sorted({str(kind.exit_code) for kind in kinds})]
    there["exit codes"] = (codes, [code for code in codes if f"\n| {code} | " not in tables["Exit codes"]])
    texts = [text for _, _, text in hooks().messages()]
    there["messages"] = (texts, [text for text in texts if text.replace("|", "\\|") not in catalogue])
    return there


def _options() -> tuple[list[str], list[str]]:
    there, missing = list[str](), list[str]()
    for kind, table in COMPONENTS.items():
        text = sections(page("reference/components.md"), 2)[{"body": "Bodies"}.get(kind, f"{kind.capitalize()}s")]
        common = {*keys(text.split("\n### ")[0]), "name"}
        for name in table:
            options = options_class(kind, name)
            assert options
            said = common | set(keys(sections(text, 3).get(name, "")))
            there += [f"{kind} {name}: {field}" for field in options.model_fields]
            missing += [f"{kind} {name}: {field}" for field in options.model_fields if field not in said]
    return there, missing


def test_everything_has_its_entry(site: Path) -> None:
    for what, (there, missing) in counted(site).items():
        sys.stdout.write(f"{what}: {len(there)}, without an entry: {len(missing)}\n")
        assert missing == [], what
        assert len(there) >= FEWEST[what], what


@pytest.mark.parametrize(
    ("place", "lost", "kind"),
    [
        ("reference/cli.md", "| `--halving`", "flags"),
        ("reference/recipe.md", "| `patience`", "recipe fields"),
        ("reference/errors.md", "| `BusyError` | A", "errors"),
        ("reference/errors.md", "the spec breaks off", "messages"),
    ],
)
def test_what_lost_its_entry_would_be_noticed(
    site: Path, monkeypatch: pytest.MonkeyPatch, place: str, lost: str, kind: str
) -> None:
    whole = {name: page(name) for name in ("reference/api.md", "reference/components.md", "reference/recipe.md")}
    whole |= {name: page(name) for name in ("reference/cli.md", "reference/errors.md")}
    assert lost in whole[place]
    whole[place] = whole[place].replace(lost, "| gone")
    monkeypatch.setattr(f"{__name__}.page", whole.__getitem__)
    assert len(counted(site)[kind][1]) == 1


def test_a_class_has_its_fields_on_the_page(site: Path) -> None:
    ids = anchors(site)
    classes = [it for name in xmodal.__all__ if isinstance(it := getattr(xmodal, name), type)]
    values = [it for it in classes if dataclasses.is_dataclass(it)]
    text = re.sub("<.*?>", "", (site / "reference" / "api.html").read_text(encoding="utf-8"))
    assert len(values) >= 3
    for it in values:
        assert any(each.endswith(f".{it.__name__}") for each in ids)
        assert [field.name for field in dataclasses.fields(it) if field.name not in text] == []


def test_no_message_is_made_where_the_list_cannot_see_it() -> None:
    unseen = []
    for file in sorted((ROOT / "xmodal").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for kind, said in hooks().written(tree):
            handed_on = kind == "RecipeError" or (isinstance(said, ast.Name) and said.id == "what")
            if not handed_on and not list(hooks()._texts(said, tree)):
                unseen.append(f"{file.name}:{said.lineno}")
    assert unseen == []


def test_the_list_of_messages_reads_code() -> None:
    source = """
def refuse(self, what):
    return UsageError(what, fix="")
raise UsageError(f"no {self.kind} '{name}'{did_you_mean(name, known)}")
self.refuse("out of reach" if far else "too near")
"""
    tree = ast.parse(source)
    found = sorted((kind, text) for kind, said in hooks().written(tree) for text in hooks()._texts(said, tree))
    assert found == [("UsageError", "no KIND 'NAME'"), ("UsageError", "out of reach"), ("UsageError", "too near")]


def test_the_pages_give_the_version_of_each_schema() -> None:
    from xmodal.run import result
    from xmodal.study import reading as study

    assert f"Schema {result.SCHEMA}." in page("reference/run-folder.md")
    assert f"| `schema` | Version of this table: {result.SCHEMA}. |" in page("reference/run-folder.md")
    assert f"| `schema` | Version of this form, {study.SCHEMA}. |" in page("reference/study.md")
