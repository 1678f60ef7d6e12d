"""Models that somebody else built: which of their parameters is what, as far as a family of ours knows them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import nn

from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.family import Family
from xmodal.bodies.hub import FAMILIES, of_plugins
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.vit import READERS, Vit, layout
from xmodal.components import load
from xmodal.errors import UsageError
from xmodal.types import Site

POOLERS = ("pooler.",)
"""What BertModel and LongformerModel put behind their last block to read the first token."""


@dataclass(frozen=True)
class Foreign:
    """A model with a family's claims on it.

    Attributes:
        pairs: every parameter exactly once, with its site.
    """

    pairs: tuple[tuple[Site, nn.Parameter], ...]

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once, with its site."""
        return iter(self.pairs)


@dataclass(frozen=True)
class _Known:
    """A part of a model that a family claims, where it sits in it, and what in the part only reads its output."""

    family: Family
    part: Any
    prefix: str
    readers: tuple[str, ...]


def claim(model: nn.Module) -> Foreign:
    """The claims on a model that transformers or timm built, or on a transformers model with heads around it.

    Whatever reads the output of the body is of the role `head`: a pooler, a classifier, what a model such as
    GPT2ForSequenceClassification puts around its body. Its place in the model is its part: `head.score`. Unlike in a
    body of ours, token and patch embeddings count as used, since a model that stands by itself is given ids or images.

    Raises:
        UsageError: no family knows the model, or one knows it and does not know all its parameters.
    """
    known = _known(model)
    if known is None:
        raise _unknown(model)
    try:
        claims = [(replace(site, used=True), parameter) for site, parameter in known.family.claims(known.part)]
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise UsageError(
            f"{_name(model)} is built in another way than its family",
            where=_where(model),
            why=f"{type(error).__name__}: {error}",
            fix="give it a method claims() that yields every parameter with its Site",
        ) from None
    taken = {id(parameter) for _, parameter in claims}
    left = []
    for name, parameter in model.named_parameters():
        if id(parameter) in taken:
            continue  # and once more under another name, where an output layer is tied to the embedding
        if not name.startswith(known.prefix) or name.removeprefix(known.prefix).startswith(known.readers):
            claims.append((_reader(name), parameter))
        else:
            left.append(name)
    if left or any(parameter is None for _, parameter in claims):
        raise UsageError(
            f"nothing claims {_few(left) or 'a bias that is not there'} of {_name(model)}",
            where=_where(model),
            why="a plan must know every parameter exactly once, or something trains that no spec can name",
            fix="plan the part of it that is a body, or give it a method claims() that yields every parameter",
        )
    return Foreign(tuple(claims))


def _known(model: nn.Module) -> _Known | None:
    """What is imported tells what a model can be: nothing is, for one that is not there."""
    if "transformers" in sys.modules:
        from transformers import PreTrainedModel

        if isinstance(model, PreTrainedModel):
            return _of_transformers(model)
    if "timm" in sys.modules:
        from timm.models.vision_transformer import VisionTransformer

        if type(model) is VisionTransformer:
            stem, block, packed, _ = layout(model)
            details = {"stem": stem, "block": block, "packed": packed}
            return _Known(_made(Vit, "timm:", len(model.blocks), details), model, "", READERS)
    return None


def _of_transformers(model: Any) -> _Known | None:
    kind = getattr(model.config, "model_type", "")
    found = (kind, load(FAMILIES[kind][1])) if kind in FAMILIES else of_plugins(kind)
    if found is None:
        return None
    details = {
        "attention_bias": getattr(model.config, "attention_bias", False) is True,
        "activation": getattr(model.config, "feed_forward_proj", ""),
    }
    family = _made(found[1], kind, getattr(model.config, "num_hidden_layers", 1), details)
    part = model.base_model
    prefix = "" if part is model else next(name for name, module in model.named_modules() if module is part) + "."
    return _Known(family, part, prefix, POOLERS)


def _made(family: Any, kind: str, depth: int, details: dict[str, Any]) -> Family:
    """A family that claims and does nothing else, so that of the shape it need know no more than the claims do."""
    shape = Anatomy(kind, width=0, depth=depth, causal=False, layers=tuple(range(depth)), details=details)
    return family(cast(BodyOptions, _Options(kind, shape)))


@dataclass(frozen=True)
class _Options:
    """Stands for the options of a body that nobody wrote."""

    name: str
    shape: Anatomy
    path: str | None = None

    def anatomy(self) -> Anatomy:
        return self.shape


def _reader(name: str) -> Site:
    *place, last = name.split(".")
    kind = last if last in ("weight", "bias") else "weight"
    return Site("head", part="_".join(place if last in ("weight", "bias") else [*place, last]), kind=kind)


def _unknown(model: nn.Module) -> UsageError:
    inside = [name for name, module in model.named_modules() if name and _known(module) is not None]
    known = f"families are for transformers' {', '.join(FAMILIES)} and timm's VisionTransformer"
    fix = "give it a method claims() that yields every parameter with its Site: see the how-to 'Add a body'"
    if inside:
        fix = f"plan the body alone, model.{inside[0]}, and train the rest as you like; or {fix}"
    return UsageError(f"no family claims {_name(model)}", where=_where(model), why=known, fix=fix)


def _name(model: nn.Module) -> str:
    return type(model).__name__


def _where(model: nn.Module) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
