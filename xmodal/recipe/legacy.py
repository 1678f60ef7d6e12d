"""Switches that recreate known faults of published code, so that the effect of each can be measured. Needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from xmodal.components import Options
from xmodal.errors import UsageError
from xmodal.tasks.listops import ListOpsOptions
from xmodal.tasks.options import TaskOptions
from xmodal.types import Letters, Symbols

WITHOUT_BRACKETS = {"max_length": 512, "too_long": "truncate"}
"""What `listops_tokens: 512-without-brackets` sets in the task."""


class LegacyOptions(Options):
    """Known faults of the code of Lu 2021, each off unless it is switched on. A run that has one says so."""

    listops_tokens: Literal["512-without-brackets"] | None = None
    """`512-without-brackets`: every `]` is dropped, so that nothing says where the arguments of an operator end, and
    then the first 512 tokens are kept, whatever `task.max_length` and `task.too_long` say."""
    read_padding: bool | None = None
    """Every sample is padded to the longest that the task allows, and padding counts as real: attention sees it, and
    the head reads it."""
    sampled_evaluation: int | None = Field(default=None, ge=1, le=100_000)
    """Every look at validation, and test, takes so many batches of `train.batch_size` in an order drawn anew, in place
    of the whole split; what fills no batch is left out. Lu 2021 took 25."""

    @field_validator("read_padding")
    @classmethod
    def _off(cls, said: bool | None) -> bool | None:
        return said or None  # off is not said, so that it changes no digest

    @property
    def words(self) -> list[str]:
        """A sentence for each switch that is on."""
        found = []
        if self.listops_tokens:
            found.append("legacy.listops_tokens: ListOps without its closing brackets, cut at 512 tokens")
        if self.read_padding:
            found.append("legacy.read_padding: padding is seen and read as if it were data")
        if self.sampled_evaluation:
            found.append(
                f"legacy.sampled_evaluation: scores are of {self.sampled_evaluation} batches drawn at random, "
                "not of the whole split"
            )
        return found

    def fits(self, task: TaskOptions) -> None:
        """Nothing, if every switch that is on does something to this task.

        Raises:
            UsageError: one does nothing.
        """
        if self.listops_tokens and not isinstance(task, ListOpsOptions):
            raise UsageError(
                f"listops_tokens does nothing to {task.name}",
                where="legacy.listops_tokens",
                why="it drops the closing brackets of ListOps",
                fix="delete it, or take the task listops",
            )
        sample = task.sample()
        if (
            self.read_padding
            and not isinstance(sample, Letters)
            and not (isinstance(sample, Symbols) and not sample.fixed)
        ):
            raise UsageError(
                f"read_padding does nothing to {task.name}",
                where="legacy.read_padding",
                why="all its samples have one length, and none is padded",
                fix="delete it",
            )
