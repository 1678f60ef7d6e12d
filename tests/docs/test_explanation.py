"""The explanation names tests that are there, the order that is enforced, and numbers that are committed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pages import FENCE, ROOT, page, sections
from test_architecture import ORDER

from xmodal.papers.library import tables
from xmodal.study.reading import read_study

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
STUDIES = sorted((ROOT / "benchmarks" / "studies").glob("*/study.json"))


def missing(text: str) -> list[str]:
    """Tests that the text names and that are not there."""
    lost = []
    for path, name in NAMED.findall(text):
        file = ROOT / path
        if not file.is_file() or not re.search(rf"^def {name}\(", file.read_text(encoding="utf-8"), re.MULTILINE):
            lost.append(f"{path}::{name}")
    return lost


@pytest.mark.parametrize("name", ["traps", "security"])
def test_the_tests_that_a_page_names_are_there(name: str) -> None:
    assert missing(page(f"explanation/{name}.md")) == []


def test_a_test_that_is_gone_would_be_noticed() -> None:
    gone = "`tests/bodies/test_init.py::test_no_such_thing`"
    assert missing(gone) == [gone.strip("`")]


def test_every_trap_has_a_proof() -> None:
    traps = sections(page("explanation/traps.md"), 2)
    assert len(traps) >= 20
    assert [trap for trap, text in traps.items() if not NAMED.search(text)] == []


def test_whatever_arrives_has_a_proof() -> None:
    text = sections(page("explanation/security.md"), 2)["What arrives"]
    kinds = re.findall(r"^\*\*.+?\*\*.*?(?=^\*\*|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(kinds) >= 12
    assert [kind for kind in kinds if not NAMED.search(kind)] == []


def test_the_order_of_the_parts_is_the_one_that_is_enforced() -> None:
    table = page("explanation/architecture.md").split("## ")[0]
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    said = [tuple(re.findall(r"`(\w+)`", row)) for row in rows]
    assert said == [(part,) if isinstance(part, str) else part for part in ORDER]


def test_the_path_of_a_batch_names_parts_in_their_order() -> None:
    block = next(FENCE.finditer(sections(page("explanation/architecture.md"), 2)["One batch"]))["body"]
    parts = [line.split()[0] for line in block.splitlines()]
    assert parts == ["tasks", "tokenizers", "bodies", "heads", "run"]
    assert sorted(parts, key=ORDER.index) == parts


def committed() -> set[str]:
    """Every number of the papers and of the studies, as tables write it."""
    numbers = {f"{found.theirs(row, column)[0]:g}" for found in tables() for row, column in _cells(found)}
    numbers |= {f"{number:.1f}" for number in map(float, numbers)}
    for file in STUDIES:
        study = read_study(file.parent)
        numbers |= {f"{100 * arm['mean']:.1f}" for arm in study["arms"]}
        numbers |= {f"{rate:g}" for rate in study["rates"]}
    return numbers


def _cells(found: Any) -> list[tuple[str, str]]:
    return [(row, column) for row in found.table.rows for column in found.table.columns]


def unknown(text: str) -> list[str]:
    """Scores in the sentences of a page, all with a decimal or a percent sign, that nothing committed says."""
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "", re.sub(r"^\|.*$", "", FENCE.sub("", text), flags=re.MULTILINE))
    numbers = re.findall(r"(?<![\d.])(\d+\.\d+)\b|\b(\d+) %", prose)
    return [said for number in numbers if (said := "".join(number)) not in committed()]


def test_the_claims_hold_no_number_of_their_own() -> None:
    text = page("explanation/claims.md")
    assert unknown(text) == []
    assert unknown("they got 38.4 and we 12.34, which is 17.5 points") == ["12.34", "17.5"]
    assert text.count("\n| ") > 30


def test_the_claims_hold_the_numbers_of_papers_and_studies() -> None:
    text = page("explanation/claims.md")
    assert "| language | 100 | 100 | 38.4 | 98.0 | 68.2 | 38.6 | 12.7 |" in text
    assert "| frozen-pretrained | 46.1 ±0.3 | 98.5 ±0.1 | 66.3 ±0.0 | 54.7 ±1.4 |" in text
    for name in ("lu-rothermel", "bit-xor-controls", "mnist-controls"):
        study = read_study(ROOT / "benchmarks" / "studies" / name)
        for said in study["comparisons"]:
            row = next(line for line in text.splitlines() if line.startswith(f"| {said['arm']} ") and _of(line, study))
            assert f"{100 * said['difference']:+.1f}" in row
            assert row.endswith(f"{said['verdict']} |")


def _of(line: str, study: Any) -> bool:
    return any(f"| {100 * arm['mean']:.1f} |" in line for arm in study["arms"] if line.startswith(f"| {arm['name']} "))
