"""Checkpoints: one safetensors file each, written whole or not at all; JSON travels in its header. Never pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from xmodal.errors import DamagedError, XmodalError


def write_whole(file: Path, content: bytes) -> None:
    """Puts `content` in `file` so that a reader, now or after a crash, finds all of the old or all of the new.

    Raises:
        XmodalError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise XmodalError(
            f"cannot write {file.name}",
            where=str(file.parent),
            why=error.strerror or str(error),
            fix="free some space or choose another folder with --out; what was written before is intact",
        ) from error


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """`write_whole` for JSON."""
    write_whole(file, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def save_tensors(file: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Writes tensors by name and a JSON state."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(file, save(content, metadata={"state": json.dumps(state)}))


def load_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_tensors` wrote.

    Raises:
        DamagedError: the file is cut off or not ours.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            state = json.loads((opened.metadata() or {})["state"])
            return {name: opened.get_tensor(name) for name in opened.keys()}, state  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise DamagedError(
            "the checkpoint cannot be read",
            where=str(file),
            why=f"it is cut off or not a checkpoint of ours ({error})",
            fix="xmodal train RECIPE --force starts the run again",
        ) from None
