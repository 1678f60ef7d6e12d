"""Reads a recipe and finds every fault in it at once, before torch is loaded or anything is fetched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from xmodal import freeze
from xmodal.bodies import sites as body_sites
from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.lineage import check_parts, check_runs
from xmodal.components import Options, find
from xmodal.errors import RecipeError, UsageError, did_you_mean
from xmodal.recipe import source
from xmodal.recipe.legacy import WITHOUT_BRACKETS
from xmodal.recipe.schema import COMPONENTS, Recipe, TrainOptions, options_class
from xmodal.tasks.listops import ListOpsOptions
from xmodal.types import Geometry, PerPosition, Site

if TYPE_CHECKING:
    from xmodal.bodies.options import BodyOptions

KeyPath = source.KeyPath
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def load_recipe(
    path: Path | str, overrides: Sequence[str] = (), *, seed: int | None = None, tiny: bool = False
) -> Recipe:
    """A recipe from a YAML file, checked as far as it can be without torch, data or weights.

    Args:
        path: the file.
        overrides: `KEY=VALUE` as after `-o`, later ones win.
        seed: replaces the recipe's.
        tiny: lays the recipe's own `tiny` over it.

    Raises:
        RecipeError: with all faults, each with file, line and a suggestion.
        UsageError: the file cannot be read at all.
    """
    path, asked = Path(path), list(overrides)
    if seed is not None:
        asked.append(f"seed={seed}")
    read = source.read(path, asked)
    if tiny:
        small = read.data.get("tiny")
        if not isinstance(small, dict) or not small:
            raise RecipeError([UsageError("this recipe has no tiny form", where=str(path), fix="add a section `tiny`")])
        read = source.read(path, asked, over="tiny")
    recipe = _Check(read, tiny=tiny).recipe()
    return recipe.shrunk() if tiny else recipe


def recipe_in(text: str, label: str) -> Recipe:
    """The recipe that a lock file's text holds, where neither its data nor its body need be on this machine.

    Its parts went together when it ran, and are not asked again whether they do.

    Raises:
        RecipeError: with all faults.
    """
    return _Check(source.parse_text(text, label)).recipe(together=False)


def sites_of(body: BodyOptions, geometry: Geometry | None) -> list[Site]:
    """The site of every parameter of a model, which for most bodies need not be built, nor torch be loaded.

    Args:
        body: its body.
        geometry: what its tokenizer makes of a sample; all that an input layer can have where that is not known.
    """
    sites = [*body_sites(body), Site("input"), Site("head"), Site("head", kind="bias")]
    if geometry is None or geometry.inputs:
        sites.append(Site("input", kind="bias"))
    if geometry is None or geometry.prefix:
        sites.append(Site("input", part="class"))
    return sites


class _Check:
    def __init__(self, read: source.Source, *, tiny: bool = False) -> None:
        self.read, self.tiny, self.problems = read, tiny, list[tuple[KeyPath, UsageError]]()

    def recipe(self, *, together: bool = True) -> Recipe:
        data = dict(self.read.data)
        parts = {name: self.component(name, data.get(name)) for name in COMPONENTS if name in data}
        said, task = data.get("legacy"), parts.get("task")
        if isinstance(said, dict) and said.get("listops_tokens") and isinstance(task, ListOpsOptions):
            parts["task"] = task.model_copy(update=WITHOUT_BRACKETS)
        filled = {**data, **parts}
        recipe = self.validate(Recipe, filled, ())
        good = {name: part for name, part in parts.items() if part is not None}
        if together:
            self.together(good, data)
        if recipe and (legacy := recipe.legacy) and "task" in good:
            self.attempt(("legacy",), lambda: legacy.fits(recipe.task))
        if self.problems or recipe is None:
            self.problems.sort(key=lambda problem: self.position(problem[0]))
            raise RecipeError(problem for _, problem in self.problems)
        return recipe

    def position(self, path: KeyPath) -> int:
        """Where a key stands among those of the recipe; one that is missing stands with its section, or last."""
        keys = list(self.read.origins)
        return next((keys.index(path[:n]) for n in range(len(path), 0, -1) if path[:n] in keys), len(keys))

    def component(self, section: str, said: Any) -> Options | None:
        """The options of one of the four components, or None when they are wrong."""
        if isinstance(said, str):
            self.add((section,), f"{section} is a word, and options are wanted", fix=f"{section}: {{name: {said}}}")
            return None
        if not isinstance(said, dict) or not isinstance(said.get("name"), str):
            self.add((section,), f"{section} has no name", fix=f"name one of {', '.join(COMPONENTS[section])}")
            return None
        try:
            find(section, COMPONENTS[section], said["name"])
        except UsageError as error:
            self.place((section, "name"), error)
            return None
        options = options_class(section, said["name"])
        assert options is not None
        return self.validate(options, said, (section,))

    def validate(self, model: type[M], data: Any, at: KeyPath) -> M | None:
        """`data` as `model`; every fault that pydantic finds becomes a problem of ours."""
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                self.explain(model, (*at, *fault["loc"]), fault, at)
            return None

    def explain(self, model: type[BaseModel], path: KeyPath, fault: Any, at: KeyPath) -> None:
        key, section = str(path[-1]), ".".join(map(str, path[:-1]))
        place = f" in {section}" if section else ""
        if fault["type"] == "extra_forbidden":
            fields = _fields(_model_at(model, path[len(at) : -1]))
            near = did_you_mean(key, fields)
            if near:
                word = near.split("'")[1]
                near = near.replace(f"'{word}'", f"'{fields[word]}'")
            else:
                word = ""
            elsewhere = "" if near else _home(key, str(path[0]))
            self.add(
                path,
                f"no key '{key}'{place}{near}{elsewhere}",
                why=f"known: {', '.join(dict.fromkeys(fields.values()))}",
                fix=f"write '{fields[word]}'" if near else "move it, or delete it" if elsewhere else "delete it",
            )
        elif fault["type"] == "missing":
            why = _doc(model, path[len(at) :])
            self.add(path, f"{key} is missing{place}", why=why, fix=f"add {'.'.join(map(str, path))}")
        else:
            given, dotted = fault.get("input"), ".".join(map(str, path))
            named = "" if self.read.where(path) == f"-o {dotted}" else f"{dotted}: "
            self.add(
                path,
                f"{named}{_lower(fault['msg'])}, not {given!r}",
                why=_doc(model, path[len(at) :]),
                fix="correct it; xmodal schema says what every key takes",
            )

    def together(self, parts: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """What no component can see alone."""
        task, tokenizer, body, head = (parts.get(name) for name in ("task", "tokenizer", "body", "head"))
        geometry: Geometry | None = None
        anatomy: Anatomy | None = None
        target = self.attempt(("task",), task.target) if task else None
        if task and tokenizer:
            geometry = self.attempt(("tokenizer", "size"), lambda: tokenizer.geometry(task.sample()))
        if body:
            self.attempt(("body", "init"), body.check_init)
            self.attempt(("body", "init"), lambda: check_runs(body, tiny=self.tiny))
            anatomy = self.attempt(("body",), body.anatomy)
        if body and geometry and anatomy and geometry.tokens > (anatomy.context or geometry.tokens):
            self.add(
                ("task",),
                f"{geometry.tokens} tokens do not fit {body.name}, which takes {anatomy.context}",
                why=f"{body.name} has {anatomy.context} learned positions",
                fix=f"{_shorter(task)}, or take a body with a longer context",
            )
        if target and geometry and anatomy and head:
            seen = replace(geometry, tokens=geometry.tokens + anatomy.prefix, prefix=geometry.prefix + anatomy.prefix)
            self.attempt(("head",), lambda: head.fits(target, seen, causal=anatomy.causal))
        if isinstance(target, PerPosition) and anatomy and body:
            self.must_not_see(target, anatomy, body.name)
        spec = data.get("freeze", Recipe.model_fields["freeze"].default)
        if isinstance(spec, str):
            self.attempt(("freeze",), lambda: self.select(spec, anatomy, geometry, body))
        train = data.get("train")
        if (
            isinstance(train, dict)
            and isinstance(train.get("warmup"), int)
            and isinstance(train.get("steps"), int)
            and train["warmup"] > train["steps"]
        ):
            self.add(
                ("train", "warmup"),
                f"warmup of {train['warmup']} is longer than the {train['steps']} steps",
                fix="set train.warmup to at most train.steps; a tiny form needs its own",
            )

    def must_not_see(self, target: PerPosition, anatomy: Anatomy, name: str) -> None:
        if target.ahead and not anatomy.causal:
            self.add(
                ("body",),
                f"{name} sees the labels of this task",
                why="they stand in the sample itself, behind the position that must tell them, and it looks ahead",
                fix="take a causal body",
            )

    def select(self, spec: str, anatomy: Anatomy | None, geometry: Geometry | None, body: Any) -> None:
        parsed = freeze.parse(spec)
        if anatomy is None:
            return
        sites = sites_of(body, geometry)
        self.attempt(("body", "parts"), lambda: check_parts(body, sites))
        selection = parsed.select(sites, owner=body.name)
        if all(site in selection.frozen or not site.used for site in sites):
            raise UsageError(
                f"'{spec}' freezes everything",
                why="nothing is left to train",
                fix="leave at least the output layer: all - head",
            )

    def attempt(self, at: KeyPath, act: Callable[[], T]) -> T | None:
        """The result of `act`, or None with its error as a problem."""
        try:
            return act()
        except UsageError as error:
            self.place(at, error)
        return None

    def place(self, at: KeyPath, error: UsageError) -> None:
        """Gives an error of a component its place in the recipe, unless it has one; its `where` may be a dotted key."""
        own = tuple(error.where.split(".")) if error.where and " " not in error.where else ()
        if own and own[0] in Recipe.model_fields:
            at, error.where = own, ""
        # A fault in a file of the task's stands in that file, and every question about the task meets it again.
        of_task = at[0] in ("task", "tokenizer")
        if not error.where or not of_task:
            error.where = self.read.where(at)
        if not of_task or all((one.what, one.why) != (error.what, error.why) for _, one in self.problems):
            self.problems.append((at, error))

    def add(self, at: KeyPath, what: str, *, why: str = "", fix: str = "") -> None:
        self.problems.append((at, UsageError(what, where=self.read.where(at), why=why, fix=fix)))


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel]:
    for key in path:
        annotation = model.model_fields[str(key)].annotation
        kinds = (annotation, *get_args(annotation))  # `Lock | None` has its model inside
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return model


def _fields(model: type[BaseModel]) -> dict[str, str]:
    """Every word for a field, and the field that it means."""
    words = {name: name for name in model.model_fields}
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        synonyms = extra.get("synonyms", [])
        words |= {str(word): name for word in synonyms} if isinstance(synonyms, list) else {}
    return words


def _home(key: str, here: str) -> str:
    if here != "train" and key in _fields(TrainOptions):
        return f"; '{_fields(TrainOptions)[key]}' belongs in train"
    homes = [
        section
        for section, table in COMPONENTS.items()
        if section != here and any(key in _keys(section, name) for name in table)
    ]
    return f"; '{key}' belongs in {' or '.join(homes)}" if homes and key != "name" else ""


def _keys(section: str, name: str) -> Collection[str]:
    options = options_class(section, name)
    return options.model_fields if options else ()


def _doc(model: type[BaseModel], path: KeyPath) -> str:
    if not path:
        return ""
    owner = _model_at(model, path[:-1])
    field = owner.model_fields.get(str(path[-1]))
    return f"{path[-1]} is: {' '.join((field.description or '').split())}" if field and field.description else ""


def _shorter(task: Any) -> str:
    """How a sample is made of fewer tokens."""
    if "max_length" in type(task).model_fields:
        return "set task.max_length lower, with task.too_long for longer samples"
    return "make larger patches or shorter samples"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
