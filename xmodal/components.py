"""Tables of components: a name leads to its options (no torch) and, when it is built, to its class.

Tables are literal, sorted and lazy: nothing is imported before it is asked for.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import FrameType
from typing import Any

from pydantic import BaseModel, ConfigDict

from xmodal.errors import UsageError, XmodalError, did_you_mean

KINDS = ("task", "tokenizer", "body", "head")
_OWN = {"__main__", "click", "runpy", "typer", "xmodal"}
"""Modules in whose frames alone no plugin has a hand."""


class Options(BaseModel):
    """What a recipe may say about something: strict types, no unknown keys, immutable, documented field by field."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True)
class Entry:
    """Where a component lives, as `module:Name`.

    Attributes:
        options: its options, in a module that does not import torch.
        builds: the class or function that is called with these options.
        about: what it is, in a sentence, where several names share the options and so their text.
    """

    options: str
    builds: str
    about: str = ""


def load(reference: str) -> Any:
    """The object that `module:Name` refers to."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


def lookup(kind: str, table: Mapping[str, Entry], name: str) -> Entry | None:
    """The entry of that name, or None: in the table, under its prefix (`hf:` for `hf:org/model`), or of a plugin.

    Raises:
        UsageError: the plugin that has this name cannot be imported.
    """
    if name in table:
        return table[name]
    prefix, colon, _ = name.partition(":")
    if colon and prefix + colon in table:
        return table[prefix + colon]
    points = _points(kind).get(name)
    return _entry(kind, points) if points else None


def find(kind: str, table: Mapping[str, Entry], name: str, *, where: str = "") -> Entry:
    """The entry of that name.

    Raises:
        UsageError: there is none; the message lists those there are. Or it is a plugin's, and cannot be imported.
    """
    if entry := lookup(kind, table, name):
        return entry
    known = [*table, *plugins(kind)]
    raise UsageError(
        f"no {kind} '{name}'{did_you_mean(name, known)}",
        where=where,
        why=f"known: {', '.join(known)}",
        fix=f"xmodal list {plural(kind)} shows what each one is",
    )


def build(kind: str, table: Mapping[str, Entry], name: str, *given: Any, **said: Any) -> Any:
    """Calls what the entry of that name builds.

    Raises:
        UsageError: there is no such entry, or it is a plugin's, and what it builds cannot be imported.
    """
    entry = find(kind, table, name)
    try:
        builds = load(entry.builds)
    except (Exception, SystemExit) as error:
        if entry in table.values():
            raise
        raise _refused(kind, plugins(kind)[name], entry.builds, error) from error
    return builds(*given, **said)


def plural(kind: str) -> str:
    """`bodies` for `body`, and so on."""
    return "bodies" if kind == "body" else kind + "s"


def plugins(kind: str) -> dict[str, EntryPoint]:
    """What installed packages add under the entry points `xmodal.bodies`, `xmodal.tasks`, ...; nothing is imported."""
    return {name: points[0] for name, points in _points(kind).items()}


def _points(kind: str) -> dict[str, list[EntryPoint]]:
    """By name; several where packages add different things under one. One package may be found twice on the path."""
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for point in sorted(entry_points(group=f"xmodal.{plural(kind)}"), key=lambda p: p.name):
        found.setdefault(point.name, {}).setdefault((_package(point), point.value), point)
    return {name: list(points.values()) for name, points in found.items()}


def _entry(kind: str, points: list[EntryPoint]) -> Entry:
    point = points[0]
    if len(points) > 1:
        raise UsageError(
            f"several packages add the {kind} '{point.name}'",
            where=point.value,
            why=f"they are {', '.join(f'{_package(one)} ({one.value})' for one in points)}",
            fix="uninstall all of them but one",
        )
    options, at = None, point.value
    try:
        entry = point.load()
        if isinstance(entry, Entry):
            at = entry.options
            options = load(at)
    except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
        raise _refused(kind, point, at, error) from error
    if not isinstance(entry, Entry):
        raise UsageError(
            f"the plugin {kind} '{point.name}' is a {type(entry).__name__}, not an Entry",
            where=point.value,
            fix='point it at Entry(options="module:Options", builds="module:Class")',
        )
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise UsageError(
            f"the options of the plugin {kind} '{point.name}' are no Options",
            where=point.value,
            why=f"it names {entry.options}, and a recipe is checked by its options before anything is built",
            fix="name a class that is derived from xmodal.components.Options, or from a set of options that is",
        )
    return entry


def _refused(kind: str, point: EntryPoint, at: str, error: BaseException) -> UsageError:
    why = f"{type(error).__name__}: {error}".removesuffix(": ")
    fix = f"mend or uninstall {_package(point)}"
    return UsageError(f"the plugin {kind} '{point.name}' cannot be imported", where=at, why=why, fix=fix)


def made_by(kind: str, name: str) -> str:
    """The package whose plugin has that name."""
    return _package(plugins(kind)[name])


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else f"the package with {point.module}"


def _top(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def blame(error: BaseException) -> XmodalError | None:
    """What a plugin's own code raised, said of the plugin; None where no plugin had a hand in it. Exit code 1."""
    frames = [(frame, line, _top(frame)) for frame, line in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, XmodalError) or {top for _, _, top in frames} <= _OWN:
        return None  # before packages are looked through: every command ends by SystemExit
    adds: dict[str, list[tuple[str, EntryPoint]]] = {}
    for kind in KINDS:
        for point in plugins(kind).values():
            adds.setdefault(point.module.partition(".")[0], []).append((kind, point))
    for frame, line, top in reversed(frames):
        if added := adds.get(top):
            names = " and ".join(f"the {kind} '{point.name}'" for kind, point in added)
            text = f"{type(error).__name__}: {error}".removesuffix(": ")
            return XmodalError(
                f"the plugin with {names} raises {text}",
                where=f"{frame.f_code.co_filename}:{line}",
                fix=f"mend it there, or uninstall {_package(added[0][1])}",
            )
    return None
