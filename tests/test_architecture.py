"""Rules that keep the package readable: which way imports point, how long files are, what is forbidden."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

import xmodal
from xmodal import errors

PACKAGE = Path(xmodal.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
RECIPE = PACKAGE.parent / "recipes" / "quickstart.yaml"

ORDER = (
    "types", "tensors", "errors", "paths", "seeds", "components", "sources", "tasks", "tokenizers", "bodies", "freeze",
    "heads", "recipe", "assemble", "engine", "run", "trackers", "study", "report", "papers",
    ("bench", "inventory", "console"), "api", "cli", "pytest_plugin", "__main__",
)  # fmt: skip
RANK = {name: rank for rank, names in enumerate(ORDER) for name in ((names,) if isinstance(names, str) else names)}
REFERENCE = re.compile(r"xmodal\.[\w.]+:\w+")
LONGEST, MEDIAN = 400, 150
# Modules that one file alone may import.
RESERVED = {"rich": "console", "typer": "cli"}
PICKLES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
SAFE_LOADERS = {"SafeLoader", "CSafeLoader"}
ERRORS = {
    name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, errors.XmodalError)
}


def concept(file: Path) -> str:
    """The part of the package that a file belongs to: a folder, or a module of its own."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def guarded(tree: ast.AST) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING`; its `else` does run."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each import that runs, in functions too; `"xmodal.module:Name"` in a table is one."""
    skipped = guarded(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from xmodal import freeze` imports xmodal.freeze.
            yield from ((node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and REFERENCE.fullmatch(node.value):
            yield node.lineno, node.value.replace(":", ".")


def upward(tree: ast.AST, own: str) -> Iterator[str]:
    """Imports of a file of the concept `own` that point the wrong way."""
    for line, name in imports(tree):
        if name.startswith("."):
            yield f"line {line}: relative import {name}"
        elif name.split(".")[0] == "xmodal":
            other = name.split(".")[1] if "." in name else "xmodal"
            if other not in RANK:
                yield f"line {line}: {name} is in no known part of the package"
            elif other != own and RANK[other] >= RANK[own]:
                yield f"line {line}: {own} imports {other}"


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public names without a docstring: the module, classes, functions, and methods of public classes."""
    if not ast.get_docstring(tree):
        yield "the module"
    yield from _undocumented(tree, "")


