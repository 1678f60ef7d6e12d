"""One HTML page that holds all of a report: it asks no other file and no network for anything."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from xmodal.errors import XmodalError
from xmodal.report.content import MOST_MARKS, Chapter
from xmodal.report.tables import clean
from xmodal.report.words import TINY

HERE = Path(__file__).parent


def page(chapters: Sequence[Chapter], damaged: Sequence[XmodalError] = ()) -> str:
    """The page. Names and errors come from files that anybody wrote: all of it is escaped.

    Args:
        chapters: what it says.
        damaged: what could not be read, and is left out.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters["clean"] = clean
    env.filters["zip"] = zip
    first = clean(chapters[0].title) if len(chapters) == 1 else "studies and runs"
    return env.get_template("page.html.j2").render(
        title=f"xmodal: {first}",
        style=env.loader.get_source(env, "page.css")[0] if env.loader else "",
        chapters=chapters,
        damaged=damaged,
        tiny=TINY,
        most=MOST_MARKS,
        version=version("xmodal"),
    )
