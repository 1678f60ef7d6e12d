"""Tables at every width: nothing that they hold is cut off or lost."""

from __future__ import annotations

import re

import pytest
from rich.console import Console
from rich.text import Text

from xmodal.console import show_rows

COLUMNS = ("run", ">test %", ">floors %", "freeze")
ROWS = [
    ("bit-memory-fpt s0", "accuracy 99.8\nhidden 99.6", "majority 46.6\nchance 50.0", "body - ln - pos"),
    ("lu2021-cifar10-unfreeze-ffn-last-attn s0 diverged", "–", "", "body - ln - pos - ffn - attn[-1] - embed.token"),
]


def shown(width: int) -> list[str]:
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        show_rows(COLUMNS, ROWS, "results", to=console)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [20, 40, 60, 70, 80, 100, 120, 200])
def test_nothing_is_lost_at_any_width(width: int) -> None:
    lines = shown(width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    letters = "".join(sorted(re.sub(r"\W", "", "".join(map("".join, ROWS)))))
    said = "".join(sorted(re.sub(r"\W", "", "".join(lines))))
    rest = list(said)
    for letter in letters:
        rest.remove(letter)


@pytest.mark.parametrize(("width", "blocks"), [(60, True), (90, False), (200, False)])
def test_rows_become_blocks_where_names_would_be_broken(width: int, blocks: bool) -> None:
    text = "\n".join(shown(width))
    assert ("floors %: majority 46.6, chance 50.0" in text) == blocks
    assert "lu2021-cifar10-unfreeze-ffn-last-attn" in text


def test_a_wide_terminal_has_one_line_for_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(shown(200)) == 1 + 2 + 3
    show_rows(("name",), [(Text("[bold]x"),)])
    assert "[bold]x" in capsys.readouterr().out  # what a file says is never markup


def test_numbers_stand_at_the_right() -> None:
    console = Console(width=80, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        show_rows(("a", ">b"), [("x", "1"), ("y", "100")], to=console)
    assert capture.get().splitlines()[-2:] == ["x    1", "y  100"]


@pytest.mark.parametrize("width", range(24, 80))
def test_columns_with_their_gaps_fit(width: int) -> None:
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        show_rows(("a", "b", "c"), [("x" * 8, "word " * 9, "word " * 9)], to=console)
    assert max(map(len, capture.get().splitlines())) <= width
    assert capture.get().count("word") == 18


@pytest.mark.parametrize("columns", ["60", "120", None, "80"])
def test_off_a_terminal_a_row_is_a_line_unless_a_width_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str | None
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    show_rows(("name", "what"), [("x", "word " * 40)])
    width = max(map(len, capsys.readouterr().out.splitlines()))
    assert width > 190 if columns is None else width <= int(columns)


@pytest.mark.parametrize("columns", [None, "80", "20"])
def test_off_a_terminal_no_line_ends_in_spaces(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str | None
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    show_rows(COLUMNS, ROWS, "results")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 6
    assert lines == [line.rstrip() for line in lines]
