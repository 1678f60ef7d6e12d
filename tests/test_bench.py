"""Reading is measured on one thread and training on all; neither CIFAR-10 nor ListOps holds MiniLM up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xmodal import bench, sources
from xmodal.assemble import assemble
from xmodal.bench import reading
from xmodal.errors import MissingError
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped
from xmodal.sources.idx import write_idx

SMALL = {
    "cifar_fpt": ("task.val=8", "train.batch_size=4"),
    "listops_fpt": ("task.train=8", "task.val=2", "task.test=2", "train.batch_size=2"),
}


def fed(name: str) -> Recipe:
    return load_recipe(shipped()[name], [*bench.FEEDS[name], *SMALL[name]])


def install_cifar() -> None:
    def build(place: Path) -> dict[str, Any]:
        for prefix, count in (("train", 64), ("t10k", 8)):
            images = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), np.uint8)
            write_idx(place / f"{prefix}-images-idx4-ubyte", images)
            write_idx(place / f"{prefix}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
        return {"route": "test"}

    sources.install("data", "cifar10", build)


def test_what_is_measured_unless_told_is_small_here_and_whole_there() -> None:
    assert SMALL.keys() == bench.FEEDS.keys()
    assert {fed(name).body.name for name in SMALL} == {"minilm-l6"}


@pytest.mark.parametrize("name", SMALL)
def test_reading_is_at_least_five_times_as_fast_as_the_step_it_feeds(name: str) -> None:
    install_cifar()
    figures = bench.data([fed(name)], rounds=1)
    batches, step, ratio = figures["rows"]
    assert ratio["median"] > 5
    assert ratio["median"] == pytest.approx(batches["median"] / step["median"])
    assert [row["unit"] for row in figures["rows"]] == ["samples/s", "samples/s", "x"]
    assert figures["environment"]["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_one_thread_reads_and_all_train(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), set[int]()

    def training(recipe: Recipe, task: Any, folder: Path) -> Iterator[None]:
        split, original = task.split("train"), task.split("train").batch

        def batch(indices: torch.Tensor) -> Any:
            assert torch.get_num_threads() == 1
            return original(indices)

        monkeypatch.setattr(split, "batch", batch)
        while True:
            seen.add(torch.get_num_threads())
            yield

    monkeypatch.setattr(reading, "training", training)
    torch.set_num_threads(2)
    try:
        bench.data([fed("listops_fpt")], rounds=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {2}


def test_data_that_are_not_here_are_named() -> None:
    with pytest.raises(MissingError) as caught:
        bench.data([fed("cifar_fpt")], rounds=1)
    assert caught.value.fix == "xmodal get data cifar10"


def test_our_step_is_measured_against_a_plain_one() -> None:
    recipe = load_recipe(shipped()["quickstart"], ["body.init=random", "body.layers='0:1'", "task.bits=3"])
    ours, published, careful, gain, same, alone, reached, share = bench.step(recipe, rounds=1, steps=1)["rows"]
    assert gain["median"] == pytest.approx(published["median"] / ours["median"])
    assert same["median"] == pytest.approx(careful["median"] / ours["median"])
    assert same["against"] == "a careful loop around BertModel"
    assert share["median"] == pytest.approx(100 * reached["median"] / alone["median"])
    # One block of 12 x 384^2 numbers, 32 samples of 6 tokens, forward and backward to the activations.
    assert reached["median"] * 1e9 * ours["median"] == pytest.approx(4 * 32 * 6 * 12 * 384**2)


def test_several_precisions_and_their_memory_are_measured() -> None:
    overrides = ["body.name=gpt2", "body.init=random", "body.layers='0:1'", "task.bits=3", "train.batch_size=2"]
    recipe = load_recipe(shipped()["quickstart"], overrides)
    asked = ("float32", "float32-fused")
    rows = bench.step(recipe, rounds=1, steps=1, precisions=asked, memory=True)["rows"]
    by_name = {row["what"]: row["median"] for row in rows}
    for name in asked:
        assert by_name[f"xmodal, {name}"] > 0
        assert by_name[f"peak memory, {name}"] < by_name["peak memory, full fine-tuning, float32"]


def test_what_longer_samples_cost_is_measured_against_the_count() -> None:
    small = ["body={name: transformer, init: random, width: 16, heads: 2, depth: 1, context: 256, causal: false}"]
    rows = {row["what"]: row["median"] for row in bench.length((32, 64), 1, small)["rows"]}
    count = (48 * 64 * 16**2 + 12 * 64**2 * 16) / (48 * 32 * 16**2 + 12 * 32**2 * 16)
    assert rows["64 tokens: times the operations"] == pytest.approx(count)
    grown = rows["64 tokens"] / rows["32 tokens"]
    assert rows["64 tokens: seconds over operations"] == pytest.approx(grown / count)


def test_learners_are_measured_against_the_published_loop() -> None:
    recipe = load_recipe(shipped()["quickstart"], ["body.init=random", "body.layers='0:1'", "task.bits=3"])
    rows = bench.learners(recipe, count=2, rounds=1)["rows"]
    together, alone, published, ratio, other, rows_read, lone, every, peaks, states, less = (
        row["median"] for row in rows
    )
    assert ratio == pytest.approx(published / together)
    assert other == pytest.approx(alone / together)
    assert 0.9 < peaks < 2
    trainable = assemble(recipe).plan.counts()["trainable"]
    unread = (512 - 6) * 384  # rows of the table of positions, which have no moments
    assert states == pytest.approx((8 * trainable + 8 * (trainable - unread)) / 1e6)
    assert less == pytest.approx((every - states) / lone)
    assert 0.1 < rows_read < 10
