"""Errors that say what went wrong, where, why, and how to fix it. Each kind has one exit code."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from errno import EDQUOT, ENOSPC

FULL = (ENOSPC, EDQUOT)
"""What the system says when a disk or a quota is full."""


class XmodalError(Exception):
    """Something xmodal can explain. Exit code 1: a run failed.

    Attributes:
        what: one sentence, what is wrong.
        where: the file and line, folder, option or component concerned.
        why: the reason, if it is not plain from `what`.
        fix: what to do now, a command where there is one.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        self.what, self.where, self.why, self.fix = what, where, why, fix
        super().__init__(what)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        tail = [f"  {label}: {text}" for label, text in (("why", self.why), ("fix", self.fix)) if text]
        return "\n".join([head, *tail])


class UsageError(XmodalError):
    """The command line, a recipe or a spec is wrong. Exit code 2."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe is wrong; `problems` holds every fault that was found, in the order of the file. Exit code 2."""

    def __init__(self, problems: Iterable[UsageError]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SpecError(UsageError):
    """A freeze spec cannot be read, or one of its clauses hits nothing. Exit code 2."""


class BusyError(UsageError):
    """Another process is making this run. Exit code 2."""


class UnwrittenError(XmodalError):
    """The disk is full, or a folder cannot be written. Exit code 1."""


class MissingError(XmodalError):
    """Data or weights are not on this machine; `fix` is the command that gets them. Exit code 3."""

    exit_code = 3


class DamagedError(MissingError):
    """Bytes on disk are not the bytes they should be (checksum, half-written file). Exit code 3."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'lr'?` for the nearest of `known`, or an empty string when none is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
