"""A process that a launcher started as one of several: how they meet, and where each leaves its run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from xmodal.errors import UsageError
from xmodal.recipe import Recipe
from xmodal.run.bare import resolve
from xmodal.run.folder import RunFolder
from xmodal.run.precision import VARIABLE, automatic
from xmodal.run.ranks import Ranks


def asked_for() -> bool:
    """Whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined(recipe: Recipe, out: Path) -> Iterator[tuple[Ranks, Path]]:
    """This process as one of several, and the folder for its run: `out` if it is the first.

    The others start from a copy of what is there, so that all can go on from one checkpoint.

    Raises:
        UsageError: they cannot find each other, or a batch has too few samples for all of them.
    """
    cuda = resolve(recipe.model_copy(update={"precision": "float32"})).device.startswith("cuda")
    if recipe.device.startswith("cuda:"):
        what = f"several processes cannot share {recipe.device}"
        raise UsageError(what, where="device", why="each takes a GPU of its own", fix="set device: cuda, or auto")
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        distributed.init_process_group("nccl" if cuda else "gloo")
    except (ValueError, RuntimeError) as error:
        fix = "start it with: accelerate launch --multi_gpu --num_processes N -m xmodal train RECIPE"
        raise UsageError("the processes of this run cannot meet", why=str(error), fix=fix) from None
    try:
        ranks = Ranks(distributed.get_rank(), distributed.get_world_size())
        recipe = _agreed(recipe, ranks)
        parts = ranks.count * (recipe.train.accumulate or 1)
        run = RunFolder(out, recipe).path.relative_to(out)
        if parts > recipe.train.batch_size:
            raise UsageError(
                f"a batch has {recipe.train.batch_size} samples",
                where="train.batch_size",
                why=f"{ranks.count} processes make {parts} parts of it",
                fix=f"set it to {parts} or more, or start fewer processes",
            )
        if ranks.rank == 0:
            distributed.barrier()  # the others have made their copies
            yield ranks, out
        else:
            with tempfile.TemporaryDirectory() as place:
                if (out / run).is_dir():
                    shutil.copytree(out / run, Path(place, run))
                distributed.barrier()
                yield ranks, Path(place)
    finally:
        distributed.destroy_process_group()


def _agreed(recipe: Recipe, ranks: Ranks) -> Recipe:
    """The recipe as all of them resolve it; what `auto` is, the first process says.

    Raises:
        UsageError: they were given different recipes.
    """
    said: list[Any] = [resolve(recipe).precision if ranks.rank == 0 else None]
    distributed.broadcast_object_list(said)
    if recipe.precision == "auto":
        os.environ[VARIABLE] = said[0]
        automatic.cache_clear()
    recipe = resolve(recipe)
    found: list[Any] = [None] * ranks.count
    distributed.all_gather_object(found, (recipe.digest(), recipe.seed))
    if len(set(found)) > 1:
        why = "; ".join(f"process {rank} has {digest}, seed {seed}" for rank, (digest, seed) in enumerate(found))
        raise UsageError("the processes of this run were given different recipes", why=why, fix="give all the same")
    return recipe
