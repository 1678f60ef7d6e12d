"""Checkpoints: one safetensors file each, written whole or not at all; JSON travels in its header. Never pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from xmodal.errors import FULL, DamagedError, UnwrittenError
from xmodal.freeze.seal import tensor_digest


def write_whole(file: Path, content: bytes) -> None:
    """Puts `content` in `file` so that a reader, now or after a crash, finds all of the old or all of the new.

    Raises:
        UnwrittenError: the disk is full or the folder cannot be written; the old file is as it was.
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
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise unwritten(file, error) from error


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


def save_tensors(file: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Writes tensors by name and a JSON state, with a digest of both."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    said = json.dumps(state, allow_nan=False)
    write_whole(file, save(content, metadata={"state": said, "digest": _digest(content, said)}))


def load_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_tensors` wrote.

    Raises:
        DamagedError: the file is cut off, was changed, or is not ours.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            said = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if said["digest"] != _digest(tensors, said["state"]):
            raise ValueError("its digest is not that of what it holds")
        state = json.loads(said["state"])
        if not isinstance(state, dict):
            raise ValueError("its state is not one")
        return tensors, state
    except (SafetensorError, KeyError, ValueError, OSError, RecursionError) as error:
        raise damaged(file, f"it is cut off, was changed, or is not a checkpoint of ours ({error})") from None


def damaged(file: Path, why: str) -> DamagedError:
    """The error for a checkpoint that cannot be used."""
    fix = "xmodal train RECIPE --force starts the run again"
    return DamagedError("the checkpoint cannot be read", where=str(file), why=why, fix=fix)


def _digest(tensors: Mapping[str, Tensor], said: str) -> str:
    lines = [f"{name} {tensor_digest(tensor)}" for name, tensor in sorted(tensors.items())]
    return hashlib.blake2b("\n".join([*lines, said]).encode(), digest_size=16).hexdigest()
