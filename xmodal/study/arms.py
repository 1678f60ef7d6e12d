"""The arms of a study: one recipe, and the factors in which its arms differ and nothing else does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from xmodal import freeze as specs
from xmodal.assemble import Assembled, assemble
from xmodal.errors import RecipeError, UsageError
from xmodal.freeze import Plan, Spec
from xmodal.freeze.terms import Sign, Term
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.legacy import LegacyOptions
from xmodal.run.bare import resolve
from xmodal.study.controls import KEYS, controls_of
from xmodal.study.factors import FROZEN, TRAINED, Asked, Factor, by_hand

CONTROL = "recipe"
"""Name of the arm that is the recipe as it stands, where every other arm is made by hand."""


@dataclass(frozen=True)
class Arm:
    """One point of an ablation, to be run over several seeds.

    Attributes:
        name: short enough for a table: `ffn frozen, init=random`.
        levels: its level of each factor, by the factor's label; empty for an arm made by hand.
        recipe: with every key resolved; the study sets its rate and its seed.
        trainable: number of parameters that train.
        total: number of all parameters.
        frozen: sites of the parameters that are frozen.
    """

    name: str
    levels: Mapping[str, str]
    recipe: Recipe
    trainable: int
    total: int
    frozen: frozenset[str] = frozenset()

    @property
    def spec(self) -> str:
        """All that is frozen."""
        return self.recipe.freeze


@dataclass(frozen=True)
class Arms:
    """The arms of a study.

    Attributes:
        factors: what they differ in.
        arms: the control first.
    """

    factors: tuple[Factor, ...]
    arms: tuple[Arm, ...]

    @property
    def control(self) -> Arm:
        """The arm that effects are measured against."""
        return self.arms[0]


def make_arms(asked: Asked) -> Arms:
    """The arms that are asked for.

    `freeze` and `vary` make the full factorial; its control has every term trained and every other factor at its first
    value. Without them the control is the recipe as it stands.

    Raises:
        UsageError: a term changes nothing or hits nothing, factors contradict each other, arms differ in what no factor
            declares, or a key is unknown.
    """
    factors = asked.factors
    made = list(_factorial(asked))
    if asked.arms:
        # Made by hand on the control's recipe, with the spec in place of its own.
        base = made[0].recipe
        skeleton = assemble(base, weights=False)
        for name, spec in by_hand(asked.arms, [arm.name for arm in made]).items():
            where = f"--arm {name}"
            made.append(_arm(name, {}, base, _plan(specs.parse(spec, where=where), skeleton, base, where)))
    if asked.controls:
        made += _controls(asked, made[0].recipe)
    _enforce_different(made)
    declared = [factor.key for factor in factors if not factor.toggles]
    declared += KEYS if asked.controls else ["freeze"] if asked.arms or any(f.toggles for f in factors) else []
    enforce(made, declared)
    return Arms(tuple(factors), tuple(made))


def arm_of(name: str, recipe: Recipe) -> Arm:
    """An arm that is a recipe as it stands.

    Raises:
        UsageError: it freezes everything.
    """
    return _arm(name, {}, recipe, assemble(recipe, weights=False).plan)


def _factorial(asked: Asked) -> Iterator[Arm]:
    toggles = [factor for factor in asked.factors if factor.toggles]
    varied = [factor for factor in asked.factors if not factor.toggles]
    for values, overrides in asked.variants():
        recipe = _load(asked, overrides, ", ".join(factor.shown(values[factor.label]) for factor in varied))
        skeleton = assemble(recipe, weights=False)
        for factor in toggles:
            _enforce_toggles(factor, recipe, skeleton)
        _enforce_apart(toggles, recipe, skeleton)
        for states in product((TRAINED, FROZEN), repeat=len(toggles)):
            toggled = list(zip(toggles, states, strict=True))
            plan = _toggled(recipe, skeleton, toggled)
            levels = {factor.label: state for factor, state in toggled} | values
            yield _arm(_name(asked.factors, levels), levels, recipe, plan)


def _controls(asked: Asked, base: Recipe) -> Iterator[Arm]:
    for name, overrides in controls_of(asked.controls, base).items():
        recipe = _load(asked, [*asked.overrides, *overrides], name)
        yield _arm(name, {}, recipe, assemble(recipe, weights=False).plan)


def _load(asked: Asked, overrides: Sequence[str], arm: str) -> Recipe:
    try:
        recipe = load_recipe(asked.path, overrides, tiny=asked.tiny)
    except RecipeError as error:
        for problem in error.problems:
            for factor in (factor for factor in asked.factors if not factor.toggles):
                problem.where = problem.where.replace(f"-o {factor.key}", f"--vary {factor.key}")
            if arm and not problem.where.startswith("-"):
                problem.where += f", in the arm '{arm}'"
        raise RecipeError(error.problems) from None
    if recipe.lock:
        raise UsageError(
            "a lock file is one run with one seed",
            where=str(asked.path),
            why="its digests are those of the data that its seed drew",
            fix="give the recipe itself",
        )
    return recipe


def _name(factors: Sequence[Factor], levels: Mapping[str, str]) -> str:
    return ", ".join(factor.shown(levels[factor.label]) for factor in factors) or CONTROL


def _arm(name: str, levels: Mapping[str, str], recipe: Recipe, plan: Plan) -> Arm:
    counts = plan.counts()
    if not counts["trainable"]:
        raise UsageError(
            f"'{plan.spec}' freezes everything",
            where=f"arm '{name}'",
            why="nothing is left to train",
            fix="leave at least the output layer: all - head",
        )
    recipe = recipe.model_copy(update={"freeze": str(plan.spec)})
    return Arm(name, levels, recipe, counts["trainable"], counts["total"], frozenset(plan.frozen()))


# Freeze specs


def _with(spec: Spec, term: Spec, sign: Sign) -> Spec:
    return Spec((Term(spec), Term(term, sign)))


def _plan(spec: Spec, skeleton: Assembled, recipe: Recipe, where: str) -> Plan:
    return spec.on(skeleton.model, name=recipe.body.name, where=where)


def _toggled(recipe: Recipe, skeleton: Assembled, states: Sequence[tuple[Factor, str]]) -> Plan:
    """The recipe's plan with each term frozen or trained; a clause that would change nothing is not written."""
    plan = skeleton.plan
    for factor, state in states:
        sign: Sign = "+" if state == FROZEN else "-"
        after = _plan(_with(plan.spec, specs.parse(factor.key), sign), skeleton, recipe, f"--freeze {factor.key}")
        plan = plan if after.frozen().keys() == plan.frozen().keys() else after
    return plan


