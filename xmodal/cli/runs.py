"""The commands that make runs, or say what a recipe would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from xmodal.cli.words import (
    DryRun,
    Json,
    Override,
    RecipeArgument,
    Seed,
    Tiny,
    Workers,
    Yes,
    app,
    confirmed,
    find,
    load,
    watched,
)
from xmodal.errors import UsageError, XmodalError
from xmodal.paths import given

CODES = {"done": 0, "diverged": 4, "interrupted": 130}
"""Exit code of a run that ended so."""


@app.command()
def train(
    recipe: RecipeArgument,
    override: Override = None,
    seed: Seed = None,
    out: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Throw away an earlier run of this recipe and seed.")] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Log to mlflow, tensorboard, trackio or wandb too. Repeatable."),
    ] = None,
    tiny: Tiny = False,
    as_json: Json = False,
) -> None:
    """Run a recipe once, with live progress; leaves a run folder and prints the result."""
    loaded = load(recipe, override, seed, tiny)
    from xmodal import api, console
    from xmodal.run import launched
    from xmodal.run.signals import Signals

    stop = Signals()
    how: dict[str, Any] = {"resume": resume, "force": force}
    if launched.asked_for():
        with launched.joined(loaded, out) as (ranks, place):
            first = not ranks.rank
            run = api.train(
                loaded,
                out=place,
                progress=first,
                trackers=(track or ()) if first else (),
                listeners=[stop.follow],
                stop=stop,
                ranks=ranks,
                **how,
            )
        if not first:
            raise typer.Exit(CODES[run.result.status])
    else:
        run = api.train(loaded, out=out, progress=True, trackers=track or (), listeners=[stop.follow], stop=stop, **how)
    if not run.ran:
        console.say(f"nothing to do: {run.folder} holds this run, ended; --force runs it again")
    if as_json:
        console.write(json.dumps(run.result.to_dict(), indent=2))
    elif run.result.status != "interrupted":
        console.show_results([run.result.to_dict()])
    raise typer.Exit(CODES[run.result.status])


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; a name that ends in .safetensors.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write what a run trained as one file, to be laid over the same body elsewhere."""
    from xmodal import api, console

    made = api.export(run, file, force=force)
    console.say(f"{made}: {made.stat().st_size:,} bytes; xmodal.load_model({json.dumps(str(made))}) reads it")


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
    controls: Annotated[
        str, typer.Option(metavar="std", help="Add the standard controls: is it the pretraining?")
    ] = "",
    seeds: Annotated[str, typer.Option(help="Report seeds: how many, or which: 0,1,2.")] = "3",
    tuning_seeds: Annotated[str, typer.Option(help="Seeds that choose the rate and report nothing.")] = "1",
    lr: Annotated[
        str, typer.Option(metavar="LOW:HIGH:N", help="Rates that every arm is tuned over; or one rate for all arms.")
    ] = "",
    halving: Annotated[
        bool, typer.Option("--halving", help="Try all rates for a fourth of the steps, and the best of them for all.")
    ] = False,
    margin: Annotated[float, typer.Option(help="The smallest difference in accuracy that matters.")] = 0.01,
    override: Override = None,
    out: Annotated[Path, typer.Option(help="Folder of all runs and studies.")] = Path("runs"),
    workers: Workers = None,
    together: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Runs at a time that share each pass through a frozen body, in this process; by itself where a few "
            "steps say that it pays. 0 never.",
        ),
    ] = None,
    tiny: Tiny = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Settle a question: arms over seeds, every one at its own best rate, paired differences and a verdict."""
    from xmodal import console
    from xmodal.study.factors import Asked
    from xmodal.study.finished import finished, question_of
    from xmodal.study.reading import runs_of

    if together and workers:
        why = "runs share a pass in one process"
        raise UsageError("--together and --workers contradict each other", why=why, fix="drop one of them")
    asked = Asked(find(recipe), freeze or (), vary or (), arm or (), controls, override or (), tiny)
    judged: dict[str, Any] = {
        "lr": lr,
        "seeds": seeds,
        "tuning": tuning_seeds,
        "margin": margin,
        "halving": halving,
    }
    question = question_of(asked, **judged)
    ran, made = 0, None if dry_run else finished(out, question)
    if made is None:
        from xmodal.study.arms import make_arms
        from xmodal.study.cost import preview_of
        from xmodal.study.design import make_design
        from xmodal.study.study import Interrupted, run_study
        from xmodal.study.ways import Way, begin, begun, companions, suitable

        design = make_design(make_arms(asked), **judged)
        way = None
        if together or workers is not None:
            way = Way(workers or 0, together or 0)
        elif together is not None:
            way = Way(suitable(design))
        preview = preview_of(design, out, way)
        if dry_run and as_json:
            return console.write(json.dumps(preview, indent=2))
        console.show_preview(preview, result=dry_run)
        if dry_run:
            return None
        if not yes and not confirmed():
            return console.say("nothing was run")
        way = way or Way(preview["cost"]["workers"], preview["cost"]["together"])
        if preview["cost"]["runs"] and (way.together or companions(design) > 1):
            before = begun(design, out)
            if before not in (None, way.together):
                console.say(f"this study was begun with --together {before}: some last bits are those of neither way")
            begin(design, out, way.together)
        try:
            with watched() as (stop, listen):
                study = run_study(
                    design,
                    out=out,
                    workers=way.workers,
                    together=way.together,
                    listen=listen,
                    stop=stop,
                    question=question,
                )
        except (Interrupted, KeyboardInterrupt):
            console.say("interrupted; finished runs are kept, and the same command goes on")
            raise typer.Exit(130) from None
        ran, made = study.ran, (study.file, study.result)
    file, result = made
    if as_json:
        console.write(json.dumps(result, indent=2))
    else:
        console.show_study(result)
    runs = runs_of(result)
    console.say(f"{ran} of {len(runs)} runs were made now; {file}")
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
        given = "neither was given" if recipe is None else "both were given"
        raise UsageError(
            "explain takes a recipe or --body", why=given, fix='xmodal explain --body gpt2 --freeze "body - ln - pos"'
        )
    if body and override:
        raise UsageError("-o overrides a recipe, and --body has none", fix="give a recipe, or leave -o out")
    overrides = [*(override or ()), *([f"freeze={json.dumps(freeze)}"] if freeze is not None else [])]
    loaded = load(recipe, overrides, None, False) if recipe else None
    from xmodal import console

    engine, note = None, ""
    if loaded:
        from xmodal.assemble import assemble
        from xmodal.run.bare import engine_of

        assembled, title = assemble(loaded, weights=False), f"{loaded.name}: {loaded.body.name}"
        plan = assembled.plan
        try:
            engine = engine_of(loaded, assembled)
        except UsageError as error:  # a device that is not on this machine
            engine, note = None, f"{error.what}: what the engine does there is not known"
    else:
        from xmodal import freeze as specs
        from xmodal.bodies import body_options, skeleton

        assert body is not None
        spec = "body - ln - pos" if freeze is None else freeze
        plan, title = specs.parse(spec).on(skeleton(body_options(body)), name=body), body
    said = plan.to_dict() | (engine.to_dict() if engine else {})
    if as_json:
        console.write(json.dumps(said, indent=2))
        return
    console.show_plan(said, title, str(engine or note))


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
    from xmodal.bodies.lineage import check_runs
    from xmodal.recipe.source import read

    worst = 0
    for name in recipes:
        try:
            loaded = load(name, override, None, False)
            forms = [loaded, *([load(name, override, None, True)] if loaded.tiny else [])]
            absent = "".join(f"; {run} is still to be made" for run in check_runs(loaded.body))
            absent += "".join(f"; {path} is not there, and was not read" for path in _read_own_files(forms))
            console.write(f"{name}: ok, {loaded.name}, {len(read(find(name)).files)} file(s){absent}")
        except XmodalError as error:
            worst = max(worst, error.exit_code)
            console.show_error(error)
    if worst:
        raise typer.Exit(worst)
    return None


def _read_own_files(forms: list[Any]) -> list[str]:
    """Meets every fault in the user's data that a run would meet; what is not there."""
    absent = []
    for form in {form.task.model_dump_json(): form for form in forms if form.task.own_files}.values():
        if not given(form.task.own_files).exists():
            absent.append(form.task.own_files)
            continue
        from xmodal.run.bare import task_of  # which loads torch

        task_of(form)
    return list(dict.fromkeys(absent))


def _check_bodies(names: list[str]) -> None:
    from xmodal import console
    from xmodal.bodies import conformance

    broken, told = 0, set[str]()
    for name in names:
        for check in conformance.CHECKS:
            title = conformance.title(check)
            try:
                check(conformance.small(name))
            except conformance.Broken as error:
                fault = error
            except XmodalError:
                raise
            except (Exception, SystemExit) as error:
                fault = conformance.own_fault(error)
            else:
                console.write(f"{name}: ok, {title}")
                continue
            broken += 1
            fault.where = f"{name}: {title}"
            if (said := f"{name} {fault.what} {fault.why}") in told:
                fault = conformance.Broken("the same fault as above", where=fault.where)
            told.add(said)
            console.show_error(fault)
    if broken:
        raise typer.Exit(1)
