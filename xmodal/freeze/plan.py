"""A plan: a freeze spec resolved on one model. It is a value that can be printed, compared and inverted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from xmodal.errors import XmodalError
from xmodal.freeze.select import Clause, resolve
from xmodal.freeze.table import Row, State, render, rows
from xmodal.freeze.terms import Spec, complement
from xmodal.types import ROLES, Claimant, Site


@dataclass(frozen=True)
class Entry:
    """One parameter, where it sits, and whether it trains.

    Attributes:
        site: where it sits.
        parameter: the tensor itself; it may be on the meta device.
        state: `unused` when no sample passes it, whatever the spec says.
    """

    site: Site
    parameter: nn.Parameter = field(repr=False, compare=False)
    state: State


@dataclass(frozen=True, eq=False)
class Plan:
    """Which parameters of a model train, which are frozen, and which no sample ever passes.

    Plans are equal when their specs and the state of each site are; tensors are not compared.

    Attributes:
        name: what the model is called.
        spec: the spec that was resolved.
        clauses: what each of its terms hit.
        entries: every parameter exactly once, in the order of the model's claims.
    """

    name: str
    spec: Spec
    clauses: tuple[Clause, ...]
    entries: tuple[Entry, ...]

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that train, by site. An optimiser takes these and no others."""
        return self._in_state("trainable")

    def frozen(self) -> dict[str, nn.Parameter]:
        """The parameters that must not change, by site."""
        return self._in_state("frozen")

    def unused(self) -> dict[str, nn.Parameter]:
        """The parameters that no sample passes, by site."""
        return self._in_state("unused")

    def apply(self) -> None:
        """Lets exactly the trainable parameters take gradients."""
        for entry in self.entries:
            entry.parameter.requires_grad_(entry.state == "trainable")

    def invert(self) -> Plan:
        """The plan with trainable and frozen exchanged. Its spec is `all - (spec)`; twice inverted it is itself."""
        claims = [(entry.site, entry.parameter) for entry in self.entries]
        return _plan(complement(self.spec), claims, self.name, excused=True)

    def counts(self) -> dict[str, int]:
        """Numbers of parameters: `total`, `trainable`, `frozen`, `unused`."""
        sizes = Counter({"trainable": 0, "frozen": 0, "unused": 0})
        for entry in self.entries:
            sizes[entry.state] += entry.parameter.numel()
        return {"total": sizes.total(), **sizes}

    def rows(self) -> list[Row]:
        """The plan as a table: roles, split into parts and layers where their states differ."""
        return rows(self.entries)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON would hold it: name, spec, rows, clauses with their hits, counts."""
        return {
            "name": self.name,
            "spec": str(self.spec),
            "rows": [dict(row) for row in self.rows()],
            "clauses": [
                {"sign": clause.sign, "text": clause.text, "hits": clause.hits, "changed": clause.changed}
                for clause in self.clauses
            ],
            "counts": self.counts(),
        }

    def __str__(self) -> str:
        return render(self.name, self.spec, self.rows(), self.clauses, self.counts())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self._value() == other._value()

    def __hash__(self) -> int:
        return hash(self._value())

    def _value(self) -> tuple[Spec, frozenset[tuple[Site, State]]]:
        return self.spec, frozenset((entry.site, entry.state) for entry in self.entries)

    def _in_state(self, state: State) -> dict[str, nn.Parameter]:
        return {str(entry.site): entry.parameter for entry in self.entries if entry.state == state}


def make_plan(spec: Spec, model: Claimant, *, name: str, where: str = "") -> Plan:
    """What `Spec.on` gives."""
    try:
        claims = list(model.claims())
        faults = [f"{each!r} is no Site with its parameter"[:200] for each in claims if not _is_claim(each)]
    except Exception as error:  # whatever stands in a method of the user's
        claims, faults = [], [f"{type(error).__name__}: {error}"]
    faults = faults or list(_faults(claims, model))
    if faults:
        raise XmodalError(
            f"{name} claims its parameters wrongly: {'; '.join(faults)}",
            where=f"{type(model).__module__}.{type(model).__qualname__}.claims",
            why="a plan must know every parameter exactly once, or something trains that no spec can name",
            fix="yield every parameter once, with a site of its own; tied parameters are one tensor at one site",
        )
    return _plan(spec, claims, name, where=where)


def _is_claim(each: Any) -> bool:
    is_pair = isinstance(each, tuple) and len(each) == 2
    return is_pair and isinstance(each[0], Site) and isinstance(each[1], nn.Parameter)


def _plan(
    spec: Spec, claims: list[tuple[Site, nn.Parameter]], name: str, *, where: str = "", excused: bool = False
) -> Plan:
    selection = resolve(spec, (site for site, _ in claims), owner=name, where=where, excused=excused)

    def state(site: Site) -> State:
        if not site.used:
            return "unused"
        return "frozen" if site in selection.frozen else "trainable"

    entries = tuple(Entry(site, parameter, state(site)) for site, parameter in claims)
    return Plan(name, spec, selection.clauses, entries)


def _faults(claims: list[tuple[Site, nn.Parameter]], model: Claimant) -> Iterable[str]:
    """What is wrong with the claims, one phrase each."""
    for site, count in Counter(site for site, _ in claims).items():
        if count > 1:
            yield f"the site {site} is claimed {count} times"
        if site.role not in ROLES:
            yield f"the site {site} has a role that no spec can name"
    places: dict[nn.Parameter, list[str]] = {}
    for site, parameter in claims:
        places.setdefault(parameter, []).append(str(site))
    for sites in places.values():
        if len(sites) > 1 and len(set(sites)) > 1:
            yield f"one parameter is claimed as {' and '.join(sites)}"
    if isinstance(model, nn.Module):
        names = [name for name, parameter in model.named_parameters() if parameter not in places]
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            yield f"nothing claims {', '.join(names[:5])}{more}"
