"""Checkpoints: one safetensors file each, written whole or not at all; JSON travels in its header. Never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from xmodal.errors import DamagedError
from xmodal.freeze.seal import tensor_digest
from xmodal.run.whole import write_whole


def save_tensors(file: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Writes tensors by name and a JSON state, with a digest of both."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    said = json.dumps(state, allow_nan=False)
    write_whole(file, save(content, metadata={"state": said, "digest": content_digest(content, said)}))


def load_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_tensors` wrote.

    Raises:
        DamagedError: the file is cut off, was changed, or is not ours.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            said = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if said["digest"] != content_digest(tensors, said["state"]):
            raise ValueError("its digest is not that of what it holds")
        state = json.loads(said["state"])
        if not isinstance(state, dict):
            raise ValueError("its state is not one")
        return tensors, state
    except (SafetensorError, KeyError, ValueError, OSError, RecursionError) as error:
        raise damaged(file, f"it is cut off, was changed, or is not a checkpoint of ours ({error})") from None


def lay_over(parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor], file: Path) -> None:
    """Gives parameters, by site, the values that `file` held.

    Raises:
        DamagedError: it lacks one, or has another shape for it.
    """
    with torch.no_grad():
        for name, parameter in parameters.items():
            if name not in tensors or tensors[name].shape != parameter.shape:
                raise damaged(file, f"it has no {name} of the shape {tuple(parameter.shape)}")
            parameter.copy_(tensors[name])


def damaged(file: Path, why: str) -> DamagedError:
    """The error for a checkpoint that cannot be used."""
    fix = "xmodal train RECIPE --force starts the run again"
    return DamagedError("the checkpoint cannot be read", where=str(file), why=why, fix=fix)


def content_digest(tensors: Mapping[str, Tensor], said: str) -> str:
    """Of tensors and of what is said of them, so that a file in which either was changed is not believed."""
    lines = [f"{name} {tensor_digest(tensor)}" for name, tensor in sorted(tensors.items())]
    return hashlib.blake2b("\n".join([*lines, said]).encode(), digest_size=16).hexdigest()
