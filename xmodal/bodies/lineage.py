"""The runs that a body starts from, as far as they can be judged without torch: `init: run:FOLDER`, and `parts`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from xmodal.bodies import BODIES
from xmodal.bodies.anatomy import Anatomy, apart
from xmodal.bodies.description import AGAIN, BODY_FILE, RUN, read_description, run_folder
from xmodal.bodies.options import BodyOptions
from xmodal.components import find, load
from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.types import BODY_ROLES, Site


def check_runs(options: BodyOptions, *, tiny: bool = True) -> list[str]:
    """The runs that a body starts from and that are not there yet, or have not ended; the others must fit it.

    Args:
        options: of the body.
        tiny: whether they may be tiny forms of recipes, of which only another tiny form may start.

    Raises:
        UsageError: the body of one has another architecture, or several could be meant; or it is a tiny form.
        DamagedError: one cannot be understood.
    """
    absent = []
    for where, init in options.starts().items():
        if not init.startswith(RUN):
            continue
        try:
            folder, description, _ = started_as(init, options)
            if description.get("tiny") and not tiny:
                raise UsageError(
                    f"the run in {folder} was the tiny form of its recipe",
                    where=where,
                    why="it took a few steps, and its body has learned nothing",
                    fix="run that recipe whole, without --tiny, or name another run",
                )
        except DamagedError:
            raise
        except MissingError:
            absent.append(init.removeprefix(RUN))
        except UsageError as error:
            error.where = where if error.where == "body.init" else error.where
            raise
    return list(dict.fromkeys(absent))


def started_as(init: str, options: BodyOptions) -> tuple[Path, dict[str, Any], BodyOptions]:
    """The folder of the run that `init` names, its `body.json`, and what its body was before it trained.

    Raises:
        MissingError: the folder has no finished run.
        UsageError: that run's body has another architecture than `options`.
        DamagedError: what it says of its body cannot be understood.
    """
    folder = run_folder(init)
    _must_end(init)
    description = read_description(folder)
    where = str(folder / BODY_FILE)
    try:
        entry = find("body", BODIES, description["options"]["name"])
        start: BodyOptions = load(entry.options).model_validate(description["options"])
        theirs = _built(start)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise DamagedError("the body's options cannot be understood", where=where, why=faults, fix=AGAIN) from None
    except UsageError as error:
        fix = f"install what adds this body, or {AGAIN}"
        raise DamagedError("the run's body cannot be made", where=where, why=error.what, fix=fix) from None
    if other := apart(theirs, _built(options), (each.name for each in fields(Anatomy))):
        raise UsageError(
            "the run's body has another architecture than this recipe's",
            where="body.init",
            why=f"the run trained {start.name} with layers {start.layers or 'all'}: {', '.join(other[:3])}",
            fix="set body.name, its sizes, body.layers and body.path as in the run",
        )
    return folder, description, start


def check_parts(options: BodyOptions, sites: Iterable[Site]) -> None:
    """Nothing, if the body has parameters in each role of `parts`.

    Args:
        options: of the body.
        sites: of its parameters.

    Raises:
        UsageError: it has none in one.
    """
    roles = dict.fromkeys(site.role for site in sites if site.used and site.role in BODY_ROLES)
    for role in options.parts or {}:
        if role in BODY_ROLES and role not in roles:
            raise UsageError(
                f"{options.name} has no {role}",
                where=f"body.parts.{role}",
                why=f"it has {', '.join(roles) or 'no parameters'}",
                fix="name a role that it has, or take this one out",
            )


def _must_end(init: str, before: tuple[Path, ...] = ()) -> None:
    """Follows the runs that start from runs, and stops where that leads in a circle."""
    if not init.startswith(RUN):
        return
    folder = Path(os.path.realpath(run_folder(init)))
    if folder in before:
        chain = " -> ".join(map(str, [*before[before.index(folder) :], folder]))
        raise DamagedError("runs that start from each other", where="body.init", why=chain, fix="name another run")
    options = read_description(folder)["options"]
    for next_init in (options.get("init"), *(options.get("parts") or {}).values()):
        _must_end(str(next_init), (*before, folder))


def _built(options: BodyOptions) -> Anatomy:
    """What is built, and of which blocks."""
    anatomy = options.anatomy()
    return replace(anatomy, depth=len(anatomy.layers), vocabulary=0)
