"""What a study runs: arms, rates, and seeds, of which those that choose a rate report nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log, sqrt
from typing import Any, Literal

from xmodal.errors import UsageError
from xmodal.recipe import Recipe
from xmodal.run.bare import resolve
from xmodal.study.arms import Arm, Arms
from xmodal.study.stats import FEWEST, MARGIN

RATES = 5
"""Rates that a study tries unless it is told others, centred on the recipe's own."""
SEEDS, TUNING = 3, 1
"""Report seeds and tuning seeds unless told otherwise."""
TUNING_FROM = 1000
"""How far the first tuning seed lies behind the recipe's own, so that more report seeds do not meet it."""
EXTENSIONS = 2
"""Most steps by which the grid is extended, for every arm alike, where the best rate of one lies at an edge."""
FOLD = 4
"""By halving, a fourth of the rates goes on, for four times as many steps."""
MOST = 1000
"""Most seeds or rates."""


@dataclass(frozen=True)
class Trial:
    """One run of a study: an arm at one rate with one seed, for a share of the recipe's steps.

    `tuning` runs choose a rate, `report` runs are at it, and `contender` runs are at others that may suit as well.
    """

    arm: Arm
    rate: float
    seed: int
    purpose: Literal["tuning", "report", "contender"]
    share: float = 1.0

    @property
    def recipe(self) -> Recipe:
        """What is run."""
        base = self.arm.recipe
        said: dict[str, Any] = {"lr": self.rate}
        if self.share < 1:
            steps = max(1, round(base.train.steps * self.share))
            warmup, looks = round(base.train.warmup * self.share), min(base.train.eval_every, steps)
            said |= {"steps": steps, "warmup": warmup, "eval_every": looks}
        train = base.train.model_copy(update=said)
        return base.model_copy(update={"train": train, "seed": self.seed})


@dataclass(frozen=True)
class Design:
    """A study before it is run.

    Attributes:
        arms: the control first.
        rates: learning rates that every arm is tuned over, ascending; a single one is not tuned.
        tuning: seeds that choose the rate, on validation.
        report: seeds whose test scores count.
        margin: the smallest difference that matters.
        halving: whether rates are dropped early, as `rungs` says.
    """

    arms: Arms
    rates: tuple[float, ...]
    tuning: tuple[int, ...]
    report: tuple[int, ...]
    margin: float = MARGIN
    halving: bool = False

    @property
    def swept(self) -> bool:
        """Whether the rate is chosen, and not given."""
        return len(self.rates) > 1

    def digest(self) -> str:
        """Identifies the study by all that decides its table; where recipes leave device or precision to the machine,
        by what it makes of them, too."""
        arms = [(arm.name, arm.recipe.digest()) for arm in self.arms.arms]
        said = [arms, self.rates, self.tuning, self.report, self.margin, *(["halving"] if self.halving else [])]
        left = [arm.recipe for arm in self.arms.arms if "auto" in (arm.recipe.device, arm.recipe.precision)]
        machines = sorted({(made.device, made.precision) for made in map(resolve, left)})
        said += [machines] if machines not in ([], [("cpu", "float32")]) else []
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]

    def rungs(self, rates: int) -> list[tuple[float, int]]:
        """Shares of the steps, ascending, and how many of so many rates are tried for each, the same for every arm.

        Without halving all are tried for all steps. With it, by successive halving (Jamieson and Talwalkar 2016): all
        for a fourth of the steps and the best fourth of them for all, or in more such rungs where there are 16 rates or
        more.
        """
        rungs, count = [(1.0, rates)], rates
        if self.halving and rates > 1:
            shares = max(1, floor(log(rates, FOLD) + 1e-9))
            rungs = []
            for rung in range(shares + 1):
                rungs.append((FOLD ** (rung - shares) * 1.0, count))
                count = ceil(count / FOLD)
        return rungs

    def tuning_trials(self, rates: Sequence[float], share: float = 1.0) -> list[Trial]:
        """Those of `rates`, the same for every arm."""
        return [
            Trial(arm, rate, seed, "tuning", share) for rate in rates for seed in self.tuning for arm in self.arms.arms
        ]

    def trials(self) -> list[Trial]:
        """As many as there will be at most, but for extensions of the grid; which rates go on is not known yet."""
        rungs = self.rungs(len(self.rates)) if self.swept else []
        tuning = [trial for share, count in rungs for trial in self.tuning_trials(self.rates[:count], share)]
        return [*tuning, *(Trial(arm, self.rates[0], seed, "report") for seed in self.report for arm in self.arms.arms)]

    def preview(self) -> dict[str, Any]:
        """What will run at most, but for extensions of the grid and contenders: counts of runs and steps."""
        trials, arms = self.trials(), self.arms.arms
        report = sum(trial.purpose == "report" for trial in trials)
        return {
            "arms": [{"name": arm.name, "spec": arm.spec, "trainable": arm.trainable} for arm in arms],
            "control": self.arms.control.name,
            "rates": list(self.rates),
            "tuning_seeds": list(self.tuning) if self.swept else [],
            "report_seeds": list(self.report),
            "halving": self.halving,
            "tuning_runs": len(trials) - report,
            "report_runs": report,
            "contenders": self.swept and len(self.report) >= FEWEST,
            "most_steps": sum(trial.recipe.train.steps for trial in trials),
        }


