"""Puts an artefact into the cache, whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xmodal.errors import FULL, MissingError, XmodalError
from xmodal.sources.cache import RECORD, Kind, digest, folder, home, verified

_ABANDONED_AFTER_S = 24 * 3600


def install(kind: Kind, name: str, build: Callable[[Path], dict[str, Any]], force: bool = False) -> Path:
    """Lets `build` fill a folder beside its place, records every file in it, and renames it into place.

    What is here and whole is kept, unless `force`. Two processes that install the same thing build it once.
    Whatever stops the work in the middle, nothing is left that `find` accepts, and the next call clears it away.

    Args:
        kind: which part of the cache.
        name: of the artefact.
        build: writes plain files into the folder it is given and returns the rest of the record.
        force: replace what is here.

    Raises:
        XmodalError: the disk is full, or the cache cannot be written.
    """
    target = folder(kind, name)
    if not force and _whole(kind, name):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target) as alone:
            if not force and _whole(kind, name):
                return target
            _clear(target, alone)
            part = target.with_name(f".{target.name}.{_host()}.{secrets.token_hex(8)}.part")
            # Not tempfile.mkdtemp: others who share the disk must be able to read the folder.
            part.mkdir()
            try:
                _record(part, name, build(part))
                if force or not _whole(kind, name):
                    _put(part, target)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise _explain(error, name, target) from error
    return target


@contextmanager
def scratch(place: Path) -> Iterator[Path]:
    """A folder for downloads inside the one being built: on the same disk, and gone when the block ends."""
    inner = place / ".scratch"
    inner.mkdir()
    try:
        yield inner
    finally:
        shutil.rmtree(inner, ignore_errors=True)


def _whole(kind: Kind, name: str) -> bool:
    try:
        verified(kind, name)
    except MissingError:
        return False
    return True


@contextmanager
def _lock(target: Path) -> Iterator[bool]:
    """Waits for others who install the same; False where the system has no locks and the rename alone must do."""
    with target.with_name(f".{target.name}.lock").open("a") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
            alone = True
        except (ImportError, OSError):
            alone = False
        yield alone


def _clear(target: Path, alone: bool) -> None:
    """Removes what dead processes left: ours if we hold the lock. Other machines may not see it: theirs after a day."""
    for ending in ("part", "old"):
        for left in target.parent.glob(f".{target.name}.*.{ending}"):
            ours = alone and left.name.startswith(f".{target.name}.{_host()}.")
            if ours or time.time() - left.stat().st_mtime > _ABANDONED_AFTER_S:
                _remove(left)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node()) or "local"


def _record(part: Path, name: str, record: dict[str, Any]) -> None:
    files = {}
    for file in sorted(part.iterdir()):
        file.chmod(part.stat().st_mode & 0o666)  # whoever may enter the folder may read the file
        _sync(file)
        files[file.name] = {"size": file.stat().st_size, "sha256": digest(file)}
    text = json.dumps({"name": name, **record, "files": files}, indent=2, ensure_ascii=False)
    (part / RECORD).write_text(text + "\n", encoding="utf-8")
    _sync(part / RECORD)
    _sync(part)


def _put(part: Path, target: Path) -> None:
    old = part.with_suffix(".old") if os.path.lexists(target) else None
    if old:
        os.rename(target, old)
    try:
        os.rename(part, target)
    except OSError:
        if old:
            os.rename(old, target)
        raise
    _sync(target.parent)
    if old:
        _remove(old)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _explain(error: OSError, name: str, target: Path) -> XmodalError:
    place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else target
    why = f"{error.strerror or error}: {place}"
    if error.errno in FULL:
        fix = "free some space, or set XMODAL_HOME to a folder on a larger disk"
        return XmodalError(f"the disk is full, so {name} was not installed", where=str(target), why=why, fix=fix)
    ours = place.is_relative_to(home()) or home().is_relative_to(place)
    fix = "set XMODAL_HOME to a folder that you can write" if ours else f"see that {place} can be read"
    return XmodalError(f"{name} could not be put into the cache", where=str(target), why=why, fix=fix)
