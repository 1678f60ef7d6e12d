"""Finished runs without any training, through the writers that real runs use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.schema import Lock
from xmodal.recipe.source import shipped
from xmodal.run.events import Ended, Evaluated, Started, Stepped
from xmodal.run.folder import RunFolder
from xmodal.run.result import RESULT, SCHEMA, sealed
from xmodal.run.whole import write_json

VERSIONS = {"python": "3.12.1", "xmodal": "0.1.0"}


def recipe_of(*overrides: str, seed: int = 0, tiny: bool = True) -> Recipe:
    return load_recipe(shipped()["bit_xor_fpt"], ["device=cpu", "precision=float32", *overrides], seed=seed, tiny=tiny)


def scores(accuracy: float) -> dict[str, Any]:
    spread = {"interval": [max(0.0, accuracy - 0.1), min(1.0, accuracy + 0.1)], "interval_over": "items"}
    return {"accuracy": accuracy, **spread, "loss": 1 - accuracy, "items": 16, "labels": 48}


def make_run(
    out: Path, recipe: Recipe, looks: Sequence[float] = (0.5, 0.75), versions: dict[str, str] = VERSIONS, **said: Any
) -> Path:
    """A run that looked at validation every 10 steps and saw `looks`; `said` replaces keys of its result."""
    folder = RunFolder(out, recipe)
    best = max(range(len(looks)), key=looks.__getitem__)
    lock = Lock(versions=versions, digests={"body": "0" * 64}, threads=1, tiny=recipe.is_tiny)
    with folder.claimed():
        environment = {"versions": versions, "threads": 1}
        folder.write(recipe.model_copy(update={"lock": lock}), environment)
        parameters = {"total": 100, "trainable": 10, "frozen": 90, "unused": 0}
        floors, norms = {"majority": 0.5}, {"tokens": 0.1, "hidden": 1.0}
        folder.listen(Started(0, recipe.name, str(folder.path), 1000, False, parameters, floors, norms))
        for number, accuracy in enumerate(looks, 1):
            for step in range(10):
                folder.listen(Stepped(10 * (number - 1) + step + 1, 0.5, 1.0, recipe.train.lr))
            folder.listen(Evaluated(10 * number, "val", scores(accuracy), accuracy == looks[best]))
        result = {
            "schema": SCHEMA,
            "status": "done",
            "name": recipe.name,
            "seed": recipe.seed,
            "tiny": recipe.is_tiny,
            "recipe_digest": folder.digest,
            "test": scores(looks[best] - 0.01),
            "val": {**scores(looks[best]), "step": 10 * (best + 1)},
            "floors": floors,
            "steps": 10 * len(looks),
            "best_step": 10 * (best + 1),
            "parameters": parameters,
            "digests": {"body": "0" * 64},
            "seconds": 1.5,
            **said,
        }
        write_json(folder.path / RESULT, sealed(result))
        folder.listen(Ended(10 * len(looks), result))
    return folder.path


def change(file: Path, key: str, value: Any) -> None:
    """Changes a JSON file by hand."""
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, key: value}), encoding="utf-8")
