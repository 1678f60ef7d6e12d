"""A training step of ours against the published loop and a careful one, and against what the machine can do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from xmodal.bench.timing import alternate, by_hand, endless, peak, ratio, row, training

PUBLISHED_DROPOUT = 0.1
"""Of GPT-2 as it comes, which the published loop leaves on."""


def step(
    recipe: Any, rounds: int, steps: int = 3, precisions: Sequence[str] = (), memory: bool = False
) -> dict[str, Any]:
    """Seconds of a training step: ours in each precision, the published loop's, and a careful script's.

    The published loop is that of Lu 2021 around the same module: float32, dropout 0.1, Adam over all parameters, no
    clipping, accuracy in numpy in every step. The careful one has the recipe's dropout, trainable parameters, clipping
    and optimiser; both call `module(inputs_embeds=...)` themselves. What a step is worth is counted in matrix products:
    forward, and backward to the activations, as if nothing else were computed.

    Args:
        recipe: its device, precision and dropout are those that are measured.
        rounds: alternating.
        steps: in each round.
        precisions: ours in these, in place of the recipe's own.
        memory: also the most that processes of their own hold, with this freeze spec and with nothing frozen.
    """
    import torch

    from xmodal.run.bare import resolve
    from xmodal.run.session import environment

    recipe = endless(recipe)
    asked = [resolve(recipe.model_copy(update={"precision": name})) for name in precisions or [recipe.precision]]
    ours = {each.precision: each for each in asked}
    plain = recipe.model_copy(update={"precision": "float32"})
    dropout = recipe.body.model_copy(update={"dropout": PUBLISHED_DROPOUT})
    acts = [our_step(each) for each in ours.values()]
    careful, module = by_hand(plain, published=False)
    acts += [by_hand(plain.model_copy(update={"body": dropout}), published=True)[0], careful]
    *times, theirs, cared = alternate(acts, rounds, steps)
    loop, script = "the published loop", f"a careful loop around {module}"
    rows = [row(f"xmodal, {name}", taken, "s", loop) for name, taken in zip(ours, times, strict=True)]
    rows += [row(loop, theirs, "s", "itself"), row(script, cared, "s", "itself")]
    for name, taken in zip(ours, times, strict=True):
        rows += [
            ratio(taken, theirs, f"{name}: times as fast", loop),
            ratio(taken, cared, f"{name}: times as fast", script),
        ]
    rows += _shares(recipe, dict(zip(ours, times, strict=True)))
    if memory:
        rows += _memory(ours, plain)
    title = (
        f"one step of {recipe.name} on {recipe.body.name}, batch {recipe.train.batch_size}, {rounds} rounds of {steps}"
    )
    return {"title": title, "rows": rows, "environment": environment(recipe, torch.get_num_threads())}


def our_step(recipe: Any) -> Callable[[], Any]:
    """A step of our loop. No look at validation comes, so it writes nothing."""
    from xmodal.run.bare import task_of

    events = training(recipe, task_of(recipe), Path())
    return lambda: next(events)


def _shares(recipe: Any, times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """What the machine's own matrix products reach, and the share of it that a step does."""
    import torch

    from xmodal.bodies import skeleton
    from xmodal.bodies.body import Body
    from xmodal.bodies.rounding import matrices

    body: Body = skeleton(recipe.body)
    tokens = recipe.train.batch_size * (recipe.tokenizer.geometry(recipe.task.sample()).tokens + body.prefix)
    shapes = [tuple(each.shape) for each in matrices(body)]
    worth = sum(4 * tokens * a * b for a, b in shapes)  # forward, and backward to the activations
    if not worth:
        return []
    rates, rows = dict[str, float](), []
    bases = {name: "float32" if name.startswith("float32") else "bfloat16" for name in times}
    for name in dict.fromkeys(bases.values()):
        rates[name] = _rate(tokens, shapes, getattr(torch, name), recipe.device)
        rows.append(row(f"matrix products alone, {name}", [rates[name]], "GFLOP/s", "itself"))
    for name, taken in times.items():
        base = bases[name]
        reached = [worth / one / 1e9 for one in taken]
        rows.append(row(f"xmodal, {name}", reached, "GFLOP/s", f"matrix products, {base}"))
        shares = [100 * each / rates[base] for each in reached]
        rows.append(row(f"{name}: share", shares, "%", f"matrix products, {base}"))
    return rows


def _rate(tokens: int, shapes: list[tuple[int, ...]], dtype: Any, device: str) -> float:
    """GFLOP/s of the products of a step, each by itself and the most frequent shapes alone."""
    import torch

    rates = []
    for shape in dict.fromkeys(shapes):
        left, right = (
            torch.randn(tokens, shape[0], device=device).to(dtype),
            torch.randn(shape, device=device).to(dtype),
        )
        taken = []
        for _ in range(5):
            began = perf_counter()
            products = [left @ right for _ in range(4)]
            float(products[-1][0, 0])  # waits for an accelerator
            taken.append((perf_counter() - began) / 4)
        rates += [2 * tokens * shape[0] * shape[1] / median(taken) / 1e9] * shapes.count(shape)
    return median(rates)


def _memory(ours: dict[str, Any], plain: Any) -> list[dict[str, Any]]:
    import torch

    threads = torch.get_num_threads()
    whole = "full fine-tuning, float32"
    full = peak(our_step, threads, plain.model_copy(update={"freeze": "none"}))
    rows = [row(f"peak memory, {whole}", [full], "MB", "itself")]
    for name, recipe in ours.items():
        own = peak(our_step, threads, recipe)
        rows += [row(f"peak memory, {name}", [own], "MB", whole), row(f"{name}: share", [100 * own / full], "%", whole)]
    return rows
