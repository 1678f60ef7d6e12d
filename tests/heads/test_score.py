"""Loss and metric against their definitions."""

from __future__ import annotations

import pytest
import torch

from xmodal import seeds
from xmodal.heads.score import correct, loss


def logits_and_targets(*shape: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = seeds.torch_generator("data", 0)
    return torch.randn(*shape, classes, generator=random), torch.randint(classes, shape, generator=random)


@pytest.mark.parametrize("shape", [(5,), (3, 7)])
def test_the_loss_is_cross_entropy_of_each_label(shape: tuple[int, ...]) -> None:
    logits, targets = logits_and_targets(*shape, classes=4)
    share = logits.double().exp() / logits.double().exp().sum(dim=-1, keepdim=True)
    wanted = -share.gather(-1, targets[..., None])[..., 0].log()
    assert loss(logits, targets).shape == shape
    torch.testing.assert_close(loss(logits, targets).double(), wanted, rtol=1e-5, atol=1e-6)


def test_a_uniform_guess_costs_log_classes() -> None:
    assert loss(torch.zeros(1, 10), torch.tensor([3])).tolist() == pytest.approx([2.302585])


def test_the_loss_of_low_precision_is_computed_in_float32() -> None:
    logits, targets = logits_and_targets(4, classes=3)
    assert loss(logits.bfloat16(), targets).dtype == torch.float32
    assert torch.equal(loss(logits.bfloat16(), targets), loss(logits.bfloat16().float(), targets))


@pytest.mark.parametrize("shape", [(5,), (3, 7)])
def test_correct_is_where_the_largest_logit_is_right(shape: tuple[int, ...]) -> None:
    logits, targets = logits_and_targets(*shape, classes=4)
    assert correct(10 * torch.nn.functional.one_hot(targets, 4).float() + logits, targets).all()
    wrong = (targets + 1) % 4
    assert not correct(10 * torch.nn.functional.one_hot(targets, 4).float() + logits, wrong).any()
