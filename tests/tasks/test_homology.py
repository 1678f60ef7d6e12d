"""Remote homology: each format, hold-outs by name, lengths, labels that training never saw."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmdbs import write_lmdb

from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.tasks import build_task
from xmodal.tasks.homology import RemoteHomologyOptions
from xmodal.types import Classes, Letters, Task

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "tape_remote_homology"
OTHER = Path(__file__).resolve().parents[3] / "shared" / "data" / "tape_remote_homology"
ROWS = {"train": [("ACD", 0), ("MK", 7), ("ACDEFG", 7)], "valid": [("WY", 0)], "test": [("GGGG", 7), ("PX", 0)]}


PROFILE = {"id": b"d1dlwa_", "evolutionary": np.zeros((3, 21), np.float32)}
NAMES = ("train", "valid", "test_fold_holdout", "test_family_holdout", "test_superfamily_holdout")


def write_csv(folder: Path, **changes: list[tuple[str, object]]) -> Path:
    for split, rows in {**ROWS, **changes}.items():
        lines = ["seq,label", *(f"{sequence},{label}" for sequence, label in rows)]
        (folder / f"remote_homology.{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


def homology(folder: Path, **said: object) -> Task:
    return build_task(RemoteHomologyOptions.model_validate({"path": str(folder), **said}), 0)


def test_the_task_is_what_it_says(tmp_path: Path) -> None:
    task = homology(write_csv(tmp_path), max_length=6)
    assert (task.sample, task.target) == (Letters(6), Classes(2))
    assert isinstance(task, Task)
    batch = task.split("train").batch(torch.tensor([0, 1]))
    assert batch.samples.dtype == torch.uint8
    assert batch.samples.tolist() == [[65, 67, 68], [77, 75, 0]]
    assert batch.mask is not None
    assert batch.mask.tolist() == [[True, True, True], [True, True, False]]
    assert batch.targets.tolist() == [0, 1]
    assert task.floors() == {"majority": 0.5}
    none = dict.fromkeys(("truncated", "skipped", "unseen", "repeated", "in_val"), 0)
    assert task.coverage()["test"] == {"samples": 2, **none}


def test_every_format_holds_the_same(tmp_path: Path) -> None:
    folders = [tmp_path / kind for kind in ("csv", "json", "fasta", "lmdb")]
    for folder in folders:
        folder.mkdir()
    write_csv(folders[0])
    for split, rows in ROWS.items():
        name = f"remote_homology_{split}" + "_fold_holdout" * (split == "test")
        records = [{"primary": sequence, "fold_label": label, "class_label": 5} for sequence, label in rows]
        (folders[1] / f"{name}.json").write_text(json.dumps(records))
        text = "".join(f">d{n} a.{label}.3.4 x\n{s[:1]}\n{s[1:]}\n" for n, (s, label) in enumerate(rows))
        (folders[2] / f"{name}.fasta").write_text(text)
        write_lmdb(folders[3] / f"{name}.lmdb", [record | PROFILE for record in records])
    digests = {tuple(homology(folder).split(name).digest() for name in ("train", "val", "test")) for folder in folders}
    assert len(digests) == 1
    assert RemoteHomologyOptions(path=str(folders[2])).labels() == ["a.0", "a.7"]


def test_hold_outs_have_names(tmp_path: Path) -> None:
    write_csv(tmp_path)
    with pytest.raises(MissingError, match="no test file of the family hold-out") as error:
        homology(tmp_path, holdout="family")
    assert error.value.exit_code == 3
    assert "remote_homology.test.csv" in error.value.why
    (tmp_path / "remote_homology_test_superfamily_holdout.csv").write_text("seq,label\nAA,7\n")
    with pytest.raises(MissingError):
        homology(tmp_path, holdout="family")
    assert len(homology(tmp_path, holdout="superfamily").split("test")) == 1
    assert len(homology(tmp_path, holdout="fold").split("test")) == 2


def write_release(folder: Path, kind: str) -> Path:
    """A folder with the five files of TAPE's release, which differ in their proteins; every level has a label."""
    folder.mkdir()
    for place, name in enumerate(NAMES):
        records = [
            {
                "primary": letter * (place + 1),
                "class_label": fold % 2,
                "fold_label": fold,
                "superfamily_label": fold + 10,
                "family_label": fold + 20,
                "protein_length": place + 1,
            }
            for fold, letter in enumerate("ACDEF")
        ]
        if kind == "json":
            (folder / f"remote_homology_{name}.json").write_text(json.dumps(records))
        else:
            full = [record | PROFILE for record in records]
            write_lmdb(folder / f"remote_homology_{name}.lmdb", full, subdir=kind == "lmdb")
    return folder


