"""Where a trained model looks: attention by layer and head, for one sample, checked against the model's own output."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from xmodal.errors import UsageError, XmodalError
from xmodal.report.figure import INK, Figure, figure, shown
from xmodal.report.tables import Cell, Table, named
from xmodal.run.bare import task_of
from xmodal.run.trained import Trained, load_trained

CLOSE, CLOSE_IN_BFLOAT16 = 1e-4, 3e-2
"""Most by which a logit may differ where the attention is computed step by step, as a share of the largest or of 1."""
MOST_SHOWN = 32
"""Tokens on a side of a drawn map; longer ones are drawn by means over neighbours."""
SPLIT = "val"


@dataclass
class Eager(TorchFunctionMode):
    """While it is entered, attention is computed in plain steps, and its weights are kept: `[heads queries keys]`.

    Every body here comes to its attention through torch's fused function, so none has to be rebuilt to be seen. What
    has another kind of attention, or none, leaves nothing.
    """

    weights: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Computes attention in steps, and all else as ever."""
        if func is functional.scaled_dot_product_attention:
            return self.attend(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """As `torch.nn.functional.scaled_dot_product_attention`, `[1 heads queries width]`, without dropout."""
        if enable_gqa:
            groups = query.shape[1] // key.shape[1]
            key, value = (heads.repeat_interleave(groups, dim=1) for heads in (key, value))
        scores = query @ key.transpose(-2, -1) * (1 / sqrt(query.shape[-1]) if scale is None else scale)
        if is_causal:
            past = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
            scores = scores.masked_fill(~past, -torch.inf)
        if attn_mask is not None:
            unseen = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -torch.inf) if unseen else scores + attn_mask
        weights = scores.softmax(-1)
        self.weights.append(weights[0].detach())
        return weights @ value


def attention(folder: Path, arm: str, sample: int, name: str) -> Figure:
    """The maps of all layers and heads, of the run in `folder` at its best step.

    Args:
        folder: of the run.
        arm: what the run is called.
        sample: number of a sample of validation.
        name: what the figure's name starts with.

    Raises:
        UsageError: there is no such sample, or the body has no attention that can be drawn.
        MissingError: the run has no trained model, or the weights or data are not here.
        XmodalError: the logits differ from those of the model as it is.
    """
    trained = load_trained(folder)
    maps = looked(trained, sample, str(folder))
    return _drawn(maps, arm, trained, sample, f"{name}-attention")


def looked(trained: Trained, sample: int, where: str) -> list[Tensor]:
    """Attention of each layer, `[heads queries keys]`, over the real tokens of a sample.

    Raises:
        UsageError: there is no such sample, or the body has no attention that can be drawn.
        MissingError: the data are not on this machine.
        XmodalError: the logits differ from those of the model as it is.
    """
    recipe, model = trained.recipe, trained.model
    split = task_of(recipe).split(SPLIT)
    if sample >= len(split):
        what, why = f"validation has no sample {sample}", f"it has {len(split)}, counted from 0"
        raise UsageError(what, where="--sample", why=why, fix=f"name one from 0 to {len(split) - 1}")
    batch = split.batch(torch.tensor([sample]))
    with torch.no_grad():
        fast = model(batch)
        with Eager() as eager:
            slow = model(batch)
        tokens = model.tokenizer(batch)
        mask = tokens.behind(model.body(tokens), model.body.prefix).mask[0]
    if not eager.weights:
        raise UsageError(
            f"{recipe.body.name} has no attention that can be drawn",
            where="--attention",
            why="it has none, or one that never holds all weights of a layer at once",
            fix="name an arm with another body",
        )
    close = CLOSE_IN_BFLOAT16 * max(1.0, float(fast.abs().max())) if model.body.in_bfloat16 else CLOSE
    # Written so that NaN is no agreement.
    if not (off := float((fast - slow).abs().max())) <= close:
        raise XmodalError(
            "attention in plain steps gives other outputs than the model",
            where=where,
            why=f"a logit differs by {off:.2g}, and at most {close:g} is rounding",
            fix="please report it: the maps would not be those of the model",
        )
    return [_real(weights, mask) for weights in eager.weights]