def _enforce_toggles(factor: Factor, recipe: Recipe, skeleton: Assembled) -> None:
    frozen, trained = (_toggled(recipe, skeleton, [(factor, state)]).frozen() for state in (FROZEN, TRAINED))
    if frozen.keys() == trained.keys():
        raise UsageError(
            f"'{factor.key}' changes nothing: {recipe.body.name} trains the same parameters either way",
            where=f"--freeze {factor.key}",
            why="its two arms would be one experiment",
            fix=f"name a term that {recipe.body.name} has; xmodal explain --body {recipe.body.name} shows them",
        )


def _enforce_apart(factors: Sequence[Factor], recipe: Recipe, skeleton: Assembled) -> None:
    hit = [_plan(specs.parse(factor.key), skeleton, recipe, "").frozen().keys() for factor in factors]
    for (one, its), (other, theirs) in combinations(zip(factors, hit, strict=True), 2):
        if both := sorted(its & theirs):
            raise UsageError(
                f"'{one.key}' and '{other.key}' overlap",
                where=f"--freeze {other.key}",
                why=f"both name {both[0]}, so the effect of one would depend on how the other is set",
                fix="name parts that have nothing in common, or make the arms by hand with --arm",
            )


# What holds for all arms together


def _enforce_different(arms: Sequence[Arm]) -> None:
    for one, other in combinations(arms, 2):
        if one.name == other.name:
            raise UsageError(f"two arms are called '{one.name}'", where="--arm", fix="give each a name of its own")
    seen: dict[Any, str] = {}
    for arm in arms:
        key = (resolve(arm.recipe).model_copy(update={"freeze": ""}).digest(), arm.frozen)
        if key in seen:
            raise UsageError(
                f"'{seen[key]}' and '{arm.name}' are the same experiment",
                where=f"arm '{arm.name}'",
                why=f"they train the same {arm.trainable:,} parameters, and all that can change their numbers is equal",
                fix="drop one",
            )
        seen[key] = arm.name


def enforce(arms: Sequence[Arm], declared: Collection[str]) -> None:
    """Nothing, if the arms' resolved recipes differ in the declared keys alone.

    A declared section covers all keys in it. Where the name of a component is declared, keys that only one of two
    components has come with the name.

    Raises:
        UsageError: two arms differ in another key.
    """
    for one, other in combinations(arms, 2):
        if differing := [key for key in undeclared(one.recipe, other.recipe) if not _covers(declared, key)]:
            raise UsageError(
                f"'{one.name}' and '{other.name}' also differ in {', '.join(differing)}",
                where=f"arm '{other.name}'",
                why=f"the study declares {', '.join(declared) or 'no factor'} only",
                fix=f"set it alike for all arms with -o {differing[0]}=..., or declare it with --vary",
            )


def undeclared(one: Recipe, other: Recipe) -> list[str]:
    """Dotted keys in which two resolved recipes differ, but those that only one of two components has."""
    mine, theirs = (dict(flat(_dumped(recipe))) for recipe in (one, other))
    found = []
    for key in {**mine, **theirs}:
        if key in mine and key in theirs:
            found += [key] * (mine[key] != theirs[key])
        elif mine.get(name := f"{key.split('.')[0]}.name") == theirs.get(name):
            found.append(key)
    return found


def _dumped(recipe: Recipe) -> dict[str, Any]:
    # Where no fault is on, `legacy` is null, and lacks the keys that a factor may be.
    legacy = recipe.legacy or LegacyOptions()
    return {**recipe.model_dump(mode="json", exclude={"tiny"}), "legacy": legacy.model_dump(mode="json")}


def _covers(declared: Collection[str], key: str) -> bool:
    return any(key == known or key.startswith(f"{known}.") for known in declared)


def flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; what is empty is a value."""
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
