"""A run that keeps what the frozen prefix says is the run that does not, and says it once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stopping import StopAt, same_tensors
from torch import Tensor

from xmodal import sources
from xmodal.assemble import Model, assemble
from xmodal.engine import prefix_of
from xmodal.engine.prefix import Tail
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped
from xmodal.run import bare, session
from xmodal.run.order import Order
from xmodal.run.result import comparable
from xmodal.run.session import Run, train
from xmodal.tensors import Batch, Tokens

Make = Callable[..., Recipe]
RESERVOIR = ("freeze=body + input", "train.steps=24", "train.eval_every=8", "body.dropout=0.0")
"""Two epochs and a half of 40 samples, in batches of 4."""


@pytest.fixture
def reservoir(small: Make) -> Make:
    return lambda *overrides, seed=0: small(*RESERVOIR, *overrides, seed=seed)


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many samples went through the body, batch by batch."""
    sizes: list[int] = []
    original = Model.said

    def spy(self: Model, batch: Batch) -> tuple[Tensor, Tokens]:
        sizes.append(len(batch.targets))
        return original(self, batch)

    monkeypatch.setattr(Model, "said", spy)
    return sizes


def trained(run: Run) -> dict[str, Tensor]:
    return load_file(run.folder / "checkpoint" / "last.safetensors")


def test_the_numbers_are_those_of_the_plain_path(reservoir: Make, tmp_path: Path, met: list[int]) -> None:
    kept = train(reservoir(), out=tmp_path / "kept")
    assert sum(met) == 40 + 8 + 16  # training, validation, test: each sample once
    met.clear()
    plain = train(reservoir("cache=false"), out=tmp_path / "plain")
    assert sum(met) == 24 * 4 + 3 * 8 + 16
    assert kept.folder.name != plain.folder.name
    for name, tensor in trained(plain).items():
        torch.testing.assert_close(trained(kept)[name], tensor, rtol=1e-5, atol=1e-6)
    for split in ("val", "test"):
        one, two = (run.result[split] for run in (kept, plain))
        assert one.pop("loss") == pytest.approx(two.pop("loss"), abs=1e-6)
        assert one == two
    events = [(run.folder / "events.jsonl").read_text().splitlines() for run in (kept, plain)]
    started = [json.loads(lines[0])["norms"] for lines in events]
    assert started[0] == started[1]


@pytest.mark.parametrize(("cache", "taken"), [("auto", 1), ("false", 2)])
def test_one_thread_takes_the_steps_of_an_output_layer_and_all_ask_the_body(
    reservoir: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str, taken: int
) -> None:
    asking, taking, said = set[int](), set[int](), Model.said

    def spy(self: Model, batch: Batch) -> tuple[Tensor, Tokens]:
        asking.add(torch.get_num_threads())
        return said(self, batch)

    def step(self: torch.optim.Adam) -> None:
        taking.add(torch.get_num_threads())
        plain(self)

    plain = torch.optim.Adam.step
    monkeypatch.setattr(Model, "said", spy)
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    recipe = reservoir(*([] if cache == "auto" else [f"cache={cache}"]), "threads=2")
    before = torch.get_num_threads()
    try:
        train(recipe, out=tmp_path)
        assert (asking, taking, torch.get_num_threads()) == ({2}, {taken}, 2)
    finally:
        torch.set_num_threads(before)


