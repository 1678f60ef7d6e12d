"""Factors as the command line says them, and which of them contradict each other. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from pathlib import Path

from xmodal.errors import UsageError
from xmodal.freeze import parse

TRAINED, FROZEN = "trained", "frozen"
LONGEST = 40
"""Most characters of the name of an arm made by hand."""
OWNED = {
    "extends": "only a file can extend another",
    "lock": "a lock file is one run",
    "name": "a name changes nothing; arms have names of their own",
    "seed": "seeds are what an arm is repeated over: --seeds",
    "threads": "threads change no result that a study may compare",
    "tiny": "--tiny takes the tiny form of every arm",
    "train.lr": "the rate is swept for every arm: --lr LOW:HIGH:N",
}
"""Keys that cannot be a factor, and why."""


@dataclass(frozen=True)
class Factor:
    """What arms differ in.

    Attributes:
        key: a term of the freeze language, or a dotted key of the recipe.
        label: what tables call it.
        levels: the control's first: `trained` and `frozen`, or values in YAML.
        toggles: whether it is a term that is frozen or trained.
    """

    key: str
    label: str
    levels: tuple[str, ...]
    toggles: bool

    def shown(self, level: str) -> str:
        """One of its levels in the name of an arm: `ffn frozen`, `init=random`."""
        if self.toggles:
            return f"{self.label} {level}"
        return f"{self.label}={level if len(level) <= 24 else level[:23] + '…'}"


@dataclass(frozen=True)
class Asked:
    """What a study compares, as the command line says it.

    Attributes:
        path: the file of the base recipe.
        freeze: terms of the freeze language; each is frozen or trained on top of the recipe's own spec.
        vary: `KEY=VALUE,VALUE...`, the values in YAML.
        arms: made by hand, `NAME: SPEC`; the spec replaces the recipe's.
        controls: name of a set of controls, `std`; each is another body, or another start of it.
        overrides: `KEY=VALUE` for all arms.
        tiny: takes the recipe's own tiny form.
    """

    path: Path
    freeze: Sequence[str] = ()
    vary: Sequence[str] = ()
    arms: Sequence[str] = ()
    controls: str = ""
    overrides: Sequence[str] = ()
    tiny: bool = False

    @cached_property
    def factors(self) -> list[Factor]:
        """As `factors_of`."""
        return factors_of(self.freeze, self.vary, self.arms, self.controls)

    def variants(self) -> Iterator[tuple[dict[str, str], list[str]]]:
        """Levels, by label, of the factors that are keys of the recipe, and all overrides, theirs among them."""
        varied = [factor for factor in self.factors if not factor.toggles]
        for values in product(*(factor.levels for factor in varied)):
            chosen = list(zip(varied, values, strict=True))
            levels = {factor.label: value for factor, value in chosen}
            yield levels, [*self.overrides, *(f"{factor.key}={value}" for factor, value in chosen)]


def factors_of(freeze: Sequence[str], vary: Sequence[str], arms: Sequence[str], controls: str = "") -> list[Factor]:
    """The factors of a study.

    Raises:
        UsageError: there is nothing to compare, something cannot be read, or factors contradict each other.
    """
    if not (freeze or vary or arms or controls):
        raise UsageError(
            "there is nothing to compare",
            why="an ablation has at least two arms",
            fix="say what differs, with --freeze ffn, --vary body.init=pretrained,random, --arm or --controls std",
        )
    for place, term in enumerate(freeze):
        if term in freeze[:place]:
            raise UsageError(f"--freeze {term} stands here twice", where=f"--freeze {term}", fix="say it once")
    terms = [str(parse(term, where=f"--freeze {term}")) for term in freeze]
    asked = [_vary(text) for text in vary]
    besides = "--arm" if arms else "--controls" if controls else ""
    _enforce_apart(terms, [key for key, _ in asked], besides)
    keys = [key for key, _ in asked]
    toggles = [Factor(term, term.replace("?", ""), (TRAINED, FROZEN), True) for term in terms]
    return [*toggles, *(Factor(key, _label(key, [*keys, *terms]), values, False) for key, values in asked)]


def by_hand(texts: Sequence[str], taken: Collection[str]) -> dict[str, str]:
    """Specs by name, from `NAME: SPEC`; `taken` are the names of the other arms.

    Raises:
        UsageError: one has no name, no spec, or a name that there is already.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, colon, spec = (part.strip() for part in text.partition(":"))
        where = f"--arm {text}"
        if not (colon and name and spec):
            raise UsageError("an arm is NAME: SPEC", where=where, fix="--arm 'no attention: body - attn'")
        if len(name) > LONGEST or not name.isprintable():
            why = f"it has {len(name)} characters" if name.isprintable() else "it does not print"
            raise UsageError("this name does not fit a table", where=where, why=why, fix=f"at most {LONGEST} letters")
        if name in found or name in taken:
            raise UsageError(f"two arms are called '{name}'", where=where, fix="give each a name of its own")
        found[name] = spec
    return found


def _vary(text: str) -> tuple[str, tuple[str, ...]]:
    key, equals, written = (part.strip() for part in text.partition("="))
    where = f"--vary {text}"
    if not equals or not all(key.split(".")):
        raise UsageError("a factor is KEY=VALUE,VALUE", where=where, fix="--vary body.init=pretrained,random")
    owned = next((word for word in OWNED if key == word or word.startswith(f"{key}.")), None)
    if owned:
        raise UsageError(f"{owned} cannot be varied", where=where, why=OWNED[owned], fix="vary another key")
    values = tuple(value.strip() for value in _split(written))
    if len(values) < 2 or not all(values):
        raise UsageError("a factor has two values or more", where=where, fix=f"-o {key}=VALUE sets one for all arms")
    if len(set(values)) < len(values):
        raise UsageError(f"a value of {key} stands here twice", where=where, fix="say each once")
    return key, values


def _split(text: str) -> Iterator[str]:
    """`text` at its commas, but those within brackets or quotes."""
    depth, quote, begin = 0, "", 0
    for at, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            yield text[begin:at]
            begin = at + 1
    yield text[begin:]


def _enforce_apart(terms: Sequence[str], keys: Sequence[str], besides: str) -> None:
    """Refuses factors of which one decides what another says."""
    for one, other in combinations(terms, 2):
        if one == other:
            raise _contradiction(f"--freeze {one}", f"--freeze {other}", "it is the same term")
    for one, other in combinations(keys, 2):
        if one == other or one.startswith(f"{other}.") or other.startswith(f"{one}."):
            raise _contradiction(f"--vary {one}", f"--vary {other}", "one holds the other")
    if "freeze" in keys and (said := f"--freeze {terms[0]}" if terms else besides):
        raise _contradiction("--vary freeze", said, "both say what is frozen")


def _contradiction(one: str, other: str, why: str) -> UsageError:
    return UsageError(f"{one} and {other} contradict each other", where=other, why=why, fix="drop one of them")


def _label(key: str, others: Sequence[str]) -> str:
    """The last word of a key, or the component if that is its name; the whole key where another ends alike."""
    section, _, rest = key.rpartition(".")
    short = section if rest == "name" and section else rest
    alike = [other for other in others if other != key and short in (other, other.rpartition(".")[2])]
    return key if alike else short
