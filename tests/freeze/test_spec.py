"""The freeze language: what it reads and prints, and what its messages say of a text that is no spec."""

from __future__ import annotations

import subprocess
import sys

import pytest

from xmodal.errors import SpecError
from xmodal.freeze import Spec, parse
from xmodal.freeze.spec import DEEPEST, LONGEST
from xmodal.freeze.terms import Index, Leaf, Range, Term, complement


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("body-ln-pos", "body - ln - pos"),
        ("  body\n\t- ln ", "body - ln"),
        ("+ body", "body"),
        ("-ln", "- ln"),
        ("none", "none"),
        ("attention + mlp", "attn + ffn"),
        ("feedforward + layernorm", "ffn + ln"),
        ("norm + position + positions", "ln + pos + pos"),
        ("ln.attn", "ln.attn"),
        ("attn . q [ 0 : 6 ] ?", "attn.q[0:6]?"),
        ("attn[03]", "attn[3]"),
        (
            "attn[-1] - attn[6:] - attn[:-2] - attn[::2] - attn[:]",
            "attn[-1] - attn[6:] - attn[:-2] - attn[::2] - attn[:]",
        ),
        ("attn[1:5:2] - attn[::-1]", "attn[1:5:2] - attn[::-1]"),
        ("(attn)", "attn"),
        ("((attn))[1]", "attn[1]"),
        ("(attn[1])?", "attn[1]?"),
        ("(attn?)[1]", "attn[1]?"),
        ("- (attn)", "- attn"),
        ("(attn[0:2])[0]", "(attn[0:2])[0]"),
        ("(body - ln) + ln.final", "body - ln + ln.final"),
        ("((body - ln) - pos)", "body - ln - pos"),
        ("body - (ln + pos)", "body - (ln + pos)"),
        ("body - ((ln + pos))", "body - (ln + pos)"),
        ("body + (attn - ffn)", "body + (attn - ffn)"),
        ("(- attn)", "- attn"),
        ("ln - (- attn)", "ln - (- attn)"),
        ("(body - ln)[1:]", "(body - ln)[1:]"),
        ("(body - ln)?", "(body - ln)?"),
        ("(none)", "none"),
        ("(none) + ffn", "ffn"),
        ("body - (none)[0]", "body"),
    ],
)
def test_prints_in_normal_form(written: str, printed: str) -> None:
    spec = parse(written)
    assert str(spec) == printed
    assert parse(printed) == spec


def test_the_tree_of_a_spec() -> None:
    assert parse("body - attn.qkv[-1]? + (ln - ln.final)[1:]") == Spec(
        (
            Term(Leaf("body")),
            Term(Leaf("attn", "qkv"), "-", Index(-1), optional=True),
            Term(Spec((Term(Leaf("ln")), Term(Leaf("ln", "final"), "-"))), "+", Range(1)),
        )
    )
    assert parse("none") == Spec()
    assert parse("attn[1]") != parse("attn[1:2]")
    assert len({parse("attn"), parse("attention"), parse("ffn")}) == 2


@pytest.mark.parametrize(
    "text", ["none", "all", "attn", "body - ln", "- ln", "all - attn", "all - all", "all - (all - ln)"]
)
def test_complement_is_its_own_inverse(text: str) -> None:
    assert complement(complement(parse(text))) == parse(text) != complement(parse(text))


def test_complements_read_well() -> None:
    assert str(complement(parse("body - ln"))) == "all - (body - ln)"
    assert str(complement(parse("none"))) == "all"
    assert str(complement(parse("all - ln"))) == "ln"


