"""The how-to "Add a body", done as its page says, in a folder of its own; and plugins that are broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from built import install

from xmodal.bodies.conformance import CHECKS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "add-a-body.md"
BLOCK = re.compile(r'^```\w+ title="([\w.]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)


FAULTY = """
from typing import Literal
from xmodal.bodies.anatomy import Anatomy
from xmodal.bodies.options import BodyOptions
from xmodal.components import Entry

class Options(BodyOptions):
    "A body whose code is wrong."
    name: Literal["quits", "raises", "unbuilt"]
    "Which fault."
    def whole(self):
        return Anatomy("gpt2", width=8, depth=1, causal=True, heads=1, inner=8, vocabulary=8)

def raises(options):
    return {}[options.name]

def quits(options):
    raise SystemExit

QUITS = Entry("faulty_bodies:Options", "faulty_bodies:quits")
RAISES = Entry("faulty_bodies:Options", "faulty_bodies:raises")
UNBUILT = Entry("faulty_bodies:Options", "faulty_bodies:Absent")
UNOPTIONED = Entry("faulty_bodies:quits", "faulty_bodies:raises")
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package whose bodies can be listed, and are wrong."""
    target = tmp_path_factory.mktemp("faulty")
    (target / "faulty_bodies.py").write_text(FAULTY)
    info = target / "faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    points = [f"{word} = faulty_bodies:{word.upper()}" for word in ("quits", "raises", "unbuilt", "unoptioned")]
    (info / "entry_points.txt").write_text("\n".join(["[xmodal.bodies]", *points, ""]))
    return target


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's package, as pip would install it, and two broken ones beside it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    install(PAGE, source, target)
    for word, value in (("absent", "no_such_module:ENTRY"), ("wrong", "json:dumps")):
        info = target / f"broken_{word}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: broken-{word}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[xmodal.bodies]\n{word} = {value}\n")
    return target


def xmodal(installed: Path, *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "xmodal", *words], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_the_file_is_short_and_one() -> None:
    ((name, text), *_) = BLOCK.findall(PAGE.read_text())
    code = [line for line in text.splitlines() if line.strip()]
    assert name == "xmodal_neox.py"
    assert len(code) <= 60


def test_the_body_of_the_page_passes_the_suite(installed: Path) -> None:
    done = xmodal(installed, "check", "body", "pythia-14m")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("pythia-14m: ok, ") == len(CHECKS)


def test_the_body_of_the_page_is_explained_and_trains(installed: Path, tmp_path: Path) -> None:
    done = xmodal(installed, "explain", "--body", "pythia-14m", "--freeze", "body - ln", "--json")
    assert json.loads(done.stdout)["counts"]["trainable"] == 13 * 2 * 128
    body = 'body={name: pythia-14m, init: random, layers: "0:1"}'
    words = ("-o", body, "-o", "freeze=body - ln", "-o", "train.steps=2", "--out", str(tmp_path), "--json")
    done = xmodal(installed, "train", "quickstart", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "done"


def test_its_hidden_states_are_those_of_transformers(installed: Path, tmp_path: Path) -> None:
    script = """
import torch
from transformers import GPTNeoXConfig, GPTNeoXModel
from xmodal.bodies.weights import build_body
from xmodal.tensors import Tokens
from xmodal_neox import NeoXOptions
model = GPTNeoXModel(GPTNeoXConfig(vocab_size=50304, hidden_size=128, num_hidden_layers=6, num_attention_heads=4,
    intermediate_size=512, layer_norm_eps=1e-5, attention_dropout=0.0, hidden_dropout=0.0)).eval()
model.save_pretrained("model")
body = build_body(NeoXOptions(name="pythia-14m", path="model"), 0).body.eval()
values = torch.randn(2, 9, 128)
with torch.no_grad():
    ours = body(Tokens(values, torch.ones(2, 9, dtype=torch.bool), padded=False))
    print(float((ours - model(inputs_embeds=values).last_hidden_state).abs().max()))
"""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1e-5


def test_it_starts_pretrained_from_a_folder_and_is_planned_on_the_librarys_own_model(
    installed: Path, tmp_path: Path
) -> None:
    script = """
from transformers import GPTNeoXConfig, GPTNeoXModel
import xmodal
model = GPTNeoXModel(GPTNeoXConfig(vocab_size=50304, hidden_size=128, num_hidden_layers=6, num_attention_heads=4,
    intermediate_size=512, layer_norm_eps=1e-5))
model.save_pretrained("model")
plan = xmodal.plan(model, "body - ln")
plan.apply()
print(sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad))
"""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 13 * 2 * 128
    words = ("train", "quickstart", "-o", "freeze=body - ln", "-o", "train.steps=2", "--json")
    done = xmodal(installed, *words, "-o", "body={name: pythia-14m, path: model}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "done"
    other = xmodal(installed, *words, "-o", "body={name: 'hf:pythia', path: model}", cwd=tmp_path)
    assert other.returncode == 2
    assert "body.name=pythia-14m, with this folder as body.path" in other.stderr
    lost = xmodal(installed, *words, "-o", "body={name: pythia-14m}", cwd=tmp_path)
    assert lost.returncode == 3
    assert "-o body.path=FOLDER" in lost.stderr


def test_the_fixture_of_the_page_is_one_test_for_each_check(installed: Path, tmp_path: Path) -> None:
    (block,) = re.findall(r"^```python\n(def test_conformance.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "test_it.py").write_text(block)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert f"{len(CHECKS)} passed" in done.stdout, done.stdout + done.stderr


def test_a_broken_plugin_is_named_and_the_rest_works(installed: Path) -> None:
    listed = xmodal(installed, "list", "bodies", "--json")
    assert listed.returncode == 0, listed.stderr
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows["pythia-14m"]["on this machine"] == "in a plugin"
    assert "cannot be imported" in rows["absent"]["what"]
    assert "is a function, not an Entry" in rows["wrong"]["what"]
    assert "minilm-l6" in rows
    used = xmodal(installed, "explain", "--body", "absent")
    assert used.returncode == 2
    assert "the plugin body 'absent' cannot be imported" in used.stderr
    assert "no_such_module" in used.stderr
    assert "uninstall broken-absent" in used.stderr


def test_a_name_that_two_packages_add_is_refused(faulty: Path, tmp_path: Path) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xmodal.bodies]\nraises = other_bodies:RAISES\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (faulty, tmp_path)))}
    command = [sys.executable, "-m", "xmodal", "explain", "--body", "raises"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "several packages add the body 'raises'" in done.stderr
    assert "faulty (faulty_bodies:RAISES)" in done.stderr
    assert "other (other_bodies:RAISES)" in done.stderr


@pytest.mark.parametrize(
    "words",
    [("explain", "--body"), ("check", "body"), ("show",), ("train", "quickstart", "-o")],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("quits", "raises SystemExit\n"),
        ("raises", "raises KeyError: 'raises'\n"),
        ("unbuilt", "the plugin body 'unbuilt' cannot be imported\n"),
        ("unoptioned", "the options of the plugin body 'unoptioned' are no Options\n"),
    ],
)
def test_what_a_plugins_code_does_is_said_of_the_plugin(
    faulty: Path, words: tuple[str, ...], body: str, said: str
) -> None:
    done = xmodal(faulty, *words, f"body={{name: {body}, init: random}}" if words[0] == "train" else body)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "faulty" in done.stderr
    assert "internal error" not in done.stderr
    if "raises" in said:
        assert f"the body '{body}'" in done.stderr
        assert re.search(r"mend it there, or uninstall faulty$", done.stderr, re.MULTILINE)
