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


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["train-0.csv"], "several folders for train"),
        (["data/validation_matched.csv", "data/validation_mismatched.csv"], "several splits could be val"),
        (["data/test_r1.csv", "data/test_r2.csv"], "several splits could be test"),
    ],
)
def test_what_may_be_counted_twice_or_is_several_splits_is_refused(tmp_path: Path, more: list[str], what: str) -> None:
    folder = fill(tmp_path / "set")
    for name in more:
        (folder / name).write_text("seq,label\nAC,x\n")
    with pytest.raises(UsageError, match=what) as error:
        build_task(HubOptions(dataset="org/name", path=str(folder), column="seq"), 0)
    assert error.value.why
    assert error.value.fix


@pytest.mark.parametrize(
    "names", [["train-00000-of-00002", "train-00001-of-00002"], ["train_0", "train_1"], ["train1"]]
)
def test_parts_of_a_split_are_one(tmp_path: Path, names: list[str]) -> None:
    folder = fill(tmp_path / "set")
    for name in ("train-0", "train-1"):
        (folder / "data" / f"{name}.csv").unlink()
    for name, label in zip([*names, "train"][:2], "xy", strict=True):
        (folder / "data" / f"{name}.csv").write_text(f"seq,label\nAC,{label}\n")
    task = build_task(HubOptions(dataset="org/name", path=str(folder), column="seq"), 0)
    assert len(task.split("train")) == 2


def test_shares_are_no_option_of_the_hub() -> None:
    with pytest.raises(ValueError, match="val"):
        HubOptions.model_validate({"name": "hub", "dataset": "a/b", "column": "seq", "val": 0.3})


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


def lines(folder: Path, *names: str) -> HubOptions:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"seq,label\nA{'C' * number},x\nC,y\n")
    return HubOptions(dataset="org/name", path=str(folder), column="seq")


@pytest.mark.parametrize("name", ["train_test.csv", "train-val.csv", "test-dev.csv"])
def test_a_file_of_two_splits_is_refused(tmp_path: Path, name: str) -> None:
    options = lines(tmp_path, "train.csv", "validation.csv", "test.csv", name)
    with pytest.raises(UsageError, match=rf"{name} is of two splits") as error:
        build_task(options, 0)
    assert error.value.where == str(tmp_path / name)


@pytest.mark.parametrize("between", ["/", "--"])
def test_a_files_own_name_outweighs_its_folders(tmp_path: Path, between: str) -> None:
    names = ("train.csv", "validation.csv", "test.csv")
    options = lines(tmp_path, *(f"train_split{between}{name}" for name in names), ".cache/train.csv")
    assert [len(options.tables(0)[name].cells) for name in ("train", "val", "test")] == [2, 2, 2]
    two = lines(tmp_path / "two", *(f"{config}{between}{name}" for config in ("small", "large") for name in names))
    with pytest.raises(UsageError, match="several configurations"):
        two.tables(0)


def test_a_split_must_be_whole_and_of_one_kind(tmp_path: Path) -> None:
    shards = [f"data/train-0000{number}-of-00003.csv" for number in (0, 2)]
    with pytest.raises(MissingError, match="1 of the 3 files for train are not there") as error:
        lines(tmp_path / "half", *shards, "data/validation.csv", "data/test.csv").tables(0)
    assert error.value.why == "number 1 of train is missing, for one"
    whole = lines(tmp_path / "whole", *shards, "data/train-00001-of-00003.csv", "validation.csv", "test.csv")
    assert len(whole.tables(0)["train"].cells) == 6
    five = [f"train-{number}-of-5.CSV" for number in range(5)]
    assert len(lines(tmp_path / "five", *five, "validation.csv", "test.csv").tables(0)["train"].cells) == 10
    for name in ("train-{}-of-3.csv", "train-{}-of-3.CSV", "train-0000{}-of-00003-8a7b6c5d4e3f2a1b.csv"):
        options = lines(tmp_path / name, *(name.format(number) for number in (0, 2)), "validation.csv", "test.csv")
        with pytest.raises(MissingError, match="1 of the 3 files for train are not there"):
            options.tables(0)
    options = lines(tmp_path / "both", "train.csv", "train.parquet", "validation.csv", "test.csv")
    with pytest.raises(UsageError, match="CSV and Parquet files for train"):
        options.tables(0)
