"""The command that puts a paper's numbers and ours side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from xmodal.cli.words import DryRun, Json, Override, Tiny, Workers, Yes, app, confirmed, watched


@app.command()
def reproduce(
    table: Annotated[str, typer.Argument(metavar="PAPER/TABLE", help="A table of a paper: lu2021/table2.")],
    scale: Annotated[
        Literal["cpu", "full"], typer.Option(help="Bodies and budgets for two cores, or the paper's.")
    ] = "cpu",
    protocol: Annotated[
        Literal["published", "audited"], typer.Option(help="As the paper did it, or as this package would.")
    ] = "published",
    task: Annotated[list[str] | None, typer.Option(help="A column. Repeatable; otherwise all of them.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="A row. Repeatable; otherwise all of them.")] = None,
    seeds: Annotated[str, typer.Option(help="Report seeds in the place of the protocol's.")] = "",
    override: Override = None,
    out: Annotated[Path, typer.Option(help="Folder of all runs and tables.")] = Path("runs"),
    workers: Workers = None,
    tiny: Tiny = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run a paper's table: theirs, ours, the floor, and all that differs."""
    from xmodal import console
    from xmodal.papers.cells import Wanted, enforce_here
    from xmodal.papers.library import find_table
    from xmodal.papers.reproduce import make_plan
    from xmodal.papers.reproduce import reproduce as run
    from xmodal.study.ways import suitable

    wanted = Wanted(find_table(table), scale, protocol, task or (), row or (), override or (), tiny)
    plan = make_plan(wanted, seeds)
    if dry_run and as_json:
        return console.write(json.dumps(plan.preview(), indent=2))
    if dry_run:
        return console.show_table_preview(plan.preview(), result=True)
    enforce_here(wanted, plan.cells)
    console.show_table_preview(plan.preview(), result=False)
    if not yes and not confirmed():
        return console.say("nothing was run")
    if workers is None:
        workers = min((suitable(part.design) for part in plan.parts), default=0)
    with watched() as (stop, listen):
        made = run(plan, out=out, workers=workers, listen=listen, stop=stop)
    if as_json:
        console.write(json.dumps(made.result, indent=2))
    else:
        console.show_table(made.result)
    console.say(f"{made.ran} runs were made now; {made.file}")
    if not made.whole:
        console.say("interrupted; finished runs are kept, and the same command goes on")
        raise typer.Exit(130)
    raise typer.Exit(1 if any(cell["status"] in ("failed", "partly") for cell in made.result["cells"]) else 0)


def report_against(table: str, folders: list[Path], as_json: bool) -> None:
    """`xmodal report DIR... --against PAPER/TABLE`."""
    from xmodal import console
    from xmodal.papers.library import find_table

    found = find_table(table)
    from xmodal.papers.against import against

    said = against(found, folders)
    if as_json:
        console.write(json.dumps(said, indent=2))
    else:
        console.show_against(said)
    if said["damaged"]:
        raise typer.Exit(3)
