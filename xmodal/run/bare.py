"""What a recipe means on this machine, and its training loop without a run, which benches and previews measure."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from xmodal.assemble import Assembled, Model, assemble
from xmodal.engine import Kept, Tail, prefix_of, reader
from xmodal.errors import UsageError
from xmodal.recipe import Recipe
from xmodal.run.loop import Job, Loop, Order
from xmodal.types import Split, Task


def bare_loop(recipe: Recipe, task: Task, folder: Path) -> Loop:
    """A loop that is at step 0.

    Args:
        recipe: with `device` and `precision` resolved.
        task: the recipe's.
        folder: where checkpoints would go, once it comes to a look or to its end.
    """
    return Loop(job_of(recipe, assemble(recipe, device=recipe.device), task, folder))


def job_of(recipe: Recipe, assembled: Assembled, task: Task, folder: Path) -> Job:
    """What a loop needs to train a recipe; it has no identity, nothing stops it, and nothing guards what it saves.

    Args:
        recipe: with `device` and `precision` resolved.
        assembled: the recipe's model, on its device.
        task: the recipe's.
        folder: where checkpoints go.
    """
    if recipe.compile:
        assembled.model.compile()
    job = Job(
        model=assembled.model,
        trainable=assembled.plan.trainable(),
        options=recipe.train,
        train=task.split("train"),
        val=task.split("val"),
        seed=recipe.seed,
        device=torch.device(recipe.device),
        arithmetic=arithmetic(recipe),
        folder=folder,
        identity={},
        stop=lambda: False,
        sampled=recipe.legacy.sampled_evaluation if recipe.legacy else None,
    )
    return job if prefix_of(recipe, assembled).why else _shortened(job, assembled.model)


def _shortened(job: Job, model: Model) -> Job:
    """The same job for the output layer alone; what the head reads of a sample is computed when it is first met."""

    def view(split: Split) -> Split:
        options, order = job.options, torch.arange(len(split))
        size, met = options.eval_batch_size, len(split) if split is job.val else 0
        if split is job.train:
            order, size = Order(len(split), options.batch_size, job.seed).first(), options.batch_size
            met = min(len(split), options.steps * size)
        return Kept(split, reader(model, job.device, job.arithmetic), order, size, met)

    return replace(job, model=Tail(model), train=view(job.train), val=view(job.val), view=view)


def endless(recipe: Recipe) -> Recipe:
    """The recipe with no look at validation and no end in sight, and `device` and `precision` decided."""
    train = recipe.train.model_copy(update={"steps": 10**9, "eval_every": 10**9})
    return resolve(recipe.model_copy(update={"train": train}))


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with `device` and `precision` decided for this machine.

    Raises:
        UsageError: the device is not there.
    """
    device = recipe.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[device.partition(":")[0]]:
        raise UsageError(f"no device '{device}' on this machine", where="device", fix="set device: auto or cpu")
    precision = recipe.precision
    if precision == "auto":
        precision = "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"
    return recipe.model_copy(update={"device": device, "precision": precision})


def arithmetic(recipe: Recipe) -> Callable[[], AbstractContextManager[Any]]:
    """What makes the context of a forward pass: autocast, or nothing."""

    def context() -> AbstractContextManager[Any]:
        low = recipe.precision == "bfloat16"
        return torch.autocast(torch.device(recipe.device).type, dtype=torch.bfloat16) if low else nullcontext()

    return context
