"""The README shows what the program says, and its links work where README.md is read."""

from __future__ import annotations

import json
import re

import pytest
from pages import FENCE, ROOT, hooks, sections

from xmodal import cli

README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results"


def test_the_verdicts_are_those_of_the_study(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        cli.main(["report", str(ROOT / "benchmarks" / "studies" / "bit-xor-controls")])
    printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    blocks = [block["body"] for block in FENCE.finditer(sections(README, 2)["What it finds"])]
    assert [block.strip() in printed for block in blocks if "verdict" in block] == [True]


@pytest.mark.parametrize("name", ["quickstart", "quickstart-random"])
def test_the_demo_is_that_of_the_committed_runs(name: str) -> None:
    said = json.loads((RESULTS / f"{name}-s0.json").read_text(encoding="utf-8"))
    row = next(line for line in hooks().demo_output().splitlines() if line.startswith(f"{name} s0"))
    row = re.sub(" +", " ", row)
    low, high = said["test"]["interval"]
    assert f" {100 * said['test']['accuracy']:.1f} {100 * low:.1f}-{100 * high:.1f} " in row
    assert f" majority {100 * said['floors']['majority']:.1f} " in row
    assert f" {said['best_step']}/{said['steps']} {said['seconds']:.0f} s" in row


def test_every_cell_of_ours_leads_to_a_page() -> None:
    rows = [
        line.split(" | ") for line in sections(README, 2)["Beside other tools"].splitlines() if line.startswith("| ")
    ]
    assert len(rows) >= 9
    assert {len(row) for row in rows} == {6}
    ours = [row[1] for row in rows[2:]]
    assert [cell for cell in ours if "](docs/" not in cell and cell != "no"] == []


def test_anchors_are_spelt_alike_by_the_site_and_by_others() -> None:
    from markdown.extensions.toc import slugify

    checked = 0
    for path, anchor in re.findall(r"\]\((docs/[\w/.-]+)#([\w.-]+)\)", README):
        headings = re.findall(r"^#+ (.+)$", FENCE.sub("", (ROOT / path).read_text(encoding="utf-8")), re.MULTILINE)
        plain = [re.sub(r"[`*]", "", heading) for heading in headings]
        theirs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain]
        assert anchor in [slugify(heading, "-") for heading in plain], (path, anchor)
        assert anchor in theirs, (path, anchor)
        checked += 1
    assert checked >= 3
