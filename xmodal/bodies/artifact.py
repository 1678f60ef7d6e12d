"""A body that one of our own runs trained: `init: run:FOLDER`.

A run keeps only what it trained. Its body is rebuilt from what it started as, and the trained tensors are laid over
it; the digest in `body.json` proves that the result is the body that the run ended with.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from xmodal.bodies import BODIES, weights
from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.description import BODY_FILE, RUN, read_description, run_folder
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.rounding import round_frozen
from xmodal.components import find, load
from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.types import BODY_ROLES, Site

TRAINED = Path("checkpoint", "best.safetensors")
AGAIN = "run it again: xmodal train RECIPE --force"


def run_body(options: BodyOptions) -> weights.Values:
    """The tensors of a run's body by site, its token embedding's root mean square, and its source.

    Raises:
        MissingError: the folder has no finished run.
        UsageError: that run's body has another architecture.
        DamagedError: the tensors are not those that the run ended with.
    """
    folder = run_folder(options.init)
    _must_end(options.init)
    description = read_description(folder)
    entry = find("body", BODIES, description["options"]["name"], where=str(folder / BODY_FILE))
    try:
        start: BodyOptions = load(entry.options).model_validate(description["options"])
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise DamagedError(
            "the body's options cannot be understood", where=str(folder / BODY_FILE), why=faults, fix=AGAIN
        ) from None
    theirs, ours = asdict(_built(start)), asdict(_built(options))
    if differing := [key for key in ours if ours[key] != theirs[key]]:
        sizes = ", ".join(f"{key} {theirs[key]} and not {ours[key]}" for key in differing[:3])
        raise UsageError(
            "the run's body has another architecture than this recipe's",
            where="body.init",
            why=f"the run trained {start.name} with layers {start.layers or 'all'}: {sizes}",
            fix="set body.name, its sizes, body.layers and body.path as in the run",
        )
    base = weights.build_body(start, description["seed"])
    try:
        trained = load_file(folder / TRAINED)
    except FileNotFoundError:
        why = "the run folder has lost its checkpoint"
        raise MissingError(f"no {folder / TRAINED}", why=why, fix=AGAIN) from None
    except (SafetensorError, OSError) as error:
        raise DamagedError("not a safetensors file", where=str(folder / TRAINED), why=str(error), fix=AGAIN) from None
    if description.get("dtype") == "bfloat16":
        kept = {parameter for site, parameter in base.body.claims() if str(site) in trained}
        round_frozen(base.body, kept.__contains__)
    tensors: dict[Site, Tensor] = {site: parameter.data.float() for site, parameter in base.body.claims() if site.used}
    by_name = {str(site): site for site in tensors}
    for name, tensor in trained.items():
        if name in by_name:
            if tensor.shape != (shape := tensors[by_name[name]].shape):
                what = f"{name} has the shape {tuple(tensor.shape)}, not {tuple(shape)}"
                raise DamagedError(what, where=str(folder / TRAINED), fix=AGAIN)
            if not tensor.is_floating_point():
                raise DamagedError(f"{name} holds {tensor.dtype}", where=str(folder / TRAINED), fix=AGAIN)
            tensors[by_name[name]] = tensor
        elif name.partition("[")[0].partition(".")[0] in BODY_ROLES:
            raise DamagedError(f"unknown tensor {name}", where=str(folder / TRAINED), fix=AGAIN)
    if weights.digest(tensors) != description["trained_digest"]:
        raise DamagedError(
            "the body is not the one that the run ended with",
            where=str(folder),
            why="its digest differs from trained_digest in body.json",
            fix=AGAIN,
        )
    source = {"source": options.init, "started_as": json.dumps(base.source, sort_keys=True)}
    return weights.Values(tensors, base.token_rms, source)


def _must_end(init: str, before: tuple[Path, ...] = ()) -> None:
    """Follows the runs that start from runs, and stops where that leads in a circle."""
    if not init.startswith(RUN):
        return
    folder = run_folder(init).resolve()
    if folder in before:
        chain = " -> ".join(map(str, [*before[before.index(folder) :], folder]))
        raise DamagedError("runs that start from each other", where="body.init", why=chain, fix="name another run")
    options = read_description(folder)["options"]
    for next_init in (options.get("init"), *(options.get("parts") or {}).values()):
        _must_end(str(next_init), (*before, folder))


def _built(options: BodyOptions) -> Anatomy:
    """What is built, whichever blocks it was made of."""
    anatomy = options.anatomy()
    return replace(anatomy, depth=len(anatomy.layers), layers=(), vocabulary=0)
