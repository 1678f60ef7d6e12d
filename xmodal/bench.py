"""Measured figures: every one a ratio against a named baseline, alternating in one go, medians."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

FEEDS: dict[str, tuple[str, ...]] = {
    "cifar_fpt": ("body.init=random",),
    "listops_fpt": ("body.name=minilm-l6", "body.init=random", "task.max_length=512"),
}
"""What `data` measures unless told: shipped recipes, laid on MiniLM, whose speed does not depend on its weights."""
_READS, _KEPT_STEPS = 10, 200
_ANOTHER = "override what stands in the way with -o, or take another recipe"


def step(recipe: Any, rounds: int, steps: int = 10) -> dict[str, Any]:
    """Seconds of a training step of our loop and of a plain one around the same transformers module.

    The plain loop does what a careful script does: same body, batch, trainable parameters, loss, clipping and
    optimiser; it calls `module(inputs_embeds=...)` itself.
    """
    import tempfile

    import torch
    from torch import nn

    from xmodal.assemble import assemble
    from xmodal.run.session import environment, task_of

    recipe = _endless(recipe)
    task = task_of(recipe)
    plain, train = assemble(recipe), task.split("train")
    with tempfile.TemporaryDirectory() as folder:
        events = _training(recipe, task, Path(folder))

        parameters = list(plain.plan.trainable().values())
        optimizer = torch.optim.Adam(parameters, lr=recipe.train.lr)
        plain.model.train()
        module, order = plain.model.body.model, torch.Generator().manual_seed(0)

        def plain_step() -> None:
            indices = torch.randint(len(train), (recipe.train.batch_size,), generator=order)
            batch = train.batch(indices)
            tokens = plain.model.tokenizer(batch)
            hidden = module(inputs_embeds=tokens.values).last_hidden_state
            logits = plain.model.head(hidden, tokens)
            loss = nn.functional.cross_entropy(logits.flatten(0, -2), batch.targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, recipe.train.clip_norm or float("inf"))
            optimizer.step()
            loss.item()

        ours_times, plain_times = _alternate([lambda: next(events), plain_step], rounds, steps)
    ratios = [a / b for a, b in zip(ours_times, plain_times, strict=True)]
    against = f"plain loop around {type(module).__name__}"
    rows = [
        _row("xmodal step", ours_times, "s", against),
        _row("plain step", plain_times, "s", "itself"),
        _row("ratio", ratios, "x", against),
    ]
    title = f"one step of {recipe.name}, batch {recipe.train.batch_size}, {rounds} rounds of {steps} steps"
    return {"title": title, "rows": rows, "environment": environment(recipe, torch.get_num_threads())}


def data(recipes: Sequence[Any], rounds: int) -> dict[str, Any]:
    """Samples per second of batches, read on one thread, and of the training steps that they feed, on all threads.

    A step reads its own batch too, so the ratio of the two is never flattered.

    Raises:
        MissingError: data or weights are not on this machine.
    """
    import tempfile
    from itertools import count

    import torch

    from xmodal.run.loop import Order
    from xmodal.run.session import environment, task_of

    threads, rows, recipes = torch.get_num_threads(), [], [_endless(recipe) for recipe in recipes]
    for recipe in recipes:
        size, task = recipe.train.batch_size, task_of(recipe)
        train, numbers = task.split("train"), count()
        order = Order(len(train), size, recipe.seed)

        def read(train: Any = train, order: Order = order, numbers: Iterator[int] = numbers) -> None:
            torch.set_num_threads(1)
            for _ in range(_READS):
                train.batch(order.indices(next(numbers)))

        with tempfile.TemporaryDirectory() as folder:
            events = _training(recipe, task, Path(folder))

            def train_step(events: Iterator[Any] = events) -> None:
                torch.set_num_threads(threads)
                next(events)

            try:
                reads, steps = _alternate([read, train_step], rounds, 1)
            finally:
                torch.set_num_threads(threads)
        fed, trained = [_READS * size / taken for taken in reads], [size / taken for taken in steps]
        ratios = [a / b for a, b in zip(fed, trained, strict=True)]
        against = f"a step on {recipe.body.name}"
        rows += [
            _row(f"{recipe.name}: batches of {size}, one thread", fed, "samples/s", against),
            _row(f"{recipe.name}: {against}, threads: {threads}", trained, "samples/s", "itself"),
            _row(f"{recipe.name}: ratio", ratios, "x", against),
        ]
    title = f"reading against training, {rounds} rounds of {_READS} batches and one step"
    return {"title": title, "rows": rows, "environment": environment(recipes[0], threads)}


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
    from xmodal.run.bare import bare_loop
    from xmodal.run.session import environment, task_of

    recipe = _endless(recipe)
    if why := prefix_of(recipe, assemble(recipe, weights=False)).why:
        what = f"{recipe.name} keeps nothing between steps"
        raise UsageError(what, where="xmodal bench cache", why=why, fix=_ANOTHER)
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

        kept_times, plain_times = _alternate([kept_steps, lambda: next(theirs)], rounds, 1)
    later, whole = [epoch * one / _KEPT_STEPS for one in kept_times], [epoch * one for one in plain_times]
    rows = [
        _row("first epoch, kept", [first], "s", "itself"),
        _row("a later epoch, kept", later, "s", "an epoch, not kept"),
        _row("an epoch, not kept", whole, "s", "itself"),
        _row("ratio", [a / b for a, b in zip(whole, later, strict=True)], "x", "an epoch, kept"),
    ]
    title = f"{recipe.name} on {recipe.body.name}, {len(kept.job.train):,} samples, from {rounds} rounds of steps"
    return {"title": title, "rows": rows, "environment": environment(recipe, torch.get_num_threads())}


def learners(recipe: Any, count: int, rounds: int) -> dict[str, Any]:
    """Seconds of a step of one of `count` learners on one body, of a learner by itself, and of the published loop.

    The published loop is that of Lu 2021 around the same module: dropout 0.1, Adam over all parameters, of which the
    frozen ones have no gradient, no clipping, and accuracy in numpy in every step. Ours have no dropout. Memory is the
    most that a process of its own held in three steps.

    Raises:
        MissingError: data or weights are not on this machine.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    import torch

    from xmodal.run.session import environment

    recipe = _endless(recipe)
    bodies = (recipe.body.model_copy(update={"dropout": rate}) for rate in (0.1, 0.0))
    lone, several = (recipe.model_copy(update={"body": body}) for body in bodies)
    acts = [_step_of(several, count), _step_of(several, 1), _published(lone)]
    together, alone, published = _alternate(acts, rounds, 1)
    own = [taken / count for taken in together]
    peaks = []
    for size in (1, count):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            peaks.append(process.submit(_peak, several, size, torch.get_num_threads()).result())
    loop, itself = "the published loop", "itself"
    rows = [
        _row(f"a learner of {count} together", own, "s", loop),
        _row("a learner alone", alone, "s", loop),
        _row(loop, published, "s", itself),
        _row("ratio", [b / a for a, b in zip(own, published, strict=True)], "x", loop),
        _row("ratio", [b / a for a, b in zip(own, alone, strict=True)], "x", "a learner alone"),
        _row("peak memory alone", peaks[:1], "MB", itself),
        _row(f"peak memory, {count} together", peaks[1:], "MB", "peak memory alone"),
        _row("ratio of peaks", [peaks[1] / peaks[0]], "x", "peak memory alone"),
    ]
    title = f"{recipe.name} on {recipe.body.name}, batch {recipe.train.batch_size}, {rounds} rounds"
    return {"title": title, "rows": rows, "environment": environment(recipe, torch.get_num_threads())}


