"""Reading is measured on one thread and training on all; neither CIFAR-10 nor ListOps holds MiniLM up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xmodal import bench, sources
from xmodal.errors import MissingError
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.library import shipped
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

    monkeypatch.setattr(bench, "_training", training)
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
    ours, plain, ratio = bench.step(recipe, rounds=1, steps=1)["rows"]
    assert ratio["median"] == pytest.approx(ours["median"] / plain["median"])
    assert ratio["against"] == "plain loop around BertModel"


def test_learners_are_measured_against_the_published_loop() -> None:
    recipe = load_recipe(shipped()["quickstart"], ["body.init=random", "body.layers='0:1'", "task.bits=3"])
    rows = bench.learners(recipe, count=2, rounds=1)["rows"]
    together, alone, published, ratio, other, *_, peaks = (row["median"] for row in rows)
    assert ratio == pytest.approx(published / together)
    assert other == pytest.approx(alone / together)
    assert 0.9 < peaks < 2
