"""Pages in a headless browser, for the tests that look at them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(not BROWSER, reason="no chromium on PATH: apt-get install chromium")


def browse(address: str, folder: Path, *words: str, scheme: str = "light", patient: bool = True) -> str:
    """What the browser prints; `folder` takes its profile. A patient one lets the timers of the page run out first."""
    assert BROWSER
    command = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={('dark', 'light').index(scheme)}",
        "--window-size=1280,900",
        *["--virtual-time-budget=20000"] * patient,
        *words,
        address,
    ]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=240, check=True).stdout


def said(dom: str) -> Any:
    """The JSON that a probe left in the page."""
    found = re.search(r'<pre id="said">(.*?)</pre>', dom, re.DOTALL)
    assert found, "the probe has said nothing"
    return json.loads(unescape(found[1]))


def requests(log: Path) -> list[str]:
    """Addresses on the network that pages asked for, as `--log-net-log` has them; what the browser asks is left out."""
    asked = []
    for line in log.read_text(encoding="utf-8").splitlines():  # an event a line; the last may be cut off
        if line.startswith('{"') and '"url"' in line and '"initiator"' in line:
            asked.append(json.loads(line.rstrip().removesuffix("],").removesuffix("]}").rstrip(","))["params"])
    return [it["url"] for it in asked if it["initiator"] != "not an origin"]
