"""Reading against training, and an epoch of which most is kept against one of which nothing is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Any

from xmodal.bench.timing import ANOTHER, alternate, endless, row, training

FEEDS: dict[str, tuple[str, ...]] = {
    "cifar_fpt": ("body.init=random",),
    "listops_fpt": ("body.name=minilm-l6", "body.init=random", "task.max_length=512"),
}
"""What `data` measures unless told: shipped recipes, laid on MiniLM, whose speed does not depend on its weights."""
_READS, _KEPT_STEPS = 10, 200


def data(recipes: Sequence[Any], rounds: int) -> dict[str, Any]:
    """Samples per second of batches, read on one thread, and of the training steps that they feed, on all threads.

    A step reads its own batch too, so the ratio of the two is never flattered.

    Raises:
        MissingError: data or weights are not on this machine.
    """
    import tempfile
    from itertools import count as naturals

    import torch

    from xmodal.run.bare import task_of
    from xmodal.run.order import Order
    from xmodal.run.session import environment
    from xmodal.run.threads import threads

    count, rows, recipes = torch.get_num_threads(), [], [endless(recipe) for recipe in recipes]
    for recipe in recipes:
        size, task = recipe.train.batch_size, task_of(recipe)
        train, numbers = task.split("train"), naturals()
        order = Order(len(train), size, recipe.seed)

        def read(train: Any = train, order: Order = order, numbers: Iterator[int] = numbers) -> None:
            with threads(1):
                for _ in range(_READS):
                    train.batch(order.indices(next(numbers)))

        with tempfile.TemporaryDirectory() as folder:
            events = training(recipe, task, Path(folder))
            reads, steps = alternate([read, lambda events=events: next(events)], rounds, 1)
        fed, trained = [_READS * size / taken for taken in reads], [size / taken for taken in steps]
        ratios = [a / b for a, b in zip(fed, trained, strict=True)]
        against = f"a step on {recipe.body.name}"
        rows += [
            row(f"{recipe.name}: batches of {size}, one thread", fed, "samples/s", against),
            row(f"{recipe.name}: {against}, threads: {count}", trained, "samples/s", "itself"),
            row(f"{recipe.name}: ratio", ratios, "x", against),
        ]
    title = f"reading against training, {rounds} rounds of {_READS} batches and one step"
    return {"title": title, "rows": rows, "environment": environment(recipes[0], count)}


def cache(recipe: Any, rounds: int) -> dict[str, Any]:
    """Seconds of an epoch after the first, where what the head reads is kept, and of one where it is not.

    The first epoch, which computes what is kept, is timed too. Looks at validation are left out.

    Raises:
        UsageError: this recipe keeps nothing.
        MissingError: data or weights are not on this machine.
    """
    import tempfile

    import torch

    from xmodal.assemble import assemble
    from xmodal.engine import prefix_of
    from xmodal.errors import UsageError
    from xmodal.run.bare import bare_loop, task_of
    from xmodal.run.session import environment

    recipe = endless(recipe)
    if why := prefix_of(recipe, assemble(recipe, weights=False)).why:
        what = f"{recipe.name} keeps nothing between steps"
        raise UsageError(what, where="xmodal bench cache", why=why, fix=ANOTHER)
    task = task_of(recipe)
    with tempfile.TemporaryDirectory() as folder:
        kept = bare_loop(recipe, task, Path(folder))
        plain = bare_loop(recipe.model_copy(update={"cache": False}), task, Path(folder))
        epoch = len(kept.job.train) / recipe.train.batch_size
        ours, theirs = kept.events(), plain.events()
        began = perf_counter()
        for _ in range(ceil(epoch)):
            next(ours)
        first = perf_counter() - began

        def kept_steps() -> None:
            for _ in range(_KEPT_STEPS):
                next(ours)

        kept_times, plain_times = alternate([kept_steps, lambda: next(theirs)], rounds, 1)
    later, whole = [epoch * one / _KEPT_STEPS for one in kept_times], [epoch * one for one in plain_times]
    rows = [
        row("first epoch, kept", [first], "s", "itself"),
        row("a later epoch, kept", later, "s", "an epoch, not kept"),
        row("an epoch, not kept", whole, "s", "itself"),
        row("ratio", [a / b for a, b in zip(whole, later, strict=True)], "x", "an epoch, kept"),
    ]
    title = f"{recipe.name} on {recipe.body.name}, {len(kept.job.train):,} samples, from {rounds} rounds of steps"
    return {"title": title, "rows": rows, "environment": environment(recipe, torch.get_num_threads())}
