"""Arms differ in what is declared, and in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xmodal import freeze
from xmodal.assemble import assemble
from xmodal.errors import RecipeError, SpecError, UsageError
from xmodal.recipe.source import shipped
from xmodal.study.arms import Arm, Arms, enforce, make_arms, undeclared
from xmodal.study.factors import Asked

RECIPE = shipped()["bit_xor_random"]
SMALL = ('body.layers="0:2"', "train.steps=8")


def arms(**said: Any) -> Arms:
    return make_arms(Asked(RECIPE, overrides=SMALL, **said))


def test_a_term_is_frozen_or_trained() -> None:
    made = arms(freeze=["ffn"])
    assert [arm.name for arm in made.arms] == ["ffn trained", "ffn frozen"]
    assert [arm.spec for arm in made.arms] == ["body - ln - pos - ffn", "body - ln - pos"]
    assert made.control.name == "ffn trained"
    trained, frozen = (arm.trainable for arm in made.arms)
    assert trained - frozen == 2 * (2 * 384 * 1536 + 384 + 1536)


def test_trainable_is_what_the_plan_trains() -> None:
    for arm in arms(freeze=["ffn", "attn[-1]"]).arms:
        counts = assemble(arm.recipe, weights=False).plan.counts()
        assert (arm.trainable, arm.total) == (counts["trainable"], counts["total"])
        assert str(freeze.parse(arm.spec)) == arm.spec


def test_terms_and_factors_make_the_full_factorial() -> None:
    made = arms(freeze=["attn", "ffn"], vary=["body.init=random,pretrained", "train.batch_size=8,16"])
    assert len(made.arms) == 16
    assert len({arm.name for arm in made.arms}) == 16
    assert made.control.levels == {"attn": "trained", "ffn": "trained", "init": "random", "batch_size": "8"}
    assert made.control.recipe.train.batch_size == 8


def test_a_term_is_laid_over_the_recipes_own_spec() -> None:
    made = make_arms(Asked(RECIPE, freeze=["attn"], overrides=[*SMALL, "freeze=body - attn[0]"]))
    assert [arm.spec for arm in made.arms] == ["body - attn[0] - attn", "body - attn[0] + attn"]
    nothing = make_arms(Asked(RECIPE, freeze=["ffn"], overrides=[*SMALL, "freeze=none"]))
    assert [arm.spec for arm in nothing.arms] == ["none", "ffn"]


def test_arms_by_hand_stand_beside_the_recipe() -> None:
    made = arms(arms=["reservoir: body + input", "no norms: body - pos"])
    assert [(arm.name, arm.spec) for arm in made.arms] == [
        ("recipe", "body - ln - pos"),
        ("reservoir", "body + input"),
        ("no norms", "body - pos"),
    ]
    beside = arms(freeze=["ffn"], arms=["norms: body - ln"])
    assert [arm.name for arm in beside.arms] == ["ffn trained", "ffn frozen", "norms"]
    assert beside.arms[-1].levels == {}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"freeze": ["scale?"]}, ("--freeze scale?", "changes nothing", "xmodal explain")),
        ({"freeze": ["none"]}, ("--freeze none", "changes nothing")),
        ({"freeze": ["attn.q", "attn"]}, ("'attn.q' and 'attn' overlap", "--freeze attn", "by hand with --arm")),
        ({"freeze": ["attn", "attn.q"]}, ("'attn' and 'attn.q' overlap",)),
        ({"freeze": ["all"]}, ("freezes everything",)),
        ({"arms": ["same: body - pos - ln"]}, ("'recipe' and 'same' are the same experiment",)),
        ({"arms": ["everything: all"]}, ("arm 'everything'", "freezes everything")),
        ({"vary": ["train.clip_norm=1.0,1"]}, ("same experiment",)),
        ({"vary": ["device=cpu,auto"]}, ("same experiment",)),
        ({"vary": ["cache=true,null"]}, ("same experiment",)),
    ],
)
def test_arms_that_are_no_comparison(said: dict[str, list[str]], words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        arms(**said)
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_key_is_told_where_it_was_said() -> None:
    with pytest.raises(RecipeError) as caught:
        arms(vary=["body.initt=random,permuted"])
    (problem,) = caught.value.problems
    assert problem.where == "--vary body.initt"
    assert "did you mean 'init'" in problem.what


def test_a_fault_of_one_arm_says_of_which() -> None:
    with pytest.raises(RecipeError) as caught:
        make_arms(Asked(shipped()["bit_xor_fpt"], vary=["body.name=minilm-l6,none"]))
    assert all(problem.where.endswith(", in the arm 'body=none'") for problem in caught.value.problems)
    assert "none has no pretrained weights" in caught.value.problems[0].what


def test_a_term_that_the_body_lacks_is_told_where_it_was_said() -> None:
    with pytest.raises(SpecError, match="minilm-l6") as caught:
        arms(freeze=["relpos"])
    assert caught.value.where == "--freeze relpos"


def test_a_lock_file_is_refused(tmp_path: Path) -> None:
    lock = "lock: {versions: {torch: '2'}, digests: {}, threads: 1}"
    (tmp_path / "r.yaml").write_text(f"extends: {RECIPE}\n{lock}\n")
    with pytest.raises(UsageError, match="one run with one seed"):
        make_arms(Asked(tmp_path / "r.yaml", freeze=["ffn"]))


# Undeclared differences


def changed(arm: Arm, **changes: Any) -> Arm:
    train = arm.recipe.train.model_copy(update=changes.pop("train", {}))
    return Arm("other", {}, arm.recipe.model_copy(update={**changes, "train": train}), arm.trainable, arm.total)


def test_an_undeclared_difference_is_an_error() -> None:
    control = arms(freeze=["ffn"]).control
    other = changed(control, train={"steps": 9, "batch_size": 7}, precision="bfloat16")
    with pytest.raises(UsageError) as caught:
        enforce([control, other], ["train.batch_size"])
    assert "also differ in train.steps, precision" in str(caught.value)
    assert "-o train.steps=..." in caught.value.fix
    enforce([control, other], ["train", "precision"])
    enforce([control, changed(control)], [])


def test_another_component_may_have_other_keys_but_no_other_values() -> None:
    one, two = (
        make_arms(Asked(RECIPE, overrides=[*SMALL, *more], arms=["x: none"])).control.recipe
        for more in ((), ("body.name=gpt2", "body.dropout=0.1"))
    )
    assert undeclared(one, two) == ["body.name", "body.dropout"]
    assert undeclared(one, one) == []


def test_bodies_can_be_compared() -> None:
    assert [arm.name for arm in arms(vary=["body.name=minilm-l6,gpt2"]).arms] == ["body=minilm-l6", "body=gpt2"]


STANDARD = ["random", "statistics", "permuted", "no body", "one attention", "one block", "shuffled tokens"]


@pytest.mark.parametrize(
    ("recipe", "left_out"), [("bit_xor_fpt", []), ("bit_xor_random", ["random"]), ("bit_xor_one_block", STANDARD[:3])]
)
def test_the_standard_controls_differ_in_the_body_alone(recipe: str, left_out: list[str]) -> None:
    made = make_arms(Asked(shipped()[recipe], controls="std"))
    gone = [*left_out, *(["one block"] if recipe == "bit_xor_one_block" else [])]
    assert [arm.name for arm in made.arms] == ["recipe", *(name for name in STANDARD if name not in gone)]
    for arm in made.arms[1:]:
        keys = set(undeclared(made.control.recipe, arm.recipe))
        if arm.name == "shuffled tokens":
            assert keys == {"tokenizer.order"}
        else:
            assert {key.partition(".")[0] for key in keys} <= {"body", "freeze"}
        assert arm.recipe.body.anatomy().width == 384
        assert arm.recipe.body.dropout == 0


def test_a_control_that_stands_in_sees_what_the_body_sees() -> None:
    made = make_arms(Asked(shipped()["bit_xor_smollm2"], controls="std"))
    masks = {arm.name: arm.recipe.body.anatomy().causal for arm in made.arms if arm.name != "no body"}
    assert set(masks.values()) == {True}


def test_controls_that_nobody_knows() -> None:
    with pytest.raises(UsageError, match="no controls called 'sdt'") as caught:
        arms(controls="sdt")
    assert "--controls std" in caught.value.fix
