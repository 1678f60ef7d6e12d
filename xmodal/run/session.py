"""One run from recipe to result: the order of things, and what is written when."""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from xmodal.assemble import Assembled
from xmodal.bodies.description import BODY_FILE
from xmodal.bodies.weights import digest
from xmodal.engine import Tail, Upper
from xmodal.errors import DamagedError, MissingError, UsageError, XmodalError
from xmodal.freeze import Seal
from xmodal.recipe import Recipe
from xmodal.recipe.lock import LOCK, compare, other_bytes
from xmodal.recipe.schema import Lock
from xmodal.run.bare import job_of, ready, resolve, task_of
from xmodal.run.drive import Steps, alone
from xmodal.run.events import Ended, Evaluated, Evaluating, Event, Listener, Started, Stopped
from xmodal.run.folder import RunFolder
from xmodal.run.loop import Loop
from xmodal.run.optimizer import reached
from xmodal.run.ranks import Ranks
from xmodal.run.result import FINISHED, RESULT, SCHEMA, Result, beside, course_of, sealed, versions
from xmodal.run.whole import write_json
from xmodal.tasks.splits import some_of
from xmodal.types import SPLITS, SplitName, Task

THRESHOLDS = (0.75, 0.9, 0.95, 0.99)
"""Validation accuracies for which a result says after how many steps they were reached."""
_FLOORS: dict[tuple[str, ...], dict[str, float]] = {}
"""What trivial predictors score, by task and data; logistic regression on MNIST is slower than a short run."""


@dataclass(frozen=True)
class Run:
    """A run that has ended or was interrupted.

    Attributes:
        folder: where it is.
        result: what it came to; `run.result.test.accuracy`.
        ran: False when the run had ended before, and nothing was done.
    """

    folder: Path
    result: Result
    ran: bool


def train(
    recipe: Recipe,
    *,
    out: Path = Path("runs"),
    resume: bool = False,
    force: bool = False,
    listeners: Iterable[Listener] = (),
    stop: Callable[[], bool] = lambda: False,
    test: bool = True,
    ranks: Ranks | None = None,
) -> Run:
    """Trains a recipe with its seed, or returns the result that is already there.

    Args and errors are those of `training`, which this drives by itself.
    """
    how: dict[str, Any] = {"resume": resume, "force": force, "listeners": listeners, "stop": stop, "test": test}
    return alone(training(recipe, out=out, ranks=ranks, **how))


def training(
    recipe: Recipe,
    *,
    out: Path = Path("runs"),
    resume: bool = False,
    force: bool = False,
    listeners: Iterable[Listener] = (),
    stop: Callable[[], bool] = lambda: False,
    test: bool = True,
    beside: int = 0,
    ranks: Ranks | None = None,
) -> Steps[Run]:
    """A run that asks for the gradients of each step, is sent the answers, and returns itself.

    Args:
        recipe: what to run.
        out: folder of all runs.
        resume: go on from the last checkpoint of an unfinished run; starts one where there is none.
        force: throw away what an earlier run of this recipe and seed left.
        listeners: called with every event.
        stop: asked often; once it says True, the run saves itself and ends as `interrupted`.
        test: False leaves the test split unread, for a run that is to choose something on validation. Asked for later,
            the run that has ended is tested then.
        beside: other runs that take their steps with this one.
        ranks: the processes that train it, where they are several.

    Raises:
        UsageError: the folder holds an unfinished run and neither `resume` nor `force` was given, or another's run.
        MissingError: data or weights are not on this machine.
        XmodalError: a frozen tensor moved, the disk is full, or bytes differ from the lock file.
    """
    recipe = resolve(recipe)
    folder = RunFolder(out, recipe)
    with folder.claimed():
        held, before = (None, None) if force else (folder.lock(), folder.result())
        if (before or folder.can_resume()) and not held and not force:
            raise DamagedError(
                f"no {LOCK} beside the {RESULT if before else 'checkpoint'}",
                where=str(folder.path),
                why="without it nothing says which bytes this run was started with",
                fix="put it back, or start again with --force",
            )
        if held and before and before["status"] in FINISHED:
            untested = test and before["test"] is None and before["val"] is not None
            compare(recipe, held.versions, held.digests)
            folder.refuse_other(before, held)
            _refuse_other_data(recipe, held, folder)
            if not untested:
                return Run(folder.path, Result.of(before), ran=False)
        elif folder.can_resume() and not (resume or force):
            raise UsageError(
                "this run was started and has not ended",
                where=str(folder.path),
                why=f"its last status is {before['status'] if before else 'killed'}",
                fix="go on with --resume, or start again with --force",
            )
        going_on = held if not recipe.lock else None
        if going_on:
            # An unfinished run goes on with the bytes and threads that it was started with.
            recipe = recipe.model_copy(update={"lock": going_on})
        session = _Session(recipe, folder, tuple(listeners), stop, going_on, test=test, beside=beside, ranks=ranks)
        if force:
            folder.clear()  # only now: what the new run needs is here
        try:
            return (yield from session.run())
        except Exception as error:
            session.fail(error)
            raise


