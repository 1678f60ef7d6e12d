from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from torchvision import datasets

from xmodal.errors import MissingError, UsageError
from xmodal.sources import official


class Unreachable(Exception):
    """As an HTTP library's own error: not an OSError."""


def fake_hub(monkeypatch: pytest.MonkeyPatch, info: object, snapshot: object) -> list[dict[str, object]]:
    """The calls that were made; an exception is raised, anything else returned."""
    calls: list[dict[str, object]] = []

    def answer(what: object, arguments: dict[str, object]) -> object:
        calls.append(arguments)
        if isinstance(what, BaseException):
            raise what
        return what

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, *a, **k: answer(info, k))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: answer(snapshot, k))
    return calls


def test_the_hub(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = SimpleNamespace(rfilename="model.safetensors", lfs=SimpleNamespace(sha256="f" * 64))
    info = SimpleNamespace(sha="abc", siblings=[SimpleNamespace(rfilename="config.json", lfs=None), weights])
    calls = fake_hub(monkeypatch, info, str(model))
    assert official.from_hub("somebody/tiny") == official.Snapshot(model, "abc", "f" * 64)
    assert calls[0]["timeout"] == official.TIMEOUT_S
    assert calls[1] == {"revision": "abc", "allow_patterns": ["config.json", "model.safetensors"]}


def test_a_hub_out_of_reach_with_nothing_in_its_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, Unreachable("name not known\nmore"), FileNotFoundError("not cached"))
    with pytest.raises(MissingError, match="the Hugging Face hub did not give somebody/tiny") as caught:
        official.from_hub("somebody/tiny")
    assert caught.value.why == "Unreachable: name not known more"


def test_a_hub_out_of_reach_with_the_files_in_its_cache(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ("f" * 64)).write_bytes((model / "model.safetensors").read_bytes())
    (model / "model.safetensors").unlink()
    (model / "model.safetensors").symlink_to(tmp_path / ("f" * 64))
    calls = fake_hub(monkeypatch, Unreachable(), str(model))
    assert official.from_hub("somebody/tiny") == official.Snapshot(model, "model", "f" * 64)
    assert calls[1]["local_files_only"] is True
    (model / "config.json").unlink()
    with pytest.raises(MissingError):
        official.from_hub("somebody/tiny")


def test_a_download_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, SimpleNamespace(sha="abc", siblings=[]), Unreachable("connection reset"))
    with pytest.raises(MissingError) as caught:
        official.from_hub("somebody/tiny")
    assert "connection reset" in caught.value.why


def test_a_full_disk_is_no_fault_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, SimpleNamespace(sha="abc", siblings=[]), OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space") as caught:
        official.from_hub("somebody/tiny")
    assert caught.value.errno == errno.ENOSPC


REAL = """
from xmodal.errors import MissingError
from xmodal.sources import get_body
try:
    get_body("gpt2", "official")
except MissingError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("variables", "why"),
    [({"HF_ENDPOINT": "http://127.0.0.1:9"}, "refused"), ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE")],
)
def test_the_real_client_gives_up_at_once(variables: dict[str, str], why: str, home: Path) -> None:
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.lower().endswith("_proxy") and key != "HF_HUB_OFFLINE"
    }
    done = subprocess.run(
        [sys.executable, "-c", REAL],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "gpt2 could not be fetched" in done.stdout
    assert why in done.stdout
    assert "with --from PATH (a folder with config.json and model.safetensors)" in done.stdout


def test_torchvision(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(root: Path, download: bool) -> None:
        assert download
        assert socket.getdefaulttimeout() == official.TIMEOUT_S
        shutil.copytree(raw, root / "MNIST" / "raw")

    monkeypatch.setattr(datasets, "MNIST", fake)
    place = official.from_torchvision("MNIST", tmp_path / "scratch")
    assert place == tmp_path / "scratch" / "MNIST" / "raw"
    assert len(list(place.iterdir())) == 4
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    "error", [RuntimeError("Error downloading x:\nTried y\n\n"), TimeoutError("Error downloading x:")]
)
def test_torchvision_out_of_reach(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(root: Path, download: bool) -> None:
        raise error

    monkeypatch.setattr(datasets, "FashionMNIST", fake)
    with pytest.raises(MissingError, match="torchvision could not download FashionMNIST") as caught:
        official.from_torchvision("FashionMNIST", tmp_path)
    assert "Error downloading x:" in caught.value.why
    assert "\n" not in caught.value.why
    assert socket.getdefaulttimeout() is None


def test_torchvision_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(root: Path, download: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(datasets, "MNIST", fake)
    with pytest.raises(OSError, match="No space"):
        official.from_torchvision("MNIST", tmp_path)


def test_weights_of_timm_are_in_the_repository_of_their_tag() -> None:
    plain = official.of_timm("timm:vit_tiny_patch16_224")
    assert plain.hub == "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert plain.model_type == "vit_tiny_patch16_224"
    assert official.of_timm("timm:vit_tiny_patch16_224.augreg_in21k").hub == "timm/vit_tiny_patch16_224.augreg_in21k"
    assert official.of_timm("timm:vit_base_patch16_xp_224").hub == ""  # never trained


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:vit_tiny_patch16_225", "did you mean 'vit_tiny_patch16_224'"),
        (
            "timm:vit_tiny_patch16_224.augreg",
            "no weights 'augreg' of vit_tiny_patch16_224; did you mean 'augreg_in21k'",
        ),
        ("timm:hf-hub:somebody/model", "timm has no model"),
        ("timm:", "timm has no model"),
    ],
)
def test_what_timm_does_not_have(name: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        official.of_timm(name)
    assert said in caught.value.what
