"""What a stranger installs: the sdist and the wheel, what is in them, and that the wheel works away from the clone."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

import xmodal
from xmodal.recipe.source import shipped

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def release() -> Any:
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(release: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it."""
    return {file.suffix: file for file in release.build(ROOT, tmp_path_factory.mktemp("dist"))}


@pytest.fixture(scope="module")
def installed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a new environment with the wheel; it sees the dependencies of this one, not its xmodal:
    what an editable install adds to the path is not followed from there."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", built[".whl"]], check=True)
    return place / "bin"


def away(installed: Path, folder: Path, *words: str | Path) -> str:
    """What a command of the new environment prints, in a folder that knows nothing of the clone."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    command = [installed / words[0], *words[1:]]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_what_runs_and_no_more(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built[".whl"]) as wheel:
        names = set(wheel.namelist())
    info = f"xmodal-{VERSION}.dist-info"
    assert {name.split("/")[0] for name in names} == {"xmodal", info}
    assert {f"{info}/licenses/LICENSE", f"{info}/entry_points.txt", "xmodal/py.typed"} <= names
    here = {f"xmodal/recipes/{name}.yaml" for name in shipped()}
    assert len(here) > 100
    assert {name for name in names if name.startswith("xmodal/recipes/")} == here
    package = ROOT / "xmodal"
    own = {file.relative_to(ROOT).as_posix() for file in package.rglob("*") if file.is_file()}
    own = {name for name in own if "__pycache__" not in name}
    assert {name for name in names - here if name.startswith("xmodal/")} == own
    assert {"xmodal/papers/lu2021.yaml", "xmodal/papers/rothermel2021.yaml", "xmodal/papers/cpu.yaml"} <= own
    assert {"xmodal/report/page.html.j2", "xmodal/report/page.css"} <= own


def test_the_sdist_holds_the_tree_and_no_more(built: dict[str, Path]) -> None:
    with tarfile.open(built[".gz"]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {"CHANGELOG.md", "LICENSE", "Makefile", "README.md", "docs/hooks.py", "tests/conftest.py"}
    assert wanted | {"recipes/quickstart.yaml", "benchmarks/studies/quickstart-ffn/study.json"} <= names
    folders = {name.split("/")[0] for name in names if "/" in name}
    assert folders == {".ci", "benchmarks", "docs", "recipes", "tests", "xmodal"}
    assert [name for name in names if re.search(r"__pycache__|(^|/)(runs|site|dist|\.venv)/", name)] == []


def test_a_wheel_built_from_the_tree_is_the_one_built_from_the_sdist(built: dict[str, Path], tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, ROOT], check=True)
    (direct,) = tmp_path.iterdir()
    with zipfile.ZipFile(direct) as one, zipfile.ZipFile(built[".whl"]) as other:
        assert {(i.filename, i.CRC) for i in one.infolist()} == {(i.filename, i.CRC) for i in other.infolist()}


def test_the_metadata_are_what_an_index_takes(built: dict[str, Path]) -> None:
    check = [sys.executable, "-m", "twine", "check", "--strict", *built.values()]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_installed_package_is_the_wheel(installed: Path, tmp_path: Path) -> None:
    script = "import xmodal; print(xmodal.__file__, xmodal.__version__)"
    file, said = away(installed, tmp_path, "python", "-c", script).split()
    assert Path(file).is_relative_to(installed.parent)
    assert said == VERSION
    assert away(installed, tmp_path, "xmodal", "--version") == f"xmodal {VERSION}\n"
    assert "ablate" in away(installed, tmp_path, "xmodal", "--help")


def test_shipped_recipes_are_found_and_run_away_from_the_clone(installed: Path, tmp_path: Path) -> None:
    listed = json.loads(away(installed, tmp_path, "xmodal", "list", "recipes", "--json"))
    assert {row["name"] for row in listed} == set(shipped())
    assert away(installed, tmp_path, "xmodal", "check", "quickstart").startswith("quickstart: ok")
    assert json.loads(away(installed, tmp_path, "xmodal", "train", "quickstart", "--tiny", "--json"))["tiny"] is True
    words = ("-o", "body.init=random", "-o", "train.steps=2", "--json")
    result = json.loads(away(installed, tmp_path, "xmodal", "train", "quickstart", *words))
    assert (result["status"], result["tiny"], result["steps"]) == ("done", False, 2)
    away(installed, tmp_path, "xmodal", "report", "runs", "--html", "report.html")
    assert "quickstart" in (tmp_path / "report.html").read_text()
    (lock, *_) = tmp_path.rglob("recipe.lock.yaml")
    assert f"xmodal: {VERSION}\n" in lock.read_text()


# The version


def test_the_version_is_said_once() -> None:
    assert xmodal.__version__ == version("xmodal") == VERSION, "pyproject.toml has changed: run make .venv"
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", VERSION)
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_tag_says_what_pyproject_says(release: Any) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is no clone, so it has no tags")
    assert [fault for fault in release.tag_faults(ROOT, VERSION) if "this commit" in fault] == []


# What a release needs


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A clone that may be released."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-31\n")
    (tmp_path / "CITATION.cff").write_text("title: it\nversion: 1.2.0\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, "-C", folder, *words], check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "one")


def test_a_tree_that_is_ready_has_no_fault(tree: Path, release: Any) -> None:
    assert list(release.faults_of(tree)) == []
    git(tree, "tag", "v1.2.0")
    assert list(release.faults_of(tree)) == []


def test_every_fault_of_a_tree_is_named(tree: Path, release: Any) -> None:
    (tree / "pyproject.toml").write_text('[project]\nversion = "1.3.0"\n')
    git(tree, "tag", "v1.2.0")
    words = (
        "is not clean: 1 file",
        "CHANGELOG.md has no section '## [1.3.0]",
        "CITATION.cff",
        "tagged v1.2.0",
    )
    found = list(release.faults_of(tree))
    assert len(found) == len(words)
    assert [word for word, fault in zip(words, found, strict=True) if word not in fault] == []


def test_a_version_is_released_once(tree: Path, release: Any) -> None:
    git(tree, "tag", "v1.2.0")
    commit(tree)
    (fault,) = release.faults_of(tree)
    assert fault.startswith("the tag v1.2.0 is on another commit")


KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog\n")
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    dated = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)( \[YANKED\])?", line) for line in versions[1:]]
    assert all(dated), versions
    dates = [match[2] for match in dated if match]
    numbers = [tuple(map(int, match[1].split("."))) for match in dated if match]
    assert dates == sorted(dates, reverse=True)
    assert numbers == sorted(set(numbers), reverse=True)
    for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds]
