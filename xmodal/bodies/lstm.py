"""The LSTM that Lu 2021 sets beside the transformer: layer norms on both sums of the gates and on the cell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from xmodal.bodies.anatomy import MOST_BLOCKS, Anatomy
from xmodal.bodies.family import Draw, Uniform, of_module
from xmodal.bodies.scratch import ScratchOptions
from xmodal.types import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xmodal.tensors import Tokens


class LstmOptions(ScratchOptions):
    """The layer-normed LSTM of Lu 2021: 3 layers of width 768, trained in full (table 1) or frozen.

    It is causal and knows no positions: token after token, so long samples take long.
    """

    name: Literal["lstm"] = "lstm"
    """Which body."""
    width: int = Field(default=768, ge=1, le=100_000)
    """Length of a token's vector, and of every layer's state."""
    depth: int = Field(default=3, ge=1, lt=MOST_BLOCKS)
    """Layers."""
    residual: bool = False
    """Whether a layer's output is added to its input; the published runs have none."""

    def whole(self) -> Anatomy:
        """As `BodyOptions.whole`."""
        details = {"residual": self.residual}
        return Anatomy("lstm", self.width, self.depth, causal=True, eps=1e-6, details=details)


class Lstm:
    """Each layer norms what the token and what the last state say to the gates (Ba 2016), and the cell.

    As in the code of Lu 2021 the normed cell is what the next token meets, and dropout falls on the output that is also
    the next state. Other than there, states start at zero, not at noise that is drawn anew in every forward pass.

    Random: as that code draws it, uniform within 1 / sqrt(width) for matrices and biases, and within 1 / sqrt(size) for
    weights and biases of the norms too. `random:flat` starts the norms at one and zero (Ba 2016).
    """

    blocks = "layers"
    prefixes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    static = True

    def __init__(self, options: LstmOptions) -> None:
        self.anatomy = options.anatomy()

    def build(self, dropout: float) -> nn.Module:
        """As `Family.build`."""
        import torch
        from torch import nn

        width, eps = self.anatomy.width, self.anatomy.eps

        def layer() -> nn.Module:
            made: Any = nn.Module()
            made.ih, made.hh = nn.Linear(width, 4 * width), nn.Linear(width, 4 * width)
            made.ln_ih, made.ln_hh = nn.LayerNorm(4 * width, eps), nn.LayerNorm(4 * width, eps)
            made.ln_cell = nn.LayerNorm(width, eps)
            made.drop = nn.Dropout(dropout)
            return made

        with torch.device("meta"):
            model: Any = nn.Module()
            model.layers = nn.ModuleList(layer() for _ in range(self.anatomy.depth))
        return model

    def claims(self, model: Any) -> Iterator[tuple[Site, nn.Parameter]]:
        """Every parameter exactly once; `rnn` has the parts `ih` and `hh`, `ln` has `ih`, `hh` and `cell`."""
        for number, layer in enumerate(model.layers):
            yield from of_module(Site("rnn", number, "ih"), layer.ih)
            yield from of_module(Site("rnn", number, "hh"), layer.hh)
            yield from of_module(Site("ln", number, "ih"), layer.ln_ih)
            yield from of_module(Site("ln", number, "hh"), layer.ln_hh)
            yield from of_module(Site("ln", number, "cell"), layer.ln_cell)

    def forward(self, model: Any, tokens: Tokens) -> Tensor:
        """Outputs of the last layer; a token sees itself and those before it, so padding on the right is not seen."""
        hidden = tokens.values
        for layer in model.layers:
            outputs = self._run(layer, hidden)
            hidden = hidden + outputs if self.anatomy.details["residual"] else outputs
        return hidden

    def _run(self, layer: Any, hidden: Tensor) -> Tensor:
        import torch

        state = cell = hidden.new_zeros(len(hidden), self.anatomy.width)
        outputs = []
        for told in layer.ln_ih(layer.ih(hidden)).unbind(dim=1):
            take, keep, show, new = (told + layer.ln_hh(layer.hh(state))).chunk(4, dim=-1)
            cell = layer.ln_cell(keep.sigmoid() * cell + take.sigmoid() * new.tanh())
            state = layer.drop(show.sigmoid() * cell.tanh())
            outputs.append(state)
        return torch.stack(outputs, dim=1)

    def draw(self, site: Site, shape: tuple[int, ...]) -> Draw:
        """As `Family.draw`."""
        return Uniform(1 / math.sqrt(shape[0] if site.role == "ln" else self.anatomy.width))
