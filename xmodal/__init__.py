"""xmodal: freeze a pretrained body, teach the rest another modality, and get a result that can be believed.

The names below are resolved when they are first used, so importing xmodal does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmodal.assemble import Model
    from xmodal.errors import MissingError, RecipeError, SpecError, UsageError, XmodalError
    from xmodal.freeze import Plan, Seal, Spec
    from xmodal.recipe import Recipe, load_recipe
    from xmodal.run.session import Run, train
    from xmodal.tensors import Batch, Tokens
    from xmodal.types import Site

    __version__: str

_HOMES = {
    "Batch": "xmodal.tensors",
    "MissingError": "xmodal.errors",
    "Model": "xmodal.assemble",
    "Plan": "xmodal.freeze",
    "Recipe": "xmodal.recipe",
    "RecipeError": "xmodal.errors",
    "Run": "xmodal.run.session",
    "Seal": "xmodal.freeze",
    "Site": "xmodal.types",
    "Spec": "xmodal.freeze",
    "SpecError": "xmodal.errors",
    "Tokens": "xmodal.tensors",
    "UsageError": "xmodal.errors",
    "XmodalError": "xmodal.errors",
    "load_recipe": "xmodal.recipe",
    "train": "xmodal.run.session",
}

__all__ = [
    "Batch",
    "MissingError",
    "Model",
    "Plan",
    "Recipe",
    "RecipeError",
    "Run",
    "Seal",
    "Site",
    "Spec",
    "SpecError",
    "Tokens",
    "UsageError",
    "XmodalError",
    "load_recipe",
    "train",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("xmodal")
    if name not in _HOMES:
        raise AttributeError(f"module 'xmodal' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
