"""What an architecture must say of itself to be a body. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from xmodal.bodies.anatomy import Anatomy
from xmodal.types import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xmodal.tensors import Tokens

STD = 0.02


@dataclass(frozen=True)
class Constant:
    """Every entry is `value`."""

    value: float


@dataclass(frozen=True)
class Normal:
    """N(0, std), cut at `cut` deviations when that is not None; `std` is that of the uncut distribution."""

    std: float
    cut: float | None = None


@dataclass(frozen=True)
class Uniform:
    """Uniform between -bound and bound."""

    bound: float


Draw = Constant | Normal | Uniform


class Family(Protocol):
    """One architecture: how it is built, what its parameters are, how it runs, and how it starts.

    A family is made from the options of a body, and is a value: it holds no tensors.

    Attributes:
        anatomy: the body's shape.
        blocks: where the model keeps its list of blocks, as a dotted name; empty when it has none to choose from.
        prefixes: what a checkpoint's tensor names may start with.
        ignored: starts or ends of tensor names that a checkpoint may hold and this body does not use.
        renamed: ends of tensor names in old checkpoints, and what they are called today.
        static: True when `claims` only follows attributes and walks the blocks, so that the sites are known without
            building the model.

    The class of a plugin may also have `model_types`, what transformers calls the architecture in `config.model_type`:
    then `xmodal.plan` asks it about models of these types.
    """

    anatomy: Anatomy
    blocks: str
    prefixes: tuple[str, ...]
    ignored: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    static: bool

    def build(self, dropout: float) -> nn.Module:
        """The model with all its blocks: parameters on the meta device, buffers with their values."""
        ...

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once, with its site."""
        ...

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        """Hidden states after the last norm, `[batch prefix+tokens width]`."""
        ...

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        """How the tensor at `site` starts by the architecture's published scheme."""
        ...


def of_module(site: Site, module: Any, *, bias: bool = True) -> Iterator[tuple[Site, nn.Parameter]]:
    """The weight of a linear layer or a norm, and its bias unless it has none, at `site`."""
    yield site, module.weight
    if bias:
        yield replace(site, kind="bias"), module.bias


def static_sites(family: Family) -> list[Site]:
    """The site of every parameter, in the order of the claims, of a family that is `static`."""
    return [site for site, _ in family.claims(_Phantom(len(family.anatomy.layers)))]


class _Phantom:
    """Stands for a model that was not built: it has every attribute, and walking it meets as many blocks as it has."""

    def __init__(self, depth: int) -> None:
        self._depth = depth

    def __getattr__(self, name: str) -> _Phantom:
        return self

    def __getitem__(self, index: int) -> _Phantom:
        return self

    def __iter__(self) -> Iterator[_Phantom]:
        return iter([self] * self._depth)


def residual_scaled(site: Site, std: float, blocks: int) -> Draw:
    """N(0, std), over sqrt(2 * blocks) for what writes to the residual stream (GPT-2: Radford 2019, section 2.3)."""
    scale = math.sqrt(2 * blocks) if site.part in ("out", "down") else 1.0
    return norms_and_biases(site) or Normal(std / scale)


def norms_and_biases(site: Site) -> Constant | None:
    """What nearly every scheme agrees on: norms start at one, biases at zero. None for the rest."""
    if site.kind == "bias":
        return Constant(0.0)
    return Constant(1.0) if site.role == "ln" else None