def _step_of(recipe: Any, count: int) -> Callable[[], None]:
    """A step of that many learners of a recipe, all with its seed."""
    from xmodal.errors import UsageError
    from xmodal.run.bare import bare_loop
    from xmodal.run.drive import Group
    from xmodal.run.loop import Asked
    from xmodal.run.session import task_of

    task, group = task_of(recipe), Group()
    loops: list[Any] = []
    asked: list[Asked] = []
    for _ in range(count):  # each meets the others before the next takes memory for itself
        loops.append(bare_loop(recipe, task, Path()).asking(lambda _: None))
        asked.append(next(loops[-1]))
        group.meet(asked[-1].job.model)

    def step() -> None:
        asked[:] = [loop.send(answer) for loop, answer in zip(loops, group.answer(asked), strict=True)]
        if group.broken:
            what = f"learners of {recipe.name} share no pass"
            raise UsageError(what, where="xmodal bench learners", why=group.broken, fix=_ANOTHER)

    return step


def _published(recipe: Any) -> Callable[[], None]:
    """A step of the published loop."""
    import numpy as np
    import torch
    from torch import nn

    from xmodal.assemble import assemble
    from xmodal.run.session import task_of

    model, train = assemble(recipe).model.train(), task_of(recipe).split("train")
    optimizer, order = torch.optim.Adam(model.parameters(), lr=recipe.train.lr), torch.Generator().manual_seed(0)

    def step() -> None:
        batch = train.batch(torch.randint(len(train), (recipe.train.batch_size,), generator=order))
        tokens = model.tokenizer(batch)
        logits = model.head(model.body.model(inputs_embeds=tokens.values).last_hidden_state, tokens)
        loss = nn.functional.cross_entropy(logits.flatten(0, -2), batch.targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        np.mean(logits.detach().numpy().argmax(axis=-1) == batch.targets.numpy())
        loss.item()

    return step


def _peak(recipe: Any, count: int, threads: int) -> float:
    """Megabytes that this process held at most, after three steps of that many learners."""
    import resource

    import torch

    torch.set_num_threads(threads)
    step = _step_of(recipe, count)
    for _ in range(3):
        step()
    status = Path("/proc/self/status")
    if status.exists():  # where there is one, the other counts what the parent held, too
        lines = status.read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM:"))
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def _endless(recipe: Any) -> Any:
    """The recipe on the CPU in float32, without an end."""
    from xmodal.run.bare import endless

    return endless(recipe.model_copy(update={"device": "cpu", "precision": "float32"}))


def _training(recipe: Any, task: Any, folder: Path) -> Iterator[Any]:
    """Our own loop, one event for each step."""
    from xmodal.run.bare import bare_loop

    return bare_loop(recipe, task, folder).events()


def _alternate(acts: list[Callable[[], Any]], rounds: int, repeats: int) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in acts]
    for number in range(rounds + 1):
        for act, taken in zip(acts, times, strict=True):
            began = perf_counter()
            for _ in range(repeats):
                act()
            if number:  # the first round warms up
                taken.append((perf_counter() - began) / repeats)
    return times


