"""The cache on disk: where it is, and whether what it holds is whole. Nothing here writes, nor opens the network."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_path

from xmodal.errors import DamagedError, MissingError, UsageError

Kind = Literal["bodies", "data"]
Status = Literal["here", "missing", "damaged"]

RECORD = "source.json"
"""Written last, so a folder that has it is whole: route, origin, licence, cautions, each file's size and sha256."""


def home() -> Path:
    """Root of the cache: `$XMODAL_HOME`, else the user's own cache folder."""
    chosen = os.environ.get("XMODAL_HOME")
    return Path(chosen).expanduser().absolute() if chosen else user_cache_path("xmodal", appauthor=False)


def folder(kind: Kind, name: str) -> Path:
    """Where the artefact of that name lies, or would lie.

    A name of somebody else's list, `timm:vit_tiny_patch16_224`, is spelt so that every disk takes it, and ends in a
    digest, so that no two names are spelt alike.

    Raises:
        UsageError: `name` is neither that nor one word of lower-case letters, digits and hyphens.
    """
    if re.fullmatch(r"[a-z]+:[\w./-]{1,200}", name, re.ASCII):
        word = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:80].strip("-")
        return home() / kind / f"{word}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise UsageError(
            f"'{name}' cannot be a name",
            why="a name is lower-case letters, digits and hyphens",
            fix="xmodal list bodies and xmodal list tasks name all",
        )
    return home() / kind / name


def command(kind: Kind, name: str) -> str:
    """The command line that fetches it."""
    return f"xmodal get {'body' if kind == 'bodies' else 'data'} {name}"


def find(kind: Kind, name: str) -> Path:
    """The folder of an artefact that is here, by the sizes of its files; `verified` also reads their bytes.

    Raises:
        MissingError: it is not here, or this user cannot read it.
        DamagedError: it is half-written, or a file is missing or has another size.
    """
    return _checked(kind, name, deep=False)


def verified(kind: Kind, name: str) -> Path:
    """The folder of an artefact that is here, after the sha256 of every file was compared with its record.

    Raises:
        MissingError: it is not here, or this user cannot read it.
        DamagedError: it is half-written, or a file is not what was installed.
    """
    return _checked(kind, name, deep=True)


def status(kind: Kind, name: str) -> Status:
    """Whether the artefact is on this machine, by the sizes of its files."""
    try:
        find(kind, name)
    except DamagedError:
        return "damaged"
    except MissingError:
        return "missing"
    return "here"


def provenance(place: Path) -> dict[str, str]:
    """Route, origin, licence and cautions from the record in a folder; empty for a folder that `get` did not install.

    Raises:
        DamagedError: the record cannot be read.
    """
    if not (place / RECORD).is_file():
        return {}
    record = read_record(place)
    words = {key: record.get(key) for key in ("route", "origin", "licence")}
    cautions = record.get("cautions")
    words["cautions"] = "; ".join(map(str, cautions)) if isinstance(cautions, list) else ""
    return {key: word for key, word in words.items() if word}


def read_record(place: Path) -> dict[str, Any]:
    """What `source.json` in a folder says, with `files` as a table of name to `{"size", "sha256"}`.

    Raises:
        DamagedError: there is none, or it is not one of ours.
    """
    unreadable = DamagedError(f"{RECORD} cannot be understood", where=str(place), why="it was cut short or edited")
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedError(f"no {RECORD}", where=str(place), why="it was only half-written") from None
    except ValueError:
        raise unreadable from None
    files = record.get("files") if isinstance(record, dict) else None
    if not files or not isinstance(files, dict) or not all(map(_is_file_entry, files, files.values())):
        raise unreadable
    return record


def digest(file: Path, algorithm: Literal["md5", "sha256"] = "sha256") -> str:
    """Checksum of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _checked(kind: Kind, name: str, deep: bool) -> Path:
    place = folder(kind, name)
    with _explained(place, command(kind, name)):
        if not os.path.lexists(place):
            why = "it was not fetched yet, and only xmodal get opens the network"
            raise MissingError(f"{name} is not on this machine", where=str(place), why=why, fix=command(kind, name))
        for file, expected in read_record(place)["files"].items():
            _compare(place / file, expected, deep)
    return place


def _is_file_entry(name: str, entry: Any) -> bool:
    plain = Path(name).name == name and isinstance(entry, dict)
    return plain and isinstance(entry.get("size"), int) and isinstance(entry.get("sha256"), str)


def _compare(file: Path, expected: dict[str, Any], deep: bool) -> None:
    if not file.is_file():
        raise DamagedError(f"{file.name} is gone", where=str(file))
    if (size := file.stat().st_size) != expected["size"]:
        raise DamagedError(f"{file.name} has {size} bytes, not {expected['size']}", where=str(file))
    if deep and (found := digest(file)) != expected["sha256"]:
        why = f"its sha256 is {found}, and was {expected['sha256']} when it was installed"
        raise DamagedError(f"{file.name} has changed", where=str(file), why=why)


@contextmanager
def _explained(place: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        error.fix = f"{remedy} --force"
        raise
    except NotADirectoryError:
        raise DamagedError("not a folder", where=str(place), fix=f"{remedy} --force") from None
    except OSError as error:
        why = f"{error.strerror}: {error.filename or place}"
        fix = "ask its owner for the right to read it, or set XMODAL_HOME to a folder of your own"
        raise MissingError("the cache cannot be read", where=str(place), why=why, fix=fix) from error
