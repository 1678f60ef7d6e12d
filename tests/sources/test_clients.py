from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from xmodal.errors import DamagedError, MissingError
from xmodal.sources import clients
from xmodal.sources.catalogue import Package

NPM = Package("npm", "tiny-data", "package/data", "1.0", "0" * 64)
PIP = Package("pip", "tiny-body", "tiny_body/model", "1.0", "0" * 64)
APT = Package("apt", "tiny-data", "usr/share/datasets/tiny")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def test_npm_packs_without_running_scripts(place: Path, programs: Callable[[str, str], None]) -> None:
    programs("npm", 'echo "$@" > said; : > tiny-data-1.0.tgz')
    assert clients.download(NPM, place) == place / "tiny-data-1.0.tgz"
    assert (place / "said").read_text().split() == [
        "pack",
        "--ignore-scripts",
        "--pack-destination",
        str(place),
        "tiny-data@1.0",
    ]


def test_apt_downloads_into_the_folder(place: Path, programs: Callable[[str, str], None]) -> None:
    programs("apt-get", 'echo "$@" > said; : > tiny-data_1_all.deb')
    assert clients.download(APT, place) == place / "tiny-data_1_all.deb"
    assert (place / "said").read_text().split() == ["download", "tiny-data"]


def test_pip_takes_a_wheel_and_nothing_else(place: Path, pip: Callable[[str], None]) -> None:
    pip("open(destination + '/tiny_body-1.0.whl', 'w').write(' '.join(sys.argv[1:]))")
    wheel = clients.download(PIP, place)
    said = wheel.read_text()
    assert said.startswith("download --no-deps --only-binary :all: ")
    assert said.endswith(" tiny-body==1.0")


def test_a_python_without_pip_takes_the_program(
    place: Path, programs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="no pip on this machine"):
        clients.download(PIP, place)
    programs("pip3", ": > tiny_body-1.0.whl")
    assert clients.download(PIP, place).name == "tiny_body-1.0.whl"


@pytest.mark.parametrize(("package", "program"), [(NPM, "npm"), (APT, "apt-get")])
def test_a_missing_client(place: Path, programs: Callable[[str, str], None], package: Package, program: str) -> None:
    with pytest.raises(MissingError, match=f"no {program} on this machine") as caught:
        clients.download(package, place)
    assert not isinstance(caught.value, DamagedError)
    assert caught.value.exit_code == 3


def test_a_failing_client_is_quoted(place: Path, pip: Callable[[str], None]) -> None:
    pip("print('noise\\n' * 50 + 'ERROR: no matching distribution', file=sys.stderr); sys.exit(1)")
    with pytest.raises(MissingError) as caught:
        clients.download(PIP, place)
    assert caught.value.what == "pip could not download tiny-body==1.0"
    assert caught.value.why.startswith("pip says: noise / noise / noise / ERROR: no matching distribution")
    assert "exit code 1" in caught.value.why


def test_a_silent_failure(place: Path, programs: Callable[[str, str], None]) -> None:
    programs("npm", "exit 7")
    with pytest.raises(MissingError) as caught:
        clients.download(NPM, place)
    assert caught.value.why == "npm says: nothing (exit code 7)"


@pytest.mark.parametrize("words", ["OSError: [Errno 28] No space left on device", "npm ERR! code ENOSPC"])
def test_a_client_on_a_full_disk_is_no_fault_of_the_registry(
    place: Path, programs: Callable[[str, str], None], words: str
) -> None:
    programs("npm", f"echo '{words}' >&2; exit 1")
    with pytest.raises(OSError, match="no space left") as caught:
        clients.download(NPM, place)
    assert caught.value.errno == errno.ENOSPC


def test_a_client_that_hangs(
    place: Path, programs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "TIMEOUT_S", 0.1)
    programs("npm", "exec /bin/sleep 30")
    with pytest.raises(MissingError, match=r"npm could not download tiny-data@1\.0") as caught:
        clients.download(NPM, place)
    assert caught.value.why == "it had not finished after 0.1 seconds"


def test_a_client_that_brings_nothing(place: Path, programs: Callable[[str, str], None]) -> None:
    programs("npm", "exit 0")
    with pytest.raises(MissingError, match="did not bring") as caught:
        clients.download(NPM, place)
    assert caught.value.why == "0 files *.tgz instead of one"


def test_a_client_that_cannot_be_started(place: Path, programs: Callable[[str, str], None], tmp_path: Path) -> None:
    programs("npm", "")
    (tmp_path / "programs" / "npm").write_text("#!/no/such/interpreter\n")
    with pytest.raises(MissingError, match="npm could not be started"):
        clients.download(NPM, place)
