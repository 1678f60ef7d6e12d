"""ListOps: expressions by the rules, drawn once, disjoint; LRA's own files; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from xmodal import sources
from xmodal.errors import DamagedError, MissingError, UsageError
from xmodal.tasks import build_task
from xmodal.tasks.expressions import CLOSER, DIGIT, MOST, OPENER, OPERATORS, VOCABULARY, draw, encode, evaluate
from xmodal.tasks.listops import ListOpsOptions
from xmodal.types import Classes, Symbols, Task

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "listops" / "lra_format_sample.tsv"


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def tree(tokens: list[int]) -> object:
    """An expression as nested lists, by plain recursion: another reading than the package's."""

    def read(at: int) -> tuple[object, int]:
        if tokens[at] < OPENER:
            return tokens[at] - DIGIT, at + 1
        node: list[object] = [OPERATORS[tokens[at] - OPENER]]
        at += 1
        while tokens[at] != CLOSER:
            argument, at = read(at)
            node.append(argument)
        return node, at + 1

    whole, end = read(0)
    assert end == len(tokens)
    return whole


def worth(node: object) -> int:
    if isinstance(node, int):
        return node
    assert isinstance(node, list)
    values = [worth(argument) for argument in node[1:]]
    return {
        "MIN": min(values),
        "MAX": max(values),
        "SM": sum(values) % 10,
        "MED": int(np.median(values)),
    }[node[0]]


def depth(node: object) -> int:
    return 1 + max(map(depth, node[1:])) if isinstance(node, list) else 1


def operators(node: object) -> list[list[object]]:
    if not isinstance(node, list):
        return []
    return [node, *(found for argument in node[1:] for found in operators(argument))]


def small(**said: object) -> ListOpsOptions:
    said = {"train": 60, "val": 20, "test": 20, "longer_than": 5, "shorter_than": 60, **said}
    return ListOpsOptions.model_validate(said)


def expressions(task: Task, split: str) -> list[tuple[int, ...]]:
    samples = task.split(split)  # type: ignore[arg-type]
    batch = samples.batch(torch.arange(len(samples)))
    assert batch.mask is not None
    return [tuple(row[real].tolist()) for row, real in zip(batch.samples, batch.mask, strict=True)]


def test_every_drawn_expression_is_worth_what_it_says() -> None:
    drawn = draw(6000, generator(), 500, 2000)
    assert len(drawn.labels) > 300
    for tokens, label in drawn.each():
        nested = tree(tokens.tolist())
        assert worth(nested) == label == evaluate(tokens)
        assert depth(nested) <= 10
        assert 500 < len(tokens) < 2000
        assert all(2 <= len(node) - 1 <= MOST for node in operators(nested))


def test_the_rules_show_in_the_numbers() -> None:
    drawn = draw(30_000, generator(1), 500, 2000)
    # About 8.5 % of roots are kept; the error of the share is 0.16 %.
    assert 0.078 < len(drawn.labels) / 30_000 < 0.094
    counts = np.bincount(drawn.tokens, minlength=VOCABULARY)
    assert counts[0] == 0
    assert np.allclose(counts[OPENER:CLOSER] / counts[OPENER:CLOSER].sum(), 0.25, atol=0.005)
    assert np.allclose(counts[DIGIT:OPENER] / counts[DIGIT:OPENER].sum(), 0.1, atol=0.003)
    assert counts[CLOSER] == counts[OPENER:CLOSER].sum()
    labels = np.bincount(drawn.labels, minlength=10) / len(drawn.labels)
    assert 0.13 < labels.max() < 0.2  # about 17 %
    short = draw(30_000, generator(2), 3, 40)
    arguments = [len(node) - 1 for tokens, _ in short.each() for node in operators(tree(tokens.tolist()))[:1]]
    assert set(arguments) == set(range(2, MOST + 1))


def test_trees_of_any_length_have_the_depths_lengths_and_arguments_of_the_rules() -> None:
    roots = 4000
    drawn = draw(roots, generator(3), 0, 10**9)
    assert len(drawn.labels) == roots
    trees = [tree(tokens.tolist()) for tokens, _ in drawn.each()]
    # By the rules, from the leaves up: a root no deeper than d has a digit, or 2 to 10 arguments no deeper than d - 1.
    shallow = 0.75
    for deepest in range(1, 10):
        share = sum(depth(node) <= deepest for node in trees) / roots
        assert share == pytest.approx(shallow, abs=4 * (shallow * (1 - shallow) / roots) ** 0.5)
        shallow = 0.75 + 0.25 * sum(shallow**count for count in range(2, 11)) / 9
    assert max(map(depth, trees)) == 10
    # A node is worth one token, or two and those of six arguments on average.
    mean = 1.0
    for _ in range(9):
        mean = 0.75 + 0.25 * (2 + 6 * mean)
    lengths = np.diff(drawn.ends, prepend=0)
    assert lengths.mean() == pytest.approx(mean, abs=4 * lengths.std() / roots**0.5)
    arguments = np.bincount([len(node) - 1 for nested in trees for node in operators(nested)], minlength=11)
    assert arguments[:2].sum() == 0
    wanted = arguments.sum() / 9
    assert np.allclose(arguments[2:], wanted, atol=4 * (wanted * 8 / 9) ** 0.5)


def test_lras_own_lines_agree() -> None:
    if not SAMPLE.is_file():
        pytest.skip(f"no {SAMPLE.name} beside the repository")
    lines = [line.split("\t") for line in SAMPLE.read_text().splitlines()[1:]]
    assert len(lines) == 10
    for source, target in lines:
        assert evaluate(encode(source)) == worth(tree(encode(source).tolist())) == int(target)


