"""Tables of positions of which samples read the first rows alone: a step has nothing to do with the others.

The gradient of a row that is never read is zero, its moments are, and so is what an optimiser makes of them. What is
trained is therefore a parameter on the memory of the rows that are read. The model, and whatever is saved of it, has
the whole table.
"""

from __future__ import annotations

import torch
from torch import nn

from xmodal.assemble import Assembled
from xmodal.recipe import Recipe

COUNTED = ("bert", "gpt2")
"""Architectures whose tokens take the rows of their table of positions from the first on, one each, in their order."""


class Rows:
    """The rows of a table that samples read.

    Args:
        name: of the table, in the model.
        table: whole, with values or without.
        count: of the rows that are read, from the first on.

    Attributes:
        table: whole. From the first step on it has a gradient, which is zero but for those rows.
        leaf: the parameter that trains in its place, on its memory.
    """

    def __init__(self, name: str, table: nn.Parameter, count: int) -> None:
        self.name, self.table = name, table
        self.leaf = nn.Parameter(table.data[:count])

    def clear(self) -> None:
        """Sets the gradient to zero, and lets that of the parameter be part of that of the table."""
        if self.table.grad is None:
            self.table.grad = torch.zeros_like(self.table)
        self.leaf.grad = self.table.grad[: len(self.leaf)].zero_()

    def __str__(self) -> str:
        return f"{len(self.leaf):,} of {len(self.table):,} positions are read, and an optimiser sees no others"


def rows_of(recipe: Recipe, assembled: Assembled) -> dict[str, Rows]:
    """The tables of a model of which a recipe's samples read only some rows, by site.

    Args:
        recipe: the recipe; where it says `compile: true`, the compiled model has its tables whole.
        assembled: its model, with values or without.
    """
    model, body = assembled.model, assembled.model.body
    if recipe.compile or body.anatomy.family not in COUNTED:
        return {}
    count = recipe.tokenizer.geometry(recipe.task.sample()).tokens + body.prefix
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tables = [each for each in assembled.plan.entries if each.site.role == "pos" and each.state == "trainable"]
    return {
        str(each.site): Rows(names[id(each.parameter)], each.parameter, count)
        for each in tables
        if count < len(each.parameter)
    }
