"""A body that one of our own runs trained: `init: run:FOLDER`.

A run keeps only what it trained. Its body is rebuilt from what it started as, and the trained tensors are laid over
it; the digest in `body.json` proves that the result is the body that the run ended with.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from xmodal.bodies import weights
from xmodal.bodies.description import AGAIN
from xmodal.bodies.lineage import started_as
from xmodal.bodies.options import BodyOptions
from xmodal.bodies.rounding import round_frozen
from xmodal.errors import DamagedError, MissingError
from xmodal.types import BODY_ROLES, Site

TRAINED = Path("checkpoint", "best.safetensors")


def run_body(options: BodyOptions) -> weights.Values:
    """The tensors of a run's body by site, its token embedding's root mean square, and its source.

    Raises:
        MissingError: the folder has no finished run.
        UsageError: that run's body has another architecture.
        DamagedError: the tensors are not those that the run ended with.
    """
    folder, description, start = started_as(options.init, options)
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
