"""A table in its forms: rounded for people, exact for programs, and safe with anybody's text."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from xmodal.report.tables import Table, exact_csv, latex, markdown, named

TABLE = Table(
    "t",
    "A title",
    named("text", "arm", "seed") + named("percent", "test") + named("points", "less") + named("count", "trains"),
    [["ffn | frozen", 0, 0.47916666, -0.0123, 1382018], ["b_1 & 2 % <b>", None, None, None, None]],
)


def test_a_person_sees_rounded_numbers_and_dashes() -> None:
    assert TABLE.shown() == [
        ["ffn | frozen", "0", "47.9", "-1.2", "1,382,018"],
        ["b_1 & 2 % <b>", "–", "–", "–", "–"],
    ]
    assert TABLE.numeric() == [False, False, True, True, True]


def test_csv_is_exact() -> None:
    rows = list(csv.reader(io.StringIO(exact_csv(TABLE))))
    assert rows[0] == ["arm", "seed", "test", "less", "trains"]
    assert rows[1] == ["ffn | frozen", "0", "0.47916666", "-0.0123", "1382018"]
    assert rows[2][1:] == [""] * 4


def test_markdown_keeps_its_cells() -> None:
    lines = markdown(TABLE).splitlines()
    assert lines[0] == "A title"
    assert lines[3] == "| --- | --- | ---: | ---: | ---: |"
    assert lines[4] == r"| ffn \| frozen | 0 | 47.9 | -1.2 | 1,382,018 |"
    assert r"b\_1 &amp; 2 % &lt;b>" in lines[5]


def test_latex_escapes() -> None:
    text = latex(TABLE)
    assert r"\begin{tabular}{llrrr}" in text
    assert r"b\_1 \& 2 \% \textless{}b\textgreater{} & -- & -- & -- & -- \\" in text


@pytest.mark.parametrize("form", [markdown, latex])
def test_a_line_stays_a_line(form: Any) -> None:
    table = Table("t", "a\nb", named("text", "x\ny"), [["one\ntwo\x00\u202e"]])
    text = form(table)
    assert "one two\ufffd\ufffd" in text
    assert len(text.splitlines()) == {"markdown": 5, "latex": 8}[form.__name__]
