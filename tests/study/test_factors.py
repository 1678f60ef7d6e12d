"""What the command line may call a factor, and what contradicts what."""

from __future__ import annotations

import pytest

from xmodal.errors import UsageError
from xmodal.study.factors import by_hand, factors_of


def test_terms_come_first_and_the_control_level_leads() -> None:
    ffn, init = factors_of(["mlp"], ["body.init=pretrained, random"], [])
    assert (ffn.key, ffn.levels, ffn.toggles) == ("ffn", ("trained", "frozen"), True)
    assert (init.key, init.label, init.levels) == ("body.init", "init", ("pretrained", "random"))
    assert ffn.shown("frozen") == "ffn frozen"
    assert init.shown("random") == "init=random"


def test_values_may_hold_commas() -> None:
    (body,) = factors_of([], ["body={name: none, width: 8},{name: gpt2},'a,b'"], [])
    assert body.levels == ("{name: none, width: 8}", "{name: gpt2}", "'a,b'")
    assert len(body.shown(body.levels[0])) <= len("body=") + 24


def test_labels_stay_apart() -> None:
    labels = [f.label for f in factors_of([], ["body.init=a,b", "tokenizer.init=a,b", "body.name=c,d"], [])]
    assert labels == ["body.init", "tokenizer.init", "body"]


@pytest.mark.parametrize(
    ("freeze", "vary", "arms", "said"),
    [
        ([], [], [], "nothing to compare"),
        (["ffn", "mlp"], [], [], "contradict each other"),
        (["ffn", "ffn"], [], [], "--freeze ffn stands here twice"),
        (["ffn"], ["freeze=none,body"], [], "both say what is frozen"),
        ([], ["freeze=none,body"], ["a: body"], "both say what is frozen"),
        ([], ["body.init=a,b", "body.init=c,d"], [], "contradict each other"),
        ([], ["body={name: x},{name: y}", "body.init=c,d"], [], "one holds the other"),
        ([], ["body.init"], [], "KEY=VALUE"),
        ([], ["body..init=a,b"], [], "KEY=VALUE"),
        ([], ["body.init=a"], [], "two values"),
        ([], ["body.init=a,"], [], "two values"),
        ([], ["body.init=a,a"], [], "twice"),
        ([], ["seed=0,1"], [], "--seeds"),
        ([], ["train.lr=1,2"], [], "--lr"),
        ([], ["train={lr: 1},{lr: 2}"], [], "--lr"),
        ([], ["threads=1,2"], [], "threads"),
        (["fnf"], [], [], "did you mean 'ffn'"),
        (["ffn["], [], [], "--freeze ffn["),
    ],
)
def test_what_cannot_be_a_study(freeze: list[str], vary: list[str], arms: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        factors_of(freeze, vary, arms)
    assert said in str(caught.value)
    assert caught.value.fix


def test_controls_are_named_where_they_contradict() -> None:
    with pytest.raises(UsageError, match="--vary freeze and --controls contradict each other"):
        factors_of([], ["freeze=none,body"], [], "std")


def test_arms_by_hand() -> None:
    assert by_hand(["no attention : body - attn"], []) == {"no attention": "body - attn"}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["body"], "NAME: SPEC"),
        ([": body"], "NAME: SPEC"),
        (["a:"], "NAME: SPEC"),
        (["a: body", "a: none"], "two arms are called 'a'"),
        (["recipe: body"], "two arms are called 'recipe'"),
        (["a\x1b: body"], "does not print"),
        (["a" * 41 + ": body"], "41 characters"),
    ],
)
def test_arms_that_no_table_can_hold(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        by_hand(texts, ["recipe"])
    assert said in str(caught.value)
