"""What a report leaves on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xmodal.errors import UsageError, XmodalError
from xmodal.report.content import Chapter
from xmodal.report.page import page
from xmodal.report.tables import exact_csv, latex, markdown
from xmodal.run.whole import write_whole


def write_page(chapters: Sequence[Chapter], damaged: Sequence[XmodalError], file: Path) -> None:
    """Writes the page whole, or leaves what was there.

    Raises:
        UsageError: `file` is a folder.
        XmodalError: it cannot be written.
    """
    if file.is_dir():
        fix = f"name a file: --html {file / 'report.html'}"
        raise UsageError("this is a folder, and a page is a file", where=f"--html {file}", fix=fix)
    _write(file, page(chapters, damaged).encode(), "--html")


def write_figures(chapters: Sequence[Chapter], folder: Path) -> int:
    """Writes every figure as SVG and PNG, and every table as Markdown, LaTeX and CSV; says how many files that is.

    Raises:
        UsageError: `folder` is a file.
        XmodalError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("this is a file, and figures need a folder", where=f"--figures {folder}", fix="name another")
    written: dict[str, bytes] = {}
    for chapter in chapters:
        for figure in chapter.figures:
            written[f"{figure.name}.svg"] = figure.svg().encode()
            written[f"{figure.name}.png"] = figure.png()
        tables = [*chapter.tables, *(figure.table for figure in chapter.figures)]
        for table in [*tables, *(figure.more for figure in chapter.figures if figure.more)]:
            for ending, form in (("md", markdown), ("tex", latex), ("csv", exact_csv)):
                written[f"{table.name}.{ending}"] = form(table).encode()
    for name, content in written.items():
        _write(folder / name, content, "--figures")
    return len(written)


def _write(file: Path, content: bytes, option: str) -> None:
    try:
        write_whole(file, content)
    except XmodalError as error:
        where, fix = f"{option} {file}", f"choose another place with {option}"
        raise XmodalError("the report cannot be written", where=where, why=error.why, fix=fix) from None
