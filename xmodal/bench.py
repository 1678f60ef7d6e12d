"""Measured figures: every one a ratio against a named baseline, alternating in one go, medians."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any


def step(recipe: Any, rounds: int, steps: int = 10) -> dict[str, Any]:
    """Seconds of a training step of our loop and of a plain one around the same transformers module.

    The plain loop does what a careful script does: same body, batch, trainable parameters, loss, clipping and
    optimiser; it calls `module(inputs_embeds=...)` itself.
    """
    import tempfile
    from contextlib import nullcontext
    from pathlib import Path

    import torch
    from torch import nn

    from xmodal.assemble import assemble
    from xmodal.run.loop import Job, Loop
    from xmodal.run.session import environment, resolve
    from xmodal.tasks import build_task

    recipe = resolve(recipe.model_copy(update={"device": "cpu", "precision": "float32"}))
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 10**9, "eval_every": 10**9})})
    task = build_task(recipe.task, recipe.seed)
    ours, plain = (assemble(recipe) for _ in range(2))
    train = task.split("train")
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            model=ours.model,
            trainable=ours.plan.trainable(),
            options=recipe.train,
            train=train,
            val=task.split("val"),
            seed=recipe.seed,
            device=device,
            arithmetic=nullcontext,
            folder=Path(folder),
            stop=lambda: False,
        )
        events = Loop(job).events()

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
