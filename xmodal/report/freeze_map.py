"""Figures of what trains: layers by roles. Sites are known without building a body, so torch stays unloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xmodal import freeze
from xmodal.freeze.select import compact
from xmodal.recipe import Recipe
from xmodal.recipe.check import sites_of
from xmodal.report.figure import INK, Figure, figure, shown
from xmodal.report.tables import Cell, Columns, Table
from xmodal.types import ROLES, Site

COLOURS = {"trainable": "#E69F00", "frozen": "#56B4E9", "unused": "none"}
HATCHES = {"trainable": "", "frozen": "////", "unused": ""}
OUTSIDE = "–"
"""The column of what lies in no layer."""
ROW = 0.24
MOST_TICKS = 16
Line = tuple[str, dict[int | None, str]]
"""A role, or a part of one, and its state in each layer; None is outside the layers."""


def freeze_maps(recipes: Mapping[str, Recipe], name: str) -> list[Figure]:
    """A map for each set of arms that freeze the same of bodies of one shape.

    Args:
        recipes: of each arm, by its name; their `freeze` is the whole spec.
        name: what the figures' names start with.

    Raises:
        XmodalError: the data that decide the shape of a sample are not here.
    """
    alike: dict[tuple[tuple[Site, str], ...], list[str]] = {}
    for arm, recipe in recipes.items():
        alike.setdefault(tuple(states(recipe).items()), []).append(arm)
    return [
        _map(dict(key), arms, recipes[arms[0]].freeze, f"{name}-freeze-{number}")
        for number, (key, arms) in enumerate(alike.items(), 1)
    ]


def states(recipe: Recipe) -> dict[Site, str]:
    """Whether each parameter of a recipe's model is `trainable`, `frozen` or `unused`, by its site."""
    sites = sites_of(recipe.body, recipe.tokenizer.geometry(recipe.task.sample()))
    frozen = freeze.parse(recipe.freeze).select(sites, owner=recipe.body.name).frozen
    return {site: "unused" if not site.used else "frozen" if site in frozen else "trainable" for site in sites}


def _map(found: Mapping[Site, str], arms: Sequence[str], spec: str, name: str) -> Figure:
    from matplotlib.patches import Patch, Rectangle

    rows = lines(found)
    layers = sorted({site.layer for site in found if site.layer is not None})
    places: list[int | None] = [None, *layers]
    looks = {state: {"facecolor": COLOURS[state], "hatch": HATCHES[state]} for state in COLOURS}
    edge = {"edgecolor": INK, "linewidth": 0.5}
    with figure(1, 1, 0.95 + ROW * len(rows)) as (canvas, (axes,)):
        for row, (_, cells) in enumerate(rows):
            for place, state in cells.items():
                corner = (places.index(place) - 0.45, row - 0.4)
                axes.add_patch(Rectangle(corner, 0.9, 0.8, **looks[state], **edge))
        axes.set_xlim(-0.6, max(len(places), 8) - 0.4)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        ticks = [0, *range(1, len(places), -(-len(layers) // MOST_TICKS) or 1)]
        axes.set_xticks(ticks, [OUTSIDE if (place := places[tick]) is None else str(place) for tick in ticks])
        axes.set_xlabel(f"layer ({OUTSIDE}: in none)")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        patches = [Patch(**looks[state], **edge, label=state) for state in COLOURS]
        canvas.legend(handles=patches, loc="outside lower left", ncols=3)
    train = [label for label, cells in rows if "trainable" in cells.values()]
    return Figure(
        name,
        f"What trains: {'; '.join(shown(arm) for arm in arms)}",
        f"Roles by layers, frozen: {spec}. What trains: {', '.join(train)}.",
        f"Frozen: {spec}. Unused: no sample passes it.",
        _table(found, rows, spec, name),
        canvas,
    )


def _table(found: Mapping[Site, str], rows: Sequence[Line], spec: str, name: str) -> Table:
    cells: list[list[Cell]] = []
    for label, by_layer in rows:
        for state in dict.fromkeys(by_layer.values()):
            places = [place for place, own in by_layer.items() if own == state]
            ranges = compact(place for place in places if place is not None)
            where = ", ".join(filter(None, [OUTSIDE * (None in places), ranges]))
            tensors = sum(label in _names(site) and site.layer in places for site in found)
            cells.append([label, where, tensors, state])
    columns: Columns = [("role", "text"), ("layers", "text"), ("tensors", "count"), ("state", "text")]
    return Table(name, f"What trains: {spec}", columns, cells)


def lines(found: Mapping[Site, str]) -> list[Line]:
    """The states of each role by layer; by part, or by weight and bias, where they differ within a layer."""
    rows = []
    for role in ROLES:
        for label, own in _split([site for site in found if site.role == role], found, depth=0):
            rows.append((label, {site.layer: found[site] for site in own}))
    return rows


def _split(sites: list[Site], found: Mapping[Site, str], depth: int) -> Iterator[tuple[str, list[Site]]]:
    """The sites under names of that many words behind the role, or of more where one would have two states."""
    by_label: dict[str, list[Site]] = {}
    for site in sites:
        by_label.setdefault(_label(site, depth), []).append(site)
    for label, own in by_label.items():
        if len({(site.layer, found[site]) for site in own}) > len({site.layer for site in own}):
            yield from _split(own, found, depth + 1)
        else:
            yield label, own


def _names(site: Site) -> list[str]:
    return [_label(site, depth) for depth in range(3)]


def _label(site: Site, depth: int) -> str:
    return ".".join([site.role, *filter(None, (site.part, site.kind)[:depth])])
