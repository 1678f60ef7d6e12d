"""Batches of similar lengths: every sample once in an epoch, the same whenever they are asked for, little padding."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from xmodal.run.order import Order

LENGTHS = torch.randint(1, 500, (1003,), generator=torch.Generator().manual_seed(0))


@given(samples=st.integers(1, 60), batch=st.integers(1, 70), seed=st.integers(0, 9))
def test_every_epoch_takes_every_sample_once(samples: int, batch: int, seed: int) -> None:
    order = Order(samples, batch, seed, LENGTHS[:samples])
    taken = torch.cat([order.indices(step) for step in range(-(-samples * 3 // batch))])
    for epoch in range(3):
        assert sorted(taken[epoch * samples : (epoch + 1) * samples].tolist()) == list(range(samples))


@given(step=st.integers(0, 150), seed=st.integers(0, 9))
def test_a_batch_depends_on_seed_and_step_alone(step: int, seed: int) -> None:
    walked = Order(103, 5, seed, LENGTHS[:103])
    for earlier in range(step):
        walked.indices(earlier)
    assert torch.equal(walked.indices(step), Order(103, 5, seed, LENGTHS[:103]).indices(step))


def padding(order: Order, steps: int) -> float:
    """Share of a padded batch that is padding."""
    batches = [LENGTHS[order.indices(step)] for step in range(steps)]
    return 1 - sum(int(each.sum()) for each in batches) / sum(len(each) * int(each.max()) for each in batches)


def test_batches_of_similar_lengths_have_little_padding() -> None:
    steps = 3 * 1003 // 8  # into the third epoch, whose batches begin in the second
    assert padding(Order(1003, 8, 0, LENGTHS), steps) < 0.06
    assert padding(Order(1003, 8, 0), steps) > 0.3


def test_long_and_short_batches_take_turns() -> None:
    means = torch.stack([LENGTHS[Order(1003, 8, 0, LENGTHS).indices(step)].float().mean() for step in range(50)])
    assert (means[:25].mean() - means[25:].mean()).abs() < 120
