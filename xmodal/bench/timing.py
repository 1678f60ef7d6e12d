"""What all figures share: acts that take turns, medians, and the loops that are measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

ANOTHER = "override what stands in the way with -o, or take another recipe"


def alternate(acts: list[Callable[[], Any]], rounds: int, repeats: int) -> list[list[float]]:
    """Seconds of each act in each round, by turns, each the mean of so many repeats; one round more warms up."""
    times: list[list[float]] = [[] for _ in acts]
    for number in range(rounds + 1):
        for act, taken in zip(acts, times, strict=True):
            began = perf_counter()
            for _ in range(repeats):
                act()
            if number:
                taken.append((perf_counter() - began) / repeats)
    return times


def row(what: str, values: list[float], unit: str, against: str) -> dict[str, Any]:
    """A figure: its median and its spread, and what it is to be read against."""
    return {
        "what": what,
        "median": median(values),
        "low": min(values),
        "high": max(values),
        "unit": unit,
        "against": against,
    }


def ratio(ours: list[float], theirs: list[float], what: str, against: str) -> dict[str, Any]:
    """How many times as fast ours are, round by round."""
    return row(what, [b / a for a, b in zip(ours, theirs, strict=True)], "x", against)


def endless(recipe: Any) -> Any:
    """The recipe without an end; on the CPU and in float32, unless it says something else."""
    from xmodal.run import bare

    plain = {"device": "cpu" if recipe.device == "auto" else recipe.device}
    plain["precision"] = "float32" if recipe.precision == "auto" else recipe.precision
    return bare.endless(recipe.model_copy(update=plain))


def training(recipe: Any, task: Any, folder: Path) -> Iterator[Any]:
    """Our own loop, one event for each step."""
    from xmodal.run.bare import bare_loop

    return bare_loop(recipe, task, folder).events()


def by_hand(recipe: Any, *, published: bool) -> tuple[Callable[[], None], str]:
    """A step that calls the library's module itself, in float32, and the name of that module's class.

    Args:
        recipe: whose body, dropout and batches it takes.
        published: as Lu 2021 does it, Adam over all parameters, of which the frozen ones have no gradient, no clipping,
            and accuracy in numpy in every step; else as a careful script would, with the recipe's trainable parameters
            and clipping.
    """
    import numpy as np
    import torch
    from torch import nn

    from xmodal.assemble import assemble
    from xmodal.run.bare import task_of

    device, train = torch.device(recipe.device), task_of(recipe).split("train")
    assembled = assemble(recipe, device=device)
    model = assembled.model.train()
    module: Any = model.body.model
    parameters = list(model.parameters() if published else assembled.plan.trainable().values())
    optimizer, order = torch.optim.Adam(parameters, lr=recipe.train.lr), torch.Generator().manual_seed(0)

    def step() -> None:
        batch = train.batch(torch.randint(len(train), (recipe.train.batch_size,), generator=order)).to(device)
        tokens = model.tokenizer(batch)
        logits = model.head(module(inputs_embeds=tokens.values).last_hidden_state, tokens)
        loss = nn.functional.cross_entropy(logits.flatten(0, -2), batch.targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        if not published:
            nn.utils.clip_grad_norm_(parameters, recipe.train.clip_norm or float("inf"))
        optimizer.step()
        if published:
            np.mean(logits.detach().cpu().numpy().argmax(axis=-1) == batch.targets.cpu().numpy())
        loss.item()

    return step, type(module).__name__


def peak(make: Callable[..., Callable[[], Any]], threads: int, *arguments: Any) -> float:
    """Most megabytes that a process of its own holds in three steps, on the device of the recipe that it is given.

    Args:
        make: a function of a module, which makes a step of `arguments`, the first of them a recipe.
        threads: of the process.
        arguments: of `make`.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_peak, make, threads, *arguments).result()


def _peak(make: Callable[..., Callable[[], Any]], threads: int, recipe: Any, *arguments: Any) -> float:
    import resource

    import torch

    torch.set_num_threads(threads)
    step = make(recipe, *arguments)
    for _ in range(3):
        step()
    if recipe.device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # where there is one, the other counts what the parent held, too
        lines = status.read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM:"))
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6
