from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch

from xmodal.assemble import assemble
from xmodal.recipe import Recipe
from xmodal.run.evaluate import Scores, evaluate, wilson
from xmodal.run.events import Evaluating
from xmodal.tasks import build_task


def scores(recipe: Recipe, batch_size: int, split: str = "val") -> tuple[Scores, list[Evaluating]]:
    task, model = build_task(recipe.task, recipe.seed), assemble(recipe).model
    reports = list(
        evaluate(
            model,
            task.split(split),  # type: ignore[arg-type]
            split,
            3,
            batch_size=batch_size,
            device=torch.device("cpu"),
            arithmetic=nullcontext,
        )
    )
    *progress, last = reports
    assert isinstance(last, Scores)
    return last, [report for report in progress if isinstance(report, Evaluating)]


@pytest.mark.parametrize("overrides", [("task.bits=5",), ("task.bits=5", "body.dropout=0.5")])
def test_the_score_does_not_depend_on_the_batch_size(small: Callable[..., Recipe], overrides: tuple[str, ...]) -> None:
    recipe = small(*overrides)
    one, seven, many = (scores(recipe, size, "test")[0] for size in (1, 7, 64))
    assert one.accuracy == seven.accuracy == many.accuracy
    assert one.interval == many.interval
    assert one.loss == pytest.approx(many.loss, abs=1e-6)
    assert one.items == 256
    assert one.labels == 256 * 5
    assert one.interval == wilson(one.accuracy, 256)  # over samples, not over their labels


def test_progress_reaches_the_whole_split(small: Callable[..., Recipe]) -> None:
    _, progress = scores(small("task.bits=5"), 50)
    assert [report.done for report in progress] == [50, 100, 128]


def test_subsets_have_scores_of_their_own() -> None:
    from xmodal.recipe import load_recipe
    from xmodal.recipe.source import shipped

    found, _ = scores(load_recipe(shipped()["bit_memory_fpt"], tiny=True), 2)
    assert set(found.to_dict()) >= {"accuracy", "accuracy_hidden", "interval", "loss"}
    assert 0.3 < found.subsets["hidden"] < 0.7


@pytest.mark.parametrize(
    ("share", "items", "low", "high"),
    # Newcombe (1998), table I, method 3 (score, no continuity correction).
    [
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0.0, 20, 0.0, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_newcombe(share: float, items: int, low: float, high: float) -> None:
    assert wilson(share, items) == pytest.approx((low, high), abs=5e-5)
