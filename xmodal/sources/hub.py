"""Data sets of the Hugging Face hub, through their Parquet and CSV files alone: no loading script is fetched or run."""

from __future__ import annotations

import hashlib
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from xmodal.errors import FULL, DamagedError, MissingError, UsageError
from xmodal.sources.cache import find
from xmodal.sources.official import TIMEOUT_S
from xmodal.sources.store import install

PREFIX = "hub:"
PATTERNS = ("*.parquet", "*.csv")


def find_dataset(dataset: str) -> Path:
    """The folder of a data set that `get_dataset` put here.

    Raises:
        MissingError: it is not here; the message has the command.
        DamagedError: it is half-written.
        UsageError: it cannot be a name on the hub.
    """
    command = f"xmodal get data {PREFIX}{dataset}"
    try:
        return find("data", _folder(dataset))
    except DamagedError as error:
        error.fix = f"{command} --force"
        raise
    except MissingError:
        raise MissingError(f"the data set {dataset} is not on this machine", fix=command) from None


def get_dataset(dataset: str, force: bool = False) -> Path:
    """The folder of a data set's tables, fetched if it is not here; `/` in their names becomes `--`.

    Raises:
        UsageError: it cannot be a name on the hub.
        MissingError: the hub is out of reach, or has no tables under that name.
        XmodalError: the disk is full, or the cache cannot be written.
    """
    return install("data", _folder(dataset), partial(_build, dataset), force)


def _folder(dataset: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", dataset, re.ASCII) or {".", ".."} & set(dataset.split("/")):
        why, fix = "its name is ORG/NAME", f"xmodal get data {PREFIX}ORG/NAME"
        raise UsageError(f"'{dataset}' cannot be a data set of the hub", why=why, fix=fix)
    words = "-".join(re.findall(r"[a-z0-9]+", dataset.lower()))
    return f"hub-{words}-{hashlib.sha256(dataset.encode()).hexdigest()[:8]}"


def _build(dataset: str, place: Path) -> dict[str, Any]:
    from huggingface_hub import HfApi, snapshot_download

    try:
        commit = HfApi().dataset_info(dataset, timeout=TIMEOUT_S).sha
        came = Path(snapshot_download(dataset, repo_type="dataset", revision=commit, allow_patterns=list(PATTERNS)))
    except Exception as error:  # its HTTP library's own errors, and that library changes with its versions
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise MissingError(
            f"the data set {dataset} could not be fetched from the hub",
            why=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            fix=f"where the hub can be reached: xmodal get data {PREFIX}{dataset}; or set task.path to a folder of it",
        ) from error
    files = sorted(file for pattern in PATTERNS for file in came.rglob(pattern))
    if not files:
        what, why = f"{dataset} has neither Parquet nor CSV files", "nothing else is read, and no code is run"
        raise MissingError(what, why=why, fix="save its tables as Parquet in a folder, and set task.path to it")
    for file in files:
        shutil.copyfile(file, place / "--".join(file.relative_to(came).parts))
    return {"route": "official", "origin": f"{dataset}@{commit}", "licence": "as the hub says"}
