"""Bodies without a past: a small transformer of any size, and the controls that a frozen body must beat (SCIENCE 6).

`none` hands tokens straight to the head; `one-attention` and `one-block` are one random layer; `transformer` has the
sizes that the recipe says. None of them has weights to fetch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from xmodal.bodies.anatomy import Anatomy, must_share
from xmodal.bodies.family import STD, Draw, of_module, residual_scaled
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.scratch import ScratchOptions
from xmodal.errors import UsageError
from xmodal.types import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xmodal.tensors import Tokens

EPS = 1e-5


class NoneOptions(ScratchOptions):
    """No body at all: tokens go straight to the head, so what it scores is what input layer and head can do alone."""

    name: Literal["none"]
    """Which body."""
    width: int = Field(default=384, ge=1, le=65_536)
    """Length of a token's vector."""

    def check_init(self) -> None:
        """As `BodyOptions.check_init`; a body that is not there has no dropout."""
        if self.dropout:
            raise UsageError(
                "none has nothing to drop out",
                where="body.dropout",
                why="dropout here is that inside the body, and there is no body",
                fix="leave dropout out",
            )
        super().check_init()

    def whole(self) -> Anatomy:
        """As `BodyOptions.whole`."""
        return Anatomy("none", self.width, 0, causal=False)


class TransformerOptions(ScratchOptions):
    """A transformer of any size, in GPT-2's layout: learned positions, layer norms before each part and at the end.

    `one-block` is one block of it, and `one-attention` one block without its feed-forward layer.
    """

    name: Literal["one-attention", "one-block", "transformer"]
    """Which of the three."""
    width: int = Field(default=384, ge=1, le=65_536)
    """Length of a token's vector."""
    heads: int = Field(default=12, ge=1, le=1024)
    """Attention heads in a block; they share the width evenly."""
    depth: int | None = Field(default=None, ge=1, le=1000)
    """Blocks; null is 1, and 2 for `transformer`."""
    inner: int | None = Field(default=None, ge=1, le=1_000_000)
    """Width of the feed-forward layer; null is four times the width."""
    causal: bool = False
    """Whether a token sees only itself and those before it."""
    context: int = Field(default=1024, ge=1, le=1_000_000)
    """Most tokens, each with a learned position."""

    def whole(self) -> Anatomy:
        """As `BodyOptions.whole`."""
        must_share(self.heads, self.width)
        depth = self.depth or (2 if self.name == "transformer" else 1)
        if self.name != "transformer" and depth > 1:
            fix = "leave depth out, or take the body transformer"
            raise UsageError(f"{self.name} has one block, not {depth}", where="body.depth", fix=fix)
        inner = 0 if self.name == "one-attention" else self.inner or 4 * self.width
        return Anatomy("transformer", self.width, depth, self.causal, self.context, self.heads, inner, eps=EPS)


class NoBody:
    """Tokens as they are."""

    blocks = ""
    prefixes = ("",)
    ignored = ()
    renamed = ()
    static = True

    def __init__(self, options: BodyOptions) -> None:
        self.anatomy = options.anatomy()

    def build(self, dropout: float) -> nn.Module:
        """As `Family.build`."""
        from torch import nn

        return nn.Identity()

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        """There are no parameters."""
        yield from ()

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        """The tokens."""
        return model(tokens.values)

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        """As `Family.draw`; never asked."""
        raise AssertionError(site)


class Transformer:
    """Tokens get positions, pass the blocks, and leave through the final layer norm.

    Random: as GPT-2, N(0, 0.02), and N(0, 0.02 / sqrt(2 * blocks)) for the matrices that write to the residual stream.
    """

    blocks = "blocks"
    prefixes = ("",)
    ignored = ()
    renamed = ()
    static = True

    def __init__(self, options: BodyOptions) -> None:
        self.anatomy = options.anatomy()

    def build(self, dropout: float) -> nn.Module:
        """As `Family.build`."""
        import torch

        from xmodal.bodies.blocks import Stack

        with torch.device("meta"):
            return Stack(self.anatomy, dropout)

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once; `attn` has the parts `qkv` and `out`."""
        yield Site("pos"), model.positions
        for layer, block in enumerate(model.blocks):
            yield from of_module(Site("ln", layer, "attn"), block.before_attention)
            yield from of_module(Site("attn", layer, "qkv"), block.qkv)
            yield from of_module(Site("attn", layer, "out"), block.out)
            if self.anatomy.inner:
                yield from of_module(Site("ln", layer, "ffn"), block.before_feed)
                yield from of_module(Site("ffn", layer, "up"), block.up)
                yield from of_module(Site("ffn", layer, "down"), block.down)
        yield from of_module(Site("ln", part="final"), model.final)

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        """Hidden states after the final layer norm."""
        return model(tokens.values, tokens.mask if tokens.padded else None)

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        """As `Family.draw`."""
        return residual_scaled(site, STD, len(self.anatomy.layers))
