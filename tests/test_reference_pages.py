"""The reference pages name everything there is, and nothing else."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pages import CONTRACTS, ROOT, commands, keys, page, sections

import xmodal
from xmodal import errors
from xmodal.components import load
from xmodal.recipe.legacy import LegacyOptions
from xmodal.recipe.schema import COMPONENTS, Lock, Recipe, TrainOptions, options_class
from xmodal.recipe.source import shipped

# The command line


def spellings(command: Any) -> list[str]:
    """How the reference spells the arguments and options of a command."""
    words = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            words.append(parameter.metavar or parameter.name.upper())
        else:
            value = f" {parameter.metavar}" if parameter.opts == ["-o"] else ""
            words += [option + value for option in parameter.opts]
    return words


@pytest.mark.parametrize("words", commands())
def test_the_reference_has_every_flag_and_no_other(words: str) -> None:
    said = keys(sections(page("reference/cli.md"), 2)[words])
    if words == "xmodal":
        said = [word for word in said if word not in ("-h", "--help")]
    there = [word for word in spellings(commands()[words]) if word != "--help"]
    assert sorted(said) == sorted(there)


def test_the_reference_has_every_command_and_no_other() -> None:
    assert sections(page("reference/cli.md"), 2).keys() == commands().keys()
    assert len(commands()) >= 12
    assert sum(len(spellings(command)) for command in commands().values()) >= 30


def test_the_reference_has_every_default() -> None:
    checked = 0
    for words, command in commands().items():
        text = sections(page("reference/cli.md"), 2)[words]
        for parameter in command.params:
            default = parameter.default
            if isinstance(default, bool) or not isinstance(default, int | str | Path) or not str(default):
                continue
            row = next(line for line in text.splitlines() if line.startswith(f"| `{spellings_of(parameter)}"))
            assert f"Default: `{default}`" in row or f"Default: {default}." in row, row
            checked += 1
    assert checked >= 4


def spellings_of(parameter: Any) -> str:
    return parameter.opts[0] if parameter.param_type_name == "option" else str(parameter.metavar)


# Recipes and components


@pytest.mark.parametrize(
    ("section", "model"), [("Top level", Recipe), ("train", TrainOptions), ("legacy", LegacyOptions), ("lock", Lock)]
)
def test_the_reference_has_every_field(section: str, model: Any) -> None:
    said = keys(sections(page("reference/recipe.md"), 2)[section])
    assert said == list(model.model_fields)
    assert len(said) >= 3
    assert all(field.description for field in model.model_fields.values())


@pytest.mark.parametrize("kind", COMPONENTS)
def test_the_reference_has_every_component_and_its_options(kind: str) -> None:
    plural = {"body": "Bodies"}.get(kind, f"{kind.capitalize()}s")
    text = sections(page("reference/components.md"), 2)[plural]
    entries = sections(text, 3)
    assert list(entries) == sorted(COMPONENTS[kind])
    assert len(entries) >= 3
    common = keys(text.split("\n### ")[0])
    for name, entry in entries.items():
        options = options_class(kind, name)
        assert options is not None
        assert sorted([*common, *keys(entry), "name"]) == sorted([*options.model_fields, *["name"] * bool(common)])
    assert all(callable(load(entry.options)) for entry in COMPONENTS[kind].values())


def test_the_reference_has_every_shipped_recipe() -> None:
    home = ROOT / "recipes"
    files = sorted(file.relative_to(home).with_suffix("").as_posix() for file in home.rglob("*.yaml"))
    assert keys(sections(page("reference/components.md"), 2)["Recipes"]) == files == list(shipped())
    assert len(files) >= 7


# Python


def test_the_reference_has_every_public_name() -> None:
    said = [_resolve(name) for name in re.findall(r"^::: ([\w.]+)$", page("reference/api.md"), re.MULTILINE)]
    public = {name: _resolve(f"{home}.{name}") for name, home in xmodal._HOMES.items()}
    assert sorted(public) == sorted(xmodal.__all__)
    assert len(public) >= 16
    assert [name for name, it in public.items() if not any(it is other for other in said)] == []
    contracts = {name: _resolve(f"xmodal.types.{name}") for name in CONTRACTS}
    assert [name for name, it in contracts.items() if not any(it is other for other in said)] == []


def _resolve(reference: str) -> Any:
    """The object of that dotted name; a module only where nothing in its parent has the name."""
    module, _, name = reference.rpartition(".")
    found = getattr(importlib.import_module(module), name, None)
    return importlib.import_module(reference) if found is None else found


def test_the_reference_has_every_error_and_its_exit_code() -> None:
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", page("reference/errors.md"), re.MULTILINE))
    assert rows == {name: str(kind.exit_code) for name, kind in kinds.items() if issubclass(kind, errors.XmodalError)}
    codes = re.findall(r"^\| (\d+) \|", sections(page("reference/errors.md"), 2)["Exit codes"], re.MULTILINE)
    assert codes == re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(rows.values()) <= set(codes)


# The run folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: the quickstart in its tiny form, which needs no weights."""
    from xmodal.run.session import train

    recipe = xmodal.load("quickstart", tiny=True)
    return train(recipe, out=tmp_path_factory.mktemp("runs")).folder


