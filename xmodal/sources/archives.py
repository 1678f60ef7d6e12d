"""Reads named files out of archives nobody vouches for: exact names, bounded sizes, nothing else is written."""

from __future__ import annotations

import gzip
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from xmodal.errors import DamagedError
from xmodal.sources.clients import program

_BLOCK = 1 << 20
_TAR_LIMIT = 1 << 28
"""Most bytes that are read from a tar archive, unpacked: four times our largest data set."""

Wanted = Mapping[str, tuple[Path, int]]
"""Exact member name -> where it goes, and the most bytes it may have."""


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        ...


class Bounded:
    """A stream that gives up after `limit` bytes, so that a small file cannot unpack into a large one."""

    def __init__(self, stream: Readable, limit: int, name: str) -> None:
        self._stream, self._limit, self._left, self._name = stream, limit, limit, name

    def read(self, size: int = _BLOCK) -> bytes:
        """The next bytes, at most `size`.

        Raises:
            DamagedError: there are more than the limit.
        """
        block = self._stream.read(min(size, self._left + 1))
        self._left -= len(block)
        if self._left < 0:
            raise DamagedError(
                f"{self._name} unpacks to more than {self._limit} bytes", why="it is not what it should be"
            )
        return block


def copy(stream: Readable, target: Path, limit: int) -> None:
    """Writes a stream of at most `limit` bytes to a file.

    Raises:
        DamagedError: it is longer.
    """
    source = Bounded(stream, limit, target.name)
    with target.open("xb") as file:
        while block := source.read():
            file.write(block)


def unpack_zip(archive: Path, wanted: Wanted) -> None:
    """Copies the wanted members of a zip archive, such as a wheel.

    Raises:
        DamagedError: it cannot be read, a member is missing or one is too large.
    """
    with _readable(archive), zipfile.ZipFile(archive) as opened:
        for name, (target, limit) in wanted.items():
            if name not in opened.namelist():
                raise DamagedError(f"no {name} in {archive.name}", where=str(archive))
            with opened.open(name) as stream:
                copy(stream, target, limit)


def unpack_tar(archive: Path, wanted: Wanted) -> None:
    """Copies the wanted members of a .tar.gz, such as npm's packages.

    Raises:
        DamagedError: it cannot be read, a member is missing or one is too large.
    """
    with _readable(archive), gzip.open(archive) as stream:
        _unpack_stream(stream, archive, wanted)


def unpack_deb(archive: Path, wanted: Wanted) -> None:
    """Copies the wanted files of a Debian package, which `dpkg-deb` unpacks into a pipe.

    Raises:
        MissingError: there is no `dpkg-deb`.
        DamagedError: it cannot be read, a file is missing or one is too large.
    """
    arguments = [program("dpkg-deb"), "--fsys-tarfile", str(archive)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        try:
            with _readable(archive):
                _unpack_stream(process.stdout, archive, wanted)
        finally:
            process.kill()


def unpack_gzip(archive: Path, target: Path, limit: int) -> None:
    """Writes what a .gz file holds.

    Raises:
        DamagedError: it cannot be read, or holds more than `limit` bytes.
    """
    with _readable(archive), gzip.open(archive) as stream:
        copy(stream, target, limit)


def _unpack_stream(stream: Readable, archive: Path, wanted: Wanted) -> None:
    left = dict(wanted)
    bounded = Bounded(stream, _TAR_LIMIT, archive.name)
    with tarfile.open(fileobj=bounded, mode="r|") as opened:  # pyright: ignore[reportArgumentType, reportCallIssue]
        for member in opened:
            name = member.name.removeprefix("./")
            content = opened.extractfile(member) if name in left and member.isreg() else None
            if content:
                copy(content, *left.pop(name))
            if not left:
                return
    raise DamagedError(f"no {min(left)} in {archive.name}", where=str(archive))


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        error.where = error.where or str(archive)
        raise
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DamagedError(f"{archive.name} cannot be unpacked", where=str(archive), why=str(error)) from error
