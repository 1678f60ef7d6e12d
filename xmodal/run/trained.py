"""The model that a run ended with, as validation chose it: rebuilt from its folder, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xmodal.assemble import Model
from xmodal.errors import MissingError, XmodalError
from xmodal.recipe import Recipe
from xmodal.recipe.lock import LOCK, other_bytes
from xmodal.run.bare import ready
from xmodal.run.checkpoint import damaged, lay_over, load_tensors
from xmodal.run.loop import BEST
from xmodal.run.result import FINISHED, RESULT, read_result, recipe_of


@dataclass(frozen=True)
class Trained:
    """A trained model and the recipe that made it; the model is on the CPU, in evaluation mode."""

    recipe: Recipe
    model: Model


def load_trained(folder: Path) -> Trained:
    """The model of the run in `folder` at its best step.

    Raises:
        MissingError: the run has not ended, was never looked at on validation, or the body's weights are not here.
        RecipeError: its lock file cannot be read.
        DamagedError: the checkpoint cannot be read, or is another run's, or the lock file is of another recipe.
        XmodalError: the body's weights are not those that the run was made with.
    """
    result = read_result(folder)
    if not result or result["status"] not in FINISHED or not result["val"]:
        raise MissingError("no trained model", where=str(folder / RESULT), why="the run has not ended with a best step")
    recipe = recipe_of(folder, result)
    # Autocast belongs to the device that it ran on; rounded matrices and fused activations belong to the model.
    precision = "float32" if recipe.precision == "bfloat16" else recipe.precision
    recipe = recipe.model_copy(update={"device": "cpu", "precision": precision})
    assembled = ready(recipe)
    body = {"body": assembled.source["digest"]}
    if recipe.lock and (why := other_bytes(recipe.lock, {**recipe.lock.digests, **body})):
        raise XmodalError(
            "other weights than the run was made with",
            where=str(folder / LOCK),
            why=why,
            fix=f"get the weights it was made with: xmodal get body {recipe.body.name}",
        )
    file = folder / "checkpoint" / BEST
    tensors, state = load_tensors(file)
    run = state.get("run") or {}
    said = (run.get("recipe"), run.get("seed"), run.get("body"), state.get("step"))
    if said != (wanted := (result["recipe_digest"], result["seed"], body["body"], result["best_step"])):
        raise damaged(file, f"it is of {said}, and the run's best is {wanted}")
    lay_over(assembled.plan.trainable(), tensors, file)
    assembled.model.eval()
    return Trained(recipe, assembled.model)
