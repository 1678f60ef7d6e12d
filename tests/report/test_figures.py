"""What is drawn: ends where the numbers are, and names that fit and stay apart."""

from __future__ import annotations

import copy
from itertools import combinations
from typing import Any

import pytest

from xmodal.report.course import Group, learning, norms
from xmodal.report.effects import effects, rates
from xmodal.report.figure import Figure, Style, shown, styled
from xmodal.report.gather import FoundStudy
from xmodal.report.trace import Trace

LONG = [f"freeze=body - ln - pos, init={init}" for init in ("pretrained", "random")]


@pytest.fixture
def said(study: FoundStudy) -> Any:
    return copy.deepcopy(study.said)


@pytest.mark.parametrize("margin", [0.05, 0.01])
def test_an_effect_has_its_ends_and_the_studys_margin(said: Any, margin: float) -> None:
    said["comparisons"][0] |= {"difference": 0.02, "interval": [-0.03, 0.07]}
    said["margin"] = margin
    drawn: Any = effects(said, "x")
    (axes,) = drawn.drawn.axes
    places = [list(line.get_xdata()) for line in axes.lines]
    assert places[0] == [0, 0]
    assert places[1:] == [pytest.approx([-3, 7]), pytest.approx([2])]
    (band,) = axes.collections
    box = band.get_paths()[0].get_extents()
    assert (box.x0, box.x1) == pytest.approx((-100 * margin, 100 * margin))
    assert f"margin of {100 * margin:g} point" in drawn.note


def test_the_rate_that_was_chosen_is_marked_and_no_other(said: Any) -> None:
    one, other = said["arms"]
    one |= {"rate": said["rates"][0], "edge": "low"}
    other |= {"rate": said["rates"][1], "edge": None}
    drawn: Any = rates(said, "x")
    marks = {(row[0], row[1]): row[3] for row in drawn.table.rows if row[3]}
    assert marks == {(one["name"], one["rate"]): "chosen, low edge", (other["name"], other["rate"]): "chosen"}
    assert len(drawn.table.rows) == 2 * len(said["rates"])
    (axes,) = drawn.drawn.axes
    rings = [line for line in axes.lines if line.get_fillstyle() == "none"]
    assert [list(ring.get_xdata()) for ring in rings] == [[one["rate"]], [other["rate"]]]


# Names


@pytest.mark.parametrize("longest", [20, 24, 30])
def test_long_names_that_differ_at_an_end_stay_apart(longest: int) -> None:
    middle = "a name that is much too long " * 3
    for names in ((middle + "x", middle + "y"), ("x" + middle, "y" + middle), LONG):
        one, other = (shown(name, longest) for name in names)
        assert one != other
        assert max(len(one), len(other)) <= longest
    assert shown(LONG[0], len(LONG[0])) == LONG[0]


def words(figure: Figure) -> list[tuple[str, Any]]:
    """Every text that is drawn, with its box as a share of the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    drawn: dict[Text, None] = {}
    real = Text.draw

    def draw(self: Text, renderer: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            drawn[self] = None
        real(self, renderer)

    with styled(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", draw)
        canvas = FigureCanvasAgg(figure.drawn)
        canvas.draw()
        pen, share = canvas.get_renderer(), figure.drawn.transFigure.inverted()
        return [(text.get_text(), text.get_window_extent(pen).transformed(share)) for text in drawn]


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("draw", [learning, norms])
def test_long_names_of_arms_fit(draw: Any, more: int) -> None:
    names = [*LONG, *["freeze=body - ln - pos + attn, init=statistics"] * more]
    groups = [
        Group(
            name,
            Style.of(number),
            {seed: Trace(((100, 0.5), (200, 0.7 + 0.01 * seed)), {"tokens": 0.1, "hidden": 1.0}) for seed in range(3)},
            {"copy_hidden": 0.5, "majority": 0.55},  # the longest name of a floor, which takes room from the panels
        )
        for number, name in enumerate(names)
    ]
    seen = words(draw(groups, "x"))
    for text, box in seen:
        assert min(box.x0, box.y0) >= -1e-6, (text, box)
        assert max(box.x1, box.y1) <= 1 + 1e-6, (text, box)
    labels = [(text, box) for text, box in seen if text.startswith("freeze=")]
    assert len({text for text, _ in labels}) == len(names)
    for (one, here), (other, there) in combinations(labels, 2):
        assert not here.overlaps(there), (one, here, other, there)
