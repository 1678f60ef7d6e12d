"""What a sample costs as it grows, against the count of operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xmodal.bench.steps import our_step
from xmodal.bench.timing import alternate, endless, peak, row

SYMBOLS = 8192
"""Bits of the sample, which is cut into as many tokens as are wanted."""


def length(tokens: Sequence[int], rounds: int, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Seconds and memory of a sample of each number of tokens, MiniLM's width, one sample a step.

    Operations are counted by matrix products: a block multiplies each token by 12 width^2 numbers, forward and backward
    to the activations, and each pair of tokens by 2 width numbers, forward once and backward twice.

    Args:
        tokens: numbers of tokens, powers of two.
        rounds: alternating.
        overrides: of the recipe that is measured.
    """
    import torch

    from xmodal.run.session import environment

    recipes = [endless(_recipe(each, overrides)) for each in tokens]
    times = alternate([our_step(recipe) for recipe in recipes], rounds, 1)
    threads = torch.get_num_threads()
    peaks = [peak(our_step, threads, recipe) for recipe in recipes]
    shape, first = recipes[0].body.anatomy(), f"{tokens[0]} tokens"
    counts = [shape.depth * (48 * each * shape.width**2 + 12 * each**2 * shape.width) for each in tokens]
    rows = []
    for each, taken, count, megabytes in zip(tokens, times, counts, peaks, strict=True):
        rows += [
            row(f"{each} tokens", taken, "s", "itself"),
            row(f"{each} tokens: peak memory", [megabytes], "MB", "itself"),
        ]
        if each != tokens[0]:
            grown = [a / b for a, b in zip(taken, times[0], strict=True)]
            rows += [
                row(f"{each} tokens: times the seconds", grown, "x", first),
                row(f"{each} tokens: times the operations", [count / counts[0]], "x", first),
                row(f"{each} tokens: seconds over operations", [g * counts[0] / count for g in grown], "x", first),
            ]
    title = (
        f"a sample of {', '.join(map(str, tokens))} tokens, width {shape.width}, {shape.depth} blocks, {rounds} rounds"
    )
    return {"title": title, "rows": rows, "environment": environment(recipes[0], threads)}


def _recipe(tokens: int, overrides: Sequence[str]) -> Any:
    from xmodal.recipe import load_recipe
    from xmodal.recipe.source import shipped

    strings = 3  # and the one that is asked for
    own = [
        f"task.bits={SYMBOLS // (strings + 1)}",
        f"task.strings={strings}",
        f"tokenizer.size={SYMBOLS // tokens}",
        f"head.per_token={SYMBOLS // tokens}",
        "body={name: transformer, init: random, width: 384, heads: 12, depth: 6, context: 4096, causal: false}",
        "train.batch_size=1",
    ]
    return load_recipe(shipped()["bit_memory_fpt"], [*own, *overrides])
