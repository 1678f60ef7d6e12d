"""The user's own pip, npm and apt, as configured: they bring one package file; nothing in it is run or installed."""

from __future__ import annotations

import errno
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from xmodal.errors import MissingError
from xmodal.sources.catalogue import Package

TIMEOUT_S = 1800
_PATTERNS = {"apt": "*.deb", "npm": "*.tgz", "pip": "*.whl"}


def download(package: Package, place: Path) -> Path:
    """The package file, downloaded into the empty folder `place`, unopened and unchecked.

    Raises:
        MissingError: the client is missing, failed, took too long or brought something else; it says which.
        OSError: the disk is full.
    """
    arguments = _arguments(package, place)
    try:
        # In `place`, which is empty: a client that looks for settings or modules where it runs finds nobody else's.
        done = subprocess.run(
            arguments, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        why = f"it had not finished after {TIMEOUT_S} seconds"
        raise MissingError(f"{package.client} could not download {package.wanted}", why=why) from None
    except OSError as error:
        why = f"{arguments[0]}: {error.strerror}"
        raise MissingError(f"{package.client} could not be started", why=why) from error
    said = (done.stderr or done.stdout).decode(errors="replace")
    if done.returncode:
        if "No space left on device" in said or "ENOSPC" in said:
            raise OSError(errno.ENOSPC, f"{package.client} says: no space left on device", str(place))
        last = " / ".join([line.strip() for line in said.splitlines() if line.strip()][-4:])
        why = f"{package.client} says: {last or 'nothing'} (exit code {done.returncode})"
        raise MissingError(f"{package.client} could not download {package.wanted}", why=why)
    brought = sorted(place.glob(_PATTERNS[package.client]))
    if len(brought) != 1:
        why = f"{len(brought)} files {_PATTERNS[package.client]} instead of one"
        raise MissingError(f"{package.client} did not bring {package.wanted}", why=why)
    return brought[0]


def _arguments(package: Package, place: Path) -> list[str]:
    if package.client == "pip":
        own = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [program("pip", "pip3")]
        quiet = ["--no-input", "--disable-pip-version-check"]
        return [*own, "download", "--no-deps", "--only-binary", ":all:", *quiet, "--dest", str(place), package.wanted]
    if package.client == "npm":
        return [program("npm"), "pack", "--ignore-scripts", "--pack-destination", str(place), package.wanted]
    return [program("apt-get"), "download", package.wanted]


def program(*names: str) -> str:
    """Where the first of some programs is that this machine has.

    Raises:
        MissingError: it has none of them.
    """
    for name in names:
        if found := shutil.which(name):
            return found
    raise MissingError(f"no {names[0]} on this machine", why="it is not on the PATH")
