"""What a training step does, one thing at a time: clipping, dropout, patience, divergence, the seal, threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stopping import StopAt, spy_on_assembly

from xmodal import seeds
from xmodal.assemble import Assembled, assemble
from xmodal.errors import XmodalError
from xmodal.recipe import Recipe, TrainOptions
from xmodal.run import bare, loop
from xmodal.run.evaluate import Scores
from xmodal.run.events import Event, Stepped
from xmodal.run.optimizer import build_optimizer
from xmodal.run.session import train

Small = Callable[..., Recipe]


def scripted(accuracies: list[float]) -> Callable[..., Iterator[Scores]]:
    """An evaluation that finds these accuracies, one a look; test finds 0.5."""
    left = iter(accuracies)

    def evaluate(model: object, split: object, name: str, step: int, **rest: Any) -> Iterator[Scores]:
        yield Scores(0.5 if name == "test" else next(left), (0.0, 1.0), 1.0, 8, 8, {})

    return evaluate


def test_patience_counts_from_the_best_look(small: Small, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "evaluate", scripted([0.5, 0.4, 0.6, 0.5, 0.6, 0.9]))
    result = train(small("train.patience=2", "train.steps=40"), out=out).result
    assert result["stopped"] == "patience"
    assert result["best_step"] == 12  # an equal score later is no better
    assert result["steps"] == 20


def test_a_threshold_is_reached_by_its_own_value(small: Small, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "evaluate", scripted([0.7, 0.75, 0.95]))
    assert train(small(), out=out).result["steps_to"] == {"0.75": 8, "0.9": 12, "0.95": 12, "0.99": None}


def test_every_step_draws_dropout_anew_and_by_seed(small: Small, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    original = seeds.reseed
    monkeypatch.setattr(seeds, "reseed", lambda seed, device: drawn.append(seed) or original(seed, device))
    train(small(), out=out)
    assert drawn == [seeds.stream("dropout", 0, step) for step in range(12)]
    assert len(set(drawn)) == 12


def test_gradients_are_clipped_together(small: Small, out: Path) -> None:
    recipe = small("train.clip_norm=1e-3", "train.optimizer=sgd", "train.lr=1.0", "train.steps=1")
    before = assemble(recipe).plan.trainable()
    norms: list[float] = []
    run = train(recipe, out=out, listeners=[lambda e: norms.append(e.grad_norm) if isinstance(e, Stepped) else None])
    after = load_file(run.folder / "checkpoint" / "last.safetensors")
    moved = torch.cat([(after[name] - value.detach()).flatten() for name, value in before.items()]).double()
    assert norms[0] > 0.1  # as it was before
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-3)


def test_a_gradient_that_is_not_finite_is_divergence(small: Small, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = spy_on_assembly(monkeypatch)

    def spoil(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 6:
            held[0].plan.trainable()["head.weight"].register_hook(lambda gradient: gradient * float("inf"))

    run = train(small(), out=out, listeners=[spoil])
    assert run.result["status"] == "diverged"
    assert run.result["steps"] == 6
    assert all(
        torch.isfinite(tensor).all() for tensor in load_file(run.folder / "checkpoint/last.safetensors").values()
    )


def test_a_buffer_that_moves_fails_the_run(small: Small, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = torch.ones(3)

    def with_a_table(*args: Any, **options: Any) -> Assembled:
        made = assemble(*args, **options)
        made.model.body.register_buffer("table", table)
        return made

    def meddle(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 6:
            table[0] = 2

    monkeypatch.setattr(bare, "assemble", with_a_table)
    with pytest.raises(XmodalError, match=r"body\.table"):
        train(small(), out=out, listeners=[meddle])


def test_an_interrupted_run_goes_on_with_its_own_number_of_threads(small: Small, out: Path) -> None:
    before, stop = torch.get_num_threads(), StopAt(5)
    try:
        torch.set_num_threads(1)
        train(small("threads=null"), out=out, listeners=[stop], stop=stop.asked)
        torch.set_num_threads(2)
        train(small("threads=null"), out=out, resume=True)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "grad", "values"),
    # Adam: a step of lr whatever the size of the gradient; decay is decoupled in AdamW, a gradient in
    # Adam. SGD has momentum 0.9 and the same decay: 0.1 * 1.5, then 0.1 * (0.9 * 1.5 + 1 + 0.5 * 0.85).
    [("adam", 0.0, [0.9, 0.8]), ("adamw", 0.0, [0.95, 0.9025]), ("sgd", 1.0, [0.85, 0.5725])],
)
def test_each_optimiser_is_the_one_that_its_name_says(name: str, grad: float, values: list[float]) -> None:
    options = TrainOptions.model_validate({"lr": 0.1, "steps": 9, "optimizer": name, "weight_decay": 0.5})
    parameter = torch.nn.Parameter(torch.ones(1, 1))
    optimizer = build_optimizer({"head.weight": parameter}, options)
    for value in values:
        parameter.grad = torch.full((1, 1), grad)
        optimizer.step()
        assert parameter.item() == pytest.approx(value, abs=2e-3 if name == "adam" else 1e-6)


@pytest.mark.parametrize("site", ["input.weight", "head.weight"])
def test_the_seed_draws_what_is_new(small: Small, site: str) -> None:
    one, same, other = (assemble(small(seed=seed)).plan.trainable()[site] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.isclose(one, other).any()
