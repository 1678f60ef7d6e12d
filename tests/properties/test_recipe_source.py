"""Laws of reading: dump is undone by parse_text, no text does worse than a fault, and merging keeps its promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xmodal.errors import RecipeError, UsageError
from xmodal.recipe.source import Source, dump, parse_text, read

calm = settings(deadline=None)  # files and big texts on a busy machine

TRICKY = [
    *("", " ", "1e-3", "1.", ".5", "0x1F", "0o7", ".inf", ".nan", "no", "on", "true", "True", "null", "~", "0:6", "<<"),
    *("#x", "a #b", "a: b", "a:", ": ", "- a", "-", "?", "? a", "[", "{a", "*a", "&a", "!a", "|", ">", "%a", "@", "`"),
    *(
        "---",
        "...",
        "--- a",
        "'",
        '"',
        "\\",
        "a\nb",
        "\n",
        "\na",
        "a\n",
        " a",
        "a ",
        "\t",
        "a\tb",
        "\r",
        "\x85",
        "\x00",
    ),
    *("\u2028", "\ufeff", "\ufffe", "\x7f", "\xa0", "é", "😀", "2020-01-01", "=", "body - ln[6:] - pos?", "x" * 200),
]
texts = st.sampled_from(TRICKY) | st.text() | st.text(" \n-:#'\"[]{}&*!|>%?,.0123456789eEx~aé", max_size=12)
integers = st.integers() | st.integers(1 - 10**100, 10**100 - 1)
scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False) | texts
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)
mappings = st.dictionaries(texts, trees, max_size=5)
keys = st.sampled_from(["a", "b", "c", "name"])
layers = st.dictionaries(
    keys,
    st.recursive(scalars, lambda inner: st.dictionaries(keys, inner, max_size=4) | st.lists(inner, max_size=2)),
    max_size=4,
)


def outcome(act: Callable[[], Source]) -> tuple[Source | None, list[UsageError]]:
    """A source and no faults, or faults and no source; any other error fails the test."""
    try:
        return act(), []
    except RecipeError as error:
        problems = error.problems
    assert problems
    return None, problems


def exact(data: object) -> str:
    """Tells 1 from 1.0 and True, 0.0 from -0.0, and one order of keys from another."""
    return repr(data)


@calm
@given(mappings)
@example({key: key for key in TRICKY})
def test_what_is_dumped_is_read_back(data: dict[str, Any]) -> None:
    assert exact(parse_text(dump(data), "r.yaml").data) == exact(data)


@calm
@given(
    st.dictionaries(
        st.text(max_size=20),
        st.recursive(
            st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | texts,
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
        ),
    )
)
def test_json_is_read_as_json(data: dict[str, Any]) -> None:
    assert exact(parse_text(json.dumps(data), "r.yaml").data) == exact(data)


@calm
@given(mappings)
def test_every_value_has_an_origin_on_a_line_of_the_text(data: dict[str, Any]) -> None:
    text = dump(data)
    source = parse_text(text, "r.yaml")
    lines = len(text.splitlines())

    def count(part: object) -> int:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return 1 + sum(count(value) for value in inner)

    assert len(source.origins) == count(data)
    assert all(1 <= int(origin.removeprefix("r.yaml:")) <= lines for path, origin in source.origins.items() if path)


@calm
@given(st.text() | st.text(" \n\t-:#'\"[]{}&*!|>%?,.<01aex~\\uU", max_size=60) | st.lists(texts).map(" ".join))
@example("a: &a [*a]")
@example("%YAML 2.0\n---\na: 1")
@example('"\\U11111111": 1')
@example("\ud800")
def test_no_text_does_worse_than_a_fault_with_a_line(text: str) -> None:
    source, problems = outcome(lambda: parse_text(text, "r.yaml"))
    if source:
        assert exact(parse_text(dump(source.data), "r.yaml").data) == exact(source.data)
    for problem in problems:
        assert int(problem.where.removeprefix("r.yaml:")) >= 1
        assert problem.what
        assert problem.why
        assert problem.fix


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


@calm
@given(raw=st.binary() | st.text().map(str.encode), override=st.text() | texts.map("a.b=".__add__))
def test_no_bytes_and_no_override_do_worse_than_a_fault(folder: Path, raw: bytes, override: str) -> None:
    path = folder / "bytes.yaml"
    path.write_bytes(raw)
    source, _ = outcome(lambda: read(path))
    changed, _ = outcome(lambda: read(path, [override]))
    assert source or not changed, "an override does not mend a file"


def merged(folder: Path, parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    (folder / "parent.yaml").write_text(dump(parent), encoding="utf-8")
    (folder / "child.yaml").write_text(dump({"extends": "parent.yaml", **child}), encoding="utf-8")
    return read(folder / "child.yaml").data


def expected(parent: dict[str, Any], child: dict[str, Any], *, top: bool = True) -> dict[str, Any]:
    """The rule once more, a key at a time."""
    if not top and "name" in parent and "name" in child and parent["name"] != child["name"]:
        return child
    result = dict(parent)
    for key, value in child.items():
        both = isinstance(parent.get(key), dict) and isinstance(value, dict)
        result[key] = expected(parent[key], value, top=False) if both else value
    return result


@calm
@given(parent=layers, child=layers)
def test_merging_is_the_rule_key_by_key(folder: Path, parent: dict[str, Any], child: dict[str, Any]) -> None:
    assert exact(merged(folder, parent, child)) == exact(expected(parent, child))


@calm
@given(parent=layers, child=layers)
def test_the_child_wins_and_the_rest_survives(folder: Path, parent: dict[str, Any], child: dict[str, Any]) -> None:
    data = merged(folder, parent, child)
    assert list(data) == [*parent, *(key for key in child if key not in parent)]
    for key, value in data.items():
        if key not in child:
            assert exact(value) == exact(parent[key])
        elif not isinstance(value, dict):
            assert exact(value) == exact(child[key])
        else:
            assert all(exact(value[k]) == exact(v) for k, v in child[key].items() if not isinstance(v, dict))


@calm
@given(recipe=layers)
def test_extending_nothing_or_oneself_twice_changes_nothing(folder: Path, recipe: dict[str, Any]) -> None:
    assert exact(merged(folder, {}, recipe)) == exact(recipe)
    assert exact(merged(folder, recipe, {})) == exact(recipe)
    assert exact(merged(folder, recipe, recipe)) == exact(recipe)


@calm
@given(recipe=layers, name=keys, number=st.floats(allow_nan=False), child=layers)
def test_an_override_is_a_child_with_one_key(
    folder: Path, recipe: dict[str, Any], name: str, number: float, child: dict[str, Any]
) -> None:
    path = folder / "recipe.yaml"
    path.write_text(dump(recipe), encoding="utf-8")
    for value in (number, child):
        source = read(path, [f"{name}={dump({'k': value}).removeprefix('k:')}"])
        assert exact(source.data) == exact(expected(recipe, {name: value}))
        assert source.where((name,)) == f"-o {name}"