def test_splits_are_disjoint_and_repeat() -> None:
    task = build_task(small(), 0)
    assert task.sample == Symbols(vocabulary=16, max_length=59, fixed=False)
    assert task.target == Classes(10)
    held = {split: expressions(task, split) for split in ("train", "val", "test")}
    assert {split: len(each) for split, each in held.items()} == {"train": 60, "val": 20, "test": 20}
    assert len({each for rows in held.values() for each in rows}) == 100
    again = build_task(small(), 0)
    assert again.split("train").digest() == task.split("train").digest()
    assert build_task(small(), 1).split("train").digest() != task.split("train").digest()
    assert len(list((sources.home() / "data").glob("listops-*"))) == 2  # drawn once for each seed
    batch = task.split("test").batch(torch.arange(20))
    assert [evaluate(each) for each in held["test"]] == batch.targets.tolist()
    assert task.coverage() == {}
    assert set(task.floors()) == {"majority"}
    assert len(build_task(small(fraction=0.5), 0).split("train")) == 30


def test_what_is_too_long_is_cut_left_out_or_an_error() -> None:
    with pytest.raises(UsageError, match=r"is longer than max_length, 20") as caught:
        build_task(small(max_length=20), 0)
    assert "truncate or skip" in caught.value.fix
    cut = build_task(small(max_length=20, too_long="truncate"), 0)
    whole = build_task(small(), 0)
    assert expressions(cut, "train") == [each[:20] for each in expressions(whole, "train")]
    assert cut.coverage()["train"]["truncated"] > 0
    left = build_task(small(max_length=20, too_long="skip"), 0)
    assert len(left.split("train")) == 60 - left.coverage()["train"]["skipped"]


def write(folder: Path, **lines: str) -> Path:
    for split in ("train", "val", "test"):
        text = lines.get(split, "( ( ( [MAX 2 ) 9 ) ] )\t9\n[SM 5 6 7 ]\t8\n")
        (folder / f"basic_{split}.tsv").write_text("Source\tTarget\n" + text)
    return folder


def test_lras_files_take_the_place_of_the_generator(tmp_path: Path) -> None:
    task = build_task(small(path=str(write(tmp_path))), 0)
    assert [len(each) for each in expressions(task, "train")] == [4, 5]
    assert task.split("test").batch(torch.arange(2)).targets.tolist() == [9, 8]


def test_files_may_begin_with_a_byte_order_mark_and_are_looked_for_before_anything_is_built(tmp_path: Path) -> None:
    write(tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    options = small(path=str(tmp_path))
    assert [len(each) for each in expressions(build_task(options, 0), "train")] == [4, 5]
    (tmp_path / "basic_val.tsv").unlink()
    with pytest.raises(MissingError, match=r"no basic_val\.tsv"):
        options.sample()


@pytest.mark.parametrize(("header", "line"), [("Source\tTarget\n", 3), ("", 2)])
def test_a_long_sample_of_a_file_is_named_by_its_line(tmp_path: Path, header: str, line: int) -> None:
    write(tmp_path)
    (tmp_path / "basic_train.tsv").write_text(header + "3\t3\n[SM 5 6 7 ]\t8\n")
    with pytest.raises(UsageError) as caught:
        build_task(small(path=str(tmp_path), max_length=4), 0)
    assert f"{tmp_path / 'basic_train.tsv'}:{line}" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[MAX 2 9 ]\t8", "the expression is worth 9, and the target is '8'"),
        ("[MAX 2 9\t9", "operators that are not closed: 1"),
        ("[MAX ]\t9", "an operator without arguments"),
        ("2 ]\t2", "it goes on after its end"),
        ("]\t2", "] without an operator"),
        ("[AVG 2 9 ]\t9", "'[AVG' is neither a digit"),
        ("[MAX 2 9 ]", "there is no tab"),
        ("\t9", "it is empty"),
        ("( ( [MAX 2 ) 9 ) ] )\t9", "its parentheses do not pair"),
        ("( ( ( ( [MAX 2 ) 9 ) ] )\t9", "its parentheses do not pair"),
        (") [MAX 2 9 ] (\t9", "its parentheses do not pair"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    write(tmp_path, val=f"[SM 5 6 ]\t1\n{line}\n")
    with pytest.raises(DamagedError) as caught:
        build_task(small(path=str(tmp_path)), 0)
    assert caught.value.where == f"{tmp_path / 'basic_val.tsv'}:3"
    assert why in caught.value.why
    assert caught.value.fix
    assert caught.value.exit_code == 3


def test_files_that_are_missing_or_empty_are_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"basic_test\.tsv has no expressions"):
        build_task(small(path=str(write(tmp_path, test=""))), 0)
    (tmp_path / "basic_train.tsv").unlink()
    with pytest.raises(MissingError, match=r"no basic_train\.tsv"):
        build_task(small(path=str(tmp_path)), 0)


def test_lengths_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="no length is over 50 and under 51"):
        small(longer_than=50, shorter_than=51).sample()
    with pytest.raises(UsageError, match="were not found") as caught:
        build_task(small(train=5000, longer_than=2, shorter_than=5), 0)  # 4 operators, 100 pairs of digits
    assert "wider range" in caught.value.fix


def test_samples_of_other_lengths_are_kept_apart() -> None:
    longest = [max(map(len, expressions(build_task(small(shorter_than=limit), 0), "train"))) for limit in (40, 60)]
    assert longest[0] < 40 <= longest[1] < 60
