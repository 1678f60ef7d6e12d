"""The lock file: a recipe with every default spelt out, and the versions and bytes that a run was made with."""

from __future__ import annotations

from collections.abc import Mapping

from xmodal.errors import XmodalError
from xmodal.recipe.schema import Lock, Recipe
from xmodal.recipe.source import dump

LOCK = "recipe.lock.yaml"
"""Name of the file in a run folder."""
HEADER = """\
# Written by xmodal. It is a recipe: xmodal train THIS_FILE runs the same experiment again, and refuses other bytes.
"""


def write_lock(recipe: Recipe) -> str:
    """The text of `recipe.lock.yaml`."""
    return HEADER + dump(recipe.model_dump(mode="json", exclude_defaults=False, exclude={"tiny"}))


def other_bytes(lock: Lock, digests: Mapping[str, str]) -> str:
    """Which digests of a lock are not those of now, and how, in words; empty where none differs."""
    return "; ".join(
        f"{name} is {digests.get(name, 'absent')[:12]}, was {locked[:12]}"
        for name, locked in lock.digests.items()
        if digests.get(name) != locked
    )


def compare(
    recipe: Recipe, versions: Mapping[str, str], digests: Mapping[str, str], threads: int | None = None
) -> tuple[str, ...]:
    """Warnings for versions, and for a number of threads, that differ from the recipe's lock.

    Raises:
        XmodalError: the bytes differ: the body or a split is not the one that was locked.
    """
    if recipe.lock is None:
        return ()
    if why := other_bytes(recipe.lock, digests):
        raise XmodalError(
            "other bytes than the lock file names",
            where="lock.digests",
            why=why,
            fix="get the weights or data it was made with; for another seed or key, run the recipe, not its lock file",
        )
    now = dict(versions) | ({} if threads is None else {"the number of threads": str(threads)})
    locked = recipe.lock.versions | ({} if threads is None else {"the number of threads": str(recipe.lock.threads)})
    return tuple(
        f"{name} is {now.get(name)}, the lock file has {value}; numbers may differ"
        for name, value in locked.items()
        if now.get(name) != value
    )
