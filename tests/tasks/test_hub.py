"""Data sets of the hub: by a fake hub, by a folder, and when they are out of reach."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
import torch

from xmodal import sources
from xmodal.errors import MissingError, UsageError
from xmodal.tasks import build_task
from xmodal.tasks.hub import HubOptions
from xmodal.types import Classes


def fill(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    for name, text in (("train-0", "AC,x"), ("train-1", "CA,y"), ("validation-0", "A,x"), ("test-0", "C,y")):
        (folder / "data" / f"{name}.csv").write_text(f"seq,label\n{text}\n")
    (folder / "load.py").write_text("raise SystemExit('code was run')")
    return folder


def test_a_local_folder(tmp_path: Path) -> None:
    options = HubOptions(dataset="org/name", path=str(fill(tmp_path / "set")), column="seq")
    task = build_task(options, 0)
    assert task.target == Classes(2)
    assert [len(task.split(name)) for name in ("train", "val", "test")] == [2, 1, 1]
    (tmp_path / "set" / "data" / "test-0.csv").unlink()
    with pytest.raises(MissingError, match="org/name has no files for test"):
        build_task(options, 0)


def test_from_the_hub_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, **said: object) -> str:
        asked.append((name, said["repo_type"], said["revision"], said["allow_patterns"]))
        return str(tmp_path / "set")

    info = type("Info", (), {"sha": "abc"})()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: info)
    fill(tmp_path / "set")
    place = sources.get_data("hub:Org/Name")
    assert asked == [("Org/Name", "dataset", "abc", ["*.parquet", "*.csv"])]
    assert not list(place.rglob("*.py"))
    task = build_task(HubOptions(dataset="Org/Name", column="seq"), 0)
    assert task.split("train").batch(torch.arange(2)).samples.tolist() == [[1, 2], [2, 1]]


def test_out_of_reach() -> None:
    with pytest.raises(MissingError) as error:
        HubOptions(dataset="org/name", column="seq").sample()
    assert (error.value.fix, error.value.exit_code) == ("xmodal get data hub:org/name", 3)
    with pytest.raises(MissingError, match="could not be fetched from the hub"):
        sources.get_data("hub:org/name")
    with pytest.raises(UsageError, match="cannot be a data set of the hub"):
        sources.get_data("hub:../name/x")


def test_configurations_are_never_joined_unasked(tmp_path: Path) -> None:
    for config in ("small", "large"):
        for split in ("train", "validation", "test"):
            (tmp_path / "set" / config).mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / config / f"{split}.csv").write_text(f"seq,label\nA,{config}\nC,x\n")
    said = {"dataset": "org/name", "path": str(tmp_path / "set"), "column": "seq"}
    with pytest.raises(UsageError, match="several configurations") as error:
        build_task(HubOptions.model_validate(said), 0)
    assert "large, small" in error.value.why
    own = HubOptions.model_validate({**said, "config": "small"}).tables(0)
    assert own["train"].column("label") == ["small", "x"]
    with pytest.raises(UsageError, match="no configuration 'tiny'"):
        build_task(HubOptions.model_validate({**said, "config": "tiny"}), 0)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "set")
    (tmp_path / "secret.csv").write_text("seq,label\nAA,x\n")
    (folder / "data" / "train-2.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(UsageError, match="leads out of the folder"):
        build_task(HubOptions(dataset="org/name", path=str(folder), column="seq"), 0)
    with pytest.raises(UsageError, match="cannot be a data set of the hub"):
        build_task(HubOptions(dataset="../etc", column="seq"), 0)


def test_a_file_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("seq,label\nA,x\nC,y\n")
    with pytest.raises(UsageError, match=r"train\.csv is not a folder"):
        build_task(HubOptions(dataset="org/name", path=str(tmp_path / "train.csv"), column="seq"), 0)
