"""The four heads: which positions are read. Masks are honoured: padding is never read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from xmodal.heads.options import ClassTokenOptions, LastTokenOptions, MeanOptions, PerPositionOptions
from xmodal.tensors import Tokens
from xmodal.types import Classes, PerPosition, Site, TargetSpec

Read = Callable[[Tensor, Tokens], Tensor]


class OutputLayer(nn.Module):
    """The trained linear layer, drawn from N(0, 1/width) with zero bias, so that logits start at about unit size."""

    def __init__(self, width: int, outputs: int, random: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, width).normal_(0, width**-0.5, generator=random))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        """Weight and bias, of role `head`."""
        yield Site("head"), self.weight
        yield Site("head", kind="bias"), self.bias

    def forward(self, hidden: Float[Tensor, "batch *positions width"]) -> Float[Tensor, "batch *positions outputs"]:
        """Logits."""
        return nn.functional.linear(hidden, self.weight, self.bias)


class LinearHead(nn.Module):
    """An output layer on top of a way to read the hidden states.

    Args:
        read: hidden states and tokens to one vector for a sample, or to one for each position that is read.
        classes: number of logits for a label.
        per_token: labels read from one vector; 0 when the target is one label for a sample.
        width: the body's.
        random: the stream that the output layer is drawn from.
    """

    def __init__(self, read: Read, classes: int, per_token: int, width: int, random: torch.Generator) -> None:
        super().__init__()
        self.read, self.per_token = read, per_token
        self.layer = OutputLayer(width, max(per_token, 1) * classes, random)

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        """The output layer's parameters."""
        return self.layer.claims()

    def forward(
        self, hidden: Float[Tensor, "batch tokens width"], tokens: Tokens
    ) -> Float[Tensor, "batch *positions classes"]:
        """Logits of each label of each sample."""
        return self.say(self.read(hidden, tokens))

    def say(self, vectors: Float[Tensor, "batch *vectors width"]) -> Float[Tensor, "batch *positions classes"]:
        """Logits, from what `read` took of each sample."""
        logits = self.layer(vectors)
        return rearrange(logits, "b t (p classes) -> b (t p) classes", p=self.per_token) if self.per_token else logits


def last_token(options: LastTokenOptions, target: TargetSpec, width: int, random: torch.Generator) -> LinearHead:
    """Reads the last real token of each sample."""
    return LinearHead(lambda hidden, tokens: read_last(hidden, tokens, 1)[:, 0], _classes(target), 0, width, random)


def mean(options: MeanOptions, target: TargetSpec, width: int, random: torch.Generator) -> LinearHead:
    """Reads the mean over the real tokens that hold data."""
    return LinearHead(read_mean, _classes(target), 0, width, random)


def class_token(options: ClassTokenOptions, target: TargetSpec, width: int, random: torch.Generator) -> LinearHead:
    """Reads the first token."""
    return LinearHead(lambda hidden, tokens: hidden[:, 0], _classes(target), 0, width, random)


def per_position(options: PerPositionOptions, target: TargetSpec, width: int, random: torch.Generator) -> LinearHead:
    """Reads the last real tokens, several labels from each."""
    assert isinstance(target, PerPosition)
    count = target.count // options.per_token
    return LinearHead(
        lambda hidden, tokens: read_last(hidden, tokens, count), target.classes, options.per_token, width, random
    )


def _classes(target: TargetSpec) -> int:
    assert isinstance(target, Classes)
    return target.count


def read_mean(hidden: Float[Tensor, "batch tokens width"], tokens: Tokens) -> Float[Tensor, "batch width"]:
    """The mean over the real tokens of each sample, without the class token."""
    hidden, mask = hidden[:, tokens.prefix :], tokens.mask[:, tokens.prefix :, None]
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def read_last(
    hidden: Float[Tensor, "batch tokens width"], tokens: Tokens, count: int
) -> Float[Tensor, "batch count width"]:
    """The last `count` real tokens of each sample; padding stands on the right."""
    if not tokens.padded:
        return hidden[:, -count:]
    ends = tokens.mask.sum(dim=1, keepdim=True)
    positions = ends - count + torch.arange(count, device=hidden.device)
    return hidden.gather(1, positions.clamp(min=0)[..., None].expand(-1, -1, hidden.shape[-1]))
