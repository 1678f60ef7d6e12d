"""The page in a browser: nothing scrolls sideways, letters can be read, light and dark, at desk and on the phone."""

from __future__ import annotations

import json
import re
from html import escape, unescape
from pathlib import Path
from typing import Any

import browser
import pytest

from xmodal.report.content import chapters
from xmodal.report.gather import gather
from xmodal.report.page import page

pytestmark = browser.needs_browser

PROBE = """
<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(it => {
    const box = it.getBoundingClientRect();
    return box.right > innerWidth + 0.5 && !it.closest(".scroll") && !it.closest("svg");
  });
  const svg = document.querySelector("figure svg"), letters = svg.querySelector("text");
  const style = getComputedStyle(document.body);
  const said = {
    width: innerWidth, scrolls: document.documentElement.scrollWidth, wide: wide.map(it => it.outerHTML.slice(0, 80)),
    figures: document.querySelectorAll("figure svg").length,
    letters: svg.getBoundingClientRect().width / svg.viewBox.baseVal.width
      * parseFloat(getComputedStyle(letters).fontSize),
    paper: style.backgroundColor, ink: getComputedStyle(letters).fill,
  };
  parent.document.body.insertAdjacentHTML("beforeend", "<pre id=said></pre>");
  parent.document.getElementById("said").textContent = JSON.stringify(said);
});
</script>
"""


@pytest.fixture(scope="module")
def text(finished: Path) -> str:
    return page(chapters(gather([finished])))


def probe(text: str, width: int, file: Path) -> Path:
    """The page in a frame, for no window is narrower than 500; with a script that it would not let run itself."""
    text = re.sub(r"<meta http-equiv=.*?>", "", text).replace("</body>", PROBE + "</body>")
    frame = f'<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{escape(text)}"></iframe>'
    file.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin: 0">{frame}</body>', encoding="utf-8")
    return file


def browse(file: Path, folder: Path, width: int, scheme: str, *words: str) -> str:
    return browser.browse(file.as_uri(), folder, f"--window-size={width},900", *words, scheme=scheme, patient=False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_fits(text: str, tmp_path: Path, width: int, scheme: str) -> None:
    file = probe(text, width, tmp_path / "probe.html")
    found = re.search(r'<pre id="said">(.*?)</pre>', browse(file, tmp_path, 1280, scheme, "--dump-dom"), re.DOTALL)
    assert found
    said: dict[str, Any] = json.loads(unescape(found[1]))
    assert said["width"] == width
    assert said["scrolls"] <= width
    assert said["wide"] == []
    assert said["figures"] >= 7
    assert said["letters"] >= 8
    paper, ink = (sum(map(int, re.findall(r"\d+", said[key])[:3])) / 3 for key in ("paper", "ink"))
    assert (paper > 240 and ink < 60) if scheme == "light" else (paper < 60 and ink > 200)


def test_a_page_can_be_seen(text: str, tmp_path: Path) -> None:
    from PIL import Image

    file, shot = tmp_path / "page.html", tmp_path / "page.png"
    file.write_text(text, encoding="utf-8")
    browse(file, tmp_path, 390, "light", "--hide-scrollbars", f"--screenshot={shot}")
    with Image.open(shot) as image:
        assert image.size == (390, 900)
        colours = image.convert("RGB").getcolors(1 << 20)
    assert colours
    assert len(colours) > 50


def test_what_does_not_fit_would_be_noticed(text: str, tmp_path: Path) -> None:
    wide = text.replace("<main>", '<main><p style="width: 600px">wide</p>')
    dom = browse(probe(wide, 390, tmp_path / "probe.html"), tmp_path, 1280, "light", "--dump-dom")
    found = re.search(r'<pre id="said">(.*?)</pre>', dom, re.DOTALL)
    assert found
    said = json.loads(unescape(found[1]))
    assert said["scrolls"] > 390
    assert "wide</p>" in said["wide"][0]
