"""A freeze spec as a value: terms that add sites to the frozen set, or remove them, from left to right.

A spec is always in normal form, so that equal specs print alike and `parse(str(spec)) == spec`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from xmodal.types import BODY_ROLES, ROLES, Site

if TYPE_CHECKING:
    from xmodal.freeze.plan import Plan
    from xmodal.freeze.select import Selection
    from xmodal.types import Claimant

Sign = Literal["+", "-"]

GROUPS = {"body": BODY_ROLES, "all": ROLES}
ALIASES = {
    "attention": "attn",
    "feedforward": "ffn",
    "layernorm": "ln",
    "mlp": "ffn",
    "norm": "ln",
    "position": "pos",
    "positions": "pos",
}
KINDS = ("weight", "bias")


@dataclass(frozen=True)
class Leaf:
    """A role, one part or kind of a role, or a group: `attn`, `attn.qkv`, `ln.bias`, `body`."""

    name: str
    part: str = ""

    def matches(self, site: Site) -> bool:
        """Whether `site` belongs to it."""
        if site.role not in GROUPS.get(self.name, (self.name,)):
            return False
        return self.part in ("", site.kind if self.part in KINDS else site.part)

    def __str__(self) -> str:
        return f"{self.name}.{self.part}" if self.part else self.name


@dataclass(frozen=True)
class Index:
    """One layer, `[3]`; `[-1]` is the last."""

    at: int

    @property
    def bounds(self) -> tuple[int, ...]:
        """The numbers that must be layers."""
        return (self.at,)

    def numbers(self, depth: int) -> range:
        """The layer meant in a stack of `depth`, which must have it."""
        layer = range(depth)[self.at]
        return range(layer, layer + 1)

    def __str__(self) -> str:
        return str(self.at)


@dataclass(frozen=True)
class Range:
    """Layers as Python slices them: `[0:6]`, `[6:]`, `[::2]`. A step is never 0."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    @property
    def bounds(self) -> tuple[int, ...]:
        """The numbers that must be layers; a positive `stop` is one past its layer."""
        stop = self.stop - 1 if self.stop is not None and self.stop > 0 else self.stop
        return tuple(number for number in (self.start, stop) if number is not None)

    def numbers(self, depth: int) -> range:
        """The layers meant in a stack of `depth`."""
        return range(depth)[self.start : self.stop : self.step]

    def __str__(self) -> str:
        words = ["" if number is None else str(number) for number in (self.start, self.stop, self.step)]
        return ":".join(words if self.step is not None else words[:2])


@dataclass(frozen=True)
class Term:
    """One signed term: `- attn[-1]?`.

    A parenthesis around one positive term is dropped, unless both of them are sliced.

    Attributes:
        of: what it names, or the spec between its parentheses.
        sign: whether it adds to the frozen sites or removes from them.
        layers: the slice, or None for every layer and what lies outside the layers.
        optional: marked `?`: it may hit nothing.
    """

    of: Leaf | Spec
    sign: Sign = "+"
    layers: Index | Range | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.of, Spec) or len(self.of.terms) != 1:
            return
        (inner,) = self.of.terms
        if inner.sign == "+" and (self.layers is None or inner.layers is None):
            object.__setattr__(self, "of", inner.of)
            object.__setattr__(self, "layers", self.layers or inner.layers)
            object.__setattr__(self, "optional", self.optional or inner.optional)

    @property
    def excused(self) -> bool:
        """Whether it may hit nothing: it is marked `?`, or everything between its parentheses is."""
        return self.optional or (isinstance(self.of, Spec) and all(inner.excused for inner in self.of.terms))

    @property
    def text(self) -> str:
        """The term without its sign."""
        of = f"({self.of})" if isinstance(self.of, Spec) else str(self.of)
        layers = "" if self.layers is None else f"[{self.layers}]"
        return of + layers + "?" * self.optional

    def clause(self, first: bool) -> str:
        """The term as it stands in a spec: the sign of a first positive term is left out."""
        return self.text if first and self.sign == "+" else f"{self.sign} {self.text}"


@dataclass(frozen=True)
class Spec:
    """What is frozen: its terms from left to right, of which later ones win. Without terms it is `none`.

    A parenthesis that only repeats the order of reading (`(a - b) + c`) or holds `none` is dropped.
    """

    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        terms = tuple(term for term in self.terms if isinstance(term.of, Leaf) or term.of.terms)
        if terms and isinstance(terms[0].of, Spec):
            first, *rest = terms
            if first.sign == "+" and first.layers is None and not first.optional:
                terms = (*terms[0].of.terms, *rest)
        object.__setattr__(self, "terms", terms)

    def __str__(self) -> str:
        return " ".join(term.clause(first=number == 0) for number, term in enumerate(self.terms)) or "none"

    def select(self, sites: Iterable[Site], *, owner: str, where: str = "") -> Selection:
        """Which of `sites` are frozen. Needs no torch.

        Sites that are not used are never selected.

        Args:
            sites: every site of a model.
            owner: what messages call that model.
            where: what messages call the place of the spec; the spec itself if empty.

        Raises:
            SpecError: a clause hits nothing, or asks for a layer that is not there.
        """
        from xmodal.freeze.select import resolve

        return resolve(self, sites, owner=owner, where=where)

    def on(self, model: Claimant, *, name: str = "", where: str = "") -> Plan:
        """The plan of this spec on `model`.

        Args:
            model: it must claim each of its parameters exactly once.
            name: what messages and the plan call it; the name of its class if empty.
            where: what messages call the place of the spec; the spec itself if empty.

        Raises:
            SpecError: a clause hits nothing, or asks for a layer that is not there.
            XmodalError: a parameter or a site is claimed twice, or a parameter is not claimed.
        """
        from xmodal.freeze.plan import make_plan

        return make_plan(self, model, name=name or type(model).__name__, where=where)


def complement(spec: Spec) -> Spec:
    """The spec that freezes what `spec` does not: `all - (spec)`. Its own inverse."""
    inner = _subtracted(spec)
    if inner is not None and complement(inner) == spec:
        return inner
    return Spec((Term(Leaf("all")), Term(spec, "-")))


def _subtracted(spec: Spec) -> Spec | None:
    """`x` if `spec` reads `all - (x)`, else None."""
    match spec.terms:
        case (Term(of=Leaf("all"), sign="+", layers=None, optional=False), *rest):
            if not rest:
                return Spec()
            if len(rest) == 1 and rest[0].sign == "-":
                return Spec((replace(rest[0], sign="+"),))
    return None
