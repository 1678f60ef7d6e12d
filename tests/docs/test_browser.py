"""The site in a browser: it works from disk, search included, asks nobody for anything, and fits a phone."""

from __future__ import annotations

import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser import browse, needs_browser, requests, said
from pages import DOCS, PAGES

pytestmark = needs_browser
NAMES = [file.relative_to(DOCS).with_suffix(".html").as_posix() for file in PAGES]

PROBE = """<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll(".md-content *, .md-header *, .md-footer *")].filter(it => {
    const box = it.getBoundingClientRect();
    const own = ".md-typeset__scrollwrap, .highlight, .scroll, svg, nav, form";
    return box.width && box.right > innerWidth + 0.5 && !it.closest(own);
  });
  const seen = document.querySelector(".md-content p"), style = it => getComputedStyle(it);
  parent.postMessage({
    name: NAME, width: innerWidth, scrolls: document.documentElement.scrollWidth,
    wide: wide.map(it => it.outerHTML.slice(0, 90)),
    paper: style(document.body).backgroundColor, ink: style(seen).color,
  }, "*");
});
</script></body>"""
FRAMES = """<!doctype html><meta charset="utf-8"><body><pre id="said"></pre><script>
const all = [], note = document.getElementById("said");
onmessage = it => { all.push(it.data); note.textContent = JSON.stringify(all); };
</script>"""


def probe(site: Path, folder: Path, names: list[str], width: int, change: tuple[str, str] = ("", "")) -> str:
    """Pages of a copy of the site, each in a frame of that width, for no window is narrower than 500."""
    copy = folder / "site"
    if not copy.exists():
        shutil.copytree(site, copy)
    frames = FRAMES
    for name in names:
        text = (site / name).read_text(encoding="utf-8").replace(*change, 1)
        (copy / name).write_text(text.replace("</body>", PROBE.replace("NAME", f'"{name}"', 1)), encoding="utf-8")
        frames += f'<iframe src="site/{name}" style="width: {width}px; height: 900px; border: 0"></iframe>'
    (folder / "frames.html").write_text(frames, encoding="utf-8")
    return (folder / "frames.html").as_uri()


def looks(
    site: Path, folder: Path, names: list[str], width: int, scheme: str, **change: Any
) -> dict[str, dict[str, Any]]:
    address = probe(site, folder, names, width, **change)
    return {look["name"]: look for look in said(browse(address, folder, "--dump-dom", scheme=scheme))}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_no_page_scrolls_sideways(site: Path, tmp_path: Path, width: int, scheme: str) -> None:
    found = looks(site, tmp_path, NAMES, width, scheme)
    assert sorted(found) == sorted(NAMES)
    for name, look in found.items():
        assert look["width"] == width
        assert look["scrolls"] <= width, name
        assert look["wide"] == [], name
        paper, ink = (sum(map(int, re.findall(r"\d+", look[key])[:3])) / 3 for key in ("paper", "ink"))
        assert (paper > 240 and ink < 80) if scheme == "light" else (paper < 60 and ink > 170), name


def test_what_does_not_fit_would_be_noticed(site: Path, tmp_path: Path) -> None:
    wide = ("</h1>", '</h1><p style="width: 600px">wide</p>')
    look = looks(site, tmp_path, ["index.html"], 390, "light", change=wide)["index.html"]
    assert "wide</p>" in look["wide"][0]


def find(address: str, folder: Path) -> tuple[int, list[str]]:
    """How many pages the search has for "seal", and what they asked for on the network."""
    log = folder / "log.json"
    dom = browse(f"{address}?q=seal", folder, f"--log-net-log={log}", "--dump-dom")
    found = re.search(r"(\d+) matching documents", dom)
    return int(found[1]) if found else 0, requests(log)


def test_the_site_and_its_search_work_from_disk_and_ask_nobody(site: Path, tmp_path: Path) -> None:
    pages, asked = find((site / "index.html").as_uri(), tmp_path)
    assert pages >= 4
    assert asked == []


def test_a_request_would_be_noticed(site: Path, tmp_path: Path) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    text = (copy / "index.html").read_text(encoding="utf-8")
    (copy / "index.html").write_text(text.replace("</body>", '<img src="http://elsewhere.invalid/x.png"></body>'))
    assert "http://elsewhere.invalid/x.png" in find((copy / "index.html").as_uri(), tmp_path)[1]


WATCH = """<!doctype html><iframe src="/index.html?q=seal"></iframe><img src="/hold.png"><script>
setInterval(() => {
  const found = frames[0].document.querySelector(".md-search-result__meta").textContent.match(/(\\d+) matching/);
  if (found) fetch("/found/" + found[1]);
}, 200);
</script>"""


def test_the_site_works_over_http(site: Path, tmp_path: Path) -> None:
    found, there = list[int](), threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/hold.png":  # the browser ends when all is loaded, and the search takes its time
                there.wait(60)
            if self.path.startswith("/found/"):
                found.append(int(self.path.rpartition("/")[2]))
                there.set()
            if self.path != "/watch":
                return super().do_GET()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(WATCH.encode())
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home, log = f"http://127.0.0.1:{server.server_port}/", tmp_path / "log.json"
        browse(f"{home}watch", tmp_path, f"--log-net-log={log}", "--dump-dom", patient=False)
        server.shutdown()
    assert found
    assert found[0] >= 4
    assert f"{home}search/search_index.json" in requests(log)
    assert [address for address in requests(log) if not address.startswith(home)] == []
