"""Learners that share a pass through one body are the learners that train alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from xmodal.assemble import assemble
from xmodal.engine import Learners, company
from xmodal.heads import score
from xmodal.recipe import Recipe, load_recipe
from xmodal.recipe.source import shipped
from xmodal.run import drive
from xmodal.run.bare import task_of
from xmodal.run.drive import together
from xmodal.run.events import Stepped
from xmodal.run.job import Asked
from xmodal.run.result import comparable
from xmodal.run.session import Run, train, training
from xmodal.study import attempts

Make = Callable[..., Recipe]


def one_for_each_body() -> dict[str, str]:
    """The first recipe of each body whose samples all have one length."""
    found: dict[str, str] = {}
    for name, file in shipped().items():
        if "homology" not in name and "listops" not in name:
            found.setdefault(load_recipe(file, tiny=True).body.name, name)
    return found


@pytest.mark.weights("vit-s14-saliency")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", one_for_each_body().values(), ids=one_for_each_body())
def test_losses_and_gradients_are_those_of_each_alone(name: str) -> None:
    recipe = load_recipe(shipped()[name], ["body.dropout=0.0"], tiny=True)
    models = [assemble(recipe) for _ in range(3)]
    random, train = torch.Generator().manual_seed(1), task_of(recipe).split("train")
    for one in models:
        one.model.train()
        for parameter in one.plan.trainable().values():
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=random)
    batches = [train.batch((torch.arange(2) + 2 * place) % len(train)) for place in range(3)]
    plain = [score.loss(one.model(batch), batch.targets).mean() for one, batch in zip(models, batches, strict=True)]
    trained = [list(one.plan.trainable().values()) for one in models]
    expected = [torch.autograd.grad(loss, own, allow_unused=True) for loss, own in zip(plain, trained, strict=True)]
    losses = Learners([one.model for one in models]).losses(batches)
    torch.testing.assert_close(losses, torch.stack(plain), atol=1e-5, rtol=1e-5)
    losses.sum().backward()
    for own, gradients in zip(trained, expected, strict=True):
        for parameter, gradient in zip(own, gradients, strict=True):
            there = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            torch.testing.assert_close(
                there, torch.zeros_like(there) if gradient is None else gradient, atol=1e-5, rtol=1e-4
            )


@pytest.fixture
def frozen(small: Make, tiny_bert: Path) -> Make:
    """A recipe of the tiny body, all of whose seeds start from the same weights."""
    words = ("body.dropout=0.0", "body.init=pretrained", f"body.path={tiny_bert}", "freeze=body - ln - pos")
    return lambda *said, seed=0: small(*words, *said, seed=seed)


def run_together(recipes: list[Recipe], out: Path) -> list[Run]:
    return [run for _, run in sorted(together({n: training(one, out=out) for n, one in enumerate(recipes)}))]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many learners took part in each pass."""
    sizes: list[int] = []
    original = Learners.losses

    def spy(self: Learners, batches: Any) -> torch.Tensor:
        sizes.append(len(batches))
        return original(self, batches)

    monkeypatch.setattr(Learners, "losses", spy)
    return sizes


def test_a_hundred_steps_end_where_each_alone_ends(frozen: Make, tmp_path: Path, passes: list[int]) -> None:
    words = ("train.steps=100", "train.eval_every=50", "train.patience=null")
    recipes = [frozen(*words, f"train.lr={rate}", seed=seed) for rate in (1e-3, 3e-3) for seed in (0, 1)]
    joint, plain = run_together(recipes, tmp_path / "joint"), [train(one, out=tmp_path / "plain") for one in recipes]
    assert passes == [4] * 100
    for one, other in zip(joint, plain, strict=True):
        ends = [load_file(run.folder / "checkpoint" / "last.safetensors") for run in (one, other)]
        for name, tensor in ends[0].items():
            torch.testing.assert_close(tensor, ends[1][name], atol=1e-5, rtol=1e-5)
        assert one.result["test"]["accuracy"] == other.result["test"]["accuracy"]
        assert one.result["digests"] == other.result["digests"]


def test_one_that_ends_sooner_leaves_the_others_as_they_were(frozen: Make, tmp_path: Path, passes: list[int]) -> None:
    recipes = [frozen("train.patience=null", f"train.steps={steps}", "train.eval_every=2") for steps in (2, 4, 6)]
    runs = run_together([one.model_copy(update={"seed": n}) for n, one in enumerate(recipes)], tmp_path)
    assert passes == [3, 3, 2, 2]  # the last goes on by itself
    assert [run.result["steps"] for run in runs] == [2, 4, 6]


