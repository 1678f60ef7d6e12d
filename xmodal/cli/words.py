"""The program and what its commands have in common. Typer is imported in this folder alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Freeze a pretrained body, teach the rest another modality, and get a result that can be believed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
get_app = typer.Typer(help="Fetch weights or data, verify them, convert them once and keep them.", no_args_is_help=True)
bench_app = typer.Typer(help="Measure, as ratios against a named baseline.", no_args_is_help=True)
app.add_typer(get_app, name="get")
app.add_typer(bench_app, name="bench")

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a shipped recipe.")]
Override = Annotated[
    list[str] | None, typer.Option("-o", metavar="KEY=VALUE", help="Override a key, e.g. train.lr=1e-3. Repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tiny = Annotated[bool, typer.Option("--tiny", help="Run the recipe's own tiny form, which takes seconds.")]
Seed = Annotated[int | None, typer.Option(help="Replaces the recipe's seed.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes; default: as suits this machine. 0: none but this one.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would run, and run nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before running.")]
Source = Annotated[
    str | None, typer.Option("--from", metavar="official|registry|PATH", help="Where from; default: whatever works.")
]
Again = Annotated[bool, typer.Option("--force", help="Fetch again, even if it is here.")]


def find(recipe: str) -> Path:
    """The file of a recipe that is given by path or by name."""
    from xmodal.recipe.library import find_recipe

    return find_recipe(recipe)


def load(recipe: str, overrides: list[str] | None, seed: int | None, tiny: bool) -> Any:
    """A recipe with what the command line changes of it."""
    from xmodal.recipe import load_recipe

    return load_recipe(find(recipe), overrides or (), seed=seed, tiny=tiny)


def confirmed() -> bool:
    """Whether to run what was shown; nobody is asked where there is no terminal."""
    if not sys.stdin.isatty():
        return True
    try:
        return typer.confirm("run it?", default=True, err=True)
    except typer.Abort:
        raise typer.Exit(130) from None


@contextmanager
def watched() -> Iterator[tuple[Any, Callable[[Any], None]]]:
    """What asks a study to stop, and what shows its events."""
    from xmodal.console.board import StudyView
    from xmodal.run.signals import Signals

    stop, view = Signals(), StudyView()

    def listen(event: Any) -> None:
        stop.training = event.training > 0
        view(event)

    try:
        yield stop, listen
    finally:
        view.close()
