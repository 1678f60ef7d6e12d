"""What a recipe means on this machine, and its training loop without a run, which benches and previews measure."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from xmodal.assemble import Assembled, Model, assemble
from xmodal.engine import Kept, Prefix, Rows, Surgery, left_of, operate, prefix_of, reader, rows_of
from xmodal.errors import UsageError
from xmodal.recipe import Recipe
from xmodal.run.drive import Group
from xmodal.run.job import Answer, Asked, Job
from xmodal.run.loop import Loop
from xmodal.run.order import Order
from xmodal.run.precision import automatic
from xmodal.tasks import build_task
from xmodal.tasks.splits import lengths_of
from xmodal.types import Split, Task


def bare_loop(recipe: Recipe, task: Task, folder: Path, *, whole: bool = False) -> Loop:
    """A loop that is at step 0.

    Args:
        recipe: with `device` and `precision` resolved.
        task: the recipe's.
        folder: where checkpoints would go, once it comes to a look or to its end.
        whole: tables of positions train with the rows that no sample reads, for what those cost.
    """
    job = job_of(recipe, ready(recipe), task, folder)
    return Loop(replace(job, rows={}) if whole else job)


def step_beside(recipe: Recipe, task: Task, count: int, *, whole: bool = False) -> Callable[[], str]:
    """A step of so many learners of a recipe in one pass; what is called says why they share none, or nothing.

    Args:
        recipe: as `endless` has it.
        task: the recipe's.
        count: of learners, all with the recipe's seed.
        whole: as `bare_loop` has it.
    """
    group = Group()
    loops: list[Generator[Asked, Answer | None, None]] = []
    asked: list[Asked] = []
    for _ in range(count):  # each meets the others before the next takes memory for itself
        loops.append(bare_loop(recipe, task, Path(), whole=whole).asking(lambda _: None))
        asked.append(next(loops[-1]))
        group.meet(asked[-1].job.model)

    def step() -> str:
        for place, answer in enumerate(group.answer(asked)):
            if isinstance(answer, BaseException):
                raise answer
            asked[place] = loops[place].send(answer)
        return group.broken

    return step


def task_of(recipe: Recipe) -> Task:
    """The recipe's task with the recipe's seed, and with the faults that it asks for.

    Raises:
        MissingError: its data is not on this machine.
    """
    legacy = recipe.legacy
    return build_task(
        recipe.task,
        recipe.seed,
        without_brackets=bool(legacy and legacy.listops_tokens),
        read_padding=bool(legacy and legacy.read_padding),
    )


def ready(recipe: Recipe) -> Assembled:
    """The recipe's model as it trains: on its device, frozen as it says, and made cheap as it says.

    Args:
        recipe: with `device` and `precision` resolved.

    Raises:
        As `assemble`.
    """
    assembled = assemble(recipe, device=recipe.device)
    operate(recipe, assembled)
    return assembled


@dataclass(frozen=True)
class Engine:
    """What is done so that the frozen part of a model costs less, and why.

    Attributes:
        precision: as resolved for this machine.
        why: why it is this one, where the recipe leaves it to the machine.
        surgery: what is changed in the model.
        prefix: what is computed once for each sample.
        compiled: whether the model goes through torch.compile.
        rows: tables of which only some rows are read.
    """

    precision: str
    why: str
    surgery: Surgery
    prefix: Prefix
    compiled: bool
    rows: tuple[Rows, ...] = ()

    @property
    def _done(self) -> list[str]:
        return [*self.surgery.words, *map(str, self.rows)]

    def to_dict(self) -> dict[str, Any]:
        """As `xmodal explain --json` has it."""
        said = {"precision": self.precision, "why": self.why, "surgery": self._done, "compile": self.compiled}
        return {"engine": said, "prefix": self.prefix.to_dict()}

    def __str__(self) -> str:
        chosen = f"precision {self.precision}" + (f": {self.why}" if self.why else "")
        return "\n".join([chosen, *self._done, *(["compiled"] if self.compiled else []), str(self.prefix)])


def engine_of(recipe: Recipe, assembled: Assembled) -> Engine:
    """What is done for this recipe on this machine.

    Args:
        recipe: as it was read.
        assembled: its model, without values.
    """
    resolved = resolve(recipe)
    why = automatic(resolved.device).why if recipe.precision == "auto" else ""
    return Engine(
        resolved.precision,
        why,
        operate(resolved, assembled),
        prefix_of(recipe, assembled),
        recipe.compile,
        tuple(rows_of(recipe, assembled).values()),
    )


def job_of(recipe: Recipe, assembled: Assembled, task: Task, folder: Path) -> Job:
    """What a loop needs to train a recipe; it has no identity, nothing stops it, and nothing guards what it saves.

    Args:
        recipe: with `device` and `precision` resolved.
        assembled: the recipe's model, ready.
        task: the recipe's.
        folder: where checkpoints go.

    Raises:
        UsageError: batches are to be of similar lengths, and samples do not differ in length.
    """
    if recipe.compile:
        # CUDA graphs, so that a GPU is given a step at once and not operation by operation.
        assembled.model.compile(mode="reduce-overhead" if recipe.device.startswith("cuda") else None)
    train = task.split("train")
    lengths = lengths_of(train) if recipe.train.group_by_length else None
    if recipe.train.group_by_length and lengths is None:
        raise UsageError(
            "samples cannot be grouped by length",
            where="train.group_by_length",
            why=f"the samples of {task.name} are as long as each other, or drawn when they are asked for",
            fix="drop it",
        )
    job = Job(
        model=assembled.model,
        trainable=assembled.plan.trainable(),
        options=recipe.train,
        train=train,
        val=task.split("val"),
        seed=recipe.seed,
        device=torch.device(recipe.device),
        arithmetic=arithmetic(recipe),
        folder=folder,
        identity={},
        stop=lambda: False,
        sampled=recipe.legacy.sampled_evaluation if recipe.legacy else None,
        lengths=lengths,
    )
    prefix = prefix_of(recipe, assembled)
    if prefix.why:
        return replace(job, rows=rows_of(recipe, assembled))
    return _shortened(job, assembled.model, prefix)


def _shortened(job: Job, model: Model, prefix: Prefix) -> Job:
    """The same job for what is left of the model; what that is given of a sample is computed when it is first met."""
    left, said = left_of(model, prefix)

    def view(split: Split) -> Split:
        options, order = job.options, torch.arange(len(split))
        size, met = options.eval_batch_size, len(split) if split is job.val else 0
        if split is job.train:
            order, size = Order(len(split), options.batch_size, job.seed, job.lengths).first(), options.batch_size
            met = min(len(split), options.steps * size)
        return Kept(split, reader(said, job.device, job.arithmetic), order, size, met)

    # Threads that wait sleep, and to wake a second one takes longer than an output layer does.
    threads = 1 if prefix.block is None else None
    return replace(job, model=left, train=view(job.train), val=view(job.val), view=view, threads=threads)


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
    precision = automatic(device).precision if recipe.precision == "auto" else recipe.precision
    return recipe.model_copy(update={"device": device, "precision": precision})


def arithmetic(recipe: Recipe) -> Callable[[], AbstractContextManager[Any]]:
    """What makes the context of a forward pass: autocast, or nothing."""
    graphs = recipe.compile and recipe.device.startswith("cuda")

    def context() -> AbstractContextManager[Any]:
        if graphs:
            torch.compiler.cudagraph_mark_step_begin()  # what the last pass left in its graph may be written over
        low = recipe.precision == "bfloat16"
        return torch.autocast(torch.device(recipe.device).type, dtype=torch.bfloat16) if low else nullcontext()

    return context
