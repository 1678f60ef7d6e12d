"""Tables: sequences and numbers, three ways to split, and every wrong row named by its line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from xmodal.errors import DamagedError, MissingError, UsageError, XmodalError
from xmodal.tasks import build_task
from xmodal.tasks.held import by_shares
from xmodal.tasks.table import TableOptions
from xmodal.types import Classes, Continuous, Symbols, Task

GOOD = "seq,label,part\nACA,x,train\nCC,y,train\nA,x,val\nC,y,test\n"


def table(path: Path, seed: int = 0, **said: object) -> Task:
    return build_task(TableOptions.model_validate({"path": str(path), **said}), seed)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_column_of_letters(tmp_path: Path) -> None:
    task = table(write(tmp_path / "t.csv", GOOD), column="seq", split="part")
    assert (task.sample, task.target) == (Symbols(3, 3, fixed=False), Classes(2))
    batch = task.split("train").batch(torch.tensor([1, 0]))
    assert batch.samples.tolist() == [[2, 2, 0], [1, 2, 1]]
    assert batch.mask is not None
    assert batch.mask.tolist() == [[True, True, False], [True, True, True]]
    assert batch.targets.tolist() == [1, 0]
    assert task.floors() == {"majority": 0.0}


def test_samples_that_training_has_too_are_counted(tmp_path: Path) -> None:
    rows = ["AC,x,train", "CA,y,train", "CC,x,train", "AA,y,train", "AC,x,test", "A,y,test", "CA,x,test", "A,x,val"]
    task = table(write(tmp_path / "t.csv", "\n".join(["seq,label,part", *rows])), column="seq", split="part")
    assert [task.coverage()[name].get("repeated") for name in ("train", "val", "test")] == [None, 0, 2]
    few = table(tmp_path / "t.csv", column="seq", split="part", fraction=0.5)
    assert few.coverage()["test"]["repeated"] == 1


def test_columns_of_numbers_are_standardised_by_training(tmp_path: Path) -> None:
    text = "a,b,label,part\n1,5,x,train\n3,5,y,train\n2,5,x,val\n4,6,y,test\n"
    task = table(write(tmp_path / "t.csv", text), columns=["a", "b"], split="part")
    assert task.sample == Continuous((1, 2))
    assert task.split("train").batch(torch.arange(2)).samples.tolist() == [[[-1, 0]], [[1, 0]]]
    assert task.split("test").batch(torch.arange(1)).samples.tolist() == [[[2, 1]]]


def test_a_large_offset_does_not_drown_a_column(tmp_path: Path) -> None:
    text = "a,label,part\n1700000001,x,train\n1700000003,y,train\n1700000002,x,val\n1700000004,y,test\n"
    task = table(write(tmp_path / "t.csv", text), columns=["a"], split="part")
    assert task.split("train").batch(torch.arange(2)).samples.tolist() == [[[-1]], [[1]]]
    assert task.split("test").batch(torch.arange(1)).samples.tolist() == [[[2]]]


def test_files_and_parquet(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    write(tmp_path / "train.csv", "seq,label\nAC,1\nCA,2\n")
    write(tmp_path / "val.csv", "seq,label\nAA,2\n")
    parquet.write_table(arrow.table({"seq": ["CC"], "label": [1]}), tmp_path / "test.parquet")
    task = table(tmp_path, column="seq")
    assert task.split("test").batch(torch.arange(1)).samples.tolist() == [[2, 2]]
    (tmp_path / "test.parquet").write_bytes(b"no")
    with pytest.raises(DamagedError, match="not a Parquet file"):
        table(tmp_path, column="seq")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingError, match="needs pyarrow") as error:
        table(write(tmp_path / "t.parquet", ""), column="seq")
    assert "xmodal[parquet]" in error.value.fix


def test_splits_by_seed_are_disjoint_and_whole(tmp_path: Path) -> None:
    rows = "".join(f"{n},{'xy'[n % 2]}\n" for n in range(40))
    file = write(tmp_path / "t.csv", "n,label\n" + rows)
    tables = TableOptions(path=str(file), columns=["n"], val=0.25, test=0.1).tables(0)
    assert [len(tables[name].cells) for name in ("train", "val", "test")] == [26, 10, 4]
    assert sorted(cell for rows in tables.values() for cell in rows.column("n")) == sorted(map(str, range(40)))
    others = [table(file, seed, columns=["n"]).split("test").digest() for seed in (0, 0, 1)]
    assert others[0] == others[1] != others[2]


NUMBERS = {"column": None, "columns": ["n"]}


@pytest.mark.parametrize(
    ("text", "said", "message"),
    [
        (GOOD.replace("C,y,test", "Z,y,test"), {}, "t.csv:5: 'Z' is not in the alphabet"),
        (GOOD.replace("C,y,test", "A\0,y,test"), {}, "t.csv:5: 'A\\x00' has a character that does not print"),
        (GOOD, {"alphabet": "A"}, "t.csv:2: 'C' is not in the alphabet"),
        (GOOD.replace("C,y,test", "C,z,test"), {}, "t.csv (test): training never saw the label 'z'"),
        (GOOD.replace("A,x,val", ""), {}, "t.csv:4: the row is empty"),
        (GOOD.replace("A,x,val", "A,x"), {}, "t.csv:4: the row has 2 cells"),
        (GOOD.replace("A,x,val", ",x,val"), {}, "t.csv:4: the cell in column 'seq' is empty"),
        (GOOD.replace("val", "eval"), {}, "t.csv:4: 'eval' is no split"),
        (GOOD, {"max_length": 2}, "t.csv:2: a sequence of 3 is longer than max_length, 2"),
        (GOOD, {"column": "s"}, "no column 's'"),
        (GOOD, {"column": "label"}, "the column 'label' would tell the answer"),
        (GOOD, {"column": "part"}, "the column 'part' would tell the answer"),
        (GOOD.replace("C,y,test\n", ""), {}, "t.csv: no row is marked 'test'"),
        (GOOD, {"columns": ["seq"], "column": None}, "t.csv:2: 'ACA' in column 'seq' is not a number"),
        (GOOD, {"columns": ["seq"]}, "either column or columns"),
        (GOOD.replace("y", "x"), {}, "training has one class"),
        (GOOD.replace("C,y,test", "C,y ,test"), {}, "t.csv:5: the label 'y ' has a blank at an end"),
        (GOOD.replace("C,y,test", "C,e\u0301,test"), {}, "t.csv:5: the label 'e\u0301' has an accent apart"),
        (GOOD.replace("x", "1").replace("y", "01"), {}, "t.csv:3: the labels '1' and '01' are one number"),
        (GOOD.replace("x", "1.0").replace("y", "1"), {}, "t.csv:3: the labels '1.0' and '1' are one number"),
        (GOOD.replace("y", "NaN"), {}, "t.csv:3: the label 'NaN' is no label"),
        (
            GOOD.replace(",", ";").replace("C;y", "C;y,5"),
            {},
            "the row has 2 cells\n  why: the header is one cell",
        ),
        (GOOD.replace(",", ";"), {}, "t.csv: no column 'part'\n  why: the header is one cell, 'seq;label;part'"),
        (
            "n,label,part\n1e308,x,train\n-1e308,y,train\n1,x,val\n1,x,test\n",
            NUMBERS,
            "t.csv:2: '1e308' in column 'n' is beyond 1e+100",
        ),
        (
            "n,label,part\n0,x,train\n1,y,train\n1,x,val\n1e99,y,test\n",
            NUMBERS,
            "t.csv (test): column 'n' has a number that is 2e+99 deviations",
        ),
        ("seq,seq\n", {}, "t.csv:1: two columns have one name"),
        ("seq,label,part\n", {}, "t.csv: there are no rows"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, said: dict[str, object], message: str) -> None:
    with pytest.raises(XmodalError) as error:
        table(write(tmp_path / "t.csv", text), **{"column": "seq", "split": "part", **said})
    assert message in str(error.value)
    assert error.value.fix
    assert error.value.exit_code == 2


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(MissingError, match="no such table") as error:
        TableOptions(path="nowhere.csv", column="seq").sample()
    assert error.value.exit_code == 3
    with pytest.raises(UsageError, match="leave none for"):
        by_shares(3, 0.1, 0.1, 0)


def test_a_cell_of_several_values_is_refused(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "lists.parquet"
    parquet.write_table(arrow.table({"seq": [["a", "b"], ["c"]] * 10, "label": [0, 1] * 10}), file)
    with pytest.raises(UsageError, match="the column 'seq' holds list"):
        table(file, column="seq")


def test_a_column_that_no_task_uses_may_hold_anything(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"seq": ["A", "C"] * 10, "label": [0, 1] * 10, "more": [[1.0, 2.0]] * 20, "raw": [b"x"] * 20}
    columns["when"] = arrow.array([1600000000000000001] * 20, arrow.timestamp("ns"))
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    assert len(table(tmp_path / "t.parquet", column="seq", val=0.2, test=0.2).split("train")) == 12
    with pytest.raises(UsageError, match="the column 'when' holds timestamp"):
        table(tmp_path / "t.parquet", column="when", val=0.2, test=0.2)
    twice = arrow.Table.from_arrays([arrow.array(["A", "C"])] * 2, names=["seq", "seq"])
    parquet.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(UsageError, match="two columns have one name"):
        table(tmp_path / "twice.parquet", column="seq")


def test_what_is_too_long_keeps_its_first_letters(tmp_path: Path) -> None:
    said = {"column": "seq", "split": "part", "max_length": 2, "too_long": "truncate"}
    task = table(write(tmp_path / "t.csv", GOOD.replace("ACA", "CAA")), **said)
    assert task.split("train").batch(torch.arange(2)).samples.tolist() == [[2, 1], [2, 2]]
    assert task.coverage()["train"]["truncated"] == 1


def test_samples_of_test_that_chose_the_step_are_counted(tmp_path: Path) -> None:
    rows = ["AC,x,train", "CA,y,train", "A,x,val", "C,x,val", "A,y,test", "C,x,test", "AA,x,test"]
    task = table(write(tmp_path / "t.csv", "\n".join(["seq,label,part", *rows])), column="seq", split="part")
    assert task.coverage()["test"]["in_val"] == 2
    assert "in_val" not in task.coverage().get("val", {})


def test_a_fraction_of_one_class_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", GOOD)
    with pytest.raises(UsageError, match="training is left with one class") as error:
        table(tmp_path / "t.csv", column="seq", split="part", fraction=0.1)
    assert error.value.why == "0.1 of 2 samples is 1"


def test_files_say_the_split_and_no_column_does(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        write(tmp_path / f"{name}.csv", "seq,label\nA,x\nC,y\n")
    with pytest.raises(UsageError, match="a column says the split") as error:
        table(tmp_path, column="seq", split="part")
    assert error.value.where == "task.split"


def test_endings_in_capitals_are_the_same(tmp_path: Path) -> None:
    assert len(table(write(tmp_path / "T.CSV", GOOD), column="seq", split="part").split("train")) == 2


def test_a_split_of_another_name_is_told(tmp_path: Path) -> None:
    for name in ("train", "eval", "test"):
        write(tmp_path / f"{name}.csv", "seq,label\nA,x\nC,y\n")
    with pytest.raises(MissingError, match="no table for val") as error:
        table(tmp_path, column="seq")
    assert error.value.why == "the folder has eval.csv, test.csv, train.csv"
    assert error.value.fix == "call one val.csv or val.parquet, or name a single file"


@pytest.mark.parametrize("word", ["val", "valid", "validation", "dev", "Validation"])
def test_validation_has_several_words(tmp_path: Path, word: str) -> None:
    for name in ("train", word, "test"):
        write(tmp_path / f"{name}.csv", "seq,label\nA,x\nC,y\n")
    assert len(table(tmp_path, column="seq").split("val")) == 2
    marked = write(tmp_path / "marked.CSV", GOOD.replace("val", word))
    assert len(table(marked, column="seq", split="part").split("val")) == 1
    write(tmp_path / "VAL.parquet", "")
    with pytest.raises(UsageError, match="two files for val"):
        table(tmp_path, column="seq")


def test_a_cell_may_be_as_long_as_a_genome(tmp_path: Path) -> None:
    longest = 200_000  # the csv module's own limit is 131,072
    rows = [f"{'AC' * (longest // 2)},x,train", "C,y,train", "A,x,val", "C,y,test"]
    task = table(write(tmp_path / "t.csv", "\n".join(["seq,label,part", *rows])), column="seq", split="part")
    assert task.sample == Symbols(3, longest, fixed=False)


def test_a_column_that_is_constant_but_for_rounding_is_not_blown_up(tmp_path: Path) -> None:
    rows = ["0.1,x,train", "0.1,y,train"] * 500 + ["0.1,x,val", "0.11,y,test"]
    assert np.array([0.1] * 1000).std() > 0
    task = table(write(tmp_path / "t.csv", "\n".join(["n,label,part", *rows])), columns=["n"], split="part")
    assert float(task.split("test").batch(torch.arange(1)).samples) == pytest.approx(0.01)


def test_a_table_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    task = table(write(tmp_path / "t.csv", "\ufeff" + GOOD), column="seq", split="part")
    assert task.target == Classes(2)


def test_a_quote_in_the_middle_of_a_csv_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="not a CSV file") as caught:
        table(write(tmp_path / "t.csv", GOOD + '"A"C,x,test\n'), column="seq", split="part")
    assert caught.value.fix


def test_what_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(GOOD.encode() * 400 + "AC,caf\xe9,test\n".encode("latin-1"))
    with pytest.raises(DamagedError, match="this is not UTF-8") as caught:
        table(file, column="seq", split="part")
    assert caught.value.where == f"{file}:{GOOD.count(chr(10)) * 400 + 1}"


def test_a_column_of_numbers_that_is_not_there_is_found_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,label\n1,2,x\n3,4,y\n")
    options = TableOptions(path=str(tmp_path / "t.csv"), columns=["a", "c"])
    with pytest.raises(UsageError, match="no column 'c'"):
        options.sample()


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("train", "val"):
        write(tmp_path / "set" / f"{name}.csv", "seq,label\nAC,x\nCA,y\n")
    (tmp_path / "set" / "test.csv").symlink_to(write(tmp_path / "secret.csv", "seq,label\nAC,x\n"))
    with pytest.raises(UsageError, match="leads out of the folder"):
        table(tmp_path / "set", column="seq")


def test_training_lacks_no_label_of_its_own(tmp_path: Path) -> None:
    rows = [f"{'AC'[row % 2] * (row + 1)},{row},{'train' if row < 8 else ('val', 'test')[row % 2]}" for row in range(8)]
    rows += ["AA,0,val", "CC,7,test"]
    task = table(
        write(tmp_path / "t.csv", "\n".join(["seq,label,part", *rows])), column="seq", split="part", fraction=0.25
    )
    assert "unseen" not in task.coverage().get("train", {})
    assert {name: task.coverage()[name]["unseen"] for name in ("val", "test")} != {"val": 0, "test": 0}


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "t.csv", GOOD)
    monkeypatch.setattr(os, "access", lambda place, _: Path(place) != file)  # root may read all
    with pytest.raises(MissingError, match=r"t\.csv cannot be opened") as caught:
        table(file, column="seq", split="part")
    assert (caught.value.where, caught.value.why) == (str(file), "this user has no right to read it")
    monkeypatch.setattr(os, "access", lambda place, _: Path(place).name != "val.csv")
    for name in ("train", "val", "test"):
        write(tmp_path / f"{name}.csv", "seq,label\nAC,1\nCA,2\n")
    with pytest.raises(MissingError, match=r"val\.csv cannot be opened"):
        table(tmp_path, column="seq")


def test_what_is_nowhere_is_not_called_forbidden(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such table"):
        table(tmp_path / "none" / "deeper" / "t.csv", column="seq")


def test_a_link_in_a_circle_or_to_nothing_is_named(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write(tmp_path / f"{name}.csv", "seq,label\nAC,1\nCA,2\n")
    (tmp_path / "val.csv").symlink_to(tmp_path / "val.csv")
    with pytest.raises(XmodalError) as caught:
        table(tmp_path, column="seq")
    assert "val" in str(caught.value)


def test_a_label_of_very_many_digits_is_a_word(tmp_path: Path) -> None:
    rows = "".join(f"AC,{mark},{split}\n" for split in ("train", "val", "test") for mark in ("1" * 5000, "2"))
    assert table(write(tmp_path / "t.csv", "seq,label,part\n" + rows), column="seq", split="part").target == Classes(2)


def test_a_number_that_is_none_is_an_empty_cell(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        arrow.table({"seq": ["A"] * 12, "label": [1.0, 2.0] * 5 + [float("nan")] * 2}), tmp_path / "t.parquet"
    )
    with pytest.raises(UsageError, match="the cell in column 'label' is empty"):
        table(tmp_path / "t.parquet", column="seq", val=0.3, test=0.3)


def test_a_label_of_one_row_cannot_be_drawn_into_every_split(tmp_path: Path) -> None:
    rows = "".join(f"A,{'rare' if n == 0 else 'xy'[n % 2]}\n" for n in range(20))
    file = write(tmp_path / "t.csv", "seq,label\n" + rows)
    fixes = []
    for seed in range(20):
        try:
            table(file, seed, column="seq", val=0.3, test=0.3)
        except UsageError as error:
            fixes.append(error.fix)
    assert 0 < len(fixes) < 20
    assert {*fixes} == {"say with task.split which rows train, or take out labels of very few rows"}
