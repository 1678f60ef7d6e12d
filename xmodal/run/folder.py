"""The run folder: what a run leaves, and what may be done with a folder that is already there."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xmodal.errors import BusyError, DamagedError, RecipeError, UnwrittenError, UsageError
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.lock import LOCK, write_lock
from xmodal.recipe.schema import Lock
from xmodal.run.events import Evaluating, Event
from xmodal.run.loop import LAST
from xmodal.run.result import EVENTS, RESULT, read_result, sealed
from xmodal.run.whole import unwritten, write_json, write_whole


class RunFolder:
    """`OUT/NAME/DIGEST-sSEED/`."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self.digest = recipe.digest()  # once: where the body lies at a path, its weights are read for it
        self.path = out / recipe.name / f"{self.digest}-s{recipe.seed}"
        self._recipe = recipe
        self._events: list[str] = []

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints go."""
        return self.path / "checkpoint"

    def result(self) -> dict[str, Any] | None:
        """What `result.json` says, or None when the run has left none.

        Raises:
            DamagedError: it cannot be read, or is another run's.
        """
        result = read_result(self.path)
        if result and (it := (result["recipe_digest"], result["seed"])) != (self.digest, self._recipe.seed):
            raise self._foreign(
                f"it is of recipe {it[0]} and seed {it[1]}, and this folder is of {self.digest} and {self._recipe.seed}"
            )
        return result

    def refuse_other(self, result: Mapping[str, Any], held: Lock) -> None:
        """Checks that a finished result was made with the bytes that the lock file names.

        Raises:
            DamagedError: it was not.
        """
        said = {key: value for key, value in result["digests"].items() if key != "frozen"}
        if said != held.digests:
            different = [key for key in {**said, **held.digests} if said.get(key) != held.digests.get(key)]
            raise self._foreign(f"{', '.join(different)} are not those of {LOCK}")

    def _foreign(self, why: str) -> DamagedError:
        fix = "put back the run's own, or delete the folder of this run and give the same command again"
        return DamagedError("the result is of another run", where=str(self.path / RESULT), why=why, fix=fix)

    def can_resume(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.checkpoints / LAST).exists()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Holds the folder for this process, so that two never write into one run."""
        handle = self._claim()
        try:
            for part in self.path.rglob(".*.part"):
                _remove(part)  # left by a process that was killed while it wrote
            yield
        finally:
            self._leave_nothing_empty()
            os.close(handle)

    def _claim(self) -> int:
        """The claim's file, locked; whoever fails to lock it leaves everything as it is."""
        file = self.path / ".claim"
        while True:
            handle = self._open(file)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                raise BusyError(
                    "another process is running this recipe and seed",
                    where=str(self.path),
                    fix="wait for it, or use another --seed",
                ) from None
            with suppress(FileNotFoundError):
                if os.fstat(handle).st_ino == file.stat().st_ino:
                    return handle
            os.close(handle)  # its last holder removed it after we had opened it

    def _open(self, file: Path) -> int:
        try:
            str(self.path).encode()  # it is written into files, as text
            self.path.mkdir(parents=True, exist_ok=True)
            return os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except (OSError, UnicodeEncodeError) as error:
            why = "its name is no text" if isinstance(error, ValueError) else error.strerror or str(error)
            raise UnwrittenError(
                "the run folder cannot be written",
                where=str(self.path).encode(errors="replace").decode(),
                why=why,
                fix="choose another folder with --out",
            ) from None

    def _leave_nothing_empty(self) -> None:
        """A run that could not begin, for want of data or weights, leaves no folder."""
        if [child.name for child in self.path.iterdir()] == [".claim"]:
            with suppress(OSError):
                (self.path / ".claim").unlink()
                self.path.rmdir()
                self.path.parent.rmdir()

    def lock(self) -> Lock | None:
        """What the lock file in this folder holds, or None when there is none.

        Raises:
            UsageError: the lock file belongs to another recipe or seed.
            DamagedError: it is no recipe any more.
        """
        lock = self.path / LOCK
        if not lock.exists():
            return None
        try:
            there = load_recipe(lock)
        except RecipeError as error:
            why = "; ".join(problem.what for problem in error.problems)
            fix = "put the file back as it was, or delete the folder of this run and give the same command again"
            raise DamagedError("the lock file of this run cannot be read", where=str(lock), why=why, fix=fix) from None
        digest = there.digest()
        if (digest, there.seed) != (self.digest, self._recipe.seed):
            raise UsageError(
                "this folder holds another run",
                where=str(lock),
                why=f"that one has the digest {digest} and seed {there.seed}, "
                f"this one {self.digest} and {self._recipe.seed}",
                fix=f"remove {self.path}, or choose another folder with --out; then give the same command again",
            )
        return there.lock

    def clear(self) -> None:
        """Removes what an earlier run left here."""
        for child in self.path.iterdir() if self.path.exists() else ():
            if child.name != ".claim":
                _remove(child)

    def write(self, recipe: Recipe, environment: dict[str, Any]) -> None:
        """Puts down the lock file and the environment, once."""
        if not (self.path / LOCK).exists():
            write_whole(self.path / LOCK, write_lock(recipe).encode())
        write_json(self.path / "environment.json", sealed(environment))

    def rewind(self, step: int) -> None:
        """Drops events after `step`: the run will go through them again. What cannot be read ends what is kept."""
        kept = []
        file = self.path / EVENTS
        if file.is_dir():
            _remove(file)
        for line in file.read_bytes().splitlines() if file.exists() else []:
            try:
                event = json.loads(line)
                if event["step"] > step or event["event"] in ("stopped", "ended"):
                    break
                text = line.decode()
            except (ValueError, TypeError, KeyError, RecursionError):
                break
            kept.append(text + "\n")
        write_whole(self.path / EVENTS, "".join(kept).encode())

    def listen(self, event: Event) -> None:
        """Keeps an event for `events.jsonl`; they reach the disk at every look and at the end."""
        if isinstance(event, Evaluating):
            return
        self._events.append(json.dumps(event.to_dict()) + "\n")
        if type(event).__name__ not in ("Stepped",):
            self.flush()

    def flush(self) -> None:
        """Writes the events kept so far.

        Raises:
            UnwrittenError: the disk is full or the folder is gone.
        """
        try:
            with (self.path / EVENTS).open("a") as stream:
                stream.write("".join(self._events))
        except OSError as error:
            raise unwritten(self.path / EVENTS, error) from None
        self._events.clear()


def holds_run(path: Path) -> bool:
    """Whether a file, with all links followed, would lie in the folder of a run, whichever."""
    return any((folder / LOCK).exists() for folder in path.parents)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
