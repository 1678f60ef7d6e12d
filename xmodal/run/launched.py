"""A process that a launcher started as one of several: how they meet, and where each leaves its run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed

from xmodal.errors import UsageError
from xmodal.recipe import Recipe
from xmodal.run.bare import resolve
from xmodal.run.folder import RunFolder
from xmodal.run.ranks import Ranks


def asked_for() -> bool:
    """Whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def beside_the_first() -> bool:
    """Whether it is one of those that leave nothing."""
    return asked_for() and os.environ.get("RANK", "0") != "0"


@contextmanager
def joined(recipe: Recipe, out: Path) -> Iterator[tuple[Ranks, Path]]:
    """This process as one of several, and the folder for its run: `out` if it is the first.

    The others start from a copy of what is there, so that all can go on from one checkpoint.

    Raises:
        UsageError: they cannot find each other, or a batch has too few samples for all of them.
    """
    recipe = resolve(recipe)
    cuda = recipe.device.startswith("cuda")
    if recipe.device.startswith("cuda:"):
        what = f"several processes cannot share {recipe.device}"
        raise UsageError(what, where="device", why="each takes a GPU of its own", fix="set device: cuda, or auto")
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        distributed.init_process_group("nccl" if cuda else "gloo")
    except (ValueError, RuntimeError) as error:
        fix = "start it with: accelerate launch --num_processes N -m xmodal train RECIPE"
        raise UsageError("the processes of this run cannot meet", why=str(error), fix=fix) from None
    ranks = Ranks(distributed.get_rank(), distributed.get_world_size())
    parts = ranks.count * (recipe.train.accumulate or 1)
    run = RunFolder(out, recipe).path.relative_to(out)
    try:
        if parts > recipe.train.batch_size:
            why = f"{ranks.count} processes make {parts} parts of it"
            raise UsageError(f"a batch has {recipe.train.batch_size} samples", where="train.batch_size", why=why)
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
