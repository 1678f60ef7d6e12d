"""The commands that look at what there is, fetch it or measure it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from xmodal.cli.papers import report_against
from xmodal.cli.words import Again, Json, Override, RecipeArgument, Source, app, bench_app, get_app, load
from xmodal.errors import UsageError


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
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Run folders, folders that hold them, or studies.")
    ],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML page that holds it all.")] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write figures as SVG and PNG, tables as Markdown, LaTeX, CSV."),
    ] = None,
    attention: Annotated[
        str | None, typer.Option(metavar="ARM", help="Draw the attention of an arm's first run, or of a recipe's.")
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="The sample of validation that attention is drawn for.")] = 0,
    against: Annotated[
        str, typer.Option(metavar="PAPER/TABLE", help="Put them beside the numbers of a paper: lu2021/table2.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Put the results of runs side by side, or show a study; as a page, or figures, too."""
    if against:
        if html or figures or attention is not None:
            fix = "give two commands"
            raise UsageError("a paper's table is shown on the terminal", where="--against", fix=fix)
        return report_against(against, folders, as_json)
    from xmodal import console
    from xmodal.report.gather import gather

    if attention is not None and not (html or figures):
        fix = "say where it is to be drawn: --html FILE or --figures FOLDER"
        raise UsageError("attention is a figure, and none was asked for", where="--attention", fix=fix)
    found = gather(folders)
    named = [study.said for study in found.studies if study.named]
    if html or figures:
        if found.runs or found.studies:  # else a page that says nothing would replace what is there
            _write(found, html, figures, attention, sample)
    elif as_json:
        console.write(json.dumps([*(run.result for run in found.runs), *named], indent=2))
    else:
        if found.runs:
            console.show_results([run.result for run in found.runs])
        for study in named:
            console.show_study(study)
    for error in found.damaged:
        console.show_error(error)
    if found.damaged:
        raise typer.Exit(3)
    return None


def _write(found: Any, html: Path | None, figures: Path | None, attention: str | None, sample: int) -> None:
    from xmodal import console
    from xmodal.report.content import chapters
    from xmodal.report.files import write_figures, write_page

    said = chapters(found, attention, sample)
    if html:
        write_page(said, found.damaged, html)
        console.say(f"wrote {html}")
    if figures:
        console.say(f"wrote {write_figures(said, figures)} files in {figures}")


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from xmodal import console
    from xmodal.recipe.schema import json_schema

    console.write(json.dumps(json_schema(), indent=2))


@get_app.command("body")
def get_body(name: str, source: Source = None, force: Again = False) -> None:
    """Fetch the weights of a body."""
    from xmodal import console, inventory, sources

    inventory.refuse_at_hand("body", name)
    place = sources.get_body(name, source, force=force, fits=partial(inventory.refuse_other_body, name))
    if (origin := sources.provenance(place).get("origin", "")).startswith("path:"):
        console.say(f"{name} is kept, from {origin.removeprefix('path:')}; --force fetches the published one")
    console.write(str(place))


@get_app.command("data")
def get_data(name: str, source: Source = None, force: Again = False) -> None:
    """Fetch a data set."""
    from xmodal import console, inventory, sources

    inventory.refuse_at_hand("task", name)
    console.write(str(sources.get_data(name, source, force=force)))


@bench_app.command("step")
def bench_step(
    recipe: RecipeArgument = "quickstart",
    override: Override = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="Measure this precision of ours. Repeatable; default: the recipe's.")
    ] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Also peak memory, against full fine-tuning.")] = False,
    rounds: Annotated[int, typer.Option(help="Alternating rounds; the median counts.", min=3)] = 15,
    as_json: Json = False,
) -> None:
    """A training step of ours against the published loop, and against a careful one around the same module."""
    loaded = load(recipe, override, None, False)
    for name in precision or ():
        load(recipe, [*(override or ()), f"precision={name}"], None, False)
    from xmodal import bench

    _show_bench(bench.step(loaded, rounds, precisions=precision or (), memory=memory), as_json)


@bench_app.command("length")
def bench_length(
    tokens: Annotated[list[int] | None, typer.Argument(help="Numbers of tokens, powers of two.")] = None,
    override: Override = None,
    rounds: Annotated[int, typer.Option(help="Alternating rounds; the median counts.", min=3)] = 5,
    as_json: Json = False,
) -> None:
    """What a sample costs as it grows, in seconds and memory, against the count of operations."""
    from xmodal import bench

    _show_bench(bench.length(tokens or (128, 1024), rounds, override or ()), as_json)


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


@bench_app.command("cache")
def bench_cache(
    recipe: RecipeArgument = "mnist_fpt",
    override: Override = None,
    rounds: Annotated[int, typer.Option(help="Alternating rounds; the median counts.", min=3)] = 15,
    as_json: Json = False,
) -> None:
    """An epoch of the output layer alone, where what it reads is kept, against one where it is computed again.

    The recipe's own freeze spec is replaced: body + input is frozen.
    """
    loaded = load(recipe, ["freeze=body + input", *(override or ())], None, False)
    from xmodal import bench

    _show_bench(bench.cache(loaded, rounds), as_json)


@bench_app.command("learners")
def bench_learners(
    recipe: RecipeArgument = "lu2021/bit_xor_random",
    override: Override = None,
    count: Annotated[int, typer.Option(help="Learners that take their steps together.", min=2)] = 16,
    rounds: Annotated[int, typer.Option(help="Alternating rounds; the median counts.", min=3)] = 9,
    as_json: Json = False,
) -> None:
    """Learners that share a pass through one frozen body, against one alone and against the published loop.

    Batches have one sample, as in the published demo, unless the recipe is overridden.
    """
    loaded = load(recipe, ["train.batch_size=1", *(override or ())], None, False)
    from xmodal import bench

    _show_bench(bench.learners(loaded, count, rounds), as_json)


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
