"""`result.json`: how it is read, and what of it repeats. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xmodal.errors import DamagedError
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.lock import LOCK
from xmodal.recipe.schema import NAME

RESULT, EVENTS = "result.json", "events.jsonl"
SCHEMA = 1
FINISHED = ("done", "diverged")
"""The statuses of a run that is over."""
MEASURED = ("seconds", "train_seconds", "tokens_per_second", "peak_memory_bytes", "digest")
"""The keys of a result that depend on the machine's speed; all others repeat to the bit."""

_STRICT = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)
_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Scores(BaseModel, extra="allow"):
    """What a result says of a split; the scores of named subsets are further shares, `accuracy_NAME`."""

    model_config = _STRICT
    accuracy: _Share
    interval: Annotated[list[_Share], Field(min_length=2, max_length=2)]
    loss: float | None
    items: _Count
    labels: _Count

    @model_validator(mode="after")
    def _subsets(self) -> Self:
        for key, value in (self.model_extra or {}).items():
            if key.startswith("accuracy_") and not (isinstance(value, float) and 0 <= value <= 1):
                raise ValueError(f"{key} is {value!r}, and no share")
        return self


class _Result(BaseModel, extra="allow"):
    """What every result has, of whatever status, and what is shown of it."""

    model_config = _STRICT
    name: Annotated[str, Field(pattern=NAME)]
    status: Literal["done", "diverged", "interrupted", "failed"]
    seed: _Count
    recipe_digest: str
    steps: _Count
    best_step: _Count
    floors: dict[Annotated[str, Field(pattern=r"^[\w -]+$")], _Share]
    test: _Scores | None
    val: _Scores | None
    seconds: float | None = None
    digests: dict[str, str] = Field(default_factory=dict)
    coverage: dict[str, dict[str, _Count]] | None = None
    tiny: bool = False
    error: str = ""

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
        _Result.model_validate(result)
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


def made_with(folder: Path) -> dict[str, str]:
    """Versions and threads that a run was made with, as its folder says; "not said" where it does not."""
    try:
        said = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        return {**{str(k): str(v) for k, v in said["versions"].items()}, "threads": str(said["threads"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return dict.fromkeys((*versions(), "threads"), "not said")


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what depends on the machine's speed; two runs of one recipe and seed agree on the rest."""
    return {key: value for key, value in result.items() if key not in MEASURED}


def mixed(made: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """In which versions, or threads, runs differ, each told by `made_with`."""
    seen: dict[str, set[str]] = {}
    for run in made:
        for name, value in run.items():
            seen.setdefault(name, set()).add(value)
    return {name: sorted(values) for name, values in seen.items() if len(values) > 1}