def startup(rounds: int) -> dict[str, Any]:
    """Seconds of commands in fresh processes, alternating, and of the imports that one of them needs."""
    from xmodal.recipe.library import shipped

    recipe = str(shipped()["quickstart"])
    xmodal = [sys.executable, "-m", "xmodal"]
    commands = {
        "xmodal --help": [*xmodal, "--help"],
        "xmodal check quickstart": [*xmodal, "check", recipe],
        "xmodal explain --body gpt2": [*xmodal, "explain", "--body", "gpt2"],
        "import transformers.GPT2Model": [sys.executable, "-c", "from transformers import GPT2Model"],
    }

    def run(command: list[str]) -> None:
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "COLUMNS": "80"})

    times = _alternate([lambda c=c: run(c) for c in commands.values()], rounds, 1)
    by_name = dict(zip(commands, times, strict=True))
    rows = [_row(name, taken, "s", "itself") for name, taken in by_name.items()]
    base = by_name["import transformers.GPT2Model"]
    ratios = [a / b for a, b in zip(by_name["xmodal explain --body gpt2"], base, strict=True)]
    rows.append(_row("explain / import", ratios, "x", "import transformers.GPT2Model"))
    return {
        "title": f"start-up, {rounds} rounds, fresh processes",
        "rows": rows,
        "environment": {"python": platform.python_version(), "platform": platform.platform(), "cores": os.cpu_count()},
    }


def _row(what: str, values: list[float], unit: str, against: str) -> dict[str, Any]:
    return {
        "what": what,
        "median": median(values),
        "low": min(values),
        "high": max(values),
        "unit": unit,
        "against": against,
    }
