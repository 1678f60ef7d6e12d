"""Verdicts on the effects of a study, and which runs they still hinge on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations, product
from math import prod
from statistics import mean, stdev
from typing import Any

from xmodal.study import stats
from xmodal.study.design import Design, Trial
from xmodal.study.outcome import Outcome
from xmodal.study.stats import Effect, Verdict
from xmodal.study.sweep import Choice

COMBINATIONS = 4096
"""Most combinations of rates of several arms that an effect is computed for."""

Scores = Mapping[str, Mapping[int, float]]  # by arm and seed
Family = Mapping[tuple[str, ...], "_Sum"]


@dataclass(frozen=True)
class _Sum:
    """An effect as a sum over arms: what is computed from their scores, and whether an arm adds to it or takes away."""

    of: Callable[[Scores], Effect | None]
    signs: Mapping[str, int]


def contending(design: Design, choices: Mapping[str, Choice], outcomes: Sequence[Outcome]) -> list[Trial]:
    """What is to be run so that no accident of tuning decides.

    Of arms that seem to differ, those behind are run at the other rates that may suit them as well, with every report
    seed. Where arms do not seem to differ, or a rate lies at an edge, nothing hinges on it.
    """
    arms = {arm.name: arm for arm in design.arms.arms}
    pairs = Judge.of(design, choices, outcomes).hinges()
    return [Trial(arms[name], rate, seed, "contender") for name, rate in pairs for seed in design.report]


@dataclass(frozen=True)
class Judge:
    """Scores, and what of tuning bears on them.

    Attributes:
        design: of the study.
        choices: the rate of each arm.
        scores: on test, by arm and report seed.
        contenders: the same at other rates, by arm and rate.
        curves: mean validation score of the tuning seeds by rate, of each arm.
        luck: deviation of an arm's validation score over report seeds.
        untuned: arms of which a tuning run failed.
        resolution: the step between two scores.
    """

    design: Design
    choices: Mapping[str, Choice]
    scores: Mapping[str, Mapping[int, float]]
    contenders: Mapping[tuple[str, float], Mapping[int, float]]
    curves: Mapping[str, Mapping[float, float]]
    luck: Mapping[str, float]
    untuned: Set[str]
    resolution: float

    @classmethod
    def of(cls, design: Design, choices: Mapping[str, Choice], outcomes: Sequence[Outcome]) -> Judge:
        """From the outcomes of all runs that there are so far."""
        names = [arm.name for arm in design.arms.arms]
        report = [outcome for outcome in outcomes if outcome.trial.purpose == "report"]
        tuning = [outcome for outcome in outcomes if outcome.trial.purpose == "tuning"]
        contenders: dict[tuple[str, float], dict[int, float]] = {}
        for outcome in outcomes:
            if outcome.trial.purpose == "contender" and outcome.test is not None:
                key = (outcome.trial.arm.name, outcome.trial.rate)
                contenders.setdefault(key, {})[outcome.trial.seed] = outcome.test
        labels = [outcome.labels for outcome in report if outcome.labels]
        vals = {name: [o.val for o in report if o.trial.arm.name == name and o.val is not None] for name in names}
        return cls(
            design,
            choices,
            {
                name: {o.trial.seed: o.test for o in report if o.trial.arm.name == name and o.test is not None}
                for name in names
            },
            contenders,
            {name: _curve(tuning, name) for name in names},
            {name: stdev(own) if len(own) > 1 else 0.0 for name, own in vals.items()},
            {outcome.trial.arm.name for outcome in tuning if outcome.status == "failed"},
            1 / min(labels) if labels else 0.0,
        )

    def comparisons(self) -> list[dict[str, Any]]:
        """Every arm against the control, corrected together."""
        control = self.design.arms.control.name
        return [{"arm": name, "control": control, **said} for (name,), said in self.judged(self._pairs()).items()]

    def contrasts(self) -> list[dict[str, Any]]:
        """Main effects and interactions of a factorial of two factors or more with two levels each."""
        return [{"factors": list(factors), **said} for factors, said in self.judged(self._factorial()).items()]

    def hinges(self) -> list[tuple[str, float]]:
        """Arms and rates at which they are to be run, because a verdict may be an accident of tuning without them."""
        found: set[tuple[str, float]] = set()
        for family in (self._pairs(), self._factorial()):
            effects = self._effects(family)
            for key, said in self._first(family, effects).items():
                if said.word == "supported":
                    rates = self._rates(family[key], effects[key])
                    found |= {(arm, rate) for arm, those in rates.items() for rate in those}
        return sorted(found)

    def _pairs(self) -> dict[tuple[str, ...], _Sum]:
        control, *others = (arm.name for arm in self.design.arms.arms)

        def less(arm: str) -> Callable[[Scores], Effect | None]:
            return lambda scores: stats.compare(scores[arm], scores[control], resolution=self.resolution)

        return {(arm,): _Sum(less(arm), {arm: 1, control: -1}) for arm in others}

    def _factorial(self) -> dict[tuple[str, ...], _Sum]:
        factors = self.design.arms.factors
        if len(factors) < 2 or any(len(factor.levels) != 2 for factor in factors):
            return {}
        labels = [factor.label for factor in factors]
        names: dict[tuple[int, ...], str] = {
            tuple(factor.levels.index(arm.levels[factor.label]) for factor in factors): arm.name
            for arm in self.design.arms.arms
            if arm.levels
        }

        def contrast(key: tuple[str, ...]) -> Callable[[Scores], Effect | None]:
            def of(scores: Scores) -> Effect | None:
                cells = {levels: scores[name] for levels, name in names.items()}
                return stats.contrasts(cells, labels, resolution=self.resolution).get(key)

            return of

        keys = [key for size in range(1, len(labels) + 1) for key in combinations(labels, size)]
        return {
            key: _Sum(
                contrast(key),
                {n: prod(2 * at[labels.index(label)] - 1 for label in key) for at, n in names.items()},
            )
            for key in keys
        }

    def _effects(self, family: Family) -> dict[tuple[str, ...], Effect | None]:
        """At the rates that tuning chose."""
        return {key: effect.of(self.scores) for key, effect in family.items()}

    def _rates(self, effect: _Sum, found: Effect | None) -> dict[str, list[float]]:
        """Of the arms that would make what was found smaller if they scored more, the rates that may suit as well.

        The deviation over seeds is the largest among the arms of the effect, since one of few seeds may be small by
        accident. Where many arms are behind, at most so many rates of each as can be tried with one another.
        """
        behind = [arm for arm, sign in effect.signs.items() if found and sign * found.mean < 0]
        luck, tuned = max(self.luck[each] for each in effect.signs), len(self.design.tuning)
        most = int(COMBINATIONS ** (1 / max(len(behind), 1)) + 1e-9) - 1
        return {
            arm: stats.contenders(self.curves[arm], self.choices[arm].rate, luck, tuned)[: max(most, 1)]
            for arm in behind
        }

    def _first(
        self, family: Family, effects: Mapping[tuple[str, ...], Effect | None]
    ) -> dict[tuple[str, ...], Verdict]:
        """Verdicts by these effects alone."""
        return self._verdicts(family, effects, _corrected(_p(effects), stats.holm), {})

    def _strictest(self, effect: _Sum, found: Effect | None) -> tuple[dict[str, float], Effect | None]:
        """Of all rates that may suit the arms behind as well, those with the weakest effect; none where there are none.
        No effect where a run has no score."""
        rates = self._rates(effect, found)
        weakest: tuple[float, dict[str, float], Effect | None] = (-1.0, {}, None)
        for chosen in product(*([None, *those] for those in rates.values())):
            changed = {arm: rate for arm, rate in zip(rates, chosen, strict=True) if rate is not None}
            if not changed:
                continue
            there = {arm: self.contenders.get((arm, rate), {}) for arm, rate in changed.items()}
            other = effect.of({**self.scores, **there}) if all(there.values()) else None
            p = stats.agreed(found, other)
            if p > weakest[0]:
                weakest = p, changed, other
        return weakest[1], weakest[2]

    def _verdicts(
        self,
        family: Family,
        effects: Mapping[tuple[str, ...], Effect | None],
        holm: Mapping[tuple[str, ...], float],
        strictest: Mapping[tuple[str, ...], tuple[dict[str, float], Effect | None]],
    ) -> dict[tuple[str, ...], Verdict]:
        found = {}
        for key, effect in effects.items():
            arms = list(family[key].signs)
            whole = set.intersection(*(set(self.scores[arm]) for arm in arms))
            found[key] = stats.verdict(
                effect,
                holm.get(key),
                family=len(effects),
                margin=self.design.margin,
                missing=len(set(self.design.report) - whole),
                edges=[arm for arm in arms if self.choices[arm].edge],
                untuned=[arm for arm in arms if arm in self.untuned],
                strictest=strictest.get(key),
            )
        return found

    def judged(self, family: Family) -> dict[tuple[str, ...], dict[str, Any]]:
        """A family of effects, corrected together."""
        effects = self._effects(family)
        strictest = {
            key: weakest
            for key, said in self._first(family, effects).items()
            if said.word == "supported" and (weakest := self._strictest(family[key], effects[key]))[0]
        }
        p = _p(effects) | {key: stats.agreed(effects[key], other) for key, (_, other) in strictest.items()}
        holm, shares = _corrected(p, stats.holm), _corrected(p, stats.benjamini_hochberg)
        alpha = stats.ALPHA / max(len(effects), 1)
        found = {}
        for key, said in self._verdicts(family, effects, holm, strictest).items():
            effect = effects[key]
            rates, other = strictest.get(key, ({}, None))
            found[key] = {
                **_told(effect),
                "strictest": {"rates": rates, **_told(other)} if rates else None,
                "p_holm": holm.get(key),
                "p_benjamini_hochberg": shares.get(key),
                "detectable": effect.detectable(alpha=alpha) if effect else None,
                "verdict": said.word,
                "why": said.why,
            }
        return found


def _p(effects: Mapping[tuple[str, ...], Effect | None]) -> dict[tuple[str, ...], float | None]:
    return {key: effect.p if effect else None for key, effect in effects.items()}


def _told(effect: Effect | None) -> dict[str, Any]:
    interval = effect.interval() if effect else None
    return {
        "pairs": effect.n if effect else 0,
        "difference": effect.mean if effect else None,
        "interval": list(interval) if interval else None,
        "p": effect.p if effect else None,
    }


def _corrected(
    p: Mapping[tuple[str, ...], float | None], correct: Callable[[Sequence[float]], list[float]]
) -> dict[tuple[str, ...], float]:
    known = {key: value for key, value in p.items() if value is not None}
    return dict(zip(known, correct(list(known.values())), strict=True))


def _curve(tuning: Sequence[Outcome], arm: str) -> dict[float, float]:
    """Mean validation score by rate, where every tuning run took all steps and ended well."""
    found: dict[float, list[float | None]] = {}
    for outcome in tuning:
        if outcome.trial.arm.name == arm and outcome.trial.share == 1:
            found.setdefault(outcome.trial.rate, []).append(outcome.val if outcome.status == "done" else None)
    whole = {rate: [value for value in values if value is not None] for rate, values in found.items()}
    return {rate: mean(whole[rate]) for rate in sorted(found) if len(whole[rate]) == len(found[rate])}
