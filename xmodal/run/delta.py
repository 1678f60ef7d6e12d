"""A delta: what one run trained, in a file of its own, to be laid over the same body somewhere else. Never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from xmodal import types
from xmodal.assemble import assemble
from xmodal.bodies import sites
from xmodal.bodies.description import read_description
from xmodal.bodies.weights import digest as body_digest
from xmodal.errors import DamagedError, MissingError, RecipeError, UsageError
from xmodal.freeze import Plan
from xmodal.paths import given
from xmodal.recipe import Recipe
from xmodal.recipe.check import recipe_in
from xmodal.recipe.lock import write_lock
from xmodal.run.checkpoint import content_digest, damaged, load_tensors
from xmodal.run.loop import BEST
from xmodal.run.result import FINISHED, RESULT, read_result, recipe_of
from xmodal.run.whole import write_whole
from xmodal.types import BODY_ROLES, SampleSpec, Site, TargetSpec

FORMAT, SCHEMA = "xmodal-delta", 1
LARGEST = 2**20
"""More labels, symbols, tokens or numbers a side no sample has; a file that says so would fill the memory."""
SPECS: tuple[type[Any], ...] = (types.Continuous, types.Symbols, types.Letters, types.Classes, types.PerPosition)


@dataclass(frozen=True)
class Delta:
    """What one run trained, and what it is to be laid over.

    Attributes:
        tensors: by site.
        recipe: of the run, as locked.
        body_digest: SHA-256 of the body that the run started from.
        trained_digest: SHA-256 of the body that it ended with.
        said: the run's name, seed, best step and scores.
        where: the file, or the run folder.
    """

    tensors: Mapping[str, Tensor]
    recipe: Recipe
    body_digest: str
    trained_digest: str
    said: Mapping[str, Any]
    where: Path
    specs: tuple[SampleSpec, TargetSpec] | None = None

    def save(self, file: Path) -> None:
        """Writes it as one safetensors file, with all but the tensors in its header.

        Raises:
            UnwrittenError: the disk is full, or the folder cannot be written.
            MissingError: what a sample is only the data can say, and they are not here.
        """
        task = self.recipe.task
        specs = self.specs or (task.sample(), task.target())
        header = {
            "format": FORMAT,
            "schema": str(SCHEMA),
            "xmodal": version("xmodal"),
            "body": self.recipe.body.name,
            "body_digest": self.body_digest,
            "trained_digest": self.trained_digest,
            "recipe": write_lock(self.recipe),
            "result": json.dumps(self.said),
            "specs": json.dumps([{"is": type(spec).__name__, **asdict(spec)} for spec in specs]),
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        sealed = {**header, "digest": content_digest(tensors, json.dumps(header, sort_keys=True))}
        write_whole(file, save(tensors, metadata=sealed))


def read_delta(path: str | Path) -> Delta:
    """What a run trained, from the file that `xmodal export` wrote, or from a run folder.

    Raises:
        MissingError: there is no such file, or the run has not ended with a best step.
        DamagedError: the file is cut off, was changed, or is none of ours; or the run's own files do not fit together.
    """
    path = given(path, "a run or what xmodal export wrote")
    if path.is_dir():
        return _of_run(path)
    if not path.is_file():
        why = "it is neither a file nor a folder" if path.exists() else "nothing has that name"
        raise MissingError(f"no {path}", why=why, fix="name a file that xmodal export wrote, or a run folder")
    return _of_file(path)


def is_delta(file: Path) -> bool:
    """Whether `Delta.save` wrote it, as far as its header says."""
    try:
        with safe_open(file, framework="pt") as opened:
            return (opened.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def _of_run(folder: Path) -> Delta:
    result = read_result(folder)
    if not result or result["status"] not in FINISHED or not result["val"]:
        raise MissingError(
            "no trained model",
            where=str(folder / RESULT),
            why="the run has not ended with a best step",
            fix="name the folder of a run that has, runs/NAME/DIGEST-sSEED; xmodal report runs shows them",
        )
    recipe = recipe_of(folder, result)
    file = folder / "checkpoint" / BEST
    tensors, state = load_tensors(file)
    run = state.get("run") or {}
    said = (run.get("recipe"), run.get("seed"), run.get("body"), state.get("step"))
    start = result["digests"].get("body")
    if said != (wanted := (result["recipe_digest"], result["seed"], start, result["best_step"])):
        raise damaged(file, f"it is of {said}, and the run's best is {wanted}")
    kept = {key: result[key] for key in ("name", "seed", "status", "tiny", "best_step", "test", "val", "floors")}
    return Delta(tensors, recipe, start, read_description(folder)["trained_digest"], kept, folder)


def _of_file(file: Path) -> Delta:
    try:
        with safe_open(file, framework="pt") as opened:
            header = dict(opened.metadata() or {})
            if header.get("format") != FORMAT:
                raise ValueError("it is a safetensors file, and not one that xmodal export wrote")
            if header.get("schema") != str(SCHEMA):
                raise ValueError(f"it has schema {header.get('schema')}, and this xmodal reads {SCHEMA}")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if header.pop("digest") != content_digest(tensors, json.dumps(header, sort_keys=True)):
            raise ValueError("it was changed: its digest is not that of what it holds")
        sample, target = (_spec(said) for said in json.loads(header["specs"]))
        result, digests = json.loads(header["result"]), (header["body_digest"], header["trained_digest"])
        if not isinstance(result, dict):
            raise ValueError("its result is none")
        recipe = recipe_in(header["recipe"], f"{file}, its recipe")
    except RecipeError:
        raise  # of another version, or of a plugin that is not here: it says so
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, OSError, RecursionError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise _unreadable(file, why) from None
    if fault := _misfit(tensors, recipe, (sample, target)):
        raise _unreadable(file, fault)
    return Delta(tensors, recipe, *digests, result, file, (sample, target))


def _unreadable(file: Path, why: str) -> DamagedError:
    fix = "export it again: xmodal export RUN FILE"
    return DamagedError("not a delta that can be read", where=str(file), why=why, fix=fix)


def _spec(said: dict[str, Any]) -> Any:
    kind = {kind.__name__: kind for kind in SPECS}[said.pop("is")]
    spec: Any = TypeAdapter(kind).validate_json(json.dumps(said), strict=True)
    numbers = [number for value in asdict(spec).values() for number in (value if isinstance(value, tuple) else [value])]
    if not all(isinstance(number, bool) or 0 < number <= LARGEST for number in numbers):
        raise ValueError(f"it is for samples and answers such as none are: {spec}")
    return spec


def _misfit(tensors: Mapping[str, Tensor], recipe: Recipe, specs: tuple[SampleSpec, TargetSpec]) -> str:
    """Why tensors are not those that the recipe trains; empty where they are. No weights are read for it."""
    wanted = assemble(recipe, weights=False, specs=specs).plan.trainable()
    if odd := sorted(tensors.keys() ^ wanted.keys()):
        return f"it {'lacks' if odd[0] in wanted else 'holds'} {odd[0]}, which its recipe does not say"
    for name, tensor in tensors.items():
        shape = tuple(wanted[name].shape)
        if tensor.shape != shape or tensor.dtype != torch.float32 or not tensor.isfinite().all():
            return f"its {name} is not of finite float32 numbers, {shape}"
    return ""


def load_delta(path: str | Path, plan: Plan) -> dict[str, Tensor]:
    """Lays what a run trained over a model of yours, whose parameters a plan knows.

        plan = xmodal.plan(transformers.GPT2Model.from_pretrained("gpt2"))
        left = xmodal.load_delta("delta.safetensors", plan)

    It is the whole body that is compared: the frozen values that the model has, and the trained ones that it gets, must
    be those of the run. If they are not, nothing is changed.

    Args:
        path: what `xmodal export` wrote, or a run folder.
        plan: of the model; whatever its spec, values are given to every parameter of the body that the run trained.

    Returns:
        What the model has no place for, by site: the input and output layer of the run.

    Raises:
        MissingError: there is no such file, or the run has not ended with a best step.
        DamagedError: it cannot be read.
        UsageError: the model lacks a parameter, or has other shapes, or other values where the run had frozen ones; or
            the run rounded those.
    """
    if not isinstance(plan, Plan):
        what = f"a delta is laid over what a plan knows, and this is {type(plan).__name__}"
        raise UsageError(what, where="load_delta", fix="xmodal.load_delta(FILE, xmodal.plan(model))")
    delta = read_delta(path)
    if delta.recipe.precision == "bf16-frozen":
        raise UsageError(
            "the run held its frozen matrices in bfloat16",
            where=str(delta.where),
            why="a model with others would not be the one that was trained",
            fix="take the whole model, xmodal.load_model(FILE), or train with precision: float32",
        )
    held = {str(entry.site): entry.parameter for entry in plan.entries if entry.site.role in BODY_ROLES}
    if odd := [name for name, each in held.items() if each.is_meta or each.dtype != torch.float32]:
        what = "has no values" if held[odd[0]].is_meta else f"holds {str(held[odd[0]].dtype).removeprefix('torch.')}"
        raise UsageError(
            f"{plan.name} {what} in {odd[0]}",
            where=str(delta.where),
            why="trained values are float32, and would be rounded or lost there",
            fix="lay the delta over the model in float32, and convert it then",
        )
    trained = {name: tensor for name, tensor in delta.tensors.items() if _role(name) in BODY_ROLES}
    if wrong := [name for name, tensor in trained.items() if name not in held or held[name].shape != tensor.shape]:
        has = f"it has {tuple(held[wrong[0]].shape)} there" if wrong[0] in held else "it has no such parameter"
        raise UsageError(
            f"{plan.name} has no {wrong[0]} of the shape {tuple(trained[wrong[0]].shape)}",
            where=str(delta.where),
            why=f"{has}; the run trained the body {delta.recipe.body.name}, layers {_layers(delta.recipe)}",
            fix="give a plan of the same architecture, cut to the same layers",
        )
    body: dict[Site, Tensor] = {}
    for site in sites(delta.recipe.body):
        if site.used:
            if str(site) not in held:
                raise _other(plan, delta, f"it has no {site}")
            body[site] = trained.get(str(site), held[str(site)])
    if body_digest(body) != delta.trained_digest:
        types_of = {str(tensor.dtype).removeprefix("torch.") for tensor in body.values()}
        lower = f"; it holds {', '.join(sorted(types_of))}, and the run float32" if types_of != {"float32"} else ""
        raise _other(plan, delta, f"what the run had frozen has other values in it{lower}")
    with torch.no_grad():
        for name, tensor in trained.items():
            held[name].copy_(tensor)
    return {name: tensor for name, tensor in delta.tensors.items() if name not in trained}


def _other(plan: Plan, delta: Delta, why: str) -> UsageError:
    return UsageError(
        f"{plan.name} is another body than the run's",
        where=str(delta.where),
        why=why,
        fix=f"give the pretrained {delta.recipe.body.name} as it is, in float32, init {delta.recipe.body.init}, "
        f"layers {_layers(delta.recipe)}",
    )


def _layers(recipe: Recipe) -> str:
    return str(recipe.body.layers or "all")


def _role(name: str) -> str:
    return name.partition("[")[0].partition(".")[0]