def run_page() -> dict[str, str]:
    return sections(page("reference/run-folder.md"), 2)


def test_the_reference_has_every_file_of_a_run(folder: Path) -> None:
    files = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    assert sorted(keys(run_page()["Files"])) == sorted(files)


def test_the_reference_has_every_key_of_a_result(folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    tables = sections(page("reference/run-folder.md"), 3)
    assert set(keys(run_page()["result.json"].split("### ")[0])) == {*result, "error", "legacy", "train"}
    assert set(keys(tables["Scores"])) == {*result["test"], *result["val"], "accuracy_hidden"}
    assert set(keys(tables["Parameters"])) == result["parameters"].keys()
    text = run_page()["result.json"]
    assert all(f"`{name}`" in text for name in result["digests"])
    assert all(share in text for share in result["steps_to"])


def test_the_reference_has_every_key_of_the_other_files(folder: Path) -> None:
    for file, elsewhere in (("environment.json", set()), ("body.json", BODY_OF_OTHER_INITS)):
        said = json.loads((folder / file).read_text(encoding="utf-8"))
        assert set(keys(run_page()[file])) == {*said, *elsewhere}


BODY_OF_OTHER_INITS = {"route", "origin", "licence", "cautions", "changed", "started_as"}
"""Keys of `body.json` that a random body does not have."""


def test_the_reference_has_every_key_of_a_study(tmp_path: Path) -> None:
    from xmodal.study.arms import make_arms
    from xmodal.study.design import make_design
    from xmodal.study.factors import Asked
    from xmodal.study.study import run_study

    arms = make_arms(Asked(shipped()["quickstart"], freeze=["ffn", "attn"], tiny=True))
    study = run_study(make_design(arms, lr="1e-3:1e-2:3", seeds="1"), out=tmp_path).result
    text = sections(page("reference/study.md"), 2)["study.json"]
    tables = sections(page("reference/study.md"), 3)
    assert keys(text.split("### ")[0]) == list(study)
    assert keys(tables["Arms"]) == list(study["arms"][0])
    effects = {**study["comparisons"][0], **study["contrasts"][0]}
    assert set(keys(tables["Comparisons and contrasts"])) == effects.keys()
    assert all(f"`{key}`" in tables["Arms"] for key in study["arms"][0]["report"][0])


def test_the_reference_has_every_event() -> None:
    from xmodal.run import events

    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)]
    rows = {
        re.findall(r"`(\w+)`", line)[0]: line.split(" | ")[-1]
        for line in run_page()["events.jsonl"].splitlines()
        if line.startswith("| `")
    }
    written = {kind.__name__.lower(): kind for kind in kinds}
    for unwritten in ("event", "evaluating"):
        written.pop(unwritten)
    assert rows.keys() == written.keys()
    for name, kind in written.items():
        own = {field.name for field in dataclasses.fields(kind)} - {"step"}
        assert own <= set(re.findall(r"`(\w+)`", rows[name])), name
