"""The loop. A generator of events: it prints nothing and writes only checkpoints.

It asks for the gradients of a step (`Asked`) and goes on once they are there, so that several loops can be answered by
one pass through the body that they share.

Everything random in step s is a function of (seed, s), so a run that stops after step s and goes on is the run that
never stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from xmodal import seeds
from xmodal.run import optimizer as optimizers
from xmodal.run.checkpoint import damaged, lay_over, load_tensors, save_tensors
from xmodal.run.evaluate import Scores, evaluate
from xmodal.run.events import Evaluated, Evaluating, Event, Saved, Stepped, Stopped
from xmodal.run.job import Answer, Asked, Job
from xmodal.run.order import Order
from xmodal.run.threads import threads
from xmodal.tasks.splits import batches_of
from xmodal.tensors import Batch
from xmodal.types import Split

LAST, BEST, NEXT = "last.safetensors", "best.safetensors", "next.safetensors"


@dataclass
class State:
    """What a run knows besides its tensors; it is saved with every checkpoint.

    Attributes:
        step: optimiser steps taken.
        looks: validation scores so far, each with its step.
        best_step: step of the best of them, 0 before the first.
        stale: looks since then.
        last_loss: last finite training loss.
        seconds: time spent in this run, all its sessions together.
        train_seconds: the part of it spent in optimiser steps.
        stopped: why training ended, empty while it goes on.
    """

    step: int = 0
    looks: list[dict[str, Any]] = field(default_factory=list)
    best_step: int = 0
    stale: int = 0
    last_loss: float | None = None
    seconds: float = 0.0
    train_seconds: float = 0.0
    stopped: str = ""

    @property
    def best(self) -> dict[str, Any] | None:
        """Validation scores at the best step."""
        return next((look for look in self.looks if look["step"] == self.best_step), None)


Moves = Generator[Event | Asked, Answer | None, None]
"""What a loop does, event by event. It is sent the answer to each `Asked`, and None otherwise."""


class Loop:
    """Trains a job; `state` says how far it is."""

    def __init__(self, job: Job) -> None:
        self.job, self.state = job, State()
        self.optimizer = optimizers.build_optimizer(job.leaves, job.options)
        self._began = perf_counter()
        self._order = Order(len(job.train), job.options.batch_size, job.seed, job.lengths)
        self.stop = job.ranks.answer(job.stop)
        self._taken: _Taken | None = None

    def restore(self) -> None:
        """Goes back to the last checkpoint."""
        file = self.job.folder / LAST
        tensors, state = self._load(file)
        try:
            self.state = TypeAdapter(State).validate_json(json.dumps(state), strict=True)
        except ValidationError as error:
            raise damaged(file, f"its state is not that of a run ({error.error_count()} faults)") from None
        if not 0 <= self.state.best_step <= self.state.step <= self.job.options.steps:
            raise damaged(file, f"it says step {self.state.step} of {self.job.options.steps}")
        lay_over(self.job.trainable, tensors, file)
        optimizers.restore_state(self.optimizer, self.job.leaves, tensors)
        self._settle_best()
        if self.state.best:
            self._best_tensors()  # before hours are spent on a run that could not end
        self._began = perf_counter() - self.state.seconds

    def elapsed(self) -> float:
        """Seconds spent in this run, all its sessions together."""
        return perf_counter() - self._began

    def load_best(self) -> None:
        """Gives the model its best parameters, as validation chose them."""
        lay_over(self.job.trainable, self._best_tensors(), self.job.folder / BEST)

    def events(self) -> Iterator[Event]:
        """`moves`, with every step's gradients computed by itself."""
        moves, answer = self.moves(), None
        while True:
            try:
                what = moves.send(answer)
            except StopIteration:
                return
            if isinstance(what, Asked):
                answer = what.alone()
            else:
                answer = None
                yield what

    def asking(self, tell: Callable[[Event], None]) -> Generator[Asked, Answer | None, None]:
        """`moves`, with every step's gradients asked for; events go to `tell`."""
        moves, answer = self.moves(), None
        while True:
            try:
                what = moves.send(answer)
            except StopIteration:
                return
            if isinstance(what, Asked):
                answer = yield what
            else:
                answer = None
                tell(what)

    def moves(self) -> Moves:
        """Trains until the end, divergence or a signal, looking at validation as it goes."""
        options, state = self.job.options, self.state
        self.job.model.train()
        while not state.stopped:
            due = state.step and (state.step % options.eval_every == 0 or state.step == options.steps)
            if due or self.stop():
                yield from self._settle()
                if state.stopped:
                    break
            if due and (not state.looks or state.looks[-1]["step"] != state.step):
                yield from self._look()
            elif state.step == options.steps:
                state.stopped = "steps"
            elif options.patience and state.stale >= options.patience:
                state.stopped = "patience"
            elif not self.stop():
                yield from self._step()
            if self.stop() and not state.stopped:
                yield from self._settle()
                if state.stopped:
                    break
                self._save()
                yield Saved(state.step)
                yield Stopped(state.step, "interrupted")
                return
        self._save()
        yield Saved(state.step)
        yield Stopped(state.step, state.stopped)  # type: ignore[arg-type]

    def _step(self) -> Moves:
        job, state, began = self.job, self.state, perf_counter()
        lr = optimizers.rate(state.step, job.options)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        parts = job.ranks.mine(self._order.indices(state.step)).tensor_split(job.options.accumulate or 1)
        batches = [job.train.batch(part).to(job.device) for part in parts]
        prepared = perf_counter() - began
        with threads(job.threads):
            yield from self._taking(batches, lr, prepared)

    def _taking(self, batches: Sequence[Batch], lr: float, prepared: float) -> Moves:
        job, state = self.job, self.state
        job.clear()
        answer = yield Asked(job, batches, state.step)
        assert answer
        yield from self._settle()
        if state.stopped:
            return
        began = perf_counter()
        limit = job.options.clip_norm or float("inf")
        norm = nn.utils.clip_grad_norm_(job.trainable.values(), limit)
        self._taken = _Taken(state.step + 1, answer.loss, norm, lr)
        if job.device.type != "cuda":
            yield from self._settle()
            if state.stopped:
                return
        self.optimizer.step()
        state.step += 1
        state.train_seconds += prepared + answer.seconds + perf_counter() - began

    def _settle(self) -> Iterator[Event]:
        """Tells of the last step. On a GPU that is when the next is under way, so that nobody waits."""
        taken, self._taken = self._taken, None
        if not taken:
            return
        loss, norm = taken.values()
        if isfinite(loss) and isfinite(norm):
            self.state.last_loss = loss
            yield Stepped(taken.step, loss, norm, taken.lr)
        else:
            self.state.step, self.state.stopped = taken.step - 1, "diverged"

    def _look(self) -> Iterator[Event]:
        job, state = self.job, self.state
        for report in self.evaluate(job.val, "val"):
            if isinstance(report, Evaluating):
                if self.stop():
                    return
                yield report
                continue
            if not isfinite(report.loss):
                state.stopped = "diverged"
                return
            best = state.best is None or report.accuracy > state.best["accuracy"]
            if best:
                self._write(NEXT, job.trainable, {"step": state.step})
                state.best_step, state.stale = state.step, 0
            else:
                state.stale += 1
            state.looks.append({"step": state.step, **report.to_dict()})
            yield Evaluated(state.step, "val", report.to_dict(), best)
            self._save()
            if best:
                (job.folder / NEXT).replace(job.folder / BEST)
            yield Saved(state.step)

    def evaluate(self, split: Split, name: str) -> Iterator[Evaluating | Scores]:
        """Progress and scores of the whole split, with the parameters that the model has now."""
        job = self.job
        if job.sampled:
            random = seeds.torch_generator("legacy.evaluation", job.seed, name, self.state.step)
            split = batches_of(split, job.sampled, job.options.batch_size, random)
        return evaluate(
            job.model,
            split,
            name,
            self.state.step,
            batch_size=job.options.eval_batch_size,
            device=job.device,
            arithmetic=job.arithmetic,
            ranks=job.ranks,
        )

    def _settle_best(self) -> None:
        """After a kill: puts a new best in its place if the last checkpoint knows of it, so that the two agree."""
        new = self.job.folder / NEXT
        if new.exists():
            if self._load(new)[1] == {"step": self.state.best_step}:
                new.replace(self.job.folder / BEST)
            else:
                new.unlink()

    def _save(self) -> None:
        self.job.guard()
        self.state.seconds = self.elapsed()
        state = optimizers.state_tensors(self.optimizer, self.job.leaves, self.job.trainable)
        tensors = {**self.job.trainable, **state}
        self._write(LAST, tensors, asdict(self.state))

    def _write(self, name: str, tensors: Mapping[str, Tensor], state: dict[str, Any]) -> None:
        save_tensors(self.job.folder / name, tensors, {"run": self.job.identity, **state})

    def _load(self, file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, state = load_tensors(file)
        if (run := state.pop("run", None)) != self.job.identity:
            raise damaged(file, f"it is of the run {run}, and this one is {self.job.identity}")
        return tensors, state

    def _best_tensors(self) -> dict[str, Tensor]:
        file = self.job.folder / BEST
        tensors, state = self._load(file)
        if state != {"step": self.state.best_step}:
            raise damaged(file, f"it is of {state}, and the best step was {self.state.best_step}")
        return tensors


class _Taken:
    """Loss and gradient norm of a step, on their way from the device where they were computed."""

    def __init__(self, step: int, loss: Tensor, norm: Tensor, lr: float) -> None:
        self.step, self.lr = step, lr
        self._values, self._there = torch.stack([loss, norm]), None
        if self._values.is_cuda:
            self._values = self._values.to("cpu", non_blocking=True)
            self._there = torch.cuda.Event()
            self._there.record()

    def values(self) -> list[float]:
        """Both, once they are there."""
        if self._there:
            self._there.synchronize()
        return self._values.tolist()
