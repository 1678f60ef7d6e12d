"""Tables lead to what they promise, options are strict, and the shapes in signatures are executed in tests."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from pydantic import ValidationError

import xmodal
from xmodal import cli, components
from xmodal.bodies import BODIES
from xmodal.components import Entry, Options, find, load
from xmodal.errors import UsageError
from xmodal.heads import HEADS
from xmodal.heads.readout import read_last
from xmodal.heads.score import loss
from xmodal.tasks import TASKS
from xmodal.tensors import Batch, Tokens
from xmodal.tokenizers import TOKENIZERS

TABLES: dict[str, Mapping[str, Entry]] = {"task": TASKS, "tokenizer": TOKENIZERS, "body": BODIES, "head": HEADS}
ENTRIES = [(kind, name) for kind, table in TABLES.items() for name in table]
NEEDED: dict[str, dict[str, Any]] = {
    "hf:": {"name": "hf:some/model"},
    "hub": {"dataset": "someone/data"},
    "images": {"path": "somewhere"},
    "patch": {"size": 4},
    "remote-homology": {"path": "somewhere"},
    "series": {"path": "somewhere.csv", "columns": ["a"], "target_column": "a"},
    "table": {"path": "somewhere.csv"},
    "timm:": {"name": "timm:vit_tiny_patch16_224"},
}
PACKAGE = Path(xmodal.__file__).parent


def options(kind: str, name: str, **said: Any) -> Options:
    return load(TABLES[kind][name].options).model_validate({"name": name, **NEEDED.get(name, {}), **said})


@pytest.mark.parametrize("kind", TABLES)
def test_tables_are_sorted(kind: str) -> None:
    assert list(TABLES[kind]) == sorted(TABLES[kind])


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_an_entry_leads_to_its_options_and_to_what_is_built(kind: str, name: str) -> None:
    entry = find(kind, TABLES[kind], name)
    assert callable(load(entry.builds))
    made = options(kind, name)
    assert isinstance(made, Options)
    assert made.model_dump()["name"].startswith(name)
    assert type(made).model_validate(made.model_dump(mode="json")) == made


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_options_are_strict(kind: str, name: str) -> None:
    made = options(kind, name)
    with pytest.raises(ValidationError, match="extra_forbidden"):
        options(kind, name, unheard_of=1)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, "name", name)  # noqa: B010
    with pytest.raises(ValidationError, match="name"):
        type(made).model_validate({**made.model_dump(), "name": "something-else"})


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("task", "bit-xor", {"bits": "5"}),
        ("task", "bit-xor", {"bits": 5.0}),
        ("task", "bit-memory", {"hidden": float("nan")}),
        ("tokenizer", "sequence", {"std": float("inf")}),
        ("tokenizer", "sequence", {"class_token": 1}),
        ("body", "gpt2", {"dropout": True}),
    ],
)
def test_values_are_not_bent_to_fit(kind: str, name: str, said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(kind, name, **said)


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_field_says_what_it_is(kind: str, name: str) -> None:
    silent = [field for field, what in type(options(kind, name)).model_fields.items() if not what.description]
    assert not silent


@pytest.mark.parametrize(
    ("kind", "word", "near", "command"),
    [
        ("body", "minilm-l12", "minilm-l6", "xmodal list bodies"),
        ("task", "bitxor", "bit-xor", "xmodal list tasks"),
        ("head", "last", "", "xmodal list heads"),
        ("tokenizer", "patches", "patch", "xmodal list tokenizers"),
    ],
)
def test_an_unknown_name_says_which_there_are(kind: str, word: str, near: str, command: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(kind, TABLES[kind], word, where="recipe.yaml:3")
    assert caught.value.what.startswith(f"no {kind} '{word}'")
    assert ("did you mean" in caught.value.what) == bool(near)
    assert near in caught.value.what
    assert caught.value.where == "recipe.yaml:3"
    assert all(name in caught.value.why for name in TABLES[kind])
    assert command in caught.value.fix


def named(file: Path) -> str:
    return ".".join(("xmodal", *file.relative_to(PACKAGE).with_suffix("").parts))


WITH_SHAPES = [named(file) for file in sorted(PACKAGE.rglob("*.py")) if "from jaxtyping import" in file.read_text()]


def test_every_module_with_shapes_is_checked() -> None:
    assert len(WITH_SHAPES) >= 7
    unchecked = [name for name in WITH_SHAPES if "jaxtyping" not in type(import_module(name).__loader__).__module__]
    assert not unchecked, f"add them to SHAPED in tests/conftest.py: {unchecked}"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Tokens(torch.zeros(2, 3, 4), torch.ones(2, 4, dtype=torch.bool)),
        lambda: Tokens(torch.zeros(2, 3, 4), torch.ones(2, 3)),
        lambda: Tokens(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)),
        lambda: Batch(torch.zeros(2, 3), torch.zeros(3, dtype=torch.long)),
        lambda: Batch(torch.zeros(2, 3), torch.zeros(2)),
        lambda: loss(torch.zeros(2, 5, 3), torch.zeros(2, 4, dtype=torch.long)),
        lambda: read_last(torch.zeros(2, 3), Tokens(torch.zeros(2, 3, 1), torch.ones(2, 3, dtype=torch.bool)), 1),
        lambda: read_last(torch.zeros(2, 3, 1), torch.zeros(2, 3, 1), 1),
    ],
)
def test_a_wrong_shape_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeCheckError):
        wrong()


def test_a_right_shape_is_taken() -> None:
    tokens = Tokens(torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool))
    assert read_last(tokens.values, tokens, 2).shape == (2, 2, 4)
    Batch(torch.zeros(2, 3), torch.zeros(2, 5, dtype=torch.long))


@pytest.mark.parametrize("words", [["--version"], ["nope"], ["train", "--help"], ["check", "quickstart"]])
def test_a_command_that_ends_looks_through_no_packages(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr(components, "entry_points", lambda **_: pytest.fail("packages were looked through"))
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == (2 if words == ["nope"] else 0)
