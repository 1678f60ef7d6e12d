"""The optimiser sees trainable parameters only, by name, and is saved by name."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi

import torch
from torch import Tensor, nn

from xmodal.recipe import TrainOptions

NO_DECAY = ("ln", "pos", "embed", "prefix", "scale", "relpos", "input")


def build_optimizer(parameters: dict[str, nn.Parameter], options: TrainOptions) -> torch.optim.Optimizer:
    """An optimiser over `parameters` (by site). Weight decay touches matrices only, as everybody means it to."""
    decayed = [p for name, p in parameters.items() if _decays(name)]
    spared = [p for name, p in parameters.items() if not _decays(name)]
    groups = [
        {"params": group, "weight_decay": decay}
        for group, decay in ((decayed, options.weight_decay), (spared, 0.0))
        if group
    ]
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=options.lr, momentum=0.9)
    kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=options.lr, betas=(0.9, 0.999), eps=1e-8)


def _decays(name: str) -> bool:
    return not name.endswith(".bias") and name.partition("[")[0].partition(".")[0] not in NO_DECAY


def rate(step: int, options: TrainOptions) -> float:
    """Learning rate of step `step`, counted from 0."""
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    if options.schedule == "constant":
        return options.lr
    return options.lr * 0.5 * (1 + cos(pi * (step - options.warmup) / max(options.steps - options.warmup, 1)))


def state_tensors(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    whole: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The optimiser's state as flat tensors, `optimizer/SITE/KEY`.

    Args:
        optimizer: over `parameters`.
        parameters: by site.
        whole: the tables of which some parameters are the first rows, by site; the state of the other rows is zero.
    """
    return {
        f"optimizer/{name}/{key}": _filled(value, (whole or parameters)[name])
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def _filled(value: Tensor, table: Tensor) -> Tensor:
    if value.ndim == 0 or len(value) == len(table):
        return value
    filled = torch.zeros_like(table)
    filled[: len(value)] = value
    return filled


def restore_state(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter], tensors: dict[str, Tensor]
) -> None:
    """Puts back what `state_tensors` took, of a table whose first rows train alone (`xmodal.engine.rows`) theirs."""
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        site, _, key = rest.rpartition("/")
        if kind == "optimizer":
            parameter = parameters[site]
            # Step counters stay on the CPU, as torch keeps them.
            held = tensor if tensor.ndim == 0 else tensor[: len(parameter)].to(parameter.device)
            optimizer.state[parameter][key] = held


def reached(optimizer: torch.optim.Optimizer) -> int:
    """How many trainable numbers ever got a gradient: those whose running moments are not zero.

    Position rows past the longest sample and symbols that never occur are trainable and are not reached.
    """
    count = 0
    for state in optimizer.state.values():
        moments = [v for v in state.values() if isinstance(v, Tensor) and v.ndim]
        if moments:
            count += int(torch.stack([moment != 0 for moment in moments]).any(dim=0).sum())
    return count
