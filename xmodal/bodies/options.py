"""What a recipe may say about any body. Each architecture adds its own in its own file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.description import RUN, read_description, run_folder
from xmodal.components import Options
from xmodal.errors import UsageError, did_you_mean
from xmodal.sources.cache import digest
from xmodal.types import BODY_ROLES


class BodyOptions(Options):
    """A transformer, how it starts, and how much of it is used."""

    inits: ClassVar[tuple[str, ...]] = ("pretrained", "random", "random:flat", "statistics", "permuted")

    name: Any
    """Which body."""
    init: str = "pretrained"
    """`pretrained`; `random`, the architecture's published scheme; `random:flat`, every matrix N(0, 0.02);
    `statistics`, random with each tensor's pretrained mean and deviation; `permuted`, the pretrained values shuffled
    within each tensor; `run:FOLDER`, the body that one of our own runs trained, where FOLDER is the run's or holds
    no other run. GPT-2's `random` is also called `random:scaled`."""
    layers: str | None = None
    """Which blocks are kept, as a Python slice: `"0:6"` is the first six."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Rate of every dropout inside the body. The published experiments left GPT-2's own 0.1 on."""
    path: str | None = None
    """A local folder with `config.json` and `model.safetensors` in the layout of transformers, or of timm for a vision
    transformer, instead of the weights that `xmodal get` keeps."""
    parts: dict[str, str] | None = None
    """Roles that start in another way than `init` says, each with an init of its own: `{attn: run:FOLDER, ffn: random}`
    grafts the attention of one body into the rest of another."""

    def whole(self) -> Anatomy:
        """The body's shape with all its blocks, from a table or from the `config.json` in `path`.

        Raises:
            UsageError: the folder holds another architecture.
            MissingError: the folder has no `config.json`.
        """
        raise NotImplementedError

    def anatomy(self) -> Anatomy:
        """The body's shape with the blocks that are kept; no weights are read.

        Raises:
            UsageError: `layers` means nothing for this body, or the folder holds another architecture.
            MissingError: the folder has no `config.json`.
        """
        whole = self.whole()
        if not whole.depth and self.layers is None:
            return whole
        return replace(whole, layers=_kept(self.layers, whole.depth, self.name))

    def identity(self) -> dict[str, Any]:
        """What says which body this is better than paths do: digests of what lies there.

        Raises:
            MissingError: a run that it starts from is not there, or has not ended.
        """
        known: dict[str, Any] = {}
        if self.path:
            known["path"] = _content(Path(self.path))
        if self.init.startswith(RUN):
            known["init"] = _identity(self.init, "body.init")
        if self.parts:
            known["parts"] = {role: _identity(init, f"body.parts.{role}") for role, init in self.parts.items()}
        return known

    def starts(self) -> dict[str, str]:
        """How it starts, and how the roles of `parts` do, by the key of the recipe."""
        return {"body.init": self.init, **{f"body.parts.{role}": init for role, init in (self.parts or {}).items()}}

    def check_init(self) -> None:
        """Nothing, if this body can start as `init` and `parts` say.

        Raises:
            UsageError: it cannot; the message lists how it can.
        """
        for role in self.parts or {}:
            if role not in BODY_ROLES:
                raise UsageError(
                    f"no role '{role}'{did_you_mean(role, BODY_ROLES)}",
                    where="body.parts",
                    why=f"parts are given by role: {', '.join(BODY_ROLES)}",
                    fix="write one of these",
                )
        for where, init in self.starts().items():
            if init not in self.inits and not init.startswith(RUN):
                raise UsageError(
                    f"no init '{init}'{did_you_mean(init, self.inits)}",
                    where=where,
                    why=f"{self.name} can start as {', '.join(self.inits)} or {RUN}FOLDER",
                    fix="write one of these",
                )


def _content(folder: Path) -> dict[str, str]:
    """SHA-256 of the two files of a body's folder, as far as they are there."""
    files = [folder / name for name in ("config.json", "model.safetensors")]
    return {file.name: digest(file) for file in files if file.is_file()}


def _identity(init: str, where: str) -> str:
    if not init.startswith(RUN):
        return init
    return RUN + read_description(run_folder(init, where), where)["trained_digest"]


def _kept(layers: str | None, depth: int, name: str) -> tuple[int, ...]:
    if layers is None:
        return tuple(range(depth))
    edge = r"\s*(-?\d{1,4})?\s*"
    match = re.fullmatch(f"{edge}(?::{edge}(?::{edge})?)?", layers)
    bounds = [int(text) if text else None for text in match.groups()] if match else []
    if not match or not layers.strip() or bounds[2:] == [0]:
        raise UsageError(
            f"layers '{layers}' is not a slice",
            where="body.layers",
            fix='write it as in Python: "0:6", "6:", "::2", "-1"',
        )
    start, stop, step = bounds
    if ":" not in layers:
        assert start is not None
        stop = start + 1 if start != -1 else None
    beyond = [edge for edge in (start, stop) if edge is not None and not -depth <= edge <= depth] or start == depth
    kept = tuple(range(depth)[start:stop:step])
    if beyond or not kept:
        raise UsageError(
            f"layers '{layers}' goes past the last block" if beyond else f"layers '{layers}' keeps no block",
            where="body.layers",
            why=f"{name} has {depth}, numbered 0 to {depth - 1}",
            fix="count within these",
        )
    return kept
