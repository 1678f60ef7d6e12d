"""Tables of components: a name leads to its options (no torch) and, when it is built, to its class.

Tables are literal, sorted and lazy: nothing is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ConfigDict

from xmodal.errors import UsageError, did_you_mean


class Options(BaseModel):
    """What a recipe may say about something: strict types, no unknown keys, immutable, documented field by field."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True)
class Entry:
    """Where a component lives, as `module:Name`.

    Attributes:
        options: its options, in a module that does not import torch.
        builds: the class or function that is called with these options.
    """

    options: str
    builds: str


def load(reference: str) -> Any:
    """The object that `module:Name` refers to."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


def find(kind: str, table: Mapping[str, Entry], name: str, *, where: str = "") -> Entry:
    """The entry of that name.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    if name in table:
        return table[name]
    raise UsageError(
        f"no {kind} '{name}'{did_you_mean(name, table)}",
        where=where,
        why=f"known: {', '.join(table)}",
        fix=f"xmodal list {'bodies' if kind == 'body' else kind + 's'} shows what each one is",
    )
