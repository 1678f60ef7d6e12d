from __future__ import annotations

from math import cos, pi

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xmodal.recipe import TrainOptions
from xmodal.run.optimizer import build_optimizer, rate, reached, restore_state, state_tensors
from xmodal.run.order import Order


@given(samples=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 9))
def test_every_epoch_takes_every_sample_once(samples: int, batch: int, seed: int) -> None:
    order = Order(samples, batch, seed)
    epochs = 3
    steps = -(-samples * epochs // batch)
    taken = torch.cat([order.indices(step) for step in range(steps)])
    for epoch in range(epochs):
        assert sorted(taken[epoch * samples : (epoch + 1) * samples].tolist()) == list(range(samples))


@given(step=st.integers(0, 200), seed=st.integers(0, 9))
def test_a_batch_depends_on_seed_and_step_alone(step: int, seed: int) -> None:
    walked = Order(13, 5, seed)
    for earlier in range(step):
        walked.indices(earlier)
    assert torch.equal(walked.indices(step), Order(13, 5, seed).indices(step))


def test_epochs_and_seeds_are_shuffled_differently() -> None:
    order = Order(100, 100, 0)
    assert not torch.equal(order.indices(0), order.indices(1))
    assert not torch.equal(order.indices(0), Order(100, 100, 1).indices(0))


def test_rate_warms_up_and_falls() -> None:
    options = TrainOptions(lr=0.1, steps=110, warmup=10, schedule="cosine")
    assert rate(0, options) == pytest.approx(0.01)
    assert rate(9, options) == pytest.approx(0.1)
    assert rate(60, options) == pytest.approx(0.1 * 0.5 * (1 + cos(pi / 2)))
    assert rate(109, options) == pytest.approx(0.0, abs=1e-4)
    assert rate(109, TrainOptions(lr=0.1, steps=110, warmup=10)) == 0.1


def parameters() -> dict[str, torch.nn.Parameter]:
    names = (
        "attn[0].q.weight",
        "attn[0].q.bias",
        "ln[0].attn.weight",
        "pos.weight",
        "embed.type.weight",
        "input.weight",
        "input.class.weight",
        "head.weight",
    )
    return {name: torch.nn.Parameter(torch.ones(3, 2)) for name in names}


def test_weight_decay_moves_matrices_only() -> None:
    trainable = parameters()
    options = TrainOptions(lr=0.1, steps=1, weight_decay=0.5, optimizer="adamw")
    optimizer = build_optimizer(trainable, options)
    for parameter in trainable.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = {name for name, parameter in trainable.items() if not torch.equal(parameter.data, torch.ones(3, 2))}
    assert moved == {"attn[0].q.weight", "head.weight"}


def test_the_optimiser_holds_exactly_what_it_is_given() -> None:
    trainable = parameters()
    optimizer = build_optimizer(trainable, TrainOptions(lr=0.1, steps=1))
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in trainable.values())


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimiser_state_comes_back_to_the_bit(name: str) -> None:
    options = TrainOptions.model_validate({"lr": 0.1, "steps": 9, "optimizer": name})

    def steps(trainable: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            for parameter in trainable.values():
                parameter.grad = torch.full_like(parameter, 0.3 + number)
            optimizer.step()

    straight = parameters()
    steps(straight, build_optimizer(straight, options), range(6))
    first = parameters()
    optimizer = build_optimizer(first, options)
    steps(first, optimizer, range(3))
    saved = {key: value.clone() for key, value in state_tensors(optimizer, first).items()}
    second = {key: torch.nn.Parameter(value.detach().clone()) for key, value in first.items()}
    resumed = build_optimizer(second, options)
    restore_state(resumed, second, saved)
    steps(second, resumed, range(3, 6))
    assert all(torch.equal(straight[key], second[key]) for key in straight)


def test_reached_counts_numbers_that_ever_had_a_gradient() -> None:
    trainable = {"pos.weight": torch.nn.Parameter(torch.ones(5, 2)), "head.weight": torch.nn.Parameter(torch.ones(2))}
    optimizer = build_optimizer(trainable, TrainOptions(lr=0.1, steps=1, weight_decay=0.1))
    assert reached(optimizer) == 0
    for rows in ([0], [1]):
        trainable["pos.weight"].grad = torch.zeros(5, 2)
        trainable["pos.weight"].grad[rows] = 1.0
        trainable["head.weight"].grad = torch.ones(2)
        optimizer.step()
    assert reached(optimizer) == 2 * 2 + 2
