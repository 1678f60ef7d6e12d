"""Runs of a study, here or in processes of their own; what goes wrong in one of them is its result."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch

from xmodal.errors import BusyError, DamagedError, MissingError, UnwrittenError, UsageError
from xmodal.recipe import Recipe
from xmodal.run import session
from xmodal.run.bare import resolve
from xmodal.run.drive import Steps
from xmodal.run.events import Evaluated, Evaluating, Event, Started, Stepped
from xmodal.run.folder import RunFolder
from xmodal.run.result import FINISHED, Result
from xmodal.run.session import Run

GLANCE = 0.25
"""Seconds between two steps of a run that are told; all that is no step is told at once."""


NO_MEMORY = "out of memory"
"""How the error of a run begins that had no room."""


@dataclass(frozen=True)
class Attempt:
    """How a run ended: with `run`, with the `error` of its arm, or because another process holds it (`busy`).

    `fatal` is what every other run would meet too, or what only the user can put right.
    """

    run: Run | None = None
    error: str = ""
    busy: bool = False
    fatal: Exception | None = None


Happening = tuple[int, Event | Attempt | None]
"""The number of a run, and what happened to it: it was taken up (None), it moved, or it ended."""


Job = tuple[Recipe, bool]
"""What is run, and whether its test split is read."""


class Attempts(Protocol):
    """Makes runs, each in its ordinary folder, resumed where it broke off."""

    def follow(self, jobs: Sequence[Job]) -> Iterator[Happening]:
        """What happens, until every run has ended or `stop` said so and what trained has saved itself."""
        ...

    def close(self) -> None:
        """Ends what still runs; it goes on from its last checkpoint another time."""
        ...


def there(recipe: Recipe, out: Path) -> Run | None:
    """The run of a recipe that has ended; None where there is none, or where it cannot be believed."""
    folder = RunFolder(out, resolve(recipe))
    try:
        result = folder.result()
    except DamagedError:
        return None  # the run itself says so, and what to do
    return Run(folder.path, Result.of(result), ran=False) if result and result["status"] in FINISHED else None


@dataclass
class AsTheyLie:
    """Runs as they lie in `out`, and none is made: `absent` are the numbers of those that have not ended."""

    out: Path
    absent: list[int] = field(default_factory=list)

    def follow(self, jobs: Sequence[Job]) -> Iterator[Happening]:
        """As `Attempts`."""
        for number, (recipe, _) in enumerate(jobs):
            if run := there(recipe, self.out):
                yield number, Attempt(run)
            else:
                self.absent.append(number)

    def close(self) -> None:
        """As `Attempts`: nothing runs."""


def attempt(job: Job, out: Path, listen: Callable[[Event], None], stop: Callable[[], bool]) -> Attempt:
    """One run, here."""
    recipe, test = job
    try:
        return Attempt(session.train(recipe, out=out, resume=True, listeners=[listen], stop=stop, test=test))
    except Exception as error:
        return _ended_by(error)


def attempting(
    job: Job, out: Path, listen: Callable[[Event], None], stop: Callable[[], bool], beside: int
) -> Steps[Attempt]:
    """One run, driven from outside, with so many others beside it."""
    recipe, test = job
    said: dict[str, Any] = {"out": out, "listeners": [listen], "stop": stop, "test": test, "beside": beside}
    if stop():
        return Attempt()  # another has begun in the meantime, and this one has not
    try:
        return Attempt((yield from session.training(recipe, resume=True, **said)))
    except Exception as error:
        return _ended_by(error)


def _ended_by(error: Exception) -> Attempt:
    if isinstance(error, BusyError):
        return Attempt(busy=True)
    if isinstance(error, UsageError | MissingError | UnwrittenError):
        return Attempt(fatal=error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        return Attempt(error=f"{NO_MEMORY}: {str(error) or 'the system refused it'}")
    return Attempt(error=f"{type(error).__name__}: {error}")


@dataclass
class Here:
    """In this process, one after another."""

    out: Path
    stop: Callable[[], bool]
    listen: Callable[[int, Event], None]

    def follow(self, jobs: Sequence[Job]) -> Iterator[Happening]:
        """As `Attempts`; events go to `listen` as they happen, since nothing else can be done meanwhile."""
        for number, job in enumerate(jobs):
            if self.stop():
                return
            yield number, None
            yield number, attempt(job, self.out, lambda event, number=number: self.listen(number, event), self.stop)

    def close(self) -> None:
        """As `Attempts`: nothing runs any more."""


@dataclass
class Workers:
    """In `count` processes. One that dies is the end of its run alone, and another takes its place.

    Weights are mapped from their file, so that the processes share one copy of what none of them changes.
    """

    count: int
    out: Path
    stop: Callable[[], bool]
    _workers: list[_Worker] = field(default_factory=list)

    def follow(self, jobs: Sequence[Job]) -> Iterator[Happening]:
        """As `Attempts`."""
        waiting = deque(range(len(jobs)))
        while waiting or any(worker.number is not None for worker in self._workers):
            if self.stop():
                waiting.clear()
                for worker in self._workers:
                    worker.halt()
            while waiting and (worker := self._idle()):
                number = waiting.popleft()
                worker.give(number, jobs[number])
                yield number, None
            busy = {worker.pipe: worker for worker in self._workers if worker.number is not None}
            for pipe in wait(list(busy), timeout=0.1):
                yield busy[pipe].hear()  # type: ignore[index]  # these are the pipes that were given

    def close(self) -> None:
        """As `Attempts`."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _idle(self) -> _Worker | None:
        self._workers = [worker for worker in self._workers if worker.process.is_alive() or worker.number is not None]
        found = next((worker for worker in self._workers if worker.number is None), None)
        if not found and len(self._workers) < self.count:
            found = _Worker(self.out, max(1, cores() // self.count))
            self._workers.append(found)
        return found


class _Worker:
    """A process and the run that it was given."""

    def __init__(self, out: Path, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit locks of torch's threads
        self.pipe, there = context.Pipe()
        self._stopping = context.Event()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(there, out, threads, self._stopping, os.getpid()), daemon=True
        )
        self.process.start()
        there.close()
        self.number: int | None = None
        self._training = False

    def give(self, number: int, job: Job) -> None:
        """Gives it a run."""
        self.number, self._training = number, False
        with suppress(OSError):  # it died in between, which `hear` says
            self.pipe.send(job)

    def hear(self) -> tuple[int, Event | Attempt]:
        """What it says of its run."""
        number = self.number
        assert number is not None
        try:
            what = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            what = Attempt(error=_last_words(self.process.exitcode or 0))
        if isinstance(what, Started):
            self._training = True
        elif isinstance(what, Attempt):
            self.number = None
        return number, what

    def halt(self) -> None:
        """Lets its run save itself; one that has not begun has nothing to save."""
        self._stopping.set()
        if not self._training:
            self.kill()
            self.number = None

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _last_words(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    why = "; the system does so where memory runs out" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{why}"


def _serve(pipe: Connection, out: Path, threads: int, stopping: Any, parent: int) -> None:
    """The life of a process: runs in, events and attempts out, until nobody is there any more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the one that started this process was asked too, and says when or dies

    def stop() -> bool:
        return stopping.is_set() or os.getppid() != parent

    last = 0.0

    def tell(event: Event) -> None:
        nonlocal last
        if isinstance(event, Stepped | Evaluating):
            if perf_counter() - last < GLANCE:
                return
            last = perf_counter()
        if isinstance(event, Started | Stepped | Evaluating | Evaluated):
            with suppress(OSError):  # nobody is there: `stop` will say so
                pipe.send(event)

    with suppress(EOFError, OSError):
        while True:
            job = pipe.recv()
            torch.set_num_threads(threads)
            pipe.send(attempt(job, out, tell, stop))


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
