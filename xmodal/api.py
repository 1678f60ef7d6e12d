"""What a notebook or a script calls: the verbs of the command line as functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodal import freeze
from xmodal.console import RunView, in_notebook
from xmodal.errors import UnwrittenError, UsageError
from xmodal.paths import given
from xmodal.recipe import Recipe
from xmodal.run import session
from xmodal.run.delta import is_delta, read_delta
from xmodal.run.events import Listener
from xmodal.run.folder import holds_run
from xmodal.run.ranks import Ranks
from xmodal.run.session import Run
from xmodal.trackers import track

if TYPE_CHECKING:
    from xmodal.freeze import Plan, Spec


def train(
    recipe: Recipe,
    *,
    seed: int | None = None,
    out: str | Path = "runs",
    resume: bool = False,
    force: bool = False,
    progress: bool | None = None,
    trackers: Sequence[str] = (),
    listeners: Iterable[Listener] = (),
    stop: Callable[[], bool] = lambda: False,
    ranks: Ranks | None = None,
) -> Run:
    """Trains a recipe with its seed, or returns the result that is already there.

        run = xmodal.train(xmodal.load("quickstart"), seed=1)
        run.result.test.accuracy

    Args:
        recipe: what to run.
        seed: replaces the recipe's.
        out: folder of all runs.
        resume: go on from the last checkpoint of an unfinished run; starts one where there is none.
        force: throw away what an earlier run of this recipe and seed left.
        progress: show what happens, live in a terminal or a notebook. None does where somebody looks on: there.
        trackers: where curves and result are logged to as well: `mlflow`, `tensorboard`, `trackio`, `wandb`.
        listeners: called with every event.
        stop: asked often; once it says True, the run saves itself and ends as `interrupted`.
        ranks: the processes that train it, where they are several.

    Raises:
        UsageError: the folder holds an unfinished run and neither `resume` nor `force` was given, or another's run; or
            this is no recipe.
        MissingError: data, weights or the package of a tracker are not on this machine.
        XmodalError: a frozen tensor moved, the disk is full, or bytes differ from the lock file.
        KeyboardInterrupt: an interrupt leaves the run as of its last look; `resume` goes on from there.
    """
    if not isinstance(recipe, Recipe):
        raise UsageError(
            f"this is {type(recipe).__name__}, and a recipe is wanted",
            where="train",
            fix="xmodal.train(xmodal.load(RECIPE))",
        )
    if isinstance(trackers, str):
        trackers = [trackers]
    names, heard = _listed(trackers, "trackers"), _listed(listeners, "listeners")
    for each, where in [*((one, "listeners") for one in heard), (stop, "stop")]:
        if not callable(each):
            raise UsageError(f"{type(each).__name__} is no function", where=where, fix="give a function")
    if not isinstance(ranks, Ranks | None):
        raise UsageError(f"{type(ranks).__name__} is not Ranks", where="ranks", fix="leave it out")
    out = given(out, "out")
    if seed is not None:
        recipe = reseeded(recipe, seed)
    view = RunView() if (interactive() if progress is None else progress) else None
    try:
        with track(names, recipe, view.warn if view else None) as tracking:
            heard = [*heard, *([view] if view else []), *tracking]
            how: dict[str, Any] = {"resume": resume, "force": force, "listeners": heard, "stop": stop, "ranks": ranks}
            return session.train(recipe, out=out, **how)
    finally:
        if view:
            view.close()


def reseeded(recipe: Recipe, seed: int) -> Recipe:
    """The same recipe with another seed.

    Raises:
        UsageError: it is no seed.
    """
    try:
        whole = None if isinstance(seed, bool) else index(seed)  # of numpy, too
    except TypeError:
        whole = None
    if whole is None or not 0 <= whole < 2**32:
        raise UsageError(f"{seed!r} is no seed", where="seed", fix="give a whole number from 0 to 4294967295")
    return recipe.model_copy(update={"seed": whole})


def _listed(those: Any, where: str) -> list[Any]:
    try:
        return list(those)
    except TypeError:
        raise UsageError(f"{type(those).__name__} is no list", where=where, fix=f"{where}=[...]") from None


def interactive() -> bool:
    """Whether somebody looks on: standard error is a terminal, or this is a notebook."""
    return in_notebook() or bool(sys.stderr and sys.stderr.isatty())


def plan(model: Any, spec: str | Spec = "body - ln - pos", *, name: str = "") -> Plan:
    """What a freeze spec means on a model, for those who keep their own training loop.

        plan = xmodal.plan(transformers.GPT2Model.from_pretrained("gpt2"), "body - ln - pos")
        print(plan)
        plan.apply()
        optimizer = torch.optim.Adam(plan.trainable().values(), lr=3e-3)

    Args:
        model: a model of transformers (GPT-2, BERT, Llama, T5's encoder, Longformer), bare or with heads around it; a
            VisionTransformer of timm; a body or model of ours; or whatever has `claims()`. What reads the body's output
            is of the role `head`: a pooler, a classifier.
        spec: what is frozen, in the freeze language.
        name: what the plan calls the model; the name of its class, if empty.

    Raises:
        UsageError: no family claims the model, or not all its parameters.
        SpecError: the spec cannot be read, or one of its clauses hits nothing in this model.
        XmodalError: the model's own claims are wrong.
    """
    from torch import nn

    from xmodal.bodies.foreign import claim

    if not isinstance(spec, str | freeze.Spec):
        raise UsageError(f"a spec is text, and this is {type(spec).__name__}", where="plan", fix='"body - ln - pos"')
    parsed = freeze.parse(spec) if isinstance(spec, str) else spec
    if not isinstance(model, type) and callable(getattr(model, "claims", None)):
        claimant = model
    elif isinstance(model, nn.Module):
        claimant = claim(model)
    else:
        raise UsageError(
            f"a plan is made on a model, and this is {type(model).__name__}",
            where="plan",
            fix="give a torch module; xmodal.assemble.assemble(recipe).plan is the plan of a recipe",
        )
    return parsed.on(claimant, name=name or type(model).__name__)


def export(run: str | Path, file: str | Path, *, force: bool = False) -> Path:
    """Writes what a run trained, and what it is to be laid over, as one safetensors file.

    Args:
        run: a run folder.
        file: where to; `.safetensors`.
        force: replace a file that is there, if an export wrote it.

    Returns:
        The file.

    Raises:
        UsageError: the file is there, or its name says that it is something else.
        MissingError: the run has not ended with a best step.
        DamagedError: the run's files cannot be read, or do not fit together.
        UnwrittenError: the disk is full, or the folder cannot be written.
    """
    file, run = given(file, "the file to export to"), given(run, "a run")
    if file.suffix != ".safetensors":
        fix = f"call it {file.with_suffix('.safetensors').name}" if file.name else "name a file"
        raise UsageError("a delta is a safetensors file", where=str(file), why="its name says otherwise", fix=fix)
    if holds_run(file.resolve()):
        raise UsageError("the file is in the folder of a run", where=str(file), fix="name one outside of it")
    if file.exists() or file.is_symlink():
        if not force:
            raise UsageError("the file is there already", where=str(file), fix="name another, or --force replaces it")
        if not is_delta(file):
            why = "it is not one that xmodal export wrote, and --force replaces no others"
            raise UsageError("the file is there already", where=str(file), why=why, fix="name another, or remove it")
    delta = read_delta(run)
    try:
        delta.save(file)
    except UnwrittenError as error:
        error.fix = "free some space, or name a file in a folder that can be written"
        raise
    return file
