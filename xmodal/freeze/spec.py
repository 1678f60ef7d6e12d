"""The freeze language: its grammar, and messages that show where a spec cannot be read. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args

from xmodal.errors import SpecError, did_you_mean
from xmodal.freeze.terms import ALIASES, GROUPS, Index, Leaf, Range, Sign, Spec, Term
from xmodal.types import ROLES

__all__ = ["Spec", "parse"]

LONGEST = 10_000
"""Most characters in a spec, blanks not counted, so that a spec that was read can be printed and read again."""
DEEPEST = 32
"""Most parentheses inside one another."""

GRAMMAR = r"""
spec: NONE -> none
    | [SIGN] term (SIGN term)*
term: (leaf | "(" spec ")") ["[" layers "]"] [OPTIONAL]
leaf: NAME ["." NAME]
layers: INT -> index
    | [INT] ":" [INT] [":" [INT]] -> slice
NONE: "none"
SIGN: /[+-]/
OPTIONAL: "?"
NAME: /[A-Za-z_][A-Za-z0-9_]{0,63}/
INT: /-?[0-9]{1,9}/
%ignore /[ \t\r\n]+/
"""

_WORDS = {
    "NAME": "a role, a group",
    "LPAR": "`(`",
    "SIGN": "`+`, `-`",
    "DOT": "`.`",
    "LSQB": "`[`",
    "OPTIONAL": "`?`",
    "INT": "a layer number",
    "COLON": "`:`",
    "RSQB": "`]`",
    "RPAR": "`)`",
    "$END": "the end",
}


class _Fault(Exception):
    """Something wrong with the token that begins at index `at`."""

    def __init__(self, at: int, what: str, why: str, fix: str) -> None:
        self.at, self.what, self.why, self.fix = at, what, why, fix
        super().__init__(what)


@v_args(inline=True)
class _Build(Transformer[Token, Spec]):
    """Makes terms while the parser reads, so that nothing recurses."""

    def none(self, _: Token) -> Spec:
        return Spec()

    def spec(self, sign: Token | None, term: Term, *rest: Any) -> Spec:
        signs: list[Sign] = ["-" if word == "-" else "+" for word in (sign, *rest[::2])]
        terms: list[Term] = [term, *rest[1::2]]
        return Spec(tuple(Term(t.of, s, t.layers, t.optional) for s, t in zip(signs, terms, strict=True)))

    def term(self, of: Leaf | Spec, layers: Index | Range | None, optional: Token | None) -> Term:
        return Term(of, layers=layers, optional=optional is not None)

    def leaf(self, name: Token, part: Token | None) -> Leaf:
        role = ALIASES.get(name, str(name))
        if role == "none":
            why, fix = "`none` is a whole spec, not a term", "write `none` alone, or leave it out"
            raise _Fault(name.start_pos or 0, "`none` stands among other terms", why, fix)
        if role not in ROLES and role not in GROUPS:
            known = [*ROLES, *GROUPS, *ALIASES]
            raise _Fault(
                name.start_pos or 0,
                f"there is no role or group `{name}`{did_you_mean(name.lower(), known)}",
                f"the roles are {', '.join(ROLES)}; the groups are {', '.join(GROUPS)}",
                "write one of these",
            )
        if part is not None and role in GROUPS:
            raise _Fault(
                part.start_pos or 0,
                f"`{role}` is a group and has no parts",
                f"only a role has parts, and `{role}` stands for {', '.join(GROUPS[role])}",
                f"name the roles that you mean, as in (attn.{part} + ffn.{part})",
            )
        return Leaf(role, str(part or ""))

    def index(self, at: Token) -> Index:
        return Index(int(at))

    def slice(self, *bounds: Token | None) -> Range:
        start, stop, step = (None if bound is None else int(bound) for bound in bounds)
        if step == 0:
            at = next(bound.start_pos for bound in reversed(bounds) if bound is not None)
            raise _Fault(at or 0, "a step of 0 goes nowhere", "a slice counts layers in steps", "leave the step out")
        return Range(start, stop, step)


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, start="spec", parser="lalr", maybe_placeholders=True, transformer=_Build())


def parse(text: str, *, where: str = "") -> Spec:
    """The spec that `text` writes.

    Args:
        text: one line of the freeze language, at most 10,000 characters besides blanks, parentheses at most 32 deep.
        where: what messages call the place of the text; the text itself if empty.

    Raises:
        SpecError: the text is not a spec; the message points at the character.
    """
    try:
        _check_size(text)
        return cast(Spec, _parser().parse(text))  # what the transformer made of it
    except _Fault as fault:
        raise _explain(text, where, fault) from None
    except UnexpectedToken as error:
        raise _explain(text, where, _misplaced(text, error.token, error.accepts)) from None
    except UnexpectedCharacters as error:
        raise _explain(text, where, _stranger(text, error.pos_in_stream)) from None


def cite(text: str, where: str) -> str:
    """What a message calls the place of the spec `text`: `where` if that is given."""
    return where or f"freeze spec `{_window(text, 0)[0]}`"


def _check_size(text: str) -> None:
    if not text.strip():
        raise _Fault(0, "the spec is empty", "an empty spec says nothing", "write `none` to freeze nothing")
    length = len("".join(text.split()))
    if length > LONGEST:
        why = f"it has {length:,} characters without the blanks"
        raise _Fault(LONGEST, f"the spec is longer than {LONGEST:,} characters", why, "say it in fewer terms")
    depth = 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth > DEEPEST:
            why = f"this is parenthesis {depth} inside another"
            raise _Fault(at, f"parentheses are more than {DEEPEST} deep", why, "leave out those that change nothing")
        if depth < 0:
            raise _Fault(at, "cannot read `)` here", "no parenthesis is open", "leave it out, or open one with `(`")


def _stranger(text: str, at: int) -> _Fault:
    why, fix = "a spec is made of names, whole numbers and + - ( ) . [ : ] ?", "leave it out"
    if text[at] in "−–—":
        why, fix = "this dash is not the minus sign of a keyboard", "write `-`"
    return _Fault(at, f"cannot read {text[at]!r} here", why, fix)


def _misplaced(text: str, token: Token, fitting: Collection[str]) -> _Fault:
    """A token at the wrong place; `fitting` are the terminals that would do."""
    at = len(text.rstrip()) if token.type == "$END" else token.start_pos or 0
    what = "the spec breaks off" if token.type == "$END" else f"cannot read `{token}` here"
    before = text[:at].rstrip()
    words = ", ".join(word for name, word in _WORDS.items() if name in fitting)
    why = " or ".join(words.rsplit(", ", 1)) + " would fit"
    if before.endswith("none") and "SIGN" not in fitting:
        why, fix = "`none` is a whole spec, not a term", "write `none` alone, or leave it out"
    elif before.endswith("."):
        why, fix = "a part would fit", "name the part, as in attn.qkv, or leave out the `.`"
    elif "INT" in fitting or "RSQB" in fitting:
        fix = "write layers as Python does: [3], [-1], [0:6], [6:] or [::2]"
    elif "NAME" in fitting:
        fix = f"write a role ({', '.join(ROLES)}) or a group ({', '.join(GROUPS)})"
    elif token.type == "DOT":
        fix = "a role takes one part or kind, before its layers: attn.qkv[3] or attn.bias"
    elif token.type == "LSQB":
        fix = "write the layers once, before the `?`: attn[3]?"
    elif token.type == "$END":
        fix = "close the parenthesis with `)`"
    else:
        fix = "join terms with `+` or `-`, as in `body - ln - pos`"
    return _Fault(at, what, why, fix)


def _explain(text: str, where: str, fault: _Fault) -> SpecError:
    shown, column = _window(text, fault.at)
    what = f"{fault.what}\n    {shown}\n    {' ' * column}^" if shown else fault.what
    return SpecError(what, where=cite(text, where), why=fault.why, fix=fault.fix)


def _window(text: str, at: int, width: int = 60) -> tuple[str, int]:
    """At most `width` printable characters of `text` around index `at`, and the column of `at` among them."""
    line = "".join(" " if c.isspace() else c if c.isprintable() else "�" for c in text.rstrip())
    if len(line) <= width:
        return line, at
    begin = max(0, min(at - width // 2, len(line) - width))
    end = begin + width
    head, tail = "… " * (begin > 0), " …" * (end < len(line))
    return head + line[begin:end] + tail, at - begin + len(head)
