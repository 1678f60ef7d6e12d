"""The recipes that ship with the package, and how a recipe is found."""

from __future__ import annotations

from pathlib import Path

from xmodal.errors import UsageError, did_you_mean


def shipped() -> dict[str, Path]:
    """Shipped recipes by name: `recipes/` of the repository, or its copy in the installed package.

    A family has a folder of its own, and its name in front: `lu2021/listops_fpt`.
    """
    package = Path(__file__).resolve().parents[1]
    folder = package / "recipes" if (package / "recipes").is_dir() else package.parent / "recipes"
    names = {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.yaml")}
    return dict(sorted(names.items()))


def find_recipe(asked: str) -> Path:
    """The file that `asked` means: a path, or the name of a shipped recipe (`quickstart`, `bit-xor-fpt`).

    Raises:
        UsageError: it is neither.
    """
    path, name = Path(asked), asked.replace("-", "_")
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    known = shipped()
    # A recipe is called by its file or by the name it gives itself: lu2021/mnist_fpt, or lu2021-mnist-fpt.
    if found := next((path for word, path in known.items() if name in (word, word.replace("/", "_"))), None):
        return found
    raise UsageError(
        f"no recipe '{asked}'{did_you_mean(name, known)}",
        why="it is neither a file nor a recipe that ships with xmodal",
        fix="xmodal list recipes shows them",
    )
