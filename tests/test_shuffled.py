"""Shuffled tokens, a control: the body meets them in another order, and the head reads each where it stood."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from xmodal.assemble import Model, assemble
from xmodal.errors import RecipeError
from xmodal.recipe import load_recipe
from xmodal.recipe.source import shipped
from xmodal.tasks import build_task
from xmodal.tensors import Batch

SHUFFLED = "tokenizer.order=shuffled"


def made(recipe: str, *overrides: str, seed: int = 0) -> tuple[Model, Batch]:
    loaded = load_recipe(shipped()[recipe], overrides, seed=seed, tiny=True)
    batch = build_task(loaded.task, 0).split("train").batch(torch.arange(8))
    return assemble(loaded).model.eval(), batch


@torch.no_grad()
def logits(model: Model, batch: Batch) -> Tensor:
    return model(batch)


def test_a_body_that_knows_no_order_says_the_same() -> None:
    (plain, batch), (shuffled, _) = made("bit_xor_none"), made("bit_xor_none", SHUFFLED)
    torch.testing.assert_close(logits(shuffled, batch), logits(plain, batch), rtol=0, atol=0)


def test_the_body_reads_another_order_and_the_head_does_not() -> None:
    (plain, batch), (shuffled, _) = made("bit_xor_fpt"), made("bit_xor_fpt", SHUFFLED)
    assert not torch.allclose(logits(shuffled, batch), logits(plain, batch))
    assert shuffled.ranks is not None
    order = shuffled.ranks.argsort()
    assert sorted(order.tolist()) == list(range(6))
    assert order.tolist() != list(range(6))
    # By hand: the same tokens in that order, and the answers back in theirs.
    tokens = plain.tokenizer(batch)
    with torch.no_grad():
        hidden = plain.body(tokens.taken(order.expand(8, -1)))[:, order.argsort()]
        expected = plain.head(hidden, tokens.behind(hidden, 0))
    torch.testing.assert_close(logits(shuffled, batch), expected, rtol=0, atol=0)


def test_the_seed_draws_the_order() -> None:
    one, two, again = (made("bit_memory_fpt", SHUFFLED, seed=seed)[0].ranks for seed in (0, 1, 0))
    assert one is not None
    assert two is not None
    assert again is not None
    assert one.tolist() == again.tolist() != two.tolist()


def test_padding_and_class_tokens_stay_and_change_nothing() -> None:
    words = ("task.fewest=2", "task.pairs=6", SHUFFLED)
    model, batch = made("haystack_random", *words)
    assert batch.mask is not None
    whole = logits(model, batch)
    for number, length in enumerate(batch.mask.sum(dim=1).tolist()):
        alone = Batch(batch.samples[number : number + 1, :length], batch.targets[number : number + 1])
        torch.testing.assert_close(logits(model, alone), whole[number : number + 1], rtol=1e-5, atol=1e-5)


def test_a_vision_body_with_a_class_token_of_its_own(tmp_path: Path) -> None:
    model, batch = made("bit_xor_vit", "body.init=random", SHUFFLED)
    assert logits(model, batch).shape == (8, 3, 2)


def test_any_other_word_is_refused() -> None:
    with pytest.raises(RecipeError, match="shuffled"):
        load_recipe(shipped()["bit_xor_fpt"], ("tokenizer.order=reversed",))
