"""Each switch of `legacy` does what it says, nothing happens without it, and a run that has one says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from xmodal import console
from xmodal.assemble import Model, assemble
from xmodal.errors import RecipeError, UsageError
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped
from xmodal.run.events import Event, Started
from xmodal.run.session import train
from xmodal.study.arms import enforce, make_arms
from xmodal.study.factors import Asked
from xmodal.tasks import build_task
from xmodal.tasks.expressions import CLOSER, encode, evaluate
from xmodal.tasks.splits import batches_of
from xmodal.tensors import Batch

HOMOLOGY = Path(__file__).parents[1] / "data" / "homology"
BRACKETS = "legacy.listops_tokens=512-without-brackets"
PADDING = "legacy.read_padding=true"
SAMPLED = "legacy.sampled_evaluation=2"
SMALL = ("train.steps=2", "train.eval_every=2", "train.batch_size=4", "threads=1")


def recipe(name: str, *overrides: str) -> Recipe:
    own = [f"task.path={HOMOLOGY}"] if "homology" in name else []
    return load_recipe(shipped()[name], [*own, *SMALL, *overrides], tiny=True)


# In a recipe


@pytest.mark.parametrize("off", ["legacy=null", "legacy={}", "legacy.read_padding=false", "legacy.listops_tokens=null"])
def test_what_is_off_changes_no_digest(off: str) -> None:
    assert recipe("listops_fpt", off).digest() == recipe("listops_fpt").digest()
    assert recipe("listops_fpt", off).faults == []


def test_what_is_on_is_in_the_digest_and_in_words() -> None:
    made = [recipe("listops_fpt", *said) for said in ((), (BRACKETS,), (PADDING,), (SAMPLED,), (BRACKETS, PADDING))]
    assert len({one.digest() for one in made}) == len(made)
    assert [len(one.faults) for one in made] == [0, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("name", "said", "what"),
    [
        ("bit_xor_fpt", BRACKETS, "listops_tokens does nothing to bit-xor"),
        ("bit_xor_fpt", PADDING, "read_padding does nothing to bit-xor"),
        ("mnist_fpt", PADDING, "read_padding does nothing to mnist"),
        ("listops_fpt", "legacy.listops_tokens=512", "input should be '512-without-brackets'"),
        ("listops_fpt", "legacy.read_pading=true", "no key 'read_pading' in legacy; did you mean 'read_padding'?"),
        ("listops_fpt", "legacy.sampled_evaluation=0", "greater than or equal to 1"),
        ("listops_fpt", "legacy=yes", "valid dictionary"),
    ],
)
def test_what_does_nothing_is_an_error(name: str, said: str, what: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(shipped()[name], [said])
    (problem,) = caught.value.problems
    assert what in problem.what
    assert problem.where == f"-o {said.partition('=')[0]}"
    assert problem.fix


# ListOps without brackets


def expressions(made: Recipe, split: str = "train") -> list[list[int]]:
    legacy = made.legacy
    task = build_task(made.task, 0, without_brackets=bool(legacy and legacy.listops_tokens))
    samples = task.split(split)  # type: ignore[arg-type]
    batch = samples.batch(torch.arange(len(samples)))
    assert batch.mask is not None
    return [row[real].tolist() for row, real in zip(batch.samples, batch.mask, strict=True)]


LONG = ("task.longer_than=600", "task.shorter_than=900", "task.train=4", "task.val=2", "task.test=2")


def test_brackets_are_dropped_before_512_tokens_are_kept() -> None:
    whole = expressions(recipe("listops_fpt", *LONG, "task.max_length=900"))
    faulty = recipe("listops_fpt", *LONG, BRACKETS)
    assert (faulty.task.max_length, faulty.task.too_long) == (512, "truncate")
    cut = expressions(faulty)
    assert all(CLOSER in row and len(row) > 600 for row in whole)
    assert cut == [[token for token in row if token != CLOSER][:512] for row in whole]
    task = build_task(faulty.task, 0, without_brackets=True)
    short = sum(len([token for token in row if token != CLOSER]) > 512 for row in whole)
    assert task.coverage().get("train", {}).get("truncated", 0) == short


def test_without_brackets_one_sequence_is_worth_two_things(tmp_path: Path) -> None:
    one, other = "[MAX 1 [MIN 2 9 ] 8 ]", "[MAX 1 [MIN 2 9 8 ] ]"
    assert evaluate(encode(one)) == 8 != evaluate(encode(other)) == 2
    for split in ("train", "val", "test"):
        (tmp_path / f"basic_{split}.tsv").write_text(f"{one}\t8\n{other}\t2\n")
    path = f"task.path={tmp_path}"
    plain, faulty = expressions(recipe("listops_fpt", path)), expressions(recipe("listops_fpt", path, BRACKETS))
    assert plain[0] != plain[1]
    assert faulty[0] == faulty[1]


# Padding


def logits(model: Model, batch: Batch) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(batch)


@pytest.mark.parametrize("name", ["listops_fpt", "homology_minilm"])
def test_padding_is_read_with_the_switch_and_never_without(name: str) -> None:
    made = recipe(name)
    model = assemble(made).model
    clean, faulty = (build_task(made.task, 0, read_padding=on) for on in (False, True))
    samples = clean.split("test")
    lengths = [
        int(batch.mask.sum())
        for n in range(len(samples))
        if (batch := samples.batch(torch.tensor([n]))).mask is not None
    ]
    shortest = torch.tensor([lengths.index(min(lengths))])
    longest = made.task.sample().max_length
    assert min(lengths) < longest
    alone, padded = samples.batch(shortest), faulty.split("test").batch(shortest)
    assert padded.samples.shape[1] == longest
    assert padded.mask is not None
    assert bool(padded.mask.all())
    # Masked padding changes no logit; padding that counts as real does.
    masked = Batch(padded.samples, padded.targets, torch.arange(longest)[None] < min(lengths))
    assert torch.allclose(logits(model, alone), logits(model, masked), atol=1e-5)
    assert not torch.allclose(logits(model, alone), logits(model, padded), atol=1e-3)


def test_a_score_that_reads_padding_does_not_depend_on_the_batch() -> None:
    made = recipe("listops_fpt")
    split = build_task(made.task, 0, read_padding=True).split("test")
    model = assemble(made).model
    together = logits(model, split.batch(torch.arange(len(split))))
    alone = torch.cat([logits(model, split.batch(torch.tensor([n]))) for n in range(len(split))])
    assert torch.allclose(together, alone, atol=1e-5)
    assert split.digest() != build_task(made.task, 0).split("test").digest()


# Evaluation


def test_sampled_evaluation_takes_some_batches_and_the_default_takes_all(tmp_path: Path) -> None:
    sizes = ("task.val=11", "task.test=10")
    runs = [train(recipe("bit_memory_fpt", *sizes, *said), out=tmp_path) for said in ((), (SAMPLED,))]
    whole, some = (run.result.to_dict() for run in runs)
    assert (whole["val"]["items"], whole["test"]["items"]) == (11, 10)
    assert (some["val"]["items"], some["test"]["items"]) == (8, 8)  # two batches of four
    assert "legacy" not in whole
    assert some["legacy"] == recipe("bit_memory_fpt", SAMPLED).faults


def test_batches_are_drawn_anew_and_the_last_is_dropped() -> None:
    split: Any = build_task(recipe("bit_memory_fpt", "task.val=11").task, 0).split("val")
    drawn = [batches_of(split, 9, 4, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert [len(one) for one in drawn] == [8, 8, 8]
    assert drawn[0].digest() == drawn[1].digest() != drawn[2].digest()
    assert len(batches_of(split, 1, 64, torch.Generator())) == 11


# Dropout in a frozen body has no switch of its own: `body.dropout` is it


@pytest.mark.parametrize(("rate", "same"), [(0.0, True), (0.1, False)])
def test_dropout_acts_inside_a_frozen_body(rate: float, same: bool) -> None:
    made = assemble(recipe("bit_xor_fpt", f"body.dropout={rate}", "freeze=body"))
    batch = build_task(recipe("bit_xor_fpt").task, 0).split("train").batch(torch.arange(4))
    made.model.train()
    with torch.no_grad():
        torch.manual_seed(0)
        first, second = made.model(batch), made.model(batch)
    assert torch.equal(first, second) == same


# What a run says


def test_a_run_with_a_switch_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Event] = []
    made = recipe("listops_fpt", BRACKETS, PADDING, SAMPLED)
    run = train(made, out=tmp_path, listeners=[heard.append])
    (started,) = [event for event in heard if isinstance(event, Started)]
    assert [*started.warnings] == made.faults == run.result["legacy"]
    assert len(made.faults) == 3
    console.show_results([run.result.to_dict()])
    shown = capsys.readouterr().out
    assert all(fault in shown for fault in made.faults)
    # The lock holds the switches, and gives the same run.
    locked = load_recipe(run.folder / "recipe.lock.yaml")
    assert (locked.legacy, locked.digest()) == (
        made.legacy,
        json.loads((run.folder / "result.json").read_text())["recipe_digest"],
    )


@pytest.mark.parametrize(
    ("name", "factor"),
    [("listops_fpt", "legacy.read_padding=null,true"), ("bit_memory_fpt", "legacy.sampled_evaluation=null,25")],
)
def test_a_switch_is_a_factor_like_any_other(name: str, factor: str) -> None:
    made = make_arms(Asked(shipped()[name], vary=[factor], tiny=True))
    assert [bool(arm.recipe.faults) for arm in made.arms] == [False, True]
    with pytest.raises(UsageError, match="also differ in legacy"):
        enforce(made.arms, ["train.steps"])