def _real(weights: Tensor, mask: Tensor) -> Tensor:
    """Without padding; a body that looks at a summary of the tokens keeps that whole."""
    weights = weights[:, mask] if weights.shape[1] == len(mask) else weights
    return weights[:, :, mask] if weights.shape[2] == len(mask) else weights


def _drawn(maps: list[Tensor], arm: str, trained: Trained, sample: int, name: str) -> Figure:
    from matplotlib.colors import PowerNorm

    small = [pooled(layer) for layer in maps]
    heads, high, wide = max(len(layer) for layer in small), small[0].shape[1], small[0].shape[2]
    gap = max(1, wide // 8)
    across, down = wide + gap, high + gap
    sheet = torch.full((down * len(small) - gap, across * heads - gap), torch.nan)
    for row, layer in enumerate(small):
        for column, weights in enumerate(layer):
            sheet[row * down : row * down + high, column * across : column * across + wide] = weights
    with figure(1, 1, min(9.0, 0.9 + 4.4 * sheet.shape[0] / sheet.shape[1])) as (canvas, (axes,)):
        image = axes.imshow(sheet.numpy(), cmap="cividis", norm=PowerNorm(0.5, 0, 1), interpolation="none")
        axes.set_xticks([(wide - 1) / 2 + across * head for head in range(heads)], range(heads))
        axes.set_yticks([(high - 1) / 2 + down * layer for layer in range(len(small))], range(len(small)))
        axes.set_xlabel("head")
        axes.set_ylabel("layer")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        bar = canvas.colorbar(image, ax=axes, location="bottom", aspect=40, shrink=0.6, ticks=[0, 0.1, 0.5, 1])
        bar.outline.set_edgecolor(INK)
    queries, keys = maps[0].shape[1:]
    rows = [[layer, head, *_measures(weights)] for layer, own in enumerate(maps) for head, weights in enumerate(own)]
    sharpest = min(rows, key=lambda row: row[2])
    columns = named("text", "layer", "head") + named("percent", "spread", "largest", "to itself")
    pooling = "" if small[0].shape == maps[0].shape else f" Drawn by means over neighbours, {high} by {wide}."
    return Figure(
        name,
        f"Attention: {shown(arm)}",
        f"Attention of {len(maps)} layers with {heads} heads of {arm}, for sample {sample} of validation, {queries} "
        f"tokens that look at {keys}. The least spread is in layer {sharpest[0]}, head {sharpest[1]}.",
        f"Seed {trained.recipe.seed}, sample {sample} of validation. In each map a row is a token that looks, a column "
        "one that it looks at; the colour is the weight. Spread: mean entropy of a row, 100 % where all are looked at "
        "alike. Largest: mean of the largest weight of a row. The outputs are those of the model as it runs, within "
        f"{CLOSE:g}.{pooling}",
        Table(name, "Attention by layer and head, %", columns, rows),
        canvas,
        _weights(small, name),
    )


def pooled(layer: Tensor) -> Tensor:
    """At most `MOST_SHOWN` queries and keys: `[heads queries keys]`, means over neighbours where there are more."""
    size = (min(MOST_SHOWN, layer.shape[1]), min(MOST_SHOWN, layer.shape[2]))
    return layer if size == layer.shape[1:] else functional.adaptive_avg_pool2d(layer[None], size)[0]


def _measures(weights: Tensor) -> list[float | None]:
    """Means over the queries: entropy, as a share of the largest there can be; the largest weight; that to itself."""
    queries, keys = weights.shape
    entropy = torch.special.entr(weights).sum(-1).mean()
    own = float(weights.diagonal().mean()) if queries == keys else None
    return [float(entropy) / log(keys) if keys > 1 else 0.0, float(weights.max(-1).values.mean()), own]


def _weights(maps: list[Tensor], name: str) -> Table:
    """Every drawn weight, a line for each query."""
    rows: list[list[Cell]] = [
        [layer, head, query, *weights.tolist()]
        for layer, own in enumerate(maps)
        for head, matrix in enumerate(own)
        for query, weights in enumerate(matrix)
    ]
    columns = named("text", "layer", "head", "query") + named("percent", *map(str, range(maps[0].shape[2])))
    return Table(f"{name}-weights", "Attention weights: what a query gives to each key, %", columns, rows)
