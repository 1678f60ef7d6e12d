"""`result.json`: how it is read, and what of it repeats. Imports no torch."""

from __future__ import annotations

import copy
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from xmodal.errors import DamagedError
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.lock import LOCK
from xmodal.recipe.schema import NAME

RESULT, EVENTS = "result.json", "events.jsonl"
SCHEMA = 1
FINISHED = ("done", "diverged")
"""The statuses of a run that is over."""
CHANGED, UNSAID = "changed by hand", "not said"
"""What `made_with` says of a folder that cannot be believed, or does not tell."""
_MACHINE = ("threads", "processor")
MEASURED = ("seconds", "train_seconds", "tokens_per_second", "peak_memory_bytes", "digest")
"""The keys of a result that depend on the machine's speed; all others repeat to the bit."""

_STRICT = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)
_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Share = Annotated[float, Field(ge=0, le=1)]


class Scores(BaseModel, extra="allow"):
    """What a result says of a split; the scores of named subsets are further shares, `accuracy_NAME`."""

    model_config = _STRICT
    accuracy: _Share
    """Share of labels that are right."""
    interval: Annotated[list[_Share], Field(min_length=2, max_length=2)]
    """Wilson's 95 % interval of the accuracy over items, for this one model: low and high."""
    loss: float | None
    """Mean cross-entropy of a label, in nats."""
    items: _Count
    """Samples in the split."""
    labels: _Count
    """Labels in the split: one or several for a sample."""
    step: int | None = None
    """Only of validation: the step of this look."""

    @model_validator(mode="after")
    def _subsets(self) -> Self:
        for key, value in (self.model_extra or {}).items():
            if key.startswith("accuracy_") and not (isinstance(value, float) and 0 <= value <= 1):
                raise ValueError(f"{key} is {value!r}, and no share")
        return self


class Result(BaseModel, extra="allow"):
    """What a run came to: `result.test.accuracy`.

    The same stands in `result.json`, whose keys can be asked for as well: `result["test"]["accuracy"]`.
    """

    model_config = _STRICT
    schema_version: int = Field(default=SCHEMA, alias="schema")
    """Version of these fields; the key `schema`."""
    name: Annotated[str, Field(pattern=NAME)]
    """The recipe's name."""
    status: Literal["done", "diverged", "interrupted", "failed"]
    """How the run ended."""
    seed: _Count
    """The seed."""
    tiny: bool = False
    """Whether it was the recipe's tiny form, whose scores say nothing."""
    recipe_digest: str
    """The digest of the recipe, as in the folder's name."""
    test: Scores | None
    """On the test split, with the parameters that validation chose; None when it was not read."""
    train: Scores | None = None
    """On samples that it was trained on, with the same parameters; None where the recipe asks for none
    (`train.score_train`)."""
    val: Scores | None
    """On the validation split at `best_step`; None before the first look."""
    floors: dict[Annotated[str, Field(pattern=r"^[\w -]+$")], _Share]
    """Test accuracy of trivial predictors, by name."""
    steps: _Count
    """Optimiser steps taken."""
    best_step: _Count
    """Step with the best validation accuracy; 0 before the first look."""
    stopped: str = ""
    """Why training ended: `steps`, `patience`, `diverged`, or empty when it has not."""
    steps_to: dict[str, int | None] = Field(default_factory=dict)
    """The first look at which validation accuracy was that high, by threshold; None when none was."""
    course: str = ""
    """Identifies the looks at validation."""
    last_loss: float | None = None
    """Last finite training loss."""
    parameters: dict[str, int] = Field(default_factory=dict)
    """Numbers of parameters: `total`, `trainable`, `frozen`, `unused`, `reached`."""
    digests: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the body at the start and of each split, and the digest of what was frozen."""
    coverage: dict[str, dict[str, _Count]] | None = None
    """For each split in which samples were cut short or left out, how many."""
    seconds: float | None = None
    """Time of the run, all its sessions together. Measured."""
    train_seconds: float | None = None
    """The part of it spent in optimiser steps. Measured."""
    tokens_per_second: float | None = None
    """Tokens that went through training, by `train_seconds`. Measured."""
    peak_memory_bytes: int | None = None
    """Peak resident memory of the process, or of the GPU's allocations. Measured."""
    legacy: list[str] = Field(default_factory=list)
    """Known faults that the recipe recreates, in words."""
    error: str = ""
    """The kind and text of the error, when it failed."""
    digest: str = ""
    """Of the result itself, so that one that was changed by hand is refused."""
    _said: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """The result that `result.json` holds, or is to hold.

        Raises:
            ValidationError: it is none.
        """
        result = cls.model_validate(said)
        result._said = copy.deepcopy(dict(said))
        return result

    def __getitem__(self, key: str) -> Any:
        """What stands under a key of `result.json`."""
        return self._said[key]

    def to_dict(self) -> dict[str, Any]:
        """All of it, as in `result.json`."""
        return copy.deepcopy(self._said)

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.status in FINISHED and not self.digests:
            raise ValueError("it lacks digests")
        if lacking := [split for split, counts in (self.coverage or {}).items() if "samples" not in counts]:
            raise ValueError(f"coverage of {', '.join(lacking)} lacks samples")
        return self