def test_an_interrupted_run_goes_on_to_the_same_bits(reservoir: Make, tmp_path: Path) -> None:
    straight = train(reservoir(), out=tmp_path / "straight")
    for step in (5, 13, 19):
        stop = StopAt(step)
        resumed = train(reservoir(), out=tmp_path / "stopped", resume=True, listeners=[stop], stop=stop.asked)
        assert resumed.result["status"] == "interrupted"
    resumed = train(reservoir(), out=tmp_path / "stopped", resume=True)
    assert comparable(resumed.result) == comparable(straight.result)
    for name in ("best", "last"):
        same_tensors(*(run.folder / "checkpoint" / f"{name}.safetensors" for run in (straight, resumed)))


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        ((), ""),
        (("freeze=all - head",), ""),
        (("freeze=body",), "input trains"),
        (("freeze=body - ln - pos",), "input, pos and ln train"),
        (("body.dropout=0.1",), "dropout of 0.1"),
        (("cache=false",), "cache: false"),
        (("cache=true",), ""),
    ],
)
def test_what_trains_before_the_head_or_is_drawn_anew_is_not_kept(
    reservoir: Make, overrides: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    recipe = session.resolve(reservoir(*overrides))
    prefix = prefix_of(recipe, assemble(recipe, weights=False))
    assert why in prefix.why
    assert bool(prefix.why) == bool(why)
    assert ("computed once" in str(prefix)) == (not why)
    loop = bare.bare_loop(recipe, bare.task_of(recipe), tmp_path)
    assert isinstance(loop.job.model, Tail) == (not why)


def test_the_first_epoch_meets_the_batches_that_it_would_have_met(
    reservoir: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, seen, original = session.resolve(reservoir()), list[Tensor](), Model.said
    monkeypatch.setattr(Model, "said", lambda self, batch: seen.append(batch.samples) or original(self, batch))
    task = bare.task_of(recipe)
    loop = bare.bare_loop(bare.endless(recipe), task, tmp_path)
    events = loop.events()
    for _ in range(20):
        next(events)
    order, train_split = Order(40, 4, recipe.seed), task.split("train")
    assert [rows.tolist() for rows in seen] == [
        train_split.batch(order.indices(step)).samples.tolist() for step in range(10)
    ]


def test_what_is_kept_is_computed_in_the_arithmetic_of_the_run(reservoir: Make, tmp_path: Path) -> None:
    recipe = session.resolve(reservoir("precision=bfloat16"))
    assembled, task = assemble(recipe), bare.task_of(recipe)
    batch, indices = task.split("test"), torch.arange(4)
    read = bare.job_of(recipe, assembled, task, tmp_path).view(batch).batch(indices).samples
    with torch.no_grad():
        plain = assembled.model.head.read(*assembled.model.said(batch.batch(indices)))
        with bare.arithmetic(recipe)():
            low = assembled.model.head.read(*assembled.model.said(batch.batch(indices)))
    assert torch.equal(read, low.float())
    assert not torch.equal(read, plain)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("mnist_fpt", ("tokenizer.order=shuffled",)),  # the mean over patches
        ("bit_memory_fpt", ()),  # subsets, several labels from each token
        ("listops_fpt", ("body.name=minilm-l6",)),  # padding
        ("cifar_tenth_vit", ()),  # a class token
    ],
)
def test_every_head_reads_the_same_as_ever(
    name: str, overrides: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noise(stored: str, split: str) -> tuple[np.ndarray, np.ndarray]:
        random, shape = np.random.default_rng(0), (1, 28, 28) if stored == "mnist" else (3, 32, 32)
        return random.integers(256, size=(100, *shape), dtype=np.uint8), np.arange(100) % 10

    monkeypatch.setattr(sources, "read_images", noise)
    keys = ["freeze=body + input", "body.init=random", "device=cpu", "threads=1", *overrides]
    recipe = session.resolve(load_recipe(shipped()[name], keys, tiny=True))
    assembled, task = assemble(recipe), bare.task_of(recipe)
    prefix, job = prefix_of(recipe, assembled), bare.job_of(recipe, assembled, task, tmp_path)
    indices = torch.arange(4)
    batch, read = task.split("test").batch(indices), job.view(task.split("test")).batch(indices)
    assert read.samples[0].numel() == prefix.numbers
    assert torch.equal(read.targets, batch.targets)
    assert {subset: mask.tolist() for subset, mask in read.subsets.items()} == {
        subset: mask.tolist() for subset, mask in batch.subsets.items()
    }
    with torch.no_grad():
        torch.testing.assert_close(job.model(read), assembled.model.eval()(batch), rtol=1e-5, atol=1e-5)
