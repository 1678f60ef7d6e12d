"""Builds small packages."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest


def make_tar(file: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def make_deb(tmp_path: Path, files: dict[str, bytes]) -> Path:
    if not shutil.which("dpkg-deb"):
        pytest.skip("no dpkg-deb on this machine")
    for name, content in files.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(content)
    control = "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: a test <a@b>\nDescription: tiny\n"
    (tmp_path / "tree" / "DEBIAN").mkdir()
    (tmp_path / "tree" / "DEBIAN" / "control").write_text(control)
    built = tmp_path / "tiny_1_all.deb"
    subprocess.run(["dpkg-deb", "-Zxz", "--build", tmp_path / "tree", built], check=True, capture_output=True)
    return built
