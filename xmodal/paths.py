"""Paths that somebody typed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from xmodal.errors import UsageError


def given(path: Any, where: str = "") -> Path:
    """A path as somebody gave it, with `~` expanded. Nothing need be there.

    Args:
        path: text, or a path.
        where: what it is for, which an error names.

    Raises:
        UsageError: it is no path, or no file can have that name.
    """
    try:
        place = Path(path).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            os.stat(place)
        return place
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        said = f"{path}"
        raise UsageError(
            f"no path can be '{said if len(said) <= 60 else said[:57] + '...'}'",
            where=where,
            why=why,
            fix="give the name of a file or a folder",
        ) from None
