"""`study.json`: how it is read. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from xmodal.errors import DamagedError
from xmodal.recipe.schema import NAME
from xmodal.run.result import is_sealed, lock_digest, refuse_constant

STUDIES, STUDY = "studies", "study.json"
SCHEMA = 1
RULES = 2
"""Number of the rules by which verdicts are given: a study by others is no answer to a question asked today."""
SEAL = "seal"
"""The key under which a study carries a digest of itself; `digest` identifies what was asked."""
Word = Literal["supported", "not resolved", "contradicted", "edge-limited"]


def _below(path: str) -> str:
    """A folder below that of all runs, whatever a hand has written there."""
    if path and (PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts):
        raise ValueError(f"{path} does not lie below the folder of all runs")
    return path


_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Bounds = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Part(BaseModel, extra="allow"):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class _Run(_Part):
    seed: _Count
    rate: float
    status: Literal["done", "diverged", "failed"]
    val: _Share | None
    test: _Share | None = None
    train: _Share | None = None
    steps: _Count
    best_step: _Count
    folder: Annotated[str, AfterValidator(_below)]
    error: str = ""


class _Point(_Part):
    rate: float
    val: _Share


class _Arm(_Part):
    name: str
    spec: str
    recipe_digest: str
    trainable: _Count
    total: _Count
    rate: float | None
    edge: Literal["low", "high"] | None
    seeds: _Count
    mean: _Share | None
    interval: _Bounds | None
    curve: list[_Point]
    tuning: list[_Run]
    report: list[_Run]
    contenders: list[_Run] = []
    floors: dict[str, _Share] = {}


class _Strictest(_Part):
    rates: Annotated[dict[str, float], Field(min_length=1)]
    pairs: _Count
    difference: float | None
    interval: _Bounds | None
    p: float | None


class _Effect(_Part):
    pairs: _Count
    difference: float | None
    interval: _Bounds | None
    p: float | None
    p_holm: float | None
    detectable: float | None
    strictest: _Strictest | None = None
    verdict: Word
    why: str


class _Comparison(_Effect):
    arm: str
    control: str


class _Contrast(_Effect):
    factors: list[str]


class _Study(_Part):
    name: Annotated[str, Field(pattern=NAME)]
    digest: str
    tiny: bool
    control: str
    rates: list[float]
    swept: bool
    tuning_seeds: list[_Count]
    report_seeds: list[_Count]
    alpha: float
    power: float
    margin: float
    floors: dict[str, _Share]
    arms: Annotated[list[_Arm], Field(min_length=1)]
    comparisons: list[_Comparison]
    contrasts: list[_Contrast]
    reversals: list[list[str]]
    mixed: dict[str, list[str]]


def read_study(folder: Path) -> dict[str, Any]:
    """`study.json` of a study's folder.

    Raises:
        DamagedError: it is not JSON, not a study, or was changed since it was written.
    """
    file = folder / STUDY
    try:
        study = json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse_constant)
        if not isinstance(study, dict) or study.get("schema") != SCHEMA:
            raise ValueError(f"it is not a study of schema {SCHEMA}")
        if SEAL not in study:
            raise ValueError("it has no seal: an earlier xmodal wrote it, or it was changed")
        _Study.model_validate(study)
        if not is_sealed(study, SEAL):
            raise ValueError("it was changed: its seal is not that of what it says")
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        why = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in faults[:5])
        raise _damaged(file, why) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from None
    return study


def runs_of(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a study says of each of its runs, one after the other."""
    return [run for arm in said["arms"] for run in (*arm["tuning"], *arm["report"], *arm.get("contenders", ()))]


def differing(run: Mapping[str, Any], result: Mapping[str, Any], folder: Path) -> str:
    """In what a run differs from what its study says of it, in words; empty where it does not.

    Args:
        run: as the study says.
        result: of the run.
        folder: of the run.
    """
    here: dict[str, Any] = {split: (result.get(split) or {}).get("accuracy") for split in ("val", "test", "train")}
    here |= {key: result[key] for key in ("seed", "status", "steps", "best_step")}
    here["folder"] = f"{result['name']}/{result['recipe_digest']}-s{result['seed']}"
    here["lock"] = lock_digest(folder) or "gone"
    said = [f"{key} is {here[key]}, and was {run[key]}" for key in here if key in run and run[key] != here[key]]
    return "; ".join(said)


def _damaged(file: Path, why: str) -> DamagedError:
    fix = "give the same xmodal ablate again: it takes the runs that are there and writes the study anew"
    return DamagedError("the study cannot be read", where=str(file), why=why, fix=fix)
