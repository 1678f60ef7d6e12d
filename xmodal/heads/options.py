"""What a recipe may say about a head, and whether it fits the task, the tokens and the body."""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import Field

from xmodal.components import Options
from xmodal.errors import UsageError
from xmodal.types import Classes, Geometry, PerPosition, TargetSpec


class HeadOptions(Protocol):
    """Options of any head."""

    @property
    def name(self) -> str:
        """The head's name in the table."""
        ...

    def fits(self, target: TargetSpec, geometry: Geometry, *, causal: bool) -> None:
        """Raise a UsageError when this head cannot read such a target from such tokens."""
        ...


def _needs_classes(name: str, target: TargetSpec) -> None:
    if not isinstance(target, Classes):
        raise UsageError(
            f"{name} gives one label for a sample, and this task wants {target.count}",
            why="it reads a single vector",
            fix="use head per-position",
        )


class LastTokenOptions(Options):
    """Reads the last real token: for causal bodies, the only one that has seen everything."""

    name: Literal["last-token"] = "last-token"
    """Which head."""

    def fits(self, target: TargetSpec, geometry: Geometry, *, causal: bool) -> None:
        """One label for a sample."""
        _needs_classes(self.name, target)


class MeanOptions(Options):
    """Reads the mean of the real tokens; a class token is left out."""

    name: Literal["mean"] = "mean"
    """Which head."""

    def fits(self, target: TargetSpec, geometry: Geometry, *, causal: bool) -> None:
        """One label for a sample."""
        _needs_classes(self.name, target)


class ClassTokenOptions(Options):
    """Reads the class token, which stands in front."""

    name: Literal["class-token"] = "class-token"
    """Which head."""

    def fits(self, target: TargetSpec, geometry: Geometry, *, causal: bool) -> None:
        """One label for a sample, a class token, and a body in which the first position sees the others."""
        _needs_classes(self.name, target)
        if not geometry.prefix:
            raise UsageError(
                "class-token reads a class token, and there is none",
                why="neither the tokenizer nor the body puts one in front",
                fix="set tokenizer.class_token: true",
            )
        if causal:
            raise UsageError(
                "class-token on a causal body reads a position that has seen nothing",
                why="the class token stands first, and a causal body looks only back",
                fix="use head last-token or mean",
            )


class PerPositionOptions(Options):
    """Reads the last real tokens, `per_token` labels from each."""

    name: Literal["per-position"] = "per-position"
    """Which head."""
    per_token: int = Field(default=1, ge=1)
    """Labels read from one token; with patches of 50 bits, 50."""

    def fits(self, target: TargetSpec, geometry: Geometry, *, causal: bool) -> None:
        """Several labels for a sample, shared evenly by as many data tokens as there are, at the most."""
        if not isinstance(target, PerPosition):
            raise UsageError(
                "per-position gives a label for each position, and this task wants one for a sample",
                fix="use head last-token or mean",
            )
        if target.ahead and self.per_token > 1:
            raise UsageError(
                f"per-position cannot read {self.per_token} labels from one token here",
                why="a label of this task stands in the sample right behind the position that must tell it",
                fix="set head.per_token: 1, and let every symbol be a token",
            )
        if target.count % self.per_token:
            raise UsageError(
                f"{target.count} labels cannot be read {self.per_token} to a token",
                why=f"{target.count} is not a multiple of {self.per_token}",
                fix="set head.per_token to a divisor: 1, or tokenizer.size where a token is a patch of labels",
            )
        wanted, there = target.count // self.per_token, geometry.tokens - geometry.prefix
        if wanted > there:
            enough = next(n for n in range(-(-target.count // there), target.count + 1) if target.count % n == 0)
            raise UsageError(
                f"per-position reads the last {wanted} tokens, and a sample has {there}",
                why=f"{target.count} labels, {self.per_token} to a token",
                fix=f"set head.per_token to {enough}, or make smaller patches",
            )
