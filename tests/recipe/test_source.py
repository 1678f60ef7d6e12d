"""What a YAML file becomes: plain data, the line of every key, and every fault at once."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xmodal.errors import RecipeError, UsageError
from xmodal.recipe.source import MAX_DEPTH, MAX_VALUES, Source, dump, parse_text


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