def _digests_of(task: Task) -> dict[str, str]:
    return {f"data.{name}": task.split(name).digest() for name in SPLITS}


def _refuse_other_data(recipe: Recipe, held: Lock, folder: RunFolder) -> None:
    """A result that is there stands for the files that it was made with, and the user's own may have changed since."""
    if not recipe.task.own_files:
        return
    try:
        task = task_of(recipe)
    except DamagedError:
        raise
    except MissingError:
        return  # there is nothing that could differ
    _refuse_other_bytes(held, held.digests | _digests_of(task), folder)


def _refuse_other_bytes(held: Lock, digests: Mapping[str, str], folder: RunFolder) -> None:
    if why := other_bytes(held, digests):
        raise UsageError(
            "the data or the weights have changed since this run was started",
            where=str(folder.path),
            why=why,
            fix="put them back as they were; --force runs it again and throws away what is here, --out keeps both",
        )


class _Session:
    """Data, model and their digests, all ready; the folder is not touched before `run`."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        listeners: tuple[Listener, ...],
        stop: Callable[[], bool],
        going_on: Lock | None,
        *,
        test: bool,
        beside: int,
        ranks: Ranks | None,
    ) -> None:
        self.beside, self.ranks = beside, ranks or Ranks()
        self.recipe, self.folder, self.stop, self.test = recipe, folder, stop, test
        self.listeners = (folder.listen, *listeners)
        self.loop: Loop | None = None
        self.threads = recipe.threads or (recipe.lock.threads if recipe.lock else torch.get_num_threads())
        torch.set_num_threads(self.threads)
        self.task = task_of(recipe)
        self.assembled = ready(recipe)
        self.digests = {"body": self.assembled.source["digest"]}
        self.digests |= _digests_of(self.task)
        if going_on:
            _refuse_other_bytes(going_on, self.digests, folder)
        self.warnings = (*recipe.faults, *compare(recipe, versions(), self.digests, self.threads))

    def run(self) -> Steps[Run]:
        """From the model at step 0, or the last checkpoint, to the result."""
        recipe, folder, task, assembled = self.recipe, self.folder, self.task, self.assembled
        device = torch.device(recipe.device)
        lock = Lock(versions=versions(), digests=self.digests, threads=self.threads, tiny=recipe.is_tiny)
        buffers = dict(assembled.model.named_buffers())
        seal = Seal.of(assembled.plan, buffers)
        job = replace(
            job_of(recipe, assembled, task, folder.checkpoints),
            identity={"recipe": folder.digest, "seed": recipe.seed, **self.digests, "frozen": seal.digest},
            stop=self.stop,
            guard=lambda: seal.check(assembled.plan, buffers),
            ranks=self.ranks,
        )
        loop = Loop(job)
        resumed = folder.can_resume()
        others = [self.beside]
        if resumed:
            loop.restore()
            before = beside(folder.path) or [self.beside]
            others = before if before[-1] == self.beside else [*before, self.beside]
        self.loop = loop
        surroundings = environment(recipe, self.threads) | {
            "kept": isinstance(job.model, (Tail, Upper)),
            "beside": others if len(others) > 1 else others[0],
            "processes": self.ranks.count,
        }
        folder.write(recipe.model_copy(update={"lock": lock}), surroundings)
        self._describe_body(assembled, trained_digest=None)
        folder.rewind(loop.state.step if resumed else -1)
        floors = self._floors() if self.test else {}  # they are read off the test split
        norms = {} if resumed else self._norms(assembled, loop)
        parameters = assembled.plan.counts()
        self._tell(
            Started(
                loop.state.step,
                recipe.name,
                str(folder.path),
                recipe.train.steps,
                resumed,
                parameters,
                floors,
                norms,
                self.warnings,
            )
        )
        yield from loop.asking(self._tell)
        seal.check(assembled.plan, buffers)
        parameters = {**parameters, "reached": reached(loop.optimizer)}
        scores, due = dict[str, Any](), list[SplitName]()
        if self.test and loop.state.best:
            due.append("test")
            if recipe.train.score_train:
                due.append("train")
        if loop.state.stopped and loop.state.best:
            loop.load_best()  # tested or not, what the run leaves is its best model
            scores = self._scores(task, loop, due)
        status = "interrupted" if not loop.state.stopped or len(scores) < len(due) else "done"
        if loop.state.stopped == "diverged" and status == "done":
            status = "diverged"
        if status in FINISHED:
            held = {site: parameter for site, parameter in assembled.model.body.claims() if site.used}
            self._describe_body(assembled, trained_digest=digest(held))
        measured = self._measured(loop, device)
        result = self._result(
            status,
            floors=floors,
            scores=scores,
            parameters=parameters,
            digests={**self.digests, "frozen": seal.digest},
            coverage=task.coverage(),
            **measured,
        )
        write_json(folder.path / RESULT, result)
        self._tell(Ended(loop.state.step, result))
        return Run(folder.path, Result.of(result), ran=True)

    def _floors(self) -> dict[str, float]:
        """Of the task, computed once in this process for the same data: runs of a study share them."""
        key = (self.recipe.task.model_dump_json(), *(self.digests[f"data.{name}"] for name in SPLITS))
        if key not in _FLOORS:
            _FLOORS[key] = dict(self.task.floors())
        return dict(_FLOORS[key])

    def _norms(self, assembled: Assembled, loop: Loop) -> dict[str, float]:
        """Root mean squares at step 0, where a badly scaled input shows."""
        model, job, train = assembled.model, loop.job, self.task.split("train")
        indices = torch.arange(min(len(train), job.options.batch_size))
        model.eval()
        with torch.no_grad(), job.arithmetic():
            tokens = model.tokenizer(train.batch(indices).to(job.device))
            hidden = model.body(tokens)
        model.train()
        mask = tokens.behind(hidden, model.body.prefix).mask
        rms = {"tokens": tokens.values[tokens.mask], "hidden": hidden[mask]}
        return {name: float(values.float().square().mean().sqrt()) for name, values in rms.items()}

    def _scores(self, task: Task, loop: Loop, splits: list[SplitName]) -> dict[SplitName, Any]:
        """Of each of these splits, with the best parameters; those before an interruption."""
        found, job = dict[SplitName, Any](), loop.job
        for name in splits:
            trained = some_of(job.train, job.options.score_train, job.seed) if name == "train" else None
            for report in loop.evaluate(trained or job.view(task.split(name)), name):
                if isinstance(report, Evaluating):
                    if loop.stop():
                        self._tell(Stopped(loop.state.step, "interrupted"))
                        return found
                    self._tell(report)
                else:
                    self._tell(Evaluated(loop.state.best_step, name, report.to_dict()))
                    found[name] = report.to_dict()
        return found

    def _describe_body(self, assembled: Assembled, trained_digest: str | None) -> None:
        options = self.recipe.body
        description = {
            **assembled.source,
            "options": options.model_dump(mode="json"),
            "seed": self.recipe.seed,
            "trained_digest": trained_digest,
            "tiny": self.recipe.is_tiny,
            "dtype": "bfloat16" if self.recipe.precision == "bf16-frozen" else "float32",
            "eps": options.anatomy().eps,
            "dropout": options.dropout,
            "width": assembled.model.body.width,
        }
        write_json(self.folder.path / BODY_FILE, description)

    def _measured(self, loop: Loop, device: torch.device) -> dict[str, Any]:
        state, recipe = loop.state, self.recipe
        tokens = state.step * recipe.train.batch_size * recipe.tokenizer.geometry(recipe.task.sample()).tokens
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        if device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(device)
        return {
            "seconds": round(loop.elapsed(), 3),
            "train_seconds": round(state.train_seconds, 3),
            "tokens_per_second": round(tokens / state.train_seconds, 1) if state.train_seconds else None,
            "peak_memory_bytes": memory,
        }

    def _result(self, status: str, **rest: Any) -> dict[str, Any]:
        recipe, state = self.recipe, self.loop.state if self.loop else None
        looks, scores = state.looks if state else [], rest.pop("scores", {})
        said = {
            "schema": SCHEMA,
            "status": status,
            "name": recipe.name,
            "seed": recipe.seed,
            "tiny": recipe.is_tiny,
            "recipe_digest": self.folder.digest,
            "test": scores.get("test"),
            **({"train": scores["train"]} if "train" in scores else {}),
            "val": state.best if state else None,
            "floors": rest.pop("floors", {}),
            "steps": state.step if state else 0,
            "best_step": state.best_step if state else 0,
            "stopped": state.stopped if state else "",
            "steps_to": {
                str(share): next((look["step"] for look in looks if look["accuracy"] >= share), None)
                for share in THRESHOLDS
            },
            "course": course_of((look["step"], look["accuracy"]) for look in looks),
            "last_loss": state.last_loss if state else None,
            **({"legacy": recipe.faults} if recipe.faults else {}),
            **rest,
        }
        return sealed(said)

    def fail(self, error: BaseException) -> None:
        """Leaves a result that says why, where the folder can still be written and the run had got under way."""
        if self.loop is None:
            return
        try:
            write_json(self.folder.path / RESULT, self._result("failed", error=f"{type(error).__name__}: {error}"))
        except XmodalError:
            return

    def _tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


def environment(recipe: Recipe, threads: int) -> dict[str, Any]:
    """What a run ran on, for `environment.json`."""
    cuda = recipe.device.startswith("cuda")
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "processor": torch.cuda.get_device_name(recipe.device) if cuda else torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "device": recipe.device,
        "precision": recipe.precision,
    }