def _undocumented(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            overloaded = any("overload" in ast.unparse(decorator) for decorator in child.decorator_list)
            if not ast.get_docstring(child) and not overloaded:
                yield prefix + child.name
            if isinstance(child, ast.ClassDef):
                yield from _undocumented(child, f"{prefix}{child.name}.")


def forbidden(tree: ast.AST, own: str) -> Iterator[str]:
    """What no file may do, and what only one file may."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for root in (name.partition(".")[0] for name in names):
                if root in PICKLES:
                    yield f"line {node.lineno}: imports {root}"
                if own != RESERVED.get(root, own):
                    yield f"line {node.lineno}: only {RESERVED[root]} imports {root}"
        if isinstance(node, ast.Call):
            yield from _forbidden_call(node)
            # `sources.fetch` adds the ways to get what it cannot; a recipe's problems have fixes of their own.
            if own != "sources" and ast.unparse(node.func) in ERRORS - {"RecipeError"} and not _says_a_fix(node):
                yield f"line {node.lineno}: an error without a fix"
        if "trust_remote_code" in (getattr(node, "arg", None), getattr(node, "value", None), getattr(node, "id", None)):
            yield f"line {getattr(node, 'lineno', '?')}: trust_remote_code"


def _forbidden_call(call: ast.Call) -> Iterator[str]:
    called, words = ast.unparse(call.func), {word.arg: word.value for word in call.keywords}
    if called in ("print", "eval", "exec", "builtins.eval", "builtins.exec", "__import__"):
        yield f"line {call.lineno}: {called}()"
    if called == "torch.load" and ast.unparse(words.get("weights_only", ast.Constant(None))) != "True":
        yield f"line {call.lineno}: torch.load without weights_only=True"
    if called in ("yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all", "yaml.full_load_all"):
        yield f"line {call.lineno}: {called}"
    if called in ("yaml.load", "yaml.load_all"):
        loader = words.get("Loader") or (call.args[1] if len(call.args) > 1 else ast.Constant(None))
        if ast.unparse(loader).rpartition(".")[2] not in SAFE_LOADERS:
            yield f"line {call.lineno}: {called} with a loader that is not safe"


def _says_a_fix(call: ast.Call) -> bool:
    fixes = [word.value for word in call.keywords if word.arg == "fix"]
    return any(word.arg is None for word in call.keywords) or (
        bool(fixes) and ast.unparse(fixes[0]) not in ("''", "None")
    )


def faults(tree: ast.Module, own: str) -> list[str]:
    """All that is wrong with a file of the concept `own`."""
    return [*upward(tree, own), *(f"no docstring: {name}" for name in undocumented(tree)), *forbidden(tree, own)]


def test_there_are_files_to_look_at() -> None:
    assert len(FILES) > 40
    assert {concept(file) for file in FILES} - {"__init__"} == RANK.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_keeps_the_rules(file: Path) -> None:
    own = concept(file)
    tree = parse(file)
    if own == "__init__":
        # The lazy names: nothing of ours is imported when the package is.
        assert not [name for _, name in imports(tree) if name.startswith("xmodal")]
        own = "cli"
    assert faults(tree, own) == []


def test_files_are_short() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    tests = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in Path(__file__).parent.rglob("*.py")}
    assert [f"{file.name}: {length}" for file, length in (lengths | tests).items() if length > LONGEST] == []
    assert median(lengths.values()) <= MEDIAN


@pytest.mark.parametrize(
    ("own", "source", "said"),
    [
        ("freeze", "import xmodal.run.loop", "freeze imports run"),
        ("freeze", "from xmodal import recipe", "freeze imports recipe"),
        ("freeze", "def f():\n    from xmodal.assemble import assemble", "freeze imports assemble"),
        ("tasks", "T = Entry('xmodal.heads.options:MeanOptions')", "tasks imports heads"),
        ("bench", "from xmodal.console import out", "bench imports console"),
        ("tasks", "from . import bits", "relative import"),
        ("tasks", "from xmodal.motor import fast", "no known part"),
        ("tasks", "if TYPE_CHECKING:\n    pass\nelse:\n    import xmodal.cli", "tasks imports cli"),
        ("tasks", "class A:\n    '''.'''\n    def b(self): pass", "no docstring: A.b"),
        ("tasks", "", "no docstring: the module"),
        ("run", "import rich.console", "only console imports rich"),
        ("console", "def _f():\n    from typer import echo", "only cli imports typer"),
        ("run", "print(1)", "print()"),
        ("run", "eval('1')", "eval()"),
        ("run", "exec('1')", "exec()"),
        ("run", "from pickle import loads", "imports pickle"),
        ("run", "torch.load(file)", "torch.load without weights_only=True"),
        ("run", "torch.load(file, weights_only=False)", "torch.load without weights_only=True"),
        ("run", "yaml.load(text, Loader=yaml.Loader)", "not safe"),
        ("run", "yaml.load(text, yaml.FullLoader)", "not safe"),
        ("run", "yaml.load(text)", "not safe"),
        ("run", "yaml.unsafe_load(text)", "yaml.unsafe_load"),
        ("run", "load(name, trust_remote_code=True)", "trust_remote_code"),
        ("run", "options = {'trust_remote_code': True}", "trust_remote_code"),
        ("run", "raise UsageError('no', where='here')", "without a fix"),
        ("run", "raise DamagedError('no', fix='')", "without a fix"),
    ],
)
def test_the_rules_can_be_broken(own: str, source: str, said: str) -> None:
    assert any(said in fault for fault in faults(ast.parse(source), own))


@pytest.mark.parametrize(
    "source",
    [
        "'''.'''\nif TYPE_CHECKING:\n    from xmodal.cli import app",
        "'''.'''\nmodel.eval()\ntorch.load(file, weights_only=True)\nyaml.load(text, Loader=yaml.SafeLoader)",
        "'''.'''\nraise UsageError('no', fix='do this')",
        "'''.'''\nfrom xmodal.types import Site\ndef _f(): pass\nclass _A:\n    def b(self): pass",
    ],
)
def test_what_is_right_passes(source: str) -> None:
    assert faults(ast.parse(source), "freeze") == []


LIGHT = """
import atexit, json, runpy, sys
def tell():
    names = ("torch", "transformers", "torchvision", "timm", "huggingface_hub", "scipy", "matplotlib", "jinja2")
    heavy = [name for name in names if name in sys.modules]
    sys.stderr.write("\\n" + json.dumps(heavy) + "\\n")
atexit.register(tell)
"""
COMMANDS = [
    ["--help"],
    ["--version"],
    ["train", "--help"],
    ["export", "--help"],
    ["ablate", "--help"],
    ["report", "--help"],
    ["check", str(RECIPE)],
    ["schema"],
    ["list", "bodies"],
    ["show", "mnist"],
    ["show", "patch"],
    ["list", "papers"],
    ["show", "lu2021/table2"],
]


def loaded(code: str, *arguments: str) -> list[str]:
    """Which heavy packages a fresh process has loaded when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT + code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


def test_importing_loads_no_torch() -> None:
    assert loaded("import xmodal; xmodal.Recipe; xmodal.load; xmodal.XmodalError; xmodal.Spec") == []


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_light_command_loads_no_torch(arguments: list[str]) -> None:
    run = "sys.argv[0] = 'xmodal'; runpy.run_module('xmodal', run_name='__main__')"
    assert loaded(run, *arguments) == []


def test_a_public_name_keeps_its_meaning() -> None:
    # A submodule that is imported hides a public name of the package that is spelt the same.
    code = "import types; [getattr(xmodal, name) for name in xmodal.__all__]"
    code += "; assert not [n for n in xmodal.__all__ if isinstance(getattr(xmodal, n), types.ModuleType)], 'hidden'"
    loaded("import xmodal" + "; " + code)


def test_a_report_loads_no_more_than_it_draws_with() -> None:
    assert loaded("import xmodal.report.gather, xmodal.report.content, xmodal.report.files") == []


def test_a_heavy_package_would_be_noticed() -> None:
    assert loaded("import xmodal; xmodal.Batch") == ["torch"]
