"""What a YAML file becomes: plain data, the line of every key, and every fault at once."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xmodal.errors import RecipeError, UsageError
from xmodal.recipe.source import MAX_DEPTH, MAX_SIZE, MAX_VALUES, Source, dump, parse_text, read


def faults(text: str) -> list[UsageError]:
    with pytest.raises(RecipeError) as caught:
        parse_text(text, "r.yaml")
    assert all(problem.what and problem.where and problem.why and problem.fix for problem in caught.value.problems)
    return caught.value.problems


def fault(text: str) -> UsageError:
    (only,) = faults(text)
    return only


def value(scalar: str) -> Any:
    return parse_text(f"k: {scalar}", "r.yaml").data["k"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    return Path("recipes")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, overrides: Sequence[str] = ()) -> list[UsageError]:
    with pytest.raises(RecipeError) as caught:
        read(path, overrides)
    assert all(problem.what and problem.why and problem.fix for problem in caught.value.problems)
    return caught.value.problems


# Scalars


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("1e-05", 0.00001),
        (".5", 0.5),
        ("-.5e1", -5.0),
        ("1.", 1.0),
        ("3.25", 3.25),
        (".inf", math.inf),
        ("-.INF", -math.inf),
    ],
)
def test_a_plain_scalar_follows_the_core_schema(written: str, expected: object) -> None:
    assert value(written) == expected
    assert type(value(written)) is type(expected)


def test_nan_is_a_number() -> None:
    assert math.isnan(value(".nan"))


@pytest.mark.parametrize(
    "written",
    [
        *("no", "on", "yes", "off", "y", "n", "0:6", "1:30", "2020-01-01", "1_000", "0b1", "0x", "-0x1", "1e", "."),
        *(".e3", "inf", "nan", "+.nan", "tRUE", "=", "<<", "1.2.3", "٣"),
    ],
)
def test_what_only_yaml_1_1_takes_for_something_else_is_text(written: str) -> None:
    assert value(written) == written


@pytest.mark.parametrize("quoted", ["'1'", '"1e-3"', "'true'", '"null"', "''", "'<<'"])
def test_quotes_make_text(quoted: str) -> None:
    assert value(quoted) == quoted[1:-1]


def test_a_block_scalar_is_text() -> None:
    assert parse_text("k: |\n  1\n", "r.yaml").data == {"k": "1\n"}


def test_a_pair_of_escapes_as_json_writes_them_is_one_character() -> None:
    assert value(r'"\ud83d\ude00"') == "😀"


# Origins


def test_every_key_and_item_keeps_its_line() -> None:
    source = parse_text("name: x\ntrain:\n  lr: 1\n  steps:\n    2\ntags:\n- a\n- {b: 1,\n   c: 2}\n", "r.yaml")
    assert source.data == {"name": "x", "train": {"lr": 1, "steps": 2}, "tags": ["a", {"b": 1, "c": 2}]}
    assert source.origins == {
        (): "r.yaml",
        ("name",): "r.yaml:1",
        ("train",): "r.yaml:2",
        ("train", "lr"): "r.yaml:3",
        ("train", "steps"): "r.yaml:4",
        ("tags",): "r.yaml:6",
        ("tags", 0): "r.yaml:7",
        ("tags", 1): "r.yaml:8",
        ("tags", 1, "b"): "r.yaml:8",
        ("tags", 1, "c"): "r.yaml:9",
    }


def test_where_falls_back_to_the_nearest_known_prefix_and_to_the_file() -> None:
    source = parse_text("a: 1\ntrain:\n  lr: 1\n", "r.yaml")
    assert source.where(("train", "lr")) == "r.yaml:3"
    assert source.where(("train", "steps", "x")) == "r.yaml:2"
    assert source.where(("body", "name")) == "r.yaml"
    assert source.where(()) == "r.yaml"
    assert Source({}, {}, ()).where(("a",)) == ""


def test_an_alias_is_a_copy_that_stands_where_it_is_used() -> None:
    source = parse_text("a: &x {k: [1]}\nb: *x\n", "r.yaml")
    assert source.data == {"a": {"k": [1]}, "b": {"k": [1]}}
    assert source.data["a"]["k"] is not source.data["b"]["k"]
    assert source.where(("a", "k", 0)) == "r.yaml:1"
    assert source.where(("b", "k", 0)) == "r.yaml:2"


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(folder: Path) -> None:
    (folder / "x.yaml").write_bytes("\ufeffa: 1\r\nb: 2\r\n".encode())
    source = read(folder / "x.yaml")
    assert source.data == {"a": 1, "b": 2}
    assert source.where(("b",)) == "recipes/x.yaml:2"


def test_a_text_has_no_files_and_its_extends_is_a_key() -> None:
    source = parse_text("extends: other.yaml\n", "r.yaml")
    assert source.data == {"extends": "other.yaml"}
    assert source.files == ()


# Faults of one text


@pytest.mark.parametrize(
    ("text", "line", "what", "hint"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "key 'c' stands here again", "first: r.yaml:3"),
        ("a: 1\n<<: {b: 1}\n", 2, "merge key '<<' is refused", "use extends"),
        (
            "a: 1\nb: !!python/object/apply:os.system [x]\n",
            2,
            "tag 'python/object/apply:os.system' is refused",
            "plain",
        ),
        ("a: !!str 1\n", 1, "tag 'str' is refused", "delete it"),
        ("a: !foo {b: 1}\n", 1, "tag '!foo' is refused", "delete it"),
        ("a: ! x\n", 1, "tag '!' is refused", "delete it"),
        ("!foo a: 1\n", 1, "tag '!foo' is refused", "delete it"),
        ("a: 1\n1: 2\n", 2, "a key is text, and this is a number", "quote it"),
        ("true: 2\n", 1, "a key is text, and this is true or false", "quote it"),
        ("~: 2\n", 1, "a key is text, and this is null", "quote it"),
        ("a:\n  ? [x]\n  : 2\n", 2, "a key is text, and this is a list", "quote it"),
        ("? {x: 1}\n: 2\n", 1, "a key is text, and this is a mapping", "quote it"),
        ("a: 1\n---\nb: 2\n", 2, "a second document begins", "split the file"),
        ("", 1, "there is nothing in it", "write it"),
        ("# a comment\n\n", 1, "there is nothing in it", "write it"),
        ("null\n", 1, "this is null", "key: value"),
        ("# one\n- a\n", 2, "this is a list", "key: value"),
        ("just words\n", 1, "this is text", "key: value"),
        ("3\n", 1, "this is a number", "key: value"),
        ("a:\n\tb: 1\n", 2, "not valid YAML: found character '\\t'", "no tabs"),
        ("a: 1\n b: 2\n", 2, "not valid YAML: mapping values are not allowed here", "quote text that holds ': '"),
        ("a: [1\nb: 2\n", 2, "not valid YAML: expected ',' or ']'", "while parsing a flow sequence"),
        ("a: 1\nb: @x\n", 2, "not valid YAML: found character '@'", "quote text"),
        ("a: 1\nb: *x\n", 2, "*x stands for nothing", "spell it out"),
        ("a: &x [1, *x]\n", 1, "*x stands for nothing", "no anchor ends above it"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, "not valid YAML: ", "quote text"),
        ('a: 1\nb: "\\U00110000"\n', 2, "not valid YAML: ", "quote text"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1\n", 1, "not valid YAML: ", "quote text"),
        ('a: 1\nb: "\\ud800"\n', 2, "half a surrogate pair", "whole character"),
        ("a: 1\nb: \x07\n", 2, "not printable UTF-8 text", "'\\x07'"),
        ("a: \ud800\n", 1, "not printable UTF-8 text", "'\\ud800'"),
        ("a: 1\nb: " + "9" * 5000 + "\n", 2, "99999999999999999999... is too large", "100 digits"),
        ("a: 0x" + "f" * 5000 + "\n", 1, "is too large", "100 digits"),
    ],
)
def test_a_fault_names_its_line_and_what_to_do(text: str, line: int, what: str, hint: str) -> None:
    problem = fault(text)
    assert problem.where == f"r.yaml:{line}"
    assert what in problem.what
    assert hint in f"{problem.why} {problem.fix}"


def test_all_faults_are_found_at_once_in_the_order_of_the_text() -> None:
    problems = faults("a: !x 1\nb: 1\nb: {c: 1, c: !y 2}\n3: 1\n<<: 1\nd: " + "9" * 200 + "\n---\n- e\n")
    assert [(problem.where, problem.what.split()[0]) for problem in problems] == [
        ("r.yaml:1", "tag"),
        ("r.yaml:3", "tag"),
        ("r.yaml:3", "key"),
        ("r.yaml:3", "key"),
        ("r.yaml:4", "a"),
        ("r.yaml:5", "merge"),
        ("r.yaml:6", "99999999999999999999..."),
        ("r.yaml:7", "a"),
    ]


def test_a_fault_prints_its_four_parts() -> None:
    assert str(fault("a: 1\na: 2\n")) == (
        "r.yaml:2: key 'a' stands here again\n  why: first: r.yaml:1\n  fix: delete one"
    )


def test_the_largest_allowed_number_of_digits_is_read() -> None:
    assert value("9" * 100) == int("9" * 100)
    assert value("-" + "9" * 100) == -int("9" * 100)
    assert "too large" in fault("k: 1" + "0" * 100).what


# Limits


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[[], "])
def test_deep_nesting_is_a_fault_and_no_crash(opening: str) -> None:
    assert fault("a:\n " + opening * 20_000).what == f"nested more than {MAX_DEPTH} deep"


def test_nesting_up_to_the_limit_is_read() -> None:
    text = "a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert max(map(len, parse_text(text, "r.yaml").origins)) == MAX_DEPTH
    assert "deep" in fault(text.replace("[]", "[[]]")).what


def test_aliases_cannot_multiply() -> None:
    laughs = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40))]
    assert fault("\n".join(laughs)).what == f"more than {MAX_VALUES:,} values"


def test_aliases_cannot_nest_past_the_limit() -> None:
    ladder = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 200))]
    problem = fault("\n".join(ladder))
    assert problem.what == f"nested more than {MAX_DEPTH} deep"
    assert problem.where == f"r.yaml:{MAX_DEPTH}"


def test_values_up_to_the_limit_are_read() -> None:
    spare = MAX_VALUES - 3  # the root, the key and the list count too
    assert len(parse_text(f"a: [{'1, ' * spare}]", "r.yaml").data["a"]) == spare
    assert "values" in fault(f"a: [{'1, ' * (spare + 1)}]").what


def test_size_has_a_limit(folder: Path) -> None:
    start = "a: 1\n#"
    path = write(folder / "x.yaml", start + "é" * (MAX_SIZE - len(start)))
    assert read(path).data == {"a": 1}
    write(path, start + "é" * (MAX_SIZE - len(start) + 1))
    (problem,) = refused(path)
    assert problem.what == "over 1,000,000 characters"
    assert problem.where == "recipes/x.yaml:1"


# Files


def test_a_file_is_shown_as_the_user_gave_it(folder: Path) -> None:
    write(folder / "x.yaml", "a: 1\n")
    assert read(folder / "x.yaml").where(("a",)) == "recipes/x.yaml:1"
    absolute = folder.absolute() / "x.yaml"
    assert read(absolute).where(("a",)) == f"{absolute}:1"
    assert read(absolute).files == (absolute,)


@pytest.mark.parametrize("name", ["bit_xr_fpt.yaml", "bit_xor_fpt", "bit_xor_fpt.yml"])
def test_a_missing_recipe_names_its_neighbour(folder: Path, name: str) -> None:
    write(folder / "bit_xor_fpt.yaml", "a: 1\n")
    (problem,) = refused(folder / name)
    assert problem.what == f"cannot read recipes/{name}; did you mean 'recipes/bit_xor_fpt.yaml'?"
    assert problem.why == "No such file or directory"
    write(folder / "gpt.yaml", "a: 1\n")
    assert refused(folder / "gp.yaml")[0].what == "cannot read recipes/gp.yaml; did you mean 'recipes/gpt.yaml'?"


def test_a_missing_recipe_without_a_like_neighbour_suggests_none(folder: Path) -> None:
    write(folder / "abc.yaml", "a: 1\n")
    assert refused(folder / "xyz.yaml")[0].what == "cannot read recipes/xyz.yaml"
    assert refused(Path("nowhere/abc.yaml"))[0].what == "cannot read nowhere/abc.yaml"
    assert refused(folder / "abc.yaml" / "x.yaml")[0].why == "Not a directory"


def test_a_folder_and_impossible_names_are_faults(folder: Path) -> None:
    assert refused(folder)[0].why == "Is a directory"
    assert "null" in refused(folder / "a\0b.yaml")[0].why
    assert "null" in refused(Path("a\0b") / "c.yaml")[0].why
    assert "too long" in refused(folder / ("x" * 5000))[0].why
    assert "too long" in refused(Path("x" * 5000) / "a.yaml")[0].why


def test_bytes_that_are_not_utf8_are_a_fault_with_a_line(folder: Path) -> None:
    path = folder / "x.yaml"
    for raw, line in [(b"a: 1\nb: \xff\n", 2), ("a: 1\n".encode("utf-16"), 1), (b"a: 1\n\n# \xe9\n", 3)]:
        path.write_bytes(raw)
        (problem,) = refused(path)
        assert problem.what == "not printable UTF-8 text"
        assert problem.where == f"recipes/x.yaml:{line}"
        assert problem.fix == "save the file as UTF-8"


# extends


def test_the_child_is_merged_deeply_over_its_parent(folder: Path) -> None:
    write(folder / "base.yaml", "name: base\ntrain:\n  lr: 1\n  steps: 2\ntags: [a, b]\nnote: {x: 1}\nseed: 0\n")
    child = write(folder / "x.yaml", "extends: base.yaml\nname: x\ntrain: {lr: 3}\ntags: [c]\nnote: null\nlayers: 4\n")
    source = read(child)
    assert source.data == {
        "name": "x",
        "train": {"lr": 3, "steps": 2},
        "tags": ["c"],
        "note": None,
        "seed": 0,
        "layers": 4,
    }
    assert source.files == (folder / "x.yaml", folder / "base.yaml")


def test_origins_follow_the_file_a_key_came_from(folder: Path) -> None:
    write(folder / "base.yaml", "name: base\ntrain:\n  lr: 1\n  steps: 2\ntags: [a, b]\n")
    source = read(write(folder / "x.yaml", "extends: base.yaml\nname: x\ntrain: {lr: 3}\ntags: [c]\n"))
    assert source.origins == {
        (): "recipes/x.yaml",
        ("name",): "recipes/x.yaml:2",
        ("train",): "recipes/x.yaml:3",
        ("train", "lr"): "recipes/x.yaml:3",
        ("train", "steps"): "recipes/base.yaml:4",
        ("tags",): "recipes/x.yaml:4",
        ("tags", 0): "recipes/x.yaml:4",
    }


def test_another_component_does_not_inherit_the_options_of_the_one_it_replaces(folder: Path) -> None:
    write(folder / "base.yaml", "name: base\nbody: {name: minilm-l6, init: random}\nhead: {name: mean, bias: true}\n")
    child = write(
        folder / "x.yaml", "extends: base.yaml\nname: x\nbody: {name: gpt2}\nhead: {name: mean, width: 3}\nseed: 1\n"
    )
    source = read(child)
    assert source.data["body"] == {"name": "gpt2"}
    assert source.data["head"] == {"name": "mean", "bias": True, "width": 3}
    assert ("body", "init") not in source.origins
    assert source.where(("body", "init")) == "recipes/x.yaml:3"


def test_a_mapping_without_a_name_on_either_side_merges(folder: Path) -> None:
    write(folder / "base.yaml", "body: {name: gpt2, init: random}\nhead: {bias: true}\n")
    source = read(write(folder / "x.yaml", "extends: base.yaml\nbody: {dropout: 0.1}\nhead: {name: mean}\n"))
    assert source.data["body"] == {"name": "gpt2", "init": "random", "dropout": 0.1}
    assert source.data["head"] == {"bias": True, "name": "mean"}


def test_extends_goes_on_and_is_relative_to_the_file_that_says_it(folder: Path) -> None:
    (folder / "deep").mkdir()
    write(Path("grand.yaml"), "a: 1\nb: 1\nc: 1\n")
    write(folder / "base.yaml", "extends: ../grand.yaml\nb: 2\nc: 2\n")
    source = read(write(folder / "deep" / "x.yaml", "extends: ../base.yaml\nc: 3\n"))
    assert source.data == {"a": 1, "b": 2, "c": 3}
    assert [str(path) for path in source.files] == [
        "recipes/deep/x.yaml",
        "recipes/deep/../base.yaml",
        "recipes/deep/../../grand.yaml",
    ]
    assert source.where(("a",)) == "recipes/deep/../../grand.yaml:1"


def test_a_circle_shows_its_chain(folder: Path) -> None:
    write(folder / "a.yaml", "extends: b.yaml\n")
    write(folder / "b.yaml", "k: 1\nextends: c.yaml\n")
    write(folder / "c.yaml", "extends: ./a.yaml\n")
    (problem,) = refused(folder / "a.yaml")
    assert problem.what == "it extends itself"
    assert problem.where == "recipes/c.yaml:1"
    assert problem.why == "recipes/a.yaml -> recipes/b.yaml -> recipes/c.yaml -> recipes/a.yaml"
    (problem,) = refused(write(folder / "self.yaml", "extends: self.yaml\n"))
    assert problem.why == "recipes/self.yaml -> recipes/self.yaml"


def test_a_missing_parent_is_a_fault_at_the_line_that_asks_for_it(folder: Path) -> None:
    write(folder / "common.yaml", "a: 1\n")
    (problem,) = refused(write(folder / "x.yaml", "name: x\nextends: comon.yaml\n"))
    assert problem.where == "recipes/x.yaml:2"
    assert problem.what == "cannot read recipes/comon.yaml; did you mean 'recipes/common.yaml'?"


@pytest.mark.parametrize(
    ("written", "kind"), [("[a.yaml, b.yaml]", "a list"), ("{a: 1}", "a mapping"), ("", "null"), ("3", "a number")]
)
def test_extends_takes_one_file(folder: Path, written: str, kind: str) -> None:
    (problem,) = refused(write(folder / "x.yaml", f"name: x\nextends: {written}\n"))
    assert (problem.where, problem.what) == ("recipes/x.yaml:2", "extends takes one file")
    assert problem.why == f"this is {kind}"


def test_an_empty_or_impossible_parent_is_a_fault(folder: Path) -> None:
    for written, why in [('""', "Is a directory"), (r'"a\0b"', "null")]:
        (problem,) = refused(write(folder / "x.yaml", f"extends: {written}\n"))
        assert problem.where == "recipes/x.yaml:1"
        assert why in problem.why


def test_extends_below_the_top_is_a_key_like_any_other() -> None:
    assert parse_text("task: {extends: 1}", "r.yaml").data == {"task": {"extends": 1}}


def test_faults_of_all_files_and_overrides_come_together(folder: Path) -> None:
    write(folder / "base.yaml", "b: 1\nb: 2\n")
    child = write(folder / "x.yaml", "extends: base.yaml\na: 1\na: 2\n")
    problems = refused(child, ["oops", "a=[", "c=!x 1"])
    assert [problem.where for problem in problems] == [
        "recipes/x.yaml:3",
        "recipes/base.yaml:2",
        "-o oops",
        "-o a",
        "-o c",
    ]


def test_overrides_of_a_file_that_cannot_be_read_are_still_checked(folder: Path) -> None:
    assert [problem.where for problem in refused(folder / "none.yaml", ["a", "b=1", "b.c=1"])] == ["", "-o a", "-o b.c"]


# Overrides

BASE = "name: x\nbody: {name: minilm-l6, init: pretrained, dropout: 0.0}\ntrain: {lr: 3e-3, patience: 4}\ntags: [a]\n"


def overridden(folder: Path, *overrides: str) -> Source:
    return read(write(folder / "x.yaml", BASE), overrides)


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("train.lr=1e-3", ("train", "lr"), 0.001),
        ("train.patience=null", ("train", "patience"), None),
        ("body.init=random", ("body", "init"), "random"),
        ("body.layers=0:6", ("body", "layers"), "0:6"),
        ("body.init=run:runs/x=1", ("body", "init"), "run:runs/x=1"),
        ("freeze=body - ln - pos", ("freeze",), "body - ln - pos"),
        ("name='12'", ("name",), "12"),
        ("tags=[b, 1]", ("tags",), ["b", 1]),
        ("head.options.bias=true", ("head", "options", "bias"), True),
        (" train.lr = 2", ("train", "lr"), 2),
        ("train=null", ("train",), None),
    ],
)
def test_an_override_sets_one_value(folder: Path, override: str, path: tuple[str, ...], expected: object) -> None:
    source = overridden(folder, override)
    found: Any = source.data
    for key in path:
        found = found[key]
    assert found == expected
    assert type(found) is type(expected)
    assert source.where(path) == f"-o {override.partition('=')[0].strip()}"


def test_the_rest_stays_and_keeps_its_lines(folder: Path) -> None:
    source = overridden(folder, "train.lr=1", "head.bias=true")
    assert source.data["train"] == {"lr": 1, "patience": 4}
    assert source.where(("train",)) == "recipes/x.yaml:3"
    assert source.where(("train", "patience")) == "recipes/x.yaml:3"
    assert source.where(("head",)) == "-o head.bias"


def test_a_mapping_merges_by_the_rule_of_extends(folder: Path) -> None:
    merged = overridden(folder, "body={dropout: 0.1}")
    assert merged.data["body"] == {"name": "minilm-l6", "init": "pretrained", "dropout": 0.1}
    assert merged.where(("body", "init")) == "recipes/x.yaml:2"
    replaced = overridden(folder, "body={name: gpt2}")
    assert replaced.data["body"] == {"name": "gpt2"}
    assert replaced.where(("body", "init")) == "-o body"


def test_a_name_alone_does_not_wipe_its_siblings(folder: Path) -> None:
    body = overridden(folder, "body.name=gpt2").data["body"]
    assert body == {"name": "gpt2", "init": "pretrained", "dropout": 0.0}


def test_later_overrides_win(folder: Path) -> None:
    assert overridden(folder, "train.lr=1", "train.lr=2").data["train"]["lr"] == 2
    assert overridden(folder, "head={name: mean}", "head.width=2").data["head"] == {"name": "mean", "width": 2}


def test_a_wiped_key_does_not_lend_its_line_to_a_later_override(folder: Path) -> None:
    write(folder / "base.yaml", "body: {name: a, schedule: {x: 1}}\n")
    child = write(folder / "x.yaml", "extends: base.yaml\nbody: {name: b}\n")
    source = read(child, ["body.schedule.y=1"])
    assert source.data == {"body": {"name": "b", "schedule": {"y": 1}}}
    assert source.where(("body", "schedule")) == "-o body.schedule.y"


@pytest.mark.parametrize(
    ("override", "where", "what", "why"),
    [
        ("train.lr", "-o train.lr", "an override is KEY=VALUE", "there is no '='"),
        ("", "-o ", "an override is KEY=VALUE", "there is no '='"),
        ("=1", "-o ", "an override is KEY=VALUE", "a key is missing"),
        ("train..lr=1", "-o train..lr", "an override is KEY=VALUE", "a key is missing"),
        ("train.=1", "-o train.", "an override is KEY=VALUE", "a key is missing"),
        ("extends=base.yaml", "-o extends", "an override is KEY=VALUE", "only a file can extend"),
        ("train.lr=", "-o train.lr", "there is nothing in it", "it is blanks and comments"),
        ("train.lr=#1", "-o train.lr", "there is nothing in it", "it is blanks and comments"),
        ("train.lr.x=1", "-o train.lr.x", "train.lr is a number and has no keys", "it was set at recipes/x.yaml:3"),
        ("tags.0=1", "-o tags.0", "tags is a list and has no keys", "it was set at recipes/x.yaml:4"),
        ("name.x.y=1", "-o name.x.y", "name is text and has no keys", "it was set at recipes/x.yaml:1"),
        ("train.lr=[1", "-o train.lr", "not valid YAML", "while parsing a flow sequence"),
        ("train.lr=!!float 1", "-o train.lr", "tag 'float' is refused", "plain data"),
        ("train.lr={a: 1, a: 2}", "-o train.lr", "key 'a' stands here again", "first: -o train.lr"),
        ("train.lr=1\n---\n2", "-o train.lr", "a second document begins", "one document"),
        ("train.lr=\udcff", "-o train.lr", "not printable UTF-8 text", "'\\udcff'"),
        (".".join("k" * 60) + "=1", "-o k.k", "nested more than 50 deep", "no recipe is"),
        (".".join("k" * 2_000) + "=1", "-o k.k", "nested more than 50 deep", "no recipe is"),
    ],
)
def test_a_malformed_override_is_a_fault(folder: Path, override: str, where: str, what: str, why: str) -> None:
    (problem,) = refused(write(folder / "x.yaml", BASE), [override])
    assert problem.where.startswith(where)
    assert len(problem.where) == len(where) or where == "-o k.k"
    assert what in problem.what
    assert why in problem.why


def test_a_path_through_an_override_names_that_override(folder: Path) -> None:
    (problem,) = refused(write(folder / "x.yaml", BASE), ["train=1", "train.lr=2"])
    assert problem.why == "it was set at -o train"
    assert problem.fix == "give all of it: -o 'train={...}'"


# dump


def test_a_dump_is_block_style_in_the_given_order() -> None:
    data = {"name": "x", "body": {"init": "random", "at": None}, "tags": ["a", {"b": True}], "none": {}, "empty": []}
    assert dump(data) == ("name: x\nbody:\n  init: random\n  at: null\ntags:\n- a\n- b: true\nnone: {}\nempty: []\n")


def test_a_dump_quotes_exactly_what_would_not_be_text() -> None:
    data = {"a": "1e-3", "b": "no", "c": "0:6", "d": "", "e": "<<", "f": "null", "g": "é 😀", "h": "#x", "i": "a\nb"}
    assert dump(data) == ("a: '1e-3'\nb: no\nc: 0:6\nd: ''\ne: '<<'\nf: 'null'\ng: é 😀\nh: '#x'\ni: \"a\\nb\"\n")


@pytest.mark.parametrize("number", [0.003, 1e-05, 1e16, 1e22, 0.1 + 0.2, 5e-324, -0.0, math.inf, -math.inf])
def test_a_dumped_float_is_the_same_float(number: float) -> None:
    found = parse_text(dump({"k": number}), "r.yaml").data["k"]
    assert repr(found) == repr(number)


def test_a_dump_repeats_shared_data_and_does_not_fold() -> None:
    shared = ["word " * 100 + "end"]
    text = dump({"a": shared, "b": shared})
    assert "&" not in text
    assert len(text.splitlines()) == 4


@pytest.mark.parametrize(
    "data", [{"a": (1,)}, {"a": Path("x")}, {"a": b"x"}, {"a": {1}}, {1: 2}, {"a": {None: 1}}, {"a": [object()]}]
)
def test_a_dump_refuses_what_could_not_be_read_back(data: Any) -> None:
    with pytest.raises(TypeError, match="plain data under keys of text"):
        dump(data)


def test_reading_does_not_import_torch_or_pydantic() -> None:
    # By its path: the package's own __init__ may import what it likes.
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "assert not {'torch', 'pydantic'} & set(sys.modules), sorted(sys.modules)"
    )
    file = sys.modules[parse_text.__module__].__file__
    assert file is not None
    subprocess.run([sys.executable, "-c", program, file], check=True, cwd=Path(file).parents[2])
