from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from xmodal.errors import DamagedError, MissingError
from xmodal.sources import archives

from .packages import make_deb, make_tar


def test_only_the_wanted_members_are_written(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    evil = [("../evil", b"x"), ("/evil", b"x"), ("package/data/../../evil", b"x"), ("package/code.js", b"x")]
    archive = make_tar(tmp_path / "a.tgz", [*evil, ("package/data/one", b"good"), ("package/data/one", b"later")])
    archives.unpack_tar(archive, {"package/data/one": (tmp_path / "out" / "one", 100)})
    assert (tmp_path / "out" / "one").read_bytes() == b"good"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tgz", "one", "out"]
    assert not Path("/evil").exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
            member = tarfile.TarInfo("package/data/one")
            member.type, member.linkname = kind, str(tmp_path / "secret")
            archive.addfile(member)
        with pytest.raises(DamagedError, match=r"no package/data/one in a\.tgz"):
            archives.unpack_tar(tmp_path / "a.tgz", {"package/data/one": (tmp_path / "one", 100)})
        assert not (tmp_path / "one").exists()


def test_a_member_that_is_too_large(tmp_path: Path) -> None:
    wanted = {"one": (tmp_path / "one", 100)}
    archive = make_tar(tmp_path / "a.tgz", [("one", bytes(101))])
    with pytest.raises(DamagedError, match="one unpacks to more than 100 bytes"):
        archives.unpack_tar(archive, wanted)
    make_tar(tmp_path / "a.tgz", [("one", bytes(100))])
    (tmp_path / "one").unlink()
    archives.unpack_tar(archive, wanted)
    assert (tmp_path / "one").read_bytes() == bytes(100)


def test_a_bomb_beside_the_wanted_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_TAR_LIMIT", 1 << 20)
    archive = make_tar(tmp_path / "a.tgz", [("bomb", bytes(1 << 21)), ("one", b"x")])
    assert archive.stat().st_size < 1 << 14
    with pytest.raises(DamagedError, match=r"a\.tgz unpacks to more than 1048576 bytes"):
        archives.unpack_tar(archive, {"one": (tmp_path / "one", 100)})


def test_a_zip_bomb(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one", bytes(1 << 22))
    assert (tmp_path / "a.whl").stat().st_size < 1 << 14
    with pytest.raises(DamagedError, match="one unpacks to more than 1000 bytes"):
        archives.unpack_zip(tmp_path / "a.whl", {"one": (tmp_path / "one", 1000)})
    assert (tmp_path / "one").stat().st_size <= 1000


def test_only_the_wanted_members_of_a_zip_are_written(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for name in ("../evil", "/evil", "m/one", "m/code.py"):
            archive.writestr(name, "x")
    archives.unpack_zip(tmp_path / "a.whl", {"m/one": (tmp_path / "out" / "one", 9)})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.whl", "one", "out"]
    with pytest.raises(DamagedError, match=r"no m/two in a\.whl"):
        archives.unpack_zip(tmp_path / "a.whl", {"m/two": (tmp_path / "out" / "two", 9)})


def test_a_gz_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(1 << 22)))
    with pytest.raises(DamagedError, match="more than 1000 bytes"):
        archives.unpack_gzip(tmp_path / "a.gz", tmp_path / "a", 1000)


@pytest.mark.parametrize("content", [b"", b"not an archive", gzip.compress(os.urandom(5000))[:2000]])
def test_what_is_cut_short_or_no_archive(tmp_path: Path, content: bytes) -> None:
    file, wanted = tmp_path / "a.tgz", {"one": (tmp_path / "one", 100)}
    file.write_bytes(content)
    for unpack in (archives.unpack_tar, archives.unpack_zip):
        with pytest.raises(DamagedError, match=r"a\.tgz cannot be unpacked") as caught:
            unpack(file, wanted)
        assert caught.value.where == str(file)
        assert caught.value.exit_code == 3


def test_a_debian_package(tmp_path: Path) -> None:
    built = make_deb(tmp_path, {"usr/share/one": b"good", "usr/share/two": bytes(1 << 20)})
    archives.unpack_deb(built, {"usr/share/one": (tmp_path / "one", 100)})
    assert (tmp_path / "one").read_bytes() == b"good"
    with pytest.raises(DamagedError, match="two unpacks to more than 100 bytes"):
        archives.unpack_deb(built, {"usr/share/two": (tmp_path / "two", 100)})
    with pytest.raises(DamagedError, match="no usr/share/three"):
        archives.unpack_deb(built, {"usr/share/three": (tmp_path / "three", 100)})
    built.write_bytes(built.read_bytes()[:100])
    with pytest.raises(DamagedError, match="cannot be unpacked"):
        archives.unpack_deb(built, {"usr/share/one": (tmp_path / "again", 100)})


def test_a_debian_package_without_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="no dpkg-deb on this machine"):
        archives.unpack_deb(tmp_path / "a.deb", {"one": (tmp_path / "one", 1)})
