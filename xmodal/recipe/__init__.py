"""Recipes: one YAML file that composes task, tokenizer, body, freeze, head and training."""

from xmodal.recipe.check import load_recipe
from xmodal.recipe.schema import Recipe, TrainOptions

__all__ = ["Recipe", "TrainOptions", "load_recipe"]
