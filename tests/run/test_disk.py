"""A disk that is full, a folder that cannot be written, a second process: nothing finished is lost."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from xmodal.errors import BusyError, XmodalError
from xmodal.recipe import Recipe
from xmodal.run.checkpoint import load_tensors, save_tensors
from xmodal.run.folder import RunFolder
from xmodal.run.result import comparable
from xmodal.run.session import resolve, train
from xmodal.run.whole import write_whole

Small = Callable[..., Recipe]


class FullAfter:
    """os.fsync that finds the disk full from call `number` on."""

    def __init__(self, number: int) -> None:
        self.left, self._real = number, os.fsync

    def __call__(self, handle: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._real(handle)


@pytest.mark.parametrize("writes", range(3, 12, 2))
def test_a_full_disk_ends_the_run_and_it_goes_on_later(small: Small, tmp_path: Path, writes: int) -> None:
    straight = train(small(), out=tmp_path / "straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", FullAfter(writes))
        with pytest.raises(XmodalError) as caught:
            train(small(), out=tmp_path / "full")
    assert caught.value.exit_code == 1
    assert caught.value.why == "No space left on device"
    assert "what was written before is as it was" in caught.value.fix
    assert not list((tmp_path / "full").rglob("*.part"))
    again = train(small(), out=tmp_path / "full", resume=True)
    assert comparable(again.result) == comparable(straight.result)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_ledger_that_cannot_be_written_is_an_error(small: Small, out: Path) -> None:
    folder = RunFolder(out, resolve(small())).path
    run = train(small(), out=out)
    assert run.folder == folder
    (folder / "events.jsonl").unlink()
    (folder / "result.json").unlink()
    (folder / "checkpoint" / "last.safetensors").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "rewind", lambda self, step: (self.path / "events.jsonl").symlink_to("/dev/full"))
        with pytest.raises(XmodalError) as caught:
            train(small(), out=out)
    assert "cannot write events.jsonl" in caught.value.what
    assert str(folder) in caught.value.where
    assert caught.value.why == "No space left on device"
    assert "--resume" in caught.value.fix
    assert json.loads((folder / "result.json").read_text())["status"] == "failed"


def test_a_folder_that_cannot_be_made_is_named(small: Small, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(XmodalError) as caught:
        train(small(), out=tmp_path / "file")
    assert "cannot be written" in caught.value.what
    assert str(tmp_path / "file") in caught.value.where
    assert "--out" in caught.value.fix


def test_two_processes_never_share_a_run(small: Small, out: Path) -> None:
    folder = RunFolder(out, resolve(small())).path
    folder.mkdir(parents=True)
    handle = os.open(folder / ".claim", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    for _ in range(2):  # who was refused has not taken the claim away
        with pytest.raises(BusyError, match="another process"):
            train(small(), out=out)
    os.close(handle)
    assert train(small(), out=out).result["status"] == "done"


def test_a_file_is_old_or_new_never_half(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "file"
    write_whole(file, b"old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", FullAfter(0))
        with pytest.raises(XmodalError, match="cannot write file"):
            write_whole(file, b"new and longer")
    assert file.read_bytes() == b"old"
    assert [path.name for path in file.parent.iterdir()] == ["file"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    write_whole(target, b"old")
    link.symlink_to("there/file")
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_what_is_no_ordinary_file_is_left_there(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(XmodalError, match="cannot write pipe") as caught:
        write_whole(pipe, b"new")
    assert caught.value.why == "it is no ordinary file"
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_tensors_and_state_come_back(tmp_path: Path) -> None:
    import torch

    tensors = {"ln[0].attn.weight": torch.randn(3), "optimizer/head.weight/step": torch.tensor(4.0)}
    save_tensors(tmp_path / "x.safetensors", tensors, {"step": 4, "looks": [{"step": 2, "accuracy": 0.1}]})
    back, state = load_tensors(tmp_path / "x.safetensors")
    assert state == {"step": 4, "looks": [{"step": 2, "accuracy": 0.1}]}
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
