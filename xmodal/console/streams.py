"""The two streams: results go out, progress and errors go to the other, so that a pipe gets results alone."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from typing import IO, Any, cast

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from xmodal.errors import RecipeError, XmodalError


def give_up(name: str, error: OSError) -> None:
    """Lets all that is still to be said on a standard stream go nowhere, since it took no more.

    Raises:
        XmodalError: these were results, and a reader was there.
    """
    # What is still in the buffer would fail once more when Python ends.
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), getattr(sys, name).fileno())
    if name == "stdout" and not isinstance(error, BrokenPipeError):
        why = error.strerror or str(error)
        fix = "free some space, or send it elsewhere"
        raise XmodalError("the output cannot be written", where="standard output", why=why, fix=fix) from None


_PADDING = re.compile(r" +(?=\n)")
"""What fills a table's lines up to their width, and no file needs."""


class _Stream:
    """A standard stream that no reader can break: where nobody reads any more, what is said is lost and work goes on.

    Results that a full disk refuses are an error; progress that it refuses is lost as well.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(getattr(sys, self._name), attribute)

    def write(self, text: str) -> int:
        stream = getattr(sys, self._name)
        try:
            stream.write(text if stream.isatty() else _PADDING.sub("", text))
            stream.flush()
        except OSError as error:
            give_up(self._name, error)
        return len(text)

    def flush(self) -> None:
        """Every write is whole."""


WIDEST = 1000
"""Columns of output that no terminal shows, so that there a row stays a line."""


class _Output(Console):
    """As wide as a terminal or `COLUMNS` says; elsewhere there is no width."""

    @property
    def size(self) -> ConsoleDimensions:  # type: ignore[override]  # nobody sets it
        size = super().size
        said = sys.stdout.isatty() or "COLUMNS" in os.environ
        return size if said else ConsoleDimensions(WIDEST, size.height)


out = _Output(file=cast(IO[str], _Stream("stdout")), highlight=False, soft_wrap=False)
err = Console(file=cast(IO[str], _Stream("stderr")), highlight=False)


def in_notebook() -> bool:
    """Whether this runs in a notebook."""
    return err.is_jupyter


def shows_live() -> bool:
    """Whether what was shown can be shown anew: on a terminal, and in a notebook that has ipywidgets."""
    return err.is_terminal or (err.is_jupyter and find_spec("ipywidgets") is not None)


def show_error(error: XmodalError) -> None:
    """What, where, why and fix, in colour where there is colour."""
    problems = error.problems if isinstance(error, RecipeError) else [error]
    for problem in problems:
        err.print(_message(problem), soft_wrap=True)
    if len(problems) > 1:
        err.print(f"{len(problems)} problems", style="bold red")


def _message(error: XmodalError) -> Text:
    head, *tail = str(error).split("\n")
    text = Text(head, style="bold red")
    for line in tail:
        text.append("\n" + line, style="green" if line.startswith("  fix:") else "default")
    return text


def say(text: str) -> None:
    """A line on the error stream, for what is not a result."""
    err.print(Text(text), soft_wrap=True)


def write(text: str) -> None:
    """Text for another program, as it is."""
    out.file.write(text + "\n")
