"""Which rates and seeds a study takes, and which rate an arm is reported at."""

from __future__ import annotations

import pytest

from xmodal.errors import UsageError
from xmodal.recipe.schema import VARIABLE
from xmodal.recipe.source import shipped
from xmodal.run.precision import automatic
from xmodal.study.arms import Arms, make_arms
from xmodal.study.design import extended, make_design, rates_of, seeds_of
from xmodal.study.factors import Asked
from xmodal.study.finished import question_of
from xmodal.study.sweep import Choice, choose


@pytest.fixture(scope="module")
def arms() -> Arms:
    return make_arms(Asked(shipped()["bit_xor_random"], freeze=["ffn"], overrides=['body.layers="0:1"', "seed=7"]))


def test_the_defaults_are_the_protocol(arms: Arms) -> None:
    design = make_design(arms)
    assert design.rates == (3e-4, 9.49e-4, 3e-3, 9.49e-3, 3e-2)
    assert (design.report, design.tuning) == ((7, 8, 9), (1007,))
    assert design.swept
    said = design.preview()
    assert (said["tuning_runs"], said["report_runs"], said["most_steps"]) == (10, 6, 16 * 400)


def test_every_arm_gets_the_same_trials(arms: Arms) -> None:
    design = make_design(arms, lr="1e-3:1e-2:3", tuning="2")
    trials = design.tuning_trials(design.rates)
    each = [[(t.rate, t.seed) for t in trials if t.arm is arm] for arm in arms.arms]
    assert each[0] == each[1]
    assert len(each[0]) == 6
    recipe = trials[-1].recipe
    assert (recipe.train.lr, recipe.seed, recipe.freeze) == (1e-2, 1008, "body - ln - pos")


def test_one_rate_is_not_tuned(arms: Arms) -> None:
    design = make_design(arms, lr="2e-3", seeds="0,1,1000", tuning="1000")
    assert (design.rates, design.swept, design.preview()["tuning_runs"]) == ((2e-3,), False, 0)


def test_the_digest_knows_what_was_asked(arms: Arms) -> None:
    digests = {make_design(arms, **said).digest() for said in ({}, {"lr": "1e-3"}, {"seeds": "5"}, {"tuning": "2"})}
    assert len(digests) == 4
    assert make_design(arms).digest() in digests


def test_what_the_machine_makes_of_auto_is_part_of_the_question(arms: Arms, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(shipped()["bit_xor_random"], freeze=["ffn"])
    said = {}
    for precision in ("float32", "float32-fused"):
        monkeypatch.setenv(VARIABLE, precision)
        automatic.cache_clear()
        said[precision] = (make_design(arms).digest(), question_of(asked))
    automatic.cache_clear()
    assert len({digest for digest, _ in said.values()}) == len({question for _, question in said.values()}) == 2
    fixed = Asked(shipped()["bit_xor_random"], freeze=["ffn"], overrides=["precision=float32", "device=cpu"])
    before = question_of(fixed)
    monkeypatch.setenv(VARIABLE, "bf16-frozen")
    assert question_of(fixed) == before


def test_another_margin_is_another_study(arms: Arms) -> None:
    assert len({make_design(arms, margin=margin).digest() for margin in (0.0, 0.01, 0.02)}) == 3


def test_tuning_seeds_report_nothing(arms: Arms) -> None:
    with pytest.raises(UsageError, match="1, 2 would choose the rate and report the score") as caught:
        make_design(arms, seeds="0,1,2", tuning="2,1,9")
    assert caught.value.where == "--tuning-seeds"
    with pytest.raises(UsageError, match="no difference"):
        make_design(arms, margin=-0.1)


def test_rates() -> None:
    assert rates_of("1e-4:1e-2:5", 1) == (1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2)
    assert extended((1e-3, 1e-2), ["low"]) == (1e-4, 1e-3, 1e-2)
    assert extended((1e-3, 1e-2), ["high", "low"]) == (1e-4, 1e-3, 1e-2, 1e-1)
    assert extended((10.0, 1000.0), ["high"]) == (10.0, 1000.0)


@pytest.mark.parametrize("text", ["x", "1:2", "1e-2:1e-4:5", "1e-4:1e-2:2", "0:1:5", "nan", "1:1.001:9", "1:2:3:4"])
def test_what_is_no_grid(text: str) -> None:
    with pytest.raises(UsageError, match="no grid of rates") as caught:
        rates_of(text, 1e-3)
    assert caught.value.fix


def test_seeds() -> None:
    assert seeds_of("3", 5, "--seeds") == (5, 6, 7)
    assert seeds_of("4, 2", 5, "--seeds") == (4, 2)


@pytest.mark.parametrize("text", ["", "0", "-1", "1,,2", "1,1", "x", "9999999999,1", "1001", "²"])
def test_what_are_no_seeds(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        seeds_of(text, 0, "--seeds")
    assert caught.value.where == "--seeds"


@pytest.mark.parametrize(
    ("curve", "chosen"),
    [
        ({1: [0.5, 0.5], 2: [0.9, 0.7], 3: [0.7, 0.7]}, Choice(2, None)),
        ({1: [0.9], 2: [0.5], 3: [0.5]}, Choice(1, "low")),
        ({1: [0.5], 2: [0.5], 3: [0.9]}, Choice(3, "high")),
        ({1: [0.5], 2: [0.9], 3: [None]}, Choice(2, None)),
        ({1: [0.5], 2: [1.0, None], 3: [0.6, 0.6]}, Choice(3, "high")),
        ({1: [1.0], 2: [1.0], 3: [1.0], 4: [1.0]}, Choice(2, None)),
        ({1: [0.0], 2: [0.0], 3: [0.0]}, Choice(2, None)),
        ({1: [None], 2: [], 3: [None]}, Choice(None, None)),
    ],
)
def test_the_rate_of_an_arm(curve: dict[float, list[float | None]], chosen: Choice) -> None:
    assert choose(curve) == chosen


def test_one_rate_cannot_be_halved(arms: Arms) -> None:
    with pytest.raises(UsageError, match="nothing to halve"):
        make_design(arms, lr="1e-3", halving=True)