def sealed(said: Mapping[str, Any], key: str = "digest") -> dict[str, Any]:
    """What is said with a digest of itself under `key`, so that a figure changed by hand is not believed."""
    return {**said, key: _digest(said, key)}


def is_sealed(said: Mapping[str, Any], key: str = "digest") -> bool:
    """Whether it is still what was sealed."""
    return said.get(key) == _digest(said, key)


def _digest(said: Mapping[str, Any], own: str) -> str:
    said = {key: value for key, value in said.items() if key != own}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


def course_of(looks: Iterable[tuple[int, float]]) -> str:
    """Identifies the looks at validation, each a step and an accuracy, so that an edited course is not believed."""
    return hashlib.sha256(json.dumps([list(look) for look in looks]).encode()).hexdigest()[:16]


def read_result(folder: Path) -> dict[str, Any] | None:
    """`result.json` of a run folder, or None when there is none.

    Raises:
        DamagedError: it is not JSON, not a result, or was changed since the run wrote it.
    """
    file = folder / RESULT
    try:
        result = json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse_constant)
        if not isinstance(result, dict) or result.get("schema") != SCHEMA:
            raise ValueError(f"it is not a result of schema {SCHEMA}")
        Result.model_validate(result)
        if not is_sealed(result):
            raise ValueError("it was changed: its digest is not that of what it says")
    except FileNotFoundError:
        return None
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        why = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in faults)
        raise _damaged(file, why) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from None
    return result


def recipe_of(folder: Path, result: Mapping[str, Any]) -> Recipe:
    """The recipe of a run that has left a result, out of its lock file.

    Raises:
        UsageError: the lock file cannot be read.
        DamagedError: it is not of the recipe that made the result.
    """
    recipe = load_recipe(folder / LOCK)
    if (digest := recipe.digest()) != result["recipe_digest"]:
        raise DamagedError(
            f"{LOCK} is not of the recipe that ran",
            where=str(folder / LOCK),
            why=f"its digest is {digest}, and the result is of {result['recipe_digest']}",
            fix="put it back as it was, or delete the folder of this run and give the same command again",
        )
    return recipe


def lock_digest(folder: Path) -> str:
    """Identifies the bytes of a run's lock file; empty where there is none to be read."""
    try:
        return hashlib.sha256((folder / LOCK).read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def refuse_constant(word: str) -> None:
    """For NaN and infinities, which JSON has not and Python reads."""
    raise ValueError(f"{word} is not JSON")


def _damaged(file: Path, why: str) -> DamagedError:
    fix = "put it back as it was, or delete the folder of this run and give the same command again"
    return DamagedError("cannot be read", where=str(file), why=why, fix=fix)


def versions() -> dict[str, str]:
    """Versions of all that makes a run's numbers."""
    packages = {name: version(name) for name in ("xmodal", "torch", "transformers", "numpy", "safetensors", "einops")}
    return {"python": platform.python_version(), **packages}


_UNSAYING = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What is raised where an `environment.json` is not there, or is none."""


def made_with(folder: Path) -> dict[str, str]:
    """Versions, threads and processor that a run was made with, as its folder says; `UNSAID` where it does not.

    Folders of earlier versions have no digest in `environment.json`, and are believed.
    """
    try:
        said = _surroundings(folder)
        if "digest" in said and not is_sealed(said):
            return dict.fromkeys((*versions(), *_MACHINE), CHANGED)
        told = said["versions"] | {key: said.get(key, UNSAID) for key in _MACHINE}
        return {str(key): str(value) for key, value in told.items()}
    except _UNSAYING:
        return dict.fromkeys((*versions(), *_MACHINE), UNSAID)


def beside(folder: Path) -> list[int]:
    """How many other runs took their steps with the one in `folder`: one number, or one for each way that it was made
    in; none where that is not said."""
    try:
        count = _surroundings(folder)["beside"]
    except _UNSAYING:
        return []
    return count if isinstance(count, list) else [count]


def _surroundings(folder: Path) -> Any:
    return json.loads((folder / "environment.json").read_text(encoding="utf-8"))


def comparable(result: Result | Mapping[str, Any]) -> dict[str, Any]:
    """A result without what depends on the machine's speed; two runs of one recipe and seed agree on the rest."""
    said = result.to_dict() if isinstance(result, Result) else result
    return {key: value for key, value in said.items() if key not in MEASURED}


def mixed(made: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """In which versions, threads or processor runs differ, each told by `made_with`, or cannot be believed."""
    seen: dict[str, set[str]] = {}
    for run in made:
        for name, value in run.items():
            seen.setdefault(name, set()).add(value)
    return {name: sorted(values) for name, values in seen.items() if len(values) > 1 or CHANGED in values}