@pytest.mark.parametrize("level", ["class", "fold", "superfamily", "family"])
@pytest.mark.parametrize("holdout", ["fold", "family", "superfamily"])
@pytest.mark.parametrize("kind", ["lmdb", "lmdb as a file"])
def test_lmdb_gives_what_json_gives(tmp_path: Path, kind: str, holdout: str, level: str) -> None:
    folders = [write_release(tmp_path / kind, kind) for kind in ("json", kind)]
    tasks = [homology(folder, holdout=holdout, level=level) for folder in folders]
    splits = [[task.split(name).digest() for name in ("train", "val", "test")] for task in tasks]
    assert splits[0] == splits[1]
    assert tasks[0].target == tasks[1].target == Classes(2 if level == "class" else 5)
    batch = tasks[1].split("test").batch(torch.arange(5))
    assert batch.samples.shape[1] == NAMES.index(f"test_{holdout}_holdout") + 1


def test_a_split_in_two_formats_is_refused(tmp_path: Path) -> None:
    write_release(tmp_path / "both", "json")
    write_lmdb(tmp_path / "both" / "remote_homology_train.lmdb", [])
    with pytest.raises(UsageError, match="more than one train file") as error:
        homology(tmp_path / "both")
    assert error.value.why == "remote_homology_train.json, remote_homology_train.lmdb"


def test_a_record_that_would_run_code_does_not(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch '{tmp_path / 'ran'}'",)

    folder = write_release(tmp_path / "lmdb", "lmdb")
    place = write_lmdb(folder / "remote_homology_train.lmdb", [{"primary": "AC", "fold_label": 1, "x": Evil()}] * 6)
    with pytest.raises(UsageError, match=r"the record asks for \w+\.system, which is refused") as error:
        homology(folder)
    assert error.value.where == f"{place / 'data.mdb'}:key 0"
    assert error.value.exit_code == 2
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "a_train.lmdb has no proteins"),
        ([{"primary": "AC", "fold_label": 1}, {"primary": "A-C", "fold_label": 1}], "key 1: '-' is no letter"),
        ([{"primary": "", "fold_label": 1}], "key 0: the sequence is empty"),
        ([{"primary": "AC"}], "key 0: the record lacks primary or fold_label"),
        ([["AC", 1]], "key 0: the record lacks primary or fold_label"),
        ([{"primary": b"AC", "fold_label": 1}], "key 0: the record's primary is no text"),
        ([{"primary": "AC", "fold_label": np.int64(1)}], "key 0: the record's fold_label is no number or text"),
    ],
)
def test_bad_records_of_an_lmdb_are_named(tmp_path: Path, records: list[object], message: str) -> None:
    write_lmdb(tmp_path / "a_train.lmdb", records)
    with pytest.raises(UsageError) as error:
        RemoteHomologyOptions(path=str(tmp_path)).target()
    assert message in str(error.value)


@pytest.mark.parametrize(("policy", "kept", "counts"), [("truncate", 3, (1, 0)), ("skip", 2, (0, 1))])
def test_what_is_too_long_is_counted(tmp_path: Path, policy: str, kept: int, counts: tuple[int, int]) -> None:
    task = homology(write_csv(tmp_path), max_length=4, too_long=policy)
    assert len(task.split("train")) == kept
    said = task.coverage()["train"]
    assert (said["samples"], said["truncated"], said["skipped"]) == (3, *counts)
    batch = task.split("train").batch(torch.arange(kept))
    assert batch.samples.shape[1] == (4 if policy == "truncate" else 3)
    assert batch.mask is not None
    words = [bytes(row[real].tolist()).decode() for row, real in zip(batch.samples, batch.mask, strict=True)]
    longest = max((word for word, _ in ROWS["train"]), key=len)
    assert (longest[:4] in words) == (policy == "truncate")


def test_case_says_nothing_of_a_residue(tmp_path: Path) -> None:
    write_csv(tmp_path, test=[(word.lower(), label) for word, label in ROWS["train"][:2]])
    coverage = homology(tmp_path).coverage()["test"]
    assert (coverage["samples"], coverage["repeated"]) == (2, 2)