def test_one_that_diverges_takes_nobody_along(frozen: Make, tmp_path: Path) -> None:
    words = ("train.steps=6", "train.eval_every=3", "train.optimizer=sgd", "train.clip_norm=null")
    recipes = [frozen(*words, "train.lr=1e-3"), frozen(*words, "train.lr=1000.0")]
    sound, wild = run_together(recipes, tmp_path / "joint")
    assert (sound.result["status"], wild.result["status"]) == ("done", "diverged")
    plain = train(recipes[0], out=tmp_path / "plain").result
    assert sound.result["course"] == plain["course"]
    assert sound.result["last_loss"] == pytest.approx(plain["last_loss"], abs=1e-5)


def test_what_is_frozen_is_held_once(frozen: Make) -> None:
    models = [assemble(frozen(seed=seed)).model for seed in (0, 1)]
    learners = Learners(models)
    one, other = (dict(model.named_parameters()) for model in models)
    same = {name for name in one if one[name].data_ptr() == other[name].data_ptr() and not one[name].is_meta}
    assert same == {name for name, value in one.items() if not value.requires_grad and not value.is_meta}
    held = sum(one[name].numel() for name in same)
    assert learners.shared == pytest.approx(held / sum(p.numel() for p in models[0].parameters() if not p.is_meta))


def test_where_little_is_frozen_each_goes_alone(frozen: Make, tmp_path: Path, passes: list[int]) -> None:
    words = ("freeze=none", "train.steps=2", "train.eval_every=2")
    runs = run_together([frozen(*words, seed=seed) for seed in (0, 1)], tmp_path)
    assert [run.result["status"] for run in runs] == ["done", "done"]
    assert passes == []


def test_a_pass_that_fails_is_taken_by_each_alone(
    frozen: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room for two")

    monkeypatch.setattr(Learners, "losses", full)
    words = ("train.steps=4", "train.eval_every=2")
    joint = run_together([frozen(*words, seed=seed) for seed in (0, 1)], tmp_path / "joint")
    for seed, run in enumerate(joint):
        assert comparable(run.result) == comparable(train(frozen(*words, seed=seed), out=tmp_path / "plain").result)


@pytest.mark.parametrize("joint", [True, False])
def test_a_step_that_fails_for_one_is_the_end_of_that_one(
    frozen: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joint: bool
) -> None:
    original = Asked.alone

    def alone(self: Asked) -> Any:
        if self.job.seed == 1:
            raise RuntimeError("broken")
        return original(self)

    monkeypatch.setattr(Learners, "losses", lambda *_: 1 / 0)
    monkeypatch.setattr(Asked, "alone", alone)
    jobs = {seed: (frozen("train.steps=4", "train.eval_every=2", seed=seed), True) for seed in (0, 1, 2)}

    def steps(seed: int) -> drive.Steps[attempts.Attempt]:
        return attempts.attempting(jobs[seed], tmp_path, lambda _: None, lambda: False, 2)

    if joint:
        made = dict(together({seed: steps(seed) for seed in jobs}))
    else:
        made = {seed: attempts.attempt(jobs[seed], tmp_path, lambda _: None, lambda: False) for seed in jobs}
    assert [made[seed].error for seed in jobs] == ["", "RuntimeError: broken", ""]
    assert [run.result["status"] for seed in (0, 2) if (run := made[seed].run)] == ["done", "done"]
    words = next(tmp_path.glob("*/*-s1/result.json")).read_text()
    assert '"failed"' in words


def test_no_folder_stays_claimed_whatever_happens(frozen: Make, tmp_path: Path) -> None:
    def listen(event: Any) -> None:
        if isinstance(event, Stepped):
            raise KeyboardInterrupt

    recipes = [frozen(seed=seed) for seed in (0, 1)]
    runs = {seed: training(one, out=tmp_path, listeners=[listen]) for seed, one in enumerate(recipes)}
    with pytest.raises(KeyboardInterrupt):
        list(together(runs))
    for one in recipes:
        assert train(one, out=tmp_path, force=True).result["status"] == "done"


def test_who_keeps_company(frozen: Make) -> None:
    base = company(frozen())
    assert base
    for same in (frozen(seed=3), frozen("train.lr=0.5", "train.steps=7"), frozen("name=other")):
        assert company(same) == base
    for other in (frozen("train.batch_size=2"), frozen("freeze=body")):
        assert company(other) not in ("", base)
    for single in (
        frozen("body.dropout=0.1"),
        frozen("body.init=random", "body.path=null"),
        frozen("body.init=statistics"),
    ):
        assert company(single) == ""
    assert company(load_recipe(shipped()["listops_fpt"])) == ""
