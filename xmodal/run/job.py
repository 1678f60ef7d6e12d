"""What a loop needs to train, and what it asks for in every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from xmodal import seeds
from xmodal.engine import Rows
from xmodal.heads import score
from xmodal.recipe import TrainOptions
from xmodal.run.ranks import Ranks
from xmodal.tensors import Batch
from xmodal.types import Split


@dataclass
class Job:
    """All that the loop needs.

    Attributes:
        model: logits of a batch of `train`; on `device`.
        trainable: the parameters that train, by site.
        options: how they train.
        train: training split.
        val: validation split.
        seed: of the run.
        device: where the model is.
        arithmetic: makes the context in which forward passes run (autocast, or nothing).
        folder: where checkpoints go.
        identity: which run this is; every checkpoint carries it, and no other is read.
        stop: asked between steps and between evaluation batches; True ends the loop with a checkpoint.
        guard: called before anything is saved; it raises when what is frozen has moved.
        view: a split of the task as `model` takes it; `train` and `val` are so already.
        sampled: batches that an evaluation takes at random in place of the whole split, or None.
        ranks: the processes that train it.
        lengths: of the samples of `train`, where batches are to be of similar lengths, or None.
        threads: that take a step, where it is too small to be shared out among all of them; None for all.
        rows: tables of which only some rows are read, by site.
    """

    model: nn.Module
    trainable: dict[str, nn.Parameter]
    options: TrainOptions
    train: Split
    val: Split
    seed: int
    device: torch.device
    arithmetic: Callable[[], AbstractContextManager[Any]]
    folder: Path
    identity: dict[str, Any]
    stop: Callable[[], bool]
    guard: Callable[[], None] = lambda: None
    view: Callable[[Split], Split] = lambda split: split
    sampled: int | None = None
    ranks: Ranks = field(default_factory=Ranks)
    lengths: Tensor | None = None
    threads: int | None = None
    rows: Mapping[str, Rows] = field(default_factory=dict)

    @property
    def leaves(self) -> dict[str, nn.Parameter]:
        """What a step computes gradients of and changes, by site: `trainable`, of tables the rows that are read."""
        return {site: self.rows[site].leaf if site in self.rows else held for site, held in self.trainable.items()}

    @property
    def instead(self) -> dict[str, Tensor]:
        """What a forward pass takes in place of the model's own parameters, by their names there."""
        return {rows.name: rows.leaf for rows in self.rows.values()}

    def clear(self) -> None:
        """Forgets all gradients."""
        for site, parameter in self.trainable.items():
            if site in self.rows:
                self.rows[site].clear()
            else:
                parameter.grad = None

    def logits(self, batch: Batch) -> Tensor:
        """Of a batch of `train`, in a step."""
        instead = self.instead
        return functional_call(self.model, instead, (batch,), tie_weights=False) if instead else self.model(batch)


@dataclass(frozen=True)
class Answer:
    """What a loop is told of a step whose gradients it asked for.

    Attributes:
        loss: mean over the batch, in nats, where it was computed; nobody has waited for it.
        seconds: that they took.
    """

    loss: Tensor
    seconds: float


@dataclass(frozen=True)
class Asked:
    """A loop waits for the gradients of `job.trainable` on a batch.

    Attributes:
        job: its job.
        parts: the batch, or as many parts of it as are computed one after another.
        step: its number.
    """

    job: Job
    parts: Sequence[Batch]
    step: int

    @property
    def batch(self) -> Batch:
        """The batch of a loop that takes it in one part."""
        (batch,) = self.parts
        return batch

    def alone(self) -> Answer:
        """Puts them there."""
        job, began, losses = self.job, perf_counter(), []
        seeds.reseed(job.ranks.stream("dropout", job.seed, self.step), job.device)
        for part in self.parts:
            share = len(part.targets) / job.options.batch_size
            with job.arithmetic():
                loss = score.loss(job.logits(part), part.targets).mean()
            loss = loss if share == 1 else loss * share
            loss.backward()
            losses.append(loss.detach())
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        if job.ranks.count > 1:
            gradients = [parameter.grad for parameter in job.trainable.values() if parameter.grad is not None]
            *sums, loss = job.ranks.sum([*gradients, loss], job.stop())
            for gradient, whole in zip(gradients, sums, strict=True):
                gradient.copy_(whole)
        return Answer(loss, perf_counter() - began)
