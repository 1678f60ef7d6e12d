"""`body.json`: what a run folder says of its body. Read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.paths import given

BODY_FILE = "body.json"
AGAIN = "run it again: xmodal train RECIPE --force"
RUN = "run:"
"""What an init starts with that names a run."""


def run_folder(init: str, where: str = "body.init") -> Path:
    """The run that `run:FOLDER` means: the one in FOLDER, or the only one below it, as in `run:runs/NAME`.

    Args:
        init: `run:FOLDER`.
        where: the key of the recipe that says so.

    Raises:
        UsageError: there are several runs below it.
    """
    if not init.removeprefix(RUN):
        raise UsageError("no folder stands behind run:", where=where, fix=f"name that of a run: {RUN}runs/NAME")
    folder = given(init.removeprefix(RUN), where)
    below = [] if (folder / BODY_FILE).exists() else sorted(file.parent for file in folder.glob(f"*/{BODY_FILE}"))
    if len(below) > 1:
        raise UsageError(
            f"{folder} holds {len(below)} runs",
            where=where,
            why=", ".join(run.name for run in below[:5]) + ("..." if len(below) > 5 else ""),
            fix=f"name one of them: {RUN}{below[0]}",
        )
    return below[0] if below else folder


def read_description(folder: Path, where: str = "body.init") -> dict[str, Any]:
    """`body.json` of a run folder.

    Args:
        folder: the run's.
        where: the key of the recipe that names it.

    Raises:
        MissingError: there is none, or the run has not ended.
        DamagedError: it cannot be read.
    """
    file = folder / BODY_FILE
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        options = description["options"]
        words = (options["name"], options.get("init", ""), description.get("trained_digest") or "")
        if not isinstance(options.get("parts") or {}, dict):
            raise TypeError("parts is no table")
        if not all(isinstance(word, str) for word in words) or not isinstance(description["seed"], int):
            raise TypeError("options, seed and trained_digest are not what a run writes")
    except FileNotFoundError:
        raise MissingError(
            f"no run in {folder}",
            where=where,
            why=f"{file} is not there",
            fix="make it first, xmodal train RECIPE, or name the folder of another",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError("cannot be read", where=str(file), why=repr(error), fix=AGAIN) from None
    if not description.get("trained_digest"):
        raise MissingError(
            f"the run in {folder} has not ended", where=where, fix="let it end: xmodal train RECIPE --resume"
        )
    return description
