from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from xmodal.errors import MissingError, XmodalError
from xmodal.sources import cache, store
from xmodal.sources.store import install, scratch

Build = Callable[[Path], dict[str, object]]


def writes(text: str) -> Build:
    def build(out: Path) -> dict[str, object]:
        (out / "file").write_text(text)
        return {"route": "registry"}

    return build


def never(out: Path) -> dict[str, object]:
    pytest.fail("it was built although it is here")


def left_in(home: Path) -> list[str]:
    """Everything in the cache but the lock, which holds nothing."""
    return sorted(path.name for path in (home / "data").iterdir() if path.suffix != ".lock")


def test_what_is_whole_is_not_built_again_unless_forced(home: Path) -> None:
    place = install("data", "thing", writes("one"))
    assert install("data", "thing", never) == place
    install("data", "thing", writes("two"), force=True)
    assert (cache.verified("data", "thing") / "file").read_text() == "two"
    assert left_in(home) == ["thing"]


@pytest.mark.parametrize("harm", ["flipped", "no record", "a file"])
def test_what_is_damaged_is_built_again(home: Path, harm: str) -> None:
    place = install("data", "thing", writes("one"))
    if harm == "flipped":
        (place / "file").write_text("onf")
    else:
        (place / "source.json").unlink()
    if harm == "a file":
        (place / "file").unlink()
        place.rmdir()
        place.touch()
    install("data", "thing", writes("two"))
    assert (cache.verified("data", "thing") / "file").read_text() == "two"
    assert left_in(home) == ["thing"]


def test_others_may_read_what_was_installed(home: Path) -> None:
    mask = os.umask(0o022)
    try:
        place = install("data", "thing", writes("one"))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(place.stat().st_mode) == 0o755
    assert stat.S_IMODE((place / "file").stat().st_mode) == 0o644


def test_a_scratch_folder_is_gone_in_the_end(home: Path) -> None:
    def build(out: Path) -> dict[str, object]:
        with scratch(out) as place:
            (place / "download").write_text("x")
            assert place.is_relative_to(home)
        return writes("one")(out)

    place = install("data", "thing", build)
    assert sorted(path.name for path in place.iterdir()) == ["file", "source.json"]


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), MissingError("x")])
def test_a_build_that_fails_leaves_what_was_there(home: Path, error: BaseException) -> None:
    def build(out: Path) -> dict[str, object]:
        (out / "file").write_text("half")
        raise error

    with pytest.raises(type(error)):
        install("data", "thing", build)
    assert left_in(home) == []
    install("data", "thing", writes("one"))
    with pytest.raises(type(error)):
        install("data", "thing", build, force=True)
    assert (cache.verified("data", "thing") / "file").read_text() == "one"
    assert left_in(home) == ["thing"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_while_building(home: Path) -> None:
    def build(out: Path) -> dict[str, object]:
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")
        return {}

    check_full_disk(home, build)


@pytest.mark.parametrize("call", ["fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_while_finishing(home: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    check_full_disk(home, writes("one"))


def check_full_disk(home: Path, build: Build) -> None:
    with pytest.raises(XmodalError) as caught:
        install("data", "thing", build)
    error = caught.value
    assert error.what == "the disk is full, so thing was not installed"
    assert error.where == str(home / "data" / "thing")
    assert os.strerror(errno.ENOSPC) in error.why or os.strerror(errno.EDQUOT) in error.why
    assert "XMODAL_HOME" in error.fix
    assert error.exit_code == 1
    assert left_in(home) == []
    assert cache.status("data", "thing") == "missing"


def test_a_full_disk_keeps_what_was_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("data", "thing", writes("one"))
    real = os.rename

    def fail(source: Path, target: Path) -> None:
        if str(source).endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(XmodalError, match="the disk is full"):
        install("data", "thing", writes("two"), force=True)
    assert (cache.verified("data", "thing") / "file").read_text() == "one"
    assert left_in(home) == ["thing"]


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "occupied").touch()
    monkeypatch.setenv("XMODAL_HOME", str(tmp_path / "occupied" / "home"))
    with pytest.raises(XmodalError, match="could not be put into the cache") as caught:
        install("data", "thing", writes("one"))
    assert str(tmp_path / "occupied") in caught.value.why
    assert caught.value.fix == "set XMODAL_HOME to a folder that you can write"


def test_a_source_that_cannot_be_read_is_not_blamed_on_the_cache(tmp_path: Path) -> None:
    def build(out: Path) -> dict[str, object]:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "theirs"))

    with pytest.raises(XmodalError) as caught:
        install("data", "thing", build)
    assert caught.value.fix == f"see that {tmp_path / 'theirs'} can be read"


def test_a_whole_artefact_on_a_disk_that_cannot_be_written_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = install("data", "thing", writes("one"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(store, "_lock", refuse)
    assert install("data", "thing", never) == place


SLOW = """
import sys, time
from pathlib import Path
from xmodal.sources.store import install
def build(out):
    (out / "file").write_text("half")
    print("started", flush=True)
    time.sleep(float(sys.argv[1]))
    (out / "file").write_text("whole")
    return {"route": "registry"}
print(install("data", "thing", build))
"""


def start(seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SLOW, str(seconds)], stdout=subprocess.PIPE, text=True)


def test_killed_in_the_middle_leaves_nothing_that_is_found(home: Path) -> None:
    with start(60) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        assert cache.status("data", "thing") == "missing"
        process.send_signal(signal.SIGKILL)
    assert [name for name in left_in(home) if name.endswith(".part")]
    with pytest.raises(MissingError, match="not on this machine"):
        cache.find("data", "thing")
    install("data", "thing", writes("one"))
    assert left_in(home) == ["thing"]


def test_two_processes_install_one_artefact_once(home: Path) -> None:
    processes = [start(0.4), start(0.4)]
    said = [process.communicate(timeout=30)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert "".join(said).count("started") == 1
    assert (cache.verified("data", "thing") / "file").read_text() == "whole"
    assert left_in(home) == ["thing"]


def test_without_locks_the_first_to_finish_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)

    def build(out: Path) -> dict[str, object]:
        install("data", "thing", writes("theirs"))
        return writes("ours")(out)

    install("data", "thing", build)
    assert (cache.verified("data", "thing") / "file").read_text() == "theirs"
    assert left_in(home) == ["thing"]


def test_work_of_another_machine_is_left_alone_for_a_day(home: Path) -> None:
    (home / "data").mkdir(parents=True)
    theirs, abandoned = home / "data" / ".thing.other.1.part", home / "data" / ".thing.other.2.part"
    theirs.mkdir()
    abandoned.mkdir()
    os.utime(abandoned, (0, time.time() - 25 * 3600))
    install("data", "thing", writes("one"))
    assert left_in(home) == [theirs.name, "thing"]
