"""What there is, and whether it is on this machine. Reads tables and folders; only a body's size needs torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from xmodal import sources
from xmodal.bodies import body_options, sites, skeleton
from xmodal.bodies.anatomy import apart
from xmodal.bodies.options import BodyOptions
from xmodal.components import lookup, plugins, plural
from xmodal.errors import UsageError, did_you_mean
from xmodal.papers import library as papers
from xmodal.papers.library import shown
from xmodal.recipe import load_recipe
from xmodal.recipe.schema import COMPONENTS, options_class
from xmodal.recipe.source import shipped
from xmodal.tasks.options import TaskOptions

SECTIONS = {"tasks": "task", "tokenizers": "tokenizer", "bodies": "body", "heads": "head"}
_KINDS: dict[str, sources.Kind] = {"task": "data", "body": "bodies"}
_SOURCES: dict[sources.Kind, Mapping[str, sources.BodySource | sources.DataSource]]
_SOURCES = {"bodies": sources.BODIES, "data": sources.DATA}
_SIZES = ("family", "width", "depth", "heads", "inner", "causal")
Rows = list[tuple[str, ...]]


def listing(kind: str) -> tuple[tuple[str, ...], Rows]:
    """Columns and rows of `xmodal list KIND`."""
    if kind == "recipes":
        recipes = [(name, load_recipe(path)) for name, path in shipped().items()]
        return ("name", "task", "body", "freeze"), [
            (name, r.task.name, f"{r.body.name} ({r.body.init})", r.freeze) for name, r in recipes
        ]
    if kind == "papers":
        return ("table", "what", "columns", "cells with a recipe"), [
            (
                found.name,
                found.table.about + (", in steps" if found.table.unit == "steps" else ""),
                ", ".join(found.table.columns),
                f"{found.reproducible()} of {len(found.table.rows) * len(found.table.columns)}",
            )
            for found in papers.tables()
        ]
    section = SECTIONS[kind]
    rows = [(_shown(name), _summary(section, name), *_whereabouts(section, name)) for name in COMPONENTS[section]]
    rows += [_plugin(section, name) for name in plugins(section)]
    return ("name", "what", *(("on this machine",) if section in ("task", "body") else ())), rows


def _plugin(section: str, name: str) -> tuple[str, ...]:
    """The row of a component that another package adds; one that cannot be imported says so."""
    origin = ("in a plugin",) if section in _KINDS else ()
    if name in COMPONENTS[section]:
        return (name, "a plugin that is never reached: xmodal has this name itself", *origin)
    try:
        return (name, _summary(section, name), *origin)
    except UsageError as error:
        return (name, ": ".join(filter(None, (error.what, error.why))), *origin)


def _shown(name: str) -> str:
    return name + "NAME" if name.endswith(":") else name


def _summary(section: str, name: str) -> str:
    if section == "body" and name in sources.BODIES:
        return sources.BODIES[name].about
    if (entry := lookup(section, COMPONENTS[section], name)) and entry.about:
        return entry.about
    if section == "task" and (source := sources.DATA.get(_stored(section, name))):
        return source.about
    options = options_class(section, name)
    assert options is not None
    return (options.__doc__ or "").split("\n")[0].rstrip(".")


def _whereabouts(section: str, name: str) -> tuple[str, ...]:
    kind = _KINDS.get(section)
    if kind is None:
        return ()
    stored = _stored(section, name)
    source = _SOURCES[kind].get(stored)
    command = sources.command(kind, _shown(stored)) + ("" if source and source.package else ", from the hub")
    if name.endswith(":"):
        return (command,)
    if stored not in _SOURCES[kind] and ":" not in stored:
        options = options_class(section, name)
        fields = options.model_fields if options and section == "task" else {}
        own = "path" in fields and fields["path"].is_required()
        hub = f"{sources.command(kind, 'hub:NAME')}, from the hub"
        return (hub if "dataset" in fields else "your own files" if own else "made here",)
    status = sources.status(kind, stored)
    return ({"here": "yes", "missing": f"no: {command}", "damaged": f"damaged, with --force: {command}"}[status],)


def _stored(section: str, name: str) -> str:
    """The name under which the cache keeps what a component needs."""
    options = options_class(section, name)
    return options.model_construct(name=name).stored if options and issubclass(options, TaskOptions) else name


def refuse_at_hand(section: str, name: str) -> None:
    """Nothing, unless there is nothing to fetch for this task or body.

    Raises:
        UsageError: it is made here, or reads the user's own files; or a plugin adds it.
    """
    kind = _KINDS[section]
    if name in _SOURCES[kind] or ":" in name or not lookup(section, COMPONENTS[section], name):
        return
    stored = _stored(section, name)
    (place,) = ("in a plugin",) if name in plugins(section) else _whereabouts(section, name)
    if stored in _SOURCES[kind]:
        what, why, fix = f"no data set '{name}'", f"the task {name} reads {stored}", sources.command(kind, stored)
    else:
        what, why = f"there is nothing to get for '{name}'", f"xmodal list {plural(section)} says of it: {place}"
        fix = f"xmodal show {name} says what it takes"
    raise UsageError(what, where=sources.command(kind, name), why=why, fix=fix)


def refuse_other_body(name: str, folder: Path) -> None:
    """Nothing, if the files in a folder can be those of the body `name`.

    Raises:
        UsageError: they have other sizes, or an architecture that nothing here builds.
    """
    here = body_options(name, path=str(folder)).whole()
    if ":" in name:
        return
    if other := apart(here, body_options(name).whole(), _SIZES):
        where, fix = sources.command("bodies", name), "give the files of that body; those of others go in body.path"
        raise UsageError(f"the files are not those of {name}", where=where, why=", ".join(other), fix=fix)


def details(name: str) -> Iterator[tuple[str, tuple[str, ...], Rows]]:
    """Tables (title, columns, rows) of `xmodal show NAME`.

    Raises:
        UsageError: nothing has that name.
    """
    if name not in shipped() and name.partition("/")[0] in papers.papers():
        yield from _paper(name)
        return
    sections = [section for section, table in COMPONENTS.items() if lookup(section, table, name)]
    if name.endswith(":"):
        raise UsageError(f"'{name}' is the start of a name", fix=f"xmodal show {name}NAME")
    if not sections:
        if name in shipped():
            raise UsageError(
                f"'{name}' is a recipe, not a component",
                fix=f"xmodal explain {name} shows what it trains, xmodal check {name} whether it is right",
            )
        known = [word for table in COMPONENTS.values() for word in table]
        raise UsageError(f"nothing is called '{name}'{did_you_mean(name, known)}", fix="xmodal list bodies, and so on")
    for section in sections:
        options = options_class(section, name)
        assert options is not None
        yield f"{section} {name}", ("", ""), [("what", " ".join((options.__doc__ or "").split()))]
        kind = None if name.endswith(_shown(":")) else _KINDS.get(section)  # NAME stands for any
        if issubclass(options, BodyOptions) and kind:
            yield "architecture", ("", ""), _architecture(name, options)
        stored = _stored(section, name)
        if kind and (stored in _SOURCES[kind] or ":" in stored):
            facts = [*_provenance(kind, stored), ("on this machine", *_whereabouts(section, name))]
            yield "source", ("", ""), [fact for fact in facts if fact[1]]
        rows = [
            (
                key,
                "required" if field.is_required() else "null" if field.default is None else str(field.default),
                " ".join((field.description or "").split()),
            )
            for key, field in options.model_fields.items()
        ]
        yield "options", ("key", "default", "meaning"), rows


def _paper(name: str) -> Iterator[tuple[str, tuple[str, ...], Rows]]:
    """Of a paper what it is and its tables; of a table its cells."""
    paper = papers.papers()[name.partition("/")[0]]
    facts = [
        ("title", paper.title),
        ("authors", paper.authors),
        ("source", paper.source),
        ("numbers", paper.provenance),
    ]
    if "/" not in name:
        yield f"paper {name}", ("", ""), [*facts, *(("finding", said) for said in paper.findings)]
        yield "protocol", ("", ""), list(paper.protocol.items())
        rows = [(table.name, table.table.about) for table in papers.tables() if table.paper is paper]
        yield "tables", ("table", "what"), rows
        return
    found = papers.find_table(name)
    table = found.table
    unit = "steps" if table.unit == "steps" else "test accuracy in percent"
    yield name, ("", ""), [("what", table.about), ("unit", unit), ("in the transcription", table.key), *facts[2:]]
    cells = [
        (
            f"{row} on {column}",
            shown(*found.theirs(row, column)),
            found.recipe_of(row, column) or "",
            *_how(found, row, column),
        )
        for column in table.columns
        for row in table.rows
    ]
    yield "cells", ("cell", ">theirs", "recipe", "note"), cells


def _how(found: papers.Found, row: str, column: str) -> tuple[str]:
    own = found.table.rows[row].set
    return ("; ".join(filter(None, (" ".join(f"-o {text}" for text in own), found.note_of(row, column)))),)


def _provenance(kind: sources.Kind, stored: str) -> Rows:
    """Whose it is, where it comes from, and, if it is here, by which way it came."""
    facts: Rows = []
    if source := _SOURCES[kind].get(stored):
        body = isinstance(source, sources.BodySource)
        official = f"the Hugging Face hub: {source.hub}" if body else f"torchvision: {source.official}"
        package = f"{source.package.client}: {source.package.wanted}" if source.package else ""
        facts += [
            ("about", source.about),
            ("licence", source.licence),
            ("official", "" if body and not source.hub else official),
            ("registry", package),
            ("caution", "; ".join(source.cautions)),
        ]
    elif kind == "bodies":
        facts += [("licence", _licence(stored)), ("caution", "not looked at by us: read its model card first")]
    if sources.status(kind, stored) == "here":
        place = sources.folder(kind, stored)
        facts += [("came from", sources.provenance(place).get("origin", "")), ("lies in", str(place))]
    return facts


def _licence(name: str) -> str:
    """What timm says of a model of its own, without the network; of others only the hub knows."""
    maker, _, model = name.partition(":")
    if maker == "timm":
        import timm

        if (found := timm.get_pretrained_cfg(model)) and found.license:
            return found.license
    return "its model card on the hub says"


def _architecture(name: str, options: type[BodyOptions]) -> Rows:
    anatomy = options(name=name).anatomy()
    parts: dict[str, set[str]] = {}
    for site in sites(options(name=name)):
        parts.setdefault(site.role, set()).add(site.part)
    roles = [f"{role}{'.' + ' .'.join(sorted(own)) if own != {''} else ''}" for role, own in parts.items()]
    # The only thing here that needs torch: the shapes of all tensors, on the meta device.
    sizes = Counter[bool]()
    for site, parameter in skeleton(options(name=name)).claims():
        sizes[site.used] += parameter.numel()
    unused = f", {sizes[False]:,} of them never used" if sizes[False] else ""
    facts = {
        "parameters": f"{sizes.total():,}{unused}",
        "blocks": anatomy.depth,
        "width": anatomy.width,
        "attention heads": anatomy.heads,
        "feed-forward width": anatomy.inner,
        "tokens of its own": anatomy.prefix,
        "context": f"{anatomy.context} tokens" if anatomy.context else "not limited",
        "attention": "causal" if anatomy.causal else "bidirectional",
        "layer norm eps": anatomy.eps,
        "roles and parts": ", ".join(roles),
    }
    return [(key, str(value)) for key, value in facts.items()]