def test_reading_and_selecting_need_no_torch() -> None:
    code = (
        "import sys, xmodal.freeze as f; from xmodal.types import Site; assert 'lark' not in sys.modules;"
        "f.parse('ln').select([Site('ln')], owner='x'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_there_is_no_other_name_in_the_package() -> None:
    import xmodal.freeze

    with pytest.raises(AttributeError, match="no attribute 'prase'"):
        xmodal.freeze.prase  # noqa: B018


def message(text: str, where: str = "") -> SpecError:
    with pytest.raises(SpecError) as caught:
        parse(text, where=where)
    return caught.value


UNREADABLE = [
    # text, column, what, why, fix
    ("body - atn", 7, "no role or group `atn`; did you mean 'attn'?", "the roles are attn, ffn,", "write one of these"),
    ("BODY", 0, "did you mean 'body'?", "the groups are body, all", "write one"),
    ("layrnorm", 0, "did you mean 'layernorm'?", "roles", "write one"),
    ("body.bias", 5, "`body` is a group and has no parts", "stands for attn, ffn", "(attn.bias + ffn.bias)"),
    ("attn ffn", 5, "cannot read `ffn`", "`+`, `-`", "join terms with `+` or `-`"),
    ("attn 3", 5, "cannot read `3`", "`[`", "join terms"),
    ("attn - - ln", 7, "cannot read `-`", "a role, a group or `(` would fit", "write a role (attn, ffn,"),
    ("attn -", 6, "the spec breaks off", "a role, a group or `(` would fit", "or a group (body, all)"),
    ("()", 1, "cannot read `)`", "a role", "write a role"),
    ("(attn", 5, "the spec breaks off", "`)` would fit", "close the parenthesis"),
    ("attn)", 4, "cannot read `)`", "no parenthesis is open", "leave it out"),
    ("attn[", 5, "the spec breaks off", "a layer number or `:`", "[3], [-1], [0:6], [6:] or [::2]"),
    ("attn[]", 5, "cannot read `]`", "a layer number", "as Python does"),
    ("attn[1:2", 8, "the spec breaks off", "`]`", "as Python does"),
    ("attn[x]", 5, "cannot read `x`", "a layer number", "as Python does"),
    ("attn[1.5]", 6, "cannot read `.`", "`:` or `]`", "as Python does"),
    ("attn[1:2:0]", 9, "a step of 0 goes nowhere", "in steps", "leave the step out"),
    ("attn[1234567890]", 14, "cannot read `0`", "`]`", "as Python does"),
    ("attn.", 5, "the spec breaks off", "a part would fit", "attn.qkv"),
    ("attn.3", 5, "cannot read `3`", "a part would fit", "leave out the `.`"),
    ("attn[3].q", 7, "cannot read `.`", "`?` or the end", "before its layers: attn.qkv[3]"),
    ("attn.q.bias", 6, "cannot read `.`", "`[`", "one part or kind"),
    ("attn?[3]", 5, "cannot read `[`", "the end", "before the `?`"),
    ("attn + none", 7, "`none` stands among other terms", "a whole spec", "write `none` alone"),
    ("none - ln", 5, "cannot read `-`", "`none` is a whole spec, not a term", "write `none` alone"),
    ("body − ln", 5, "cannot read '−'", "not the minus sign", "write `-`"),
    ("body $ ln", 5, "cannot read '$'", "names, whole numbers", "leave it out"),
    ("attn\x00", 4, r"cannot read '\x00'", "names", "leave it out"),
]


@pytest.mark.parametrize(
    ("text", "column", "what", "why", "fix"), UNREADABLE, ids=[repr(case[0]) for case in UNREADABLE]
)
def test_a_text_that_is_no_spec(text: str, column: int, what: str, why: str, fix: str) -> None:
    error = message(text)
    assert what in error.what
    assert why in error.why
    assert fix in error.fix
    _, shown, caret = error.what.split("\n")
    assert shown.strip() == text.replace("\x00", "�")
    assert caret == " " * (4 + column) + "^"
    assert error.where == f"freeze spec `{shown.strip()}`"
    assert error.exit_code == 2


@pytest.mark.parametrize("text", ["", " \n "])
def test_an_empty_text(text: str) -> None:
    error = message(text)
    assert error.what == "the spec is empty"
    assert error.fix == "write `none` to freeze nothing"


def test_the_place_can_be_given() -> None:
    assert message("atn", where="recipe.yaml:9").where == "recipe.yaml:9"


def test_a_long_text_is_shown_around_the_fault() -> None:
    error = message("attn + " * 20 + "atn" + " + attn" * 20)
    _, shown, caret = error.what.split("\n")
    assert len(shown) < 80
    assert shown[caret.index("^") :].startswith("atn + attn")
    assert shown.strip().startswith("… ")
    assert shown.endswith(" …")


HOSTILE = [
    ("(" * 9_000, "more than 32 deep"),
    ("(" * 100_000, "longer than 10,000 characters"),
    ("(" * 4_000 + "attn" + ")" * 4_000, "more than 32 deep"),
    (")" * 9_000, "cannot read `)`"),
    ("attn+" * 5_000 + "attn", "longer than 10,000 characters"),
    ("attn[" + "9" * 9_000 + "]", "cannot read `9"),
    ("attn" + "?" * 9_000, "cannot read `?`"),
    ("-" * 9_000, "cannot read `-`"),
    ("q" * 9_999, "cannot read `q"),
    ("q" * 64, "no role or group"),
]


@pytest.mark.parametrize(("text", "what"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_errors_of_bounded_length(text: str, what: str) -> None:
    assert what in message(text).what
    assert len(str(message(text))) < 1_000


def test_the_limits_themselves_are_allowed() -> None:
    deep = "attn - (" * (DEEPEST - 1) + "attn - (ln - ffn)" + ")" * (DEEPEST - 1)
    assert parse(str(parse(deep))) == parse(deep)
    long = "-ln" * 3_332 + "+all"
    assert len(long) == LONGEST
    assert "longer" in message(long + "?").what
    assert len(str(parse(long))) > LONGEST
    assert parse(str(parse(long))) == parse(long)