def test_too_long_is_an_error_by_default(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a sequence of 6 is longer than max_length, 4") as error:
        homology(write_csv(tmp_path), max_length=4)
    assert error.value.where.endswith("remote_homology.train.csv:4")
    assert error.value.exit_code == 2


def test_labels_that_training_never_saw(tmp_path: Path) -> None:
    write_csv(tmp_path, test=[("GGGG", 7), ("PX", 3)])
    with pytest.raises(UsageError, match="training never saw the label '3'") as error:
        homology(tmp_path)
    assert error.value.exit_code == 2
    task = homology(tmp_path, unseen="keep")
    assert task.target == Classes(3)
    assert task.coverage()["test"]["unseen"] == 1
    assert task.split("test").batch(torch.arange(2)).targets.tolist() == [1, 2]


def test_the_number_of_classes_can_be_said(tmp_path: Path) -> None:
    assert RemoteHomologyOptions(path="nowhere", classes=1195).target() == Classes(1195)
    assert homology(write_csv(tmp_path), classes=5).target == Classes(5)
    write_csv(tmp_path, train=[("AA", 1), ("AA", 0), ("AA", 7)])
    with pytest.raises(UsageError, match="has 3 classes, and the recipe says 2"):
        homology(tmp_path, classes=2)


@pytest.mark.parametrize(
    ("name", "text", "kind", "message"),
    [
        ("a_train.json", "[{", DamagedError, "is not JSON"),
        (
            "a_train.json",
            '[{"primary": "AC"}]',
            UsageError,
            "record 1: the record lacks primary or fold_label",
        ),
        ("a_train.fasta", ">x\nAC\n", UsageError, "a_train.fasta:1: the header has no SCOP class"),
        ("a_train.fasta", "AC\n", UsageError, "a_train.fasta:1: there are letters in front"),
        ("a_train.csv", "seq,label\nA-C,1\n", UsageError, "a_train.csv:2: '-' is no letter"),
        ("a_train.csv", "seq,label\nAC,1\n,2\n", UsageError, "a_train.csv:3: the sequence is empty"),
        ("a_train.csv", "seq,fold\nAC,1\n", UsageError, "no column 'label'"),
        ("a_train.json", '[{"primary": "AC", "fold_label": [1]}]', UsageError, "fold_label is no number or text"),
        ("a_train.json", '[{"primary": "A\\ud800", "fold_label": 1}]', UsageError, "'\\ud800' is no letter"),
        ("a_train.lmdb", "", DamagedError, "a_train.lmdb is not an LMDB"),
        ("b.csv", "", MissingError, "no train file"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, text: str, kind: type[Exception], message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(kind) as error:
        RemoteHomologyOptions(path=str(tmp_path)).target()
    assert message in str(error.value)


def test_the_released_folds() -> None:
    folder = SHARED if SHARED.is_dir() else OTHER
    if not folder.is_dir():
        pytest.skip("shared/data/tape_remote_homology is not beside the repository")
    task = homology(folder, max_length=500, too_long="truncate")
    assert task.target == Classes(1195)
    assert [len(task.split(name)) for name in ("train", "val", "test")] == [12312, 736, 718]
    assert task.coverage()["train"]["truncated"] > 0


def test_unseen_labels_are_counted_against_the_samples_in_use(tmp_path: Path) -> None:
    rows: list[tuple[str, object]] = [("ACD", 0), *[("MK", 7)] * 9, *[("WW", 9)] * 10]
    task = homology(write_csv(tmp_path, train=rows), fraction=0.3, classes=3)
    labels, truth = (task.split(name).batch(torch.arange(count)).targets for name, count in (("train", 6), ("test", 2)))
    used = set(labels.tolist())
    assert len(task.split("train")) == 6
    assert used == {1, 2}
    assert task.coverage()["test"]["unseen"] == 1  # of the two labels in the test file, one is in no sample in use
    assert task.floors()["majority"] == float((truth == labels.mode().values).float().mean())


def test_bytes_that_are_no_text_are_damage(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.fasta").write_bytes(b">d1 a.1.1.1\nAC\xff\n")
    with pytest.raises(DamagedError, match="is not text"):
        homology(tmp_path)


def test_labels_that_look_alike_are_refused(tmp_path: Path) -> None:
    folder = write_csv(tmp_path, train=[("MKV", "1"), ("MKL", "1 "), ("MKA", "2")])
    with pytest.raises(UsageError, match="has a blank at an end"):
        homology(folder)


def test_a_folder_with_the_name_of_a_file_is_no_file(tmp_path: Path) -> None:
    folder = write_csv(tmp_path)
    (folder / "remote_homology.train.csv").unlink()
    (folder / "remote_homology.train.csv").mkdir()
    with pytest.raises(MissingError, match="no train file"):
        homology(folder)


def test_a_csv_has_one_label_and_no_level_to_choose(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"remote_homology.train.csv has one label, and no family to choose") as caught:
        homology(write_csv(tmp_path), level="family")
    assert (caught.value.where, caught.value.fix) == ("task.level", "leave task.level out")


def test_a_skip_may_not_leave_one_class(tmp_path: Path) -> None:
    long = {"train": [("ACD", 0), ("MKMKMK", 7), ("ACDEFG", 7)]}
    with pytest.raises(UsageError, match="training has one class"):
        homology(write_csv(tmp_path, **long), max_length=4, too_long="skip", unseen="keep")


def test_a_byte_order_mark_is_no_letter(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        text = ">d1 a.1.1.1\nAC\n>d2 b.1.1.1\nCA\n"
        (tmp_path / f"{split}.fas").write_text(text, encoding="utf-8-sig")
    assert len(homology(tmp_path).split("train")) == 2
    (tmp_path / "train.fas").write_text(">d1 a.1.1.\u0661\nAC\n")
    with pytest.raises(UsageError, match="no SCOP class"):
        homology(tmp_path)
