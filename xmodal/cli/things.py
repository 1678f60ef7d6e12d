"""The commands that look at what there is, fetch it or measure it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from xmodal.cli.papers import report_against
from xmodal.cli.words import Again, Json, Override, RecipeArgument, Source, app, bench_app, get_app, load


@app.command("list")
def list_(
    kind: Annotated[
        Literal["tasks", "tokenizers", "bodies", "heads", "recipes", "papers"], typer.Argument(help="What to list.")
    ],
    as_json: Json = False,
) -> None:
    """List what there is, and whether it is on this machine."""
    from xmodal import console, inventory

    columns, rows = inventory.listing(kind)
    if as_json:
        console.write(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2))
    else:
        console.show_rows(columns, rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A task, tokenizer, body, head, paper or table of a paper.")],
) -> None:
    """Show a component: what it is, its options, and for a body its size; or what a paper reports."""
    from xmodal import console, inventory

    for title, columns, rows in inventory.details(name):
        console.show_rows(columns, rows, title)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders, or folders that hold them.")],
    against: Annotated[
        str, typer.Option(metavar="PAPER/TABLE", help="Put them beside the numbers of a paper: lu2021/table2.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Put the results of runs side by side."""
    if against:
        return report_against(against, folders, as_json)
    from xmodal import console, inventory

    results, damaged = inventory.results(folders)
    if as_json:
        console.write(json.dumps(results, indent=2))
    elif results:
        console.show_results(results)
    for error in damaged:
        console.show_error(error)
    if damaged:
        raise typer.Exit(3)
    return None


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from xmodal import console
    from xmodal.recipe.schema import json_schema

    console.write(json.dumps(json_schema(), indent=2))


@get_app.command("body")
def get_body(name: str, source: Source = None, force: Again = False) -> None:
    """Fetch the weights of a body."""
    from xmodal import console, sources

    console.write(str(sources.get_body(name, source, force=force)))


@get_app.command("data")
def get_data(name: str, source: Source = None, force: Again = False) -> None:
    """Fetch a data set."""
    from xmodal import console, sources

    console.write(str(sources.get_data(name, source, force=force)))


@bench_app.command("step")
def bench_step(
    recipe: RecipeArgument = "quickstart",
    override: Override = None,
    rounds: Annotated[int, typer.Option(help="Alternating rounds; the median counts.", min=3)] = 15,
    as_json: Json = False,
) -> None:
    """A training step of ours against a plain loop around the same transformers module."""
    loaded = load(recipe, override, None, False)
    from xmodal import bench

    _show_bench(bench.step(loaded, rounds), as_json)


@bench_app.command("data")
def bench_data(
    recipes: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE]...", help="What to feed; default: CIFAR-10 and ListOps.")
    ] = None,
    override: Override = None,
    rounds: Annotated[int, typer.Option(help="Alternating rounds; the median counts.", min=3)] = 7,
    as_json: Json = False,
) -> None:
    """Batches read on one thread, against the training steps that they feed."""
    from xmodal import bench

    asked = dict.fromkeys(recipes, ()) if recipes else bench.FEEDS
    loaded = [load(name, [*own, *(override or ())], None, False) for name, own in asked.items()]
    _show_bench(bench.data(loaded, rounds), as_json)


@bench_app.command("startup")
def bench_startup(
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.", min=3)] = 5, as_json: Json = False
) -> None:
    """Start-up of help, check and explain, against the imports that they cannot do without."""
    from xmodal import bench

    _show_bench(bench.startup(rounds), as_json)


def _show_bench(figures: dict[str, Any], as_json: bool) -> None:
    from xmodal import console

    if as_json:
        console.write(json.dumps(figures, indent=2))
        return
    rows = [[row["what"], f"{row['median']:.4g}", row["unit"], row["against"]] for row in figures["rows"]]
    console.show_rows(("figure", "median", "unit", "against"), rows, figures["title"])
