"""YAML in, plain data out, and for every key the file and line that wrote it. Knows nothing of what a recipe may say.

Scalars follow the YAML 1.2 core schema: `no`, `on`, `0:6` and dates are text, `1e-3` is a number. A file cannot run
code, hang or fill the memory: tags are refused, and size, depth and the number of values have limits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from xmodal.errors import RecipeError, UsageError, did_you_mean

KeyPath = tuple[str | int, ...]  # ("train", "lr"), ("tags", 0); () is the whole recipe

MAX_SIZE, MAX_DEPTH, MAX_VALUES, MAX_DIGITS = 1_000_000, 50, 10_000, 100

_SCALARS = {
    "null": r"(?:null|Null|NULL|~|)\Z",
    "bool": r"(?:true|True|TRUE|false|False|FALSE)\Z",
    "int": r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z",
    "float": r"(?:[-+]?(?:(?:\.[0-9]+|[0-9]+\.?[0-9]*)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN))\Z",
    "merge": r"<<\Z",
}
_TAG = "tag:yaml.org,2002:"
_KINDS: dict[type, str] = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "null"}
_QUOTE = "indent with spaces, no tabs; quote text that holds ': ' or ' #' or begins with one of []{}&*!|>%@`"


@dataclass(frozen=True)
class Source:
    """A recipe as it was written, merged with what it extends and overridden, not yet checked against the schema.

    Attributes:
        data: plain dicts, lists, text, numbers, booleans and None.
        origins: where each key and list item was written: `recipes/x.yaml:9` or `-o train.lr`.
        files: the files that were read, the recipe first, then the ones it extends.
    """

    data: dict[str, Any]
    origins: Mapping[KeyPath, str]
    files: tuple[Path, ...]

    def where(self, path: KeyPath) -> str:
        """Where `path` was written; for a path that was not, the nearest one around it, at last the file.

        A mapping was written at its own line and by each override that reaches into it.
        """
        place = next((self.origins[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.origins), "")
        within = [where for key, where in self.origins.items() if path and key[: len(path)] == path]
        return ", ".join(dict.fromkeys([place, *(where for where in within if where.startswith("-o "))]))


def read(path: Path, overrides: Sequence[str] = (), *, over: str = "") -> Source:
    """The recipe at `path`, merged over what it extends; then each override, `train.lr=1e-3`, in turn.

    With `over`, the mapping under that key of the recipe is laid over it before the overrides.

    Mappings merge key by key and all else replaces, null too. A mapping with another `name` replaces the one below it
    whole: a component does not inherit the options of the one whose place it takes.

    Raises:
        RecipeError: every fault found in the recipe, in the files it extends and in the overrides.
    """
    problems = list[UsageError]()
    sources = _lineage(path, problems)
    data, origins = {}, dict[KeyPath, str]()
    for above in reversed(sources):
        data, origins = _merge(data, above.data, whole=False), {**origins, **above.origins}
    if isinstance(small := data.get(over), dict):
        moved = {path[1:]: where for path, where in origins.items() if path[:1] == (over,) and len(path) > 1}
        data, origins = _merge(data, deepcopy(small), whole=False), {**origins, **moved}
    for override in overrides:
        _override(data, origins, override, problems)
    return _source(data, origins, tuple(file for source in sources for file in source.files), problems)


def parse_text(text: str, label: str) -> Source:
    """The recipe in `text`, as if it stood in a file called `label`; an `extends` in it is a key like any other.

    Raises:
        RecipeError: every fault found.
    """
    reader = _Reader(label, [])
    return _source(reader.read(text), reader.origins, (), reader.problems)


def dump(data: Mapping[str, Any]) -> str:
    """Block-style YAML that `parse_text` reads back to the same data, keys in the given order.

    Raises:
        TypeError: something in `data` is neither dict, list, text, number, boolean nor None, or a key is not text.
    """
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9)


class _Dumper(yaml.SafeDumper):
    # Reading and writing share one table, so text that looks like a number is quoted exactly when it must be.
    yaml_implicit_resolvers = {None: [(_TAG + kind, re.compile(form)) for kind, form in _SCALARS.items()]}  # noqa: RUF012

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_data(self, data: Any) -> yaml.Node:
        if type(data) is str:
            return self.represent_scalar(_TAG + "str", data, style=None if data.isprintable() else '"')
        keys = data if type(data) is dict else ()
        if type(data) not in (dict, list, bool, int, float, type(None)) or any(type(key) is not str for key in keys):
            raise TypeError(f"a recipe holds plain data under keys of text, not {data!r}")
        return super().represent_data(data)


@dataclass
class _Reader:
    """Reads one YAML text: a file, or the value of an override, which has no lines and need not be a mapping."""

    label: str
    problems: list[UsageError]
    file: bool = True
    origins: dict[KeyPath, str] = field(default_factory=dict)
    anchors: dict[str | None, Any] = field(default_factory=dict)
    count: int = 0
    events: Any = None

    def read(self, text: str, path: KeyPath = ()) -> Any:
        """The data, noting the origins of `path` and all below it; {} when the text cannot be read."""
        try:
            if len(text) > MAX_SIZE:
                raise self.fault(0, f"over {MAX_SIZE:,} characters", "no recipe is so long", "give a recipe, not data")
            if bad := yaml.SafeLoader.NON_PRINTABLE.search(text):
                line, why = text.count("\n", 0, bad.start()), f"there is {bad[0]!a} in it"
                raise self.fault(line, "not printable UTF-8 text", why, "save the file as UTF-8")
            self.events = yaml.SafeLoader(text)
            return self.document(path)
        except UsageError:
            pass
        except (yaml.MarkedYAMLError, ValueError, OverflowError) as error:  # the last two: "\UFFFFFFFF", %YAML 1.99...
            problem, mark = getattr(error, "problem", "") or str(error), getattr(error, "problem_mark", self.events)
            why = getattr(error, "context", "") or "YAML has no such form"
            self.fault(mark.line, f"not valid YAML: {problem}", why, _QUOTE)
        return {}

    def document(self, path: KeyPath) -> Any:
        if not self.events.check_node():
            raise self.fault(0, "there is nothing in it", "it is blanks and comments", "write it, or null or {}")
        self.events.get_event()
        line, data = self.events.peek_event().start_mark.line, self.value(path)
        self.events.get_event()
        if self.events.check_node():
            more = self.events.peek_event().start_mark.line
            self.fault(more, "a second document begins", "a recipe is one document", "split the file at `---`")
        if self.file and not isinstance(data, dict):
            raise self.fault(line, f"this is {_kind(data)}", "a recipe is keys and values", "write `key: value` lines")
        return data

    def value(self, path: KeyPath) -> Any:
        event: Any = self.events.get_event()
        line = event.start_mark.line
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self.fault(line, f"*{event.anchor} stands for nothing", "no anchor ends above it", "spell it out")
            for part in _paths(self.anchors[event.anchor], path):
                self.enter(part, line)
            return deepcopy(self.anchors[event.anchor])
        self.enter(path, line)
        if event.tag is not None:
            self.fault(line, f"tag '{event.tag.removeprefix(_TAG)}' is refused", "a recipe is plain data", "delete it")
        if isinstance(event, yaml.ScalarEvent):
            data = self.scalar(event.value, line, plain=event.implicit[0])
        elif isinstance(event, yaml.MappingStartEvent):
            data = self.mapping(path)
        else:
            data = []
            while not self.events.check_event(yaml.SequenceEndEvent):
                data.append(self.value((*path, len(data))))
            self.events.get_event()
        self.anchors[event.anchor] = data
        return data

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not self.events.check_event(yaml.MappingEndEvent):
            event = self.events.peek_event()
            line, key = event.start_mark.line, self.value((*path, -1))
            new = isinstance(key, str) and key not in data
            value = self.value((*path, key if new else -1))
            if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                self.fault(line, "merge key '<<' is refused", "a recipe inherits in one way only", "use extends")
            elif not isinstance(key, str):
                self.fault(line, f"a key is text, and this is {_kind(key)}", "keys are names", 'quote it: "1": value')
            elif not new:
                self.fault(line, f"key '{key}' stands here again", f"first: {self.origins[(*path, key)]}", "delete one")
            else:
                data[key], self.origins[(*path, key)] = value, self.at(line)
        self.events.get_event()
        return data

    def scalar(self, text: str, line: int, *, plain: bool) -> str | int | float | bool | None:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # "\ud83d\ude00", JSON's way
        match next((kind for kind, form in _SCALARS.items() if plain and re.match(form, text)), "text"):
            case "null" | "bool":
                return {"t": True, "f": False}.get(text[:1].lower())
            case "float":
                return float(re.sub(r"\.([in])", r"\1", text.lower()))
            case "int" if len(text.lstrip("+-")) <= MAX_DIGITS:
                return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            case "int":
                self.fault(line, f"{text[:20]}... is too large", f"over {MAX_DIGITS} digits", "correct it, or quote it")
            case _ if re.search("[\ud800-\udfff]", text):
                self.fault(line, "half a surrogate pair", "it is no character", "write the whole character itself")
        return text

    def enter(self, path: KeyPath, line: int) -> None:
        """Note where `path` is; a limit on values, each alias counting as all it stands for, ends what multiplies."""
        self.origins[path] = self.at(line) if path else self.label
        self.count += 1
        if len(path) > MAX_DEPTH or self.count > MAX_VALUES:
            what = f"nested more than {MAX_DEPTH} deep" if len(path) > MAX_DEPTH else f"more than {MAX_VALUES:,} values"
            raise self.fault(line, what, "no recipe is; an alias counts as all it stands for", "make it short and flat")

    def at(self, line: int) -> str:
        return f"{self.label}:{line + 1}" if self.file else self.label

    def fault(self, line: int, what: str, why: str, fix: str) -> UsageError:  # noted; raise it to stop reading
        self.problems.append(UsageError(what, where=self.at(line), why=why, fix=fix))
        return self.problems[-1]


def shipped() -> dict[str, Path]:
    """Shipped recipes by name: `recipes/` of the repository, or its copy in the installed package.

    A family has a folder of its own, and its name in front: `lu2021/listops_fpt`.
    """
    package = Path(__file__).resolve().parents[1]
    folder = package / "recipes" if (package / "recipes").is_dir() else package.parent / "recipes"
    names = {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.yaml")}
    return dict(sorted(names.items()))


def shipped_as(word: str) -> Path | None:
    """The shipped recipe that `word` means, if one does: its file, or the name that it gives itself, as in
    `lu2021/mnist_fpt` or `lu2021-mnist-fpt`."""
    name = word.replace("-", "_")
    return next((path for known, path in shipped().items() if name in (known, known.replace("/", "_"))), None)


def _lineage(path: Path, problems: list[UsageError]) -> list[Source]:
    """The recipe and its ancestors, as far as they can be read, each without its `extends`."""
    sources, asked = list[Source](), ""
    while True:
        try:
            if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
                raise ValueError("it is neither a file nor a folder")  # a pipe would wait for its writer
            with path.open(encoding="utf-8", errors="surrogateescape") as file:
                text = file.read(MAX_SIZE + 1)
        except (OSError, ValueError) as error:  # ValueError: a null character in the name
            there = {file.stem: file for file in path.parent.glob("*.yaml")} if os.path.isdir(path.parent) else {}
            near = [] if os.path.exists(path) else get_close_matches(path.stem, sorted(there), n=1)
            hint = (
                f"; did you mean '{there[near[0]]}'?" if near else did_you_mean(path.stem, shipped() if asked else ())
            )
            what = f"cannot read {path}{hint}"
            why = getattr(error, "strerror", None) or str(error)
            fix = "give a YAML file that is there" + (", or the name of a shipped recipe" if asked else "")
            problems.append(UsageError(what, where=asked, why=why, fix=fix))
            break
        if any(path.samefile(source.files[0]) for source in sources):
            why = " -> ".join([*(str(source.files[0]) for source in sources), str(path)])
            problems.append(UsageError("it extends itself", where=asked, why=why, fix="delete one `extends` of these"))
            break
        reader = _Reader(str(path), problems)
        sources.append(Source(reader.read(text), reader.origins, (path,)))
        if "extends" not in (data := sources[-1].data):
            break
        asked, parent = reader.origins[("extends",)], data.pop("extends")
        if not isinstance(parent, str):
            why, fix = f"this is {_kind(parent)}", "write `extends: other.yaml`"
            problems.append(UsageError("extends takes one file", where=asked, why=why, fix=fix))
            break
        path = path.parent / parent
        if not Path(parent).suffix and not os.path.isfile(path):
            path = shipped_as(parent) or path
    return sources


def _merge(below: Any, above: Any, *, whole: bool = True) -> Any:
    """`above` over `below`; with `whole`, another `name` replaces everything (the name of a recipe does not)."""
    both = isinstance(below, dict) and isinstance(above, dict)
    if not both or (whole and "name" in below and below["name"] != above.get("name", below["name"])):
        return above
    return {**below, **above, **{key: _merge(below[key], part) for key, part in above.items() if key in below}}


def _override(data: dict[str, Any], origins: dict[KeyPath, str], text: str, problems: list[UsageError]) -> None:
    """Set one `key.key=value` in `data`, and its origins."""
    key, equals, written = text.partition("=")
    path, where = tuple(key.strip().split(".")), f"-o {key.strip()}"
    if not equals or not all(path) or path[0] == "extends":
        why = "there is no '='" if not equals else "a key is missing" if not all(path) else "only a file can extend"
        return problems.append(UsageError("an override is KEY=VALUE", where=where, why=why, fix="say -o train.lr=1e-3"))
    for depth, name in enumerate(path[:-1], 1):
        if name not in data:
            data[name], origins[path[:depth]] = {}, where
        if not isinstance(data[name], dict):
            whole, why = ".".join(path[:depth]), f"it was set at {origins[path[:depth]]}"
            what, fix = f"{whole} is {_kind(data[name])} and has no keys", f"give all of it: -o '{whole}={{...}}'"
            return problems.append(UsageError(what, where=where, why=why, fix=fix))
        data = data[name]
    value = _Reader(where, problems, file=False, origins=origins).read(written, path)
    data[path[-1]] = _merge(data.get(path[-1]), value)
    return None


def _paths(data: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    yield path
    for key, part in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from _paths(part, (*path, key))


def _source(data: Any, origins: dict[KeyPath, str], files: tuple[Path, ...], problems: list[UsageError]) -> Source:
    if problems:
        raise RecipeError(problems)
    return Source(data, {path: origins[path] for path in _paths(data)}, files)


def _kind(data: object) -> str:
    return _KINDS.get(type(data), "a number")
