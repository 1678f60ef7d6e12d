"""xmodal: freeze a pretrained body, teach the rest another modality, and get a result that can be believed.

The names below are resolved when they are first used, so importing xmodal does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmodal.api import export, plan, train
    from xmodal.assemble import Model
    from xmodal.errors import MissingError, RecipeError, SpecError, UsageError, XmodalError
    from xmodal.freeze import Plan, Seal, Spec
    from xmodal.recipe import Recipe
    from xmodal.recipe.library import load
    from xmodal.run.delta import load_delta
    from xmodal.run.result import Result
    from xmodal.run.session import Run
    from xmodal.run.trained import load_model
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
    "Result": "xmodal.run.result",
    "Run": "xmodal.run.session",
    "Seal": "xmodal.freeze",
    "Site": "xmodal.types",
    "Spec": "xmodal.freeze",
    "SpecError": "xmodal.errors",
    "Tokens": "xmodal.tensors",
    "UsageError": "xmodal.errors",
    "XmodalError": "xmodal.errors",
    "export": "xmodal.api",
    "load": "xmodal.recipe.library",
    "load_delta": "xmodal.run.delta",
    "load_model": "xmodal.run.trained",
    "plan": "xmodal.api",
    "train": "xmodal.api",
}

__all__ = [
    "Batch",
    "MissingError",
    "Model",
    "Plan",
    "Recipe",
    "RecipeError",
    "Result",
    "Run",
    "Seal",
    "Site",
    "Spec",
    "SpecError",
    "Tokens",
    "UsageError",
    "XmodalError",
    "export",
    "load",
    "load_delta",
    "load_model",
    "plan",
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
