"""A figure with its numbers; and how all figures look: colours that the colour-blind can tell, in light and in dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

from xmodal.report.tables import Table, clean

INK = "#010203"
"""Stands for the colour of text, which the page decides: SVG says `currentColor` in its place."""
COLOURS = (INK, "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's (2008), but for yellow, which nobody sees on white; the first is the control's."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)))
WIDTH = 5.0
"""Inches; narrow, so that letters can be read on a phone."""
FAINT = 0.35
FONT = "DejaVu Sans"
"""Comes with matplotlib; where a browser lacks it, Verdana is about as wide."""


@dataclass(frozen=True)
class Style:
    """How one arm looks in every figure of a report."""

    colour: str
    marker: str
    line: Any

    @classmethod
    def of(cls, number: int) -> Style:
        """The look of the arm with that number; colours come again with another line and marker."""
        turn, own = divmod(number, len(COLOURS))
        return cls(COLOURS[own], MARKERS[(own + turn) % len(MARKERS)], LINES[turn % len(LINES)])


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Attributes:
        name: of its files, and of its place in the page.
        title: what it shows.
        alt: for those who do not see it: what is drawn, and the main thing it says.
        note: how to read it.
        table: its numbers.
        drawn: matplotlib's figure, which `figure` made.
    """

    name: str
    title: str
    alt: str
    note: str
    table: Table
    drawn: Any = field(repr=False)
    more: Table | None = None
    """Numbers that are too many for a page; they are written with the figures."""

    def svg(self) -> str:
        """The figure as an SVG element that takes the colour of the text around it; the same input gives the same."""
        stream = io.StringIO()
        with styled(self.name):
            nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            self.drawn.savefig(stream, format="svg", transparent=True, metadata=nothing)
        text = stream.getvalue()
        text = text[text.index("<svg") :].replace(INK, "currentColor")
        text = text.replace(f"'{FONT}'", f"'{FONT}', Verdana, sans-serif")
        text = re.sub(r'(<svg [^>]*?) width="[\d.]+pt"', r"\1", text, count=1)
        text = re.sub(r'(<svg [^>]*?) height="[\d.]+pt"', r"\1", text, count=1)
        # One page holds many figures, and an id stands once in a page.
        text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", text)
        said = f'role="img" aria-labelledby="{self.name}-title {self.name}-alt"'
        titles = f'<title id="{self.name}-title">{escape(self.title)}</title>'
        titles += f'<desc id="{self.name}-alt">{escape(self.alt)}</desc>'
        return re.sub(r"<svg ([^>]*)>", lambda found: f"<svg {said} {found[1]}>{titles}", text, count=1)

    def png(self) -> bytes:
        """The figure in black on white, at 200 dots an inch."""
        stream = io.BytesIO()
        with styled(self.name):
            self.drawn.savefig(stream, format="png", dpi=200, facecolor="white", metadata={"Software": None})
        return stream.getvalue()


@contextmanager
def styled(salt: str = "") -> Iterator[None]:
    """Matplotlib set up for our figures, whatever the user's own settings are."""
    import matplotlib as mpl

    said: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "text.parse_math": False,  # names are anybody's, and a dollar in them is no formula
        "font.family": FONT,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "figure.constrained_layout.use": True,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), INK),
        **dict.fromkeys(("xtick.color", "ytick.color", "xtick.labelcolor", "ytick.labelcolor"), INK),
    }
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(said)
        # The browser has letters that the font of the PNG lacks.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font|Matplotlib currently does not support")
        yield


@contextmanager
def figure(rows: int, columns: int, height: float) -> Iterator[tuple[Any, list[Any]]]:
    """A new figure `WIDTH` wide and `height` inches high, with a grid of axes that share their scales."""
    from matplotlib.figure import Figure as Canvas

    with styled():
        canvas = Canvas(figsize=(WIDTH, height))
        axes = canvas.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        yield canvas, list(axes.flat)


def log_axis(axes: Any) -> None:
    """A logarithmic x axis with plain numbers, whatever it spans."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if high / low > 30 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def shown(text: str, longest: int = 60) -> str:
    """Somebody's text as one short line. What goes is its middle, since names of arms tend to differ at their ends."""
    text = clean(text)
    kept = longest - 1
    return text if len(text) <= longest else f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
