"""Learners on one body against one alone, and against the published loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xmodal.bench.timing import ANOTHER, alternate, by_hand, endless, peak, ratio, row

MOMENTS = {"adam": 2, "adamw": 2, "sgd": 1}
"""Numbers that an optimiser keeps for each that it trains."""


def learners(recipe: Any, count: int, rounds: int) -> dict[str, Any]:
    """Seconds of a step of one of `count` learners on one body, of a learner by itself, and of the published loop.

    The published loop has dropout 0.1, as it comes; ours have none. Memory is the most that a process of its own held
    in three steps. Small states are what each learner must have for itself: what it trains, in float32, with the
    gradient, and the optimiser's moments of what samples read.

    Raises:
        MissingError: data or weights are not on this machine.
    """
    import torch

    from xmodal.assemble import assemble
    from xmodal.engine import rows_of
    from xmodal.run.session import environment

    recipe = endless(recipe)
    bodies = (recipe.body.model_copy(update={"dropout": rate}) for rate in (0.1, 0.0))
    lone, several = (recipe.model_copy(update={"body": body}) for body in bodies)
    acts = [step_of(several, count), step_of(several, count, whole=True), step_of(several, 1)]
    together, whole, alone, theirs = alternate([*acts, by_hand(lone, published=True)[0]], rounds, 3)
    own = [taken / count for taken in together]
    assembled = assemble(several, weights=False)
    trainable = assembled.plan.counts()["trainable"]
    unread = sum(rows.table.numel() - rows.leaf.numel() for rows in rows_of(several, assembled).values())
    states = (count - 1) * 4 * (2 * trainable + MOMENTS[several.train.optimizer] * (trainable - unread)) / 1e6
    peaks = [peak(step_of, torch.get_num_threads(), several, size) for size in (1, count)]
    loop, itself = "the published loop", "itself"
    rows = [
        row(f"a learner of {count} together", own, "s", loop),
        row("a learner alone", alone, "s", loop),
        row(loop, theirs, "s", itself),
        ratio(own, theirs, "ratio", loop),
        ratio(own, alone, "ratio", "a learner alone"),
        ratio(together, whole, "ratio", "rows that no sample reads train too"),
        row("peak memory alone", peaks[:1], "MB", itself),
        row(f"peak memory, {count} together", peaks[1:], "MB", "peak memory alone"),
        row("ratio of peaks", [peaks[1] / peaks[0]], "x", "peak memory alone"),
        row(f"small states of {count - 1} more", [states], "MB", itself),
        row("ratio of peaks, less these", [(peaks[1] - states) / peaks[0]], "x", "peak memory alone"),
    ]
    title = f"{recipe.name} on {recipe.body.name}, batch {recipe.train.batch_size}, {rounds} rounds"
    return {"title": title, "rows": rows, "environment": environment(recipe, torch.get_num_threads())}


def step_of(recipe: Any, count: int, *, whole: bool = False) -> Callable[[], None]:
    """A step of that many learners of a recipe, all with its seed; `whole` as `step_beside` has it."""
    from xmodal.errors import UsageError
    from xmodal.run.bare import step_beside, task_of

    taken = step_beside(recipe, task_of(recipe), count, whole=whole)

    def step() -> None:
        if why := taken():
            what = f"learners of {recipe.name} share no pass"
            raise UsageError(what, where="xmodal bench learners", why=why, fix=ANOTHER)

    return step