def make_design(
    arms: Arms,
    *,
    lr: str = "",
    seeds: str = str(SEEDS),
    tuning: str = str(TUNING),
    margin: float = MARGIN,
    halving: bool = False,
) -> Design:
    """A study of `arms`.

    Args:
        arms: what is compared.
        lr: `LOW:HIGH:N`, geometric; one rate, which is then not tuned; or empty, for the recipe's own and two on each
            side of it, a factor of about 3.2 apart.
        seeds: report seeds: how many, from the recipe's own on, or which, `0,1,2`.
        tuning: tuning seeds, in the same form; a number of them starts 1000 behind the recipe's own.
        margin: the smallest difference in accuracy that matters.
        halving: whether rates are dropped early, for every arm as many.

    Raises:
        UsageError: something cannot be read, or a seed is among both.
    """
    recipe = arms.control.recipe
    if not 0 <= margin < 1:
        raise UsageError(f"{margin} is no difference in accuracy", where="--margin", fix="say 0.01 for one point")
    rates = rates_of(lr, recipe.train.lr)
    report = seeds_of(seeds, recipe.seed, "--seeds")
    choosing = seeds_of(tuning, recipe.seed + TUNING_FROM, "--tuning-seeds")
    if len(rates) > 1 and (both := sorted({*report} & {*choosing})):
        raise UsageError(
            f"{', '.join(map(str, both))} would choose the rate and report the score",
            where="--tuning-seeds",
            why="a score on the seed that chose the rate is too good",
            fix="take other tuning seeds",
        )
    if halving and len(rates) == 1:
        raise UsageError(
            "one rate leaves nothing to halve", where="--halving", fix="leave it out, or give --lr a range"
        )
    return Design(arms, rates, choosing, report, margin, halving)


def rates_of(text: str, own: float) -> tuple[float, ...]:
    """The rates that `--lr` means, to three digits; `own` is the recipe's.

    Raises:
        UsageError: it is neither a rate nor `LOW:HIGH:N`.
    """
    if not text:
        return tuple(_rounded(own * sqrt(10) ** step) for step in range(-(RATES // 2), RATES // 2 + 1))
    words = text.split(":")
    why = "it is LOW:HIGH:N, or one rate, and rates are numbers over 0 and up to 1000"
    wrong = UsageError(f"'{text}' is no grid of rates", where="--lr", why=why, fix="--lr 1e-4:1e-2:5, or one rate")
    try:
        bounds, count = [float(word) for word in words[:2]], int(words[2]) if len(words) == 3 else 1
    except ValueError:
        raise wrong from None
    if len(words) not in (1, 3) or not all(isfinite(bound) and 0 < bound <= 1000 for bound in bounds):
        raise wrong
    if len(words) == 1:
        return (bounds[0],)
    low, high = bounds
    if not (low < high and 3 <= count <= MOST):
        wrong.why = "the first rate is the lower one, and below three rates every one lies at an edge"
        raise wrong
    rates = tuple(_rounded(low * (high / low) ** (step / (count - 1))) for step in range(count))
    if len(set(rates)) < count:
        wrong.why = "to three digits, some of these rates are the same"
        raise wrong
    return rates


def extended(rates: Sequence[float], edges: Sequence[str]) -> tuple[float, ...]:
    """`rates`, ascending, with one more step past each of `edges` (`low`, `high`)."""
    before = [_rounded(rates[0] * rates[0] / rates[1])] if "low" in edges else []
    behind = [_rounded(rates[-1] * rates[-1] / rates[-2])] if "high" in edges else []
    return tuple(rate for rate in (*before, *rates, *behind) if 0 < rate <= 1000)


def seeds_of(text: str, first: int, where: str) -> tuple[int, ...]:
    """The seeds that `3` or `0,4,7` means; a number of them starts at `first`.

    Raises:
        UsageError: it is neither, or a seed stands there twice.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 11 for word in words):
        raise UsageError(f"'{text}' are no seeds", where=where, fix=f"{where} 5, or {where} 0,1,2")
    numbers = [int(word) for word in words]
    if len(numbers) == 1:
        if not 1 <= numbers[0] <= MOST:
            why = f"one number says how many, from {first} on"
            raise UsageError(f"{numbers[0]} seeds are none or too many", where=where, why=why, fix=f"{where} 5")
        numbers = [first + step for step in range(numbers[0])]
    if len(set(numbers)) < len(numbers):
        raise UsageError(
            "a seed stands there twice",
            where=where,
            why="the same seed gives the same score, and counts once",
            fix="say each once",
        )
    if max(numbers) >= 2**32:
        raise UsageError(f"{max(numbers)} is too large for a seed", where=where, fix="stay below 4294967296")
    return tuple(numbers)


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")
