"""Whether a study was made before, told from files alone: no model is built, and torch stays unloaded."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xmodal.errors import DamagedError, RecipeError
from xmodal.recipe import load_recipe
from xmodal.recipe.lock import LOCK
from xmodal.recipe.schema import VARIABLE
from xmodal.run.result import FINISHED, made_with, mixed, read_result
from xmodal.study.factors import Asked
from xmodal.study.reading import RULES, SCHEMA, STUDIES, STUDY, differing, read_study, runs_of


def question_of(asked: Asked, **said: Any) -> str | None:
    """Identifies what is asked, for this version of xmodal and, where recipes leave device or precision to the machine,
    for this machine: equal questions make equal studies.

    None where more than recipes decide: files of the user, which may change; and where a recipe has faults.

    Args:
        asked: what is compared.
        said: how it is tuned, seeded and judged.
    """
    try:
        recipes = [load_recipe(asked.path, overrides, tiny=asked.tiny) for _, overrides in asked.variants()]
    except RecipeError:
        return None
    if any(recipe.task.own_files or recipe.lock for recipe in recipes):
        return None
    digests = [(recipe.name, recipe.seed, recipe.threads, recipe.digest()) for recipe in recipes]
    factors = [asked.freeze, asked.vary, asked.arms, asked.controls]
    whole = [version("xmodal"), SCHEMA, RULES, digests, factors, sorted(said.items())]
    if any("auto" in (recipe.device, recipe.precision) for recipe in recipes):
        # What that is depends on these, and to ask the machine itself would take torch.
        whole += [platform.node(), *(os.environ.get(name) for name in (VARIABLE, "CUDA_VISIBLE_DEVICES"))]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:12]


def finished(out: Path, question: str | None) -> tuple[Path, dict[str, Any]] | None:
    """The file and content of the study of this question, if every one of its runs lies in `out` as it says."""
    for file in sorted((out / STUDIES).glob(f"*/{STUDY}")) if question else ():
        try:
            study = read_study(file.parent)
            if study["question"] == question and _stands(study, out):
                return file, study
        except (KeyError, DamagedError):
            continue  # the study is made again, and that finds what is wrong
    return None


def _stands(study: Mapping[str, Any], out: Path) -> bool:
    runs = runs_of(study)
    made = (made_with(out / run["folder"]) for run in runs if run["folder"])
    return all(_is(run, out) for run in runs) and mixed(made) == study["mixed"]


def _is(run: Mapping[str, Any], out: Path) -> bool:
    """Whether a run has ended, and says what the study says of it."""
    folder = out / run["folder"]
    result = read_result(folder) if run["folder"] else None
    ended = result and result["status"] in FINISHED and (folder / LOCK).is_file()
    return bool(result and ended and not differing(run, result, folder))
