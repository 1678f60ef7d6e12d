"""The built site: no warning, every link and anchor leads somewhere, and no page asks another host for anything."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pages import DOCS, PAGES


class Page(HTMLParser):
    """The ids of a page, where it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.loads = set[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        self.ids |= {name for key in ("id", "name") if (name := has.get(key))}
        if tag == "a" and (link := has.get("href")):
            self.links.append(link)
        loads = [has.get("src"), has.get("data"), has.get("href") if tag == "link" else None]
        self.loads += [load for load in loads if load]


@cache
def read(file: Path) -> Page:
    return Page(file.read_text(encoding="utf-8"))


def pages(site: Path) -> list[Path]:
    """Those of the documentation; pages of studies have tests of their own, and 404.html is seen from anywhere."""
    return [site / file.relative_to(DOCS).with_suffix(".html") for file in PAGES]


def broken(file: Path) -> list[str]:
    """Links and sources of a page that lead nowhere within the site."""
    wrong = []
    for link in [*read(file).links, *read(file).loads]:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
        anchor = unquote(parts.fragment)
        if not target.is_file() or (anchor and target.suffix == ".html" and anchor not in read(target).ids):
            wrong.append(link)
    return wrong


def test_the_build_says_nothing(site: Path) -> None:
    assert (site / "built").read_text() == ""


def test_every_page_is_there(site: Path) -> None:
    assert [file for file in pages(site) if not file.is_file()] == []


def test_links_and_anchors_lead_somewhere(site: Path) -> None:
    assert {str(file.relative_to(site)): wrong for file in pages(site) if (wrong := broken(file))} == {}
    links = [link for file in pages(site) for link in read(file).links]
    assert len(links) > 1000
    assert sum("#" in link for link in links) > 300
    assert any("#" in link and not link.startswith("#") for link in read(site / "reference/study.html").links)


def test_a_broken_link_would_be_noticed(tmp_path: Path) -> None:
    page = '<a href="#here" id="here"></a><a href="#gone"></a><table><td><a href="gone.html#x"></a></td></table>'
    (tmp_path / "page.html").write_text(page + '<img src="gone.png"><a href="https://elsewhere.org">')
    assert broken(tmp_path / "page.html") == ["#gone", "gone.html#x", "gone.png"]


def test_no_table_has_fallen_apart(site: Path) -> None:
    assert [page.name for page in pages(site) if re.search(r"<p>\s*\|", page.read_text(encoding="utf-8"))] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        assert [load for load in read(file).loads if "//" in load and not load.startswith("data:")] == [], file
    styles = [
        file for file in site.rglob("*.css") if re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", file.read_text())
    ]
    assert styles == []
    # The two scripts that the theme fetches elsewhere are for browsers without ResizeObserver, and for diagrams.
    assert not any('class="mermaid"' in file.read_text(encoding="utf-8") for file in site.rglob("*.html"))
