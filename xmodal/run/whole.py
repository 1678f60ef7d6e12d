"""Files that are written whole or not at all. Imports no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from xmodal.errors import FULL, UnwrittenError


def write_whole(file: Path, content: bytes) -> None:
    """Puts `content` in `file` so that a reader, now or after a crash, finds all of the old or all of the new.

    A link is followed, so that what it points to is written.

    Raises:
        UnwrittenError: the disk is full, the folder cannot be written, or this is no file that could be replaced; what
            is there is as it was.
    """
    target = file.resolve()
    part = target.with_name(f".{target.name[:40]}.{os.getpid()}-{token_hex(4)}.part")
    try:
        if target.exists() and not target.is_file():
            raise OSError("it is no ordinary file")
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    except BaseException as error:  # a signal, too
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritten(file, error) from error
        raise


def unwritten(file: Path, error: OSError) -> UnwrittenError:
    """The error for a file of a run that could not be written."""
    full = error.errno in FULL
    fix = "free some space, then go on with --resume" if full else "choose a folder that can be written with --out"
    return UnwrittenError(
        f"cannot write {file.name}",
        where=str(file.parent),
        why=error.strerror or str(error),
        fix=f"{fix}; what was written before is as it was",
    )


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """`write_whole` for JSON, which has no NaN."""
    write_whole(file, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
