"""The recipes that ship with the package, by name."""

from __future__ import annotations

from pathlib import Path


def shipped() -> dict[str, Path]:
    """Shipped recipes by name: `recipes/` of the repository, or its copy in the installed package.

    A family has a folder of its own, and its name in front: `lu2021/listops_fpt`.
    """
    package = Path(__file__).resolve().parents[1]
    folder = package / "recipes" if (package / "recipes").is_dir() else package.parent / "recipes"
    names = {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.yaml")}
    return dict(sorted(names.items()))


def shipped_as(word: str) -> Path | None:
    """The shipped recipe that `word` means, if one does: its file, or the name that it gives itself, as in
    `lu2021/mnist_fpt` or `lu2021-mnist-fpt`."""
    name = word.replace("-", "_")
    return next((path for known, path in shipped().items() if name in (known, known.replace("/", "_"))), None)
