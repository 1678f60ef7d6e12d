"""What leaves: a head reads positions of the body's output and owns the output layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmodal.components import Entry, build

if TYPE_CHECKING:
    import torch

    from xmodal.heads.options import HeadOptions
    from xmodal.types import Head, TargetSpec

HEADS: dict[str, Entry] = {
    "class-token": Entry("xmodal.heads.options:ClassTokenOptions", "xmodal.heads.readout:class_token"),
    "last-token": Entry("xmodal.heads.options:LastTokenOptions", "xmodal.heads.readout:last_token"),
    "mean": Entry("xmodal.heads.options:MeanOptions", "xmodal.heads.readout:mean"),
    "per-position": Entry("xmodal.heads.options:PerPositionOptions", "xmodal.heads.readout:per_position"),
}


def build_head(options: HeadOptions, target: TargetSpec, width: int, random: torch.Generator) -> Head:
    """The head for targets of that kind on a body of that width."""
    return build("head", HEADS, options.name, options, target, width, random)
