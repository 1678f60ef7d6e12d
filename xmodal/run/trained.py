"""The model that a run ended with, as validation chose it: rebuilt from its body and what the run trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from xmodal.assemble import Model, assemble
from xmodal.bodies.weights import digest
from xmodal.engine import operate
from xmodal.errors import DamagedError, UsageError, XmodalError
from xmodal.recipe import Recipe
from xmodal.recipe.lock import LOCK
from xmodal.run.checkpoint import lay_over
from xmodal.run.delta import Delta, read_delta


@dataclass(frozen=True)
class Trained:
    """A trained model and the recipe that made it; the model is on the CPU, in evaluation mode."""

    recipe: Recipe
    model: Model


def load_model(path: str | Path, *, device: torch.device | str = "cpu") -> Model:
    """The model that a run ended with at its best step, in evaluation mode.

        model = xmodal.load_model("delta.safetensors")
        logits = model(batch)

    Its body is rebuilt from the weights on this machine, or from the seed, and what the run trained is laid over it;
    digests show that its body is the run's. The task's data need not be here.

    Args:
        path: what `xmodal export` wrote, or a run folder.
        device: where the model lives.

    Raises:
        UsageError: there is no such device.
        MissingError: there is no such file, the run has not ended with a best step, or the body's weights are not here.
        DamagedError: the file cannot be read, or what is made of it is not the body that the run ended with.
        XmodalError: the body's weights are not those that the run was made with.
    """
    return _rebuilt(read_delta(path), device).model


def load_trained(folder: Path) -> Trained:
    """As `load_model`, with the recipe."""
    return _rebuilt(read_delta(folder), "cpu")


def _rebuilt(delta: Delta, device: torch.device | str) -> Trained:
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("it holds no values")
        torch.empty(0, device=device)
    except (RuntimeError, TypeError) as error:
        why = str(error).splitlines()[0][:200]
        raise UsageError(f"no device '{device}' here", where="device", why=why, fix='name another, "cpu"') from None
    # Autocast belongs to the device that the run was on; rounded matrices and fused activations belong to the model.
    precision = "float32" if delta.recipe.precision == "bfloat16" else delta.recipe.precision
    told = {"device": str(device), "precision": precision, "gradient_checkpointing": None}
    recipe = delta.recipe.model_copy(update=told)
    assembled = assemble(recipe, device=device, specs=delta.specs)
    body = recipe.body.name
    if (found := assembled.source["digest"]) != delta.body_digest:
        raise XmodalError(
            "other weights than the run was made with",
            where=str(delta.where / LOCK if delta.where.is_dir() else delta.where),
            why=f"body is {found[:12]}, was {delta.body_digest[:12]}",
            fix=f"get the weights it was made with: xmodal get body {body}",
        )
    operate(recipe, assembled)
    model = assembled.model
    lay_over(assembled.plan.trainable(), delta.tensors, delta.where)
    if digest({site: held for site, held in model.body.claims() if site.used}) != delta.trained_digest:
        raise DamagedError(
            "the body is not the one that the run ended with",
            where=str(delta.where),
            why="its digest differs from the one that the run left",
            fix="export it again, or run it again with --force",
        )
    model.eval()
    return Trained(recipe, model)
