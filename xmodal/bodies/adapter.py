"""What `weights` needs of a body beyond the contract, and help for bodies that claim their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor, nn

from xmodal.bodies.options import Anatomy
from xmodal.tensors import Tokens
from xmodal.types import Body, Site


class Adapter(Body, Protocol):
    """A body that is built without values and filled afterwards.

    Attributes:
        anatomy: its shape.
        model: the module of the library that computes it.
        source_names: a checkpoint's name for each parameter, before blocks are dropped.
        prefixes: what a checkpoint's tensor names may start with.
        ignored: starts or ends of tensor names that a checkpoint may hold and this body does not use.
    """

    anatomy: Anatomy
    model: Any
    source_names: Mapping[nn.Parameter, str]
    prefixes: tuple[str, ...]
    ignored: tuple[str, ...]

    def modules(self) -> Iterator[nn.Module]:
        """The body and all modules in it."""
        ...

    def __call__(self, tokens: Tokens) -> Tensor:
        """Hidden states, `[batch tokens width]`."""
        ...


def of_module(site: Site, module: Any) -> Iterator[tuple[Site, nn.Parameter]]:
    """The weight and, where there is one, the bias of a linear layer or a norm, at `site`."""
    yield site, module.weight
    if module.bias is not None:
        yield replace(site, kind="bias"), module.bias
