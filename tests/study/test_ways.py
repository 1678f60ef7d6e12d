"""How many runs are made at a time: by cores and memory, and in shared passes where a few steps say that it pays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from xmodal.cli import main
from xmodal.engine import Learners
from xmodal.errors import DamagedError
from xmodal.recipe.source import shipped
from xmodal.study import cost, ways
from xmodal.study.arms import make_arms
from xmodal.study.design import Design, make_design
from xmodal.study.factors import Asked
from xmodal.study.study import file_of
from xmodal.study.ways import Way
from xmodal.tensors import Batch


@pytest.fixture
def design(tiny_bert: Path) -> Design:
    """Of two arms, one of which trains too much to share a pass."""
    few = ("train.steps=6", "train.eval_every=2", "threads=1", "body.init=pretrained", f"body.path={tiny_bert}")
    arms = make_arms(Asked(shipped()["bit_xor_fpt"], freeze=["ffn"], overrides=few, tiny=True))
    return make_design(arms, lr="1e-3:1e-2:4", seeds="3")


def test_as_many_processes_as_cores_and_memory_hold(design: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    total = max(arm.total for arm in design.arms.arms)
    monkeypatch.setattr(ways, "cores", lambda: 6)
    assert ways.suitable(design) == 6
    monkeypatch.setattr(ways, "cores", lambda: 64)
    assert ways.suitable(design) == ways.MOST_WORKERS
    monkeypatch.setattr(ways, "_free_memory", lambda: 3 * (16 * total + ways.SPARE))
    assert ways.suitable(design) == 3
    monkeypatch.setattr(ways, "_free_memory", lambda: 1)
    assert ways.suitable(design) == 1
    assert ways.companions(design) == 0


def test_as_many_share_a_pass_as_a_stage_has_and_memory_holds(design: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ways.companions(design) == 4  # four rates of one seed, and of one arm
    arms = make_arms(Asked(shipped()["bit_xor_fpt"], freeze=["ffn"], tiny=True))
    assert ways.companions(make_design(arms, lr="1e-3:1e-2:4")) == 0  # bodies that differ from seed to seed
    halved = make_design(design.arms, lr="1e-4:1e-2:8", halving=True)
    assert ways.companions(halved) == 8  # all eight rates for a fourth of the steps, and then two of them for all
    monkeypatch.setattr(ways, "_free_memory", lambda: 3 * ways.SPARE)
    assert ways.companions(design) == 2


@pytest.mark.parametrize(("seconds", "together"), [(0.0, 4), (1e3, 0), (float("inf"), 0)])
def test_passes_are_shared_where_that_ends_sooner(
    design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, together: int
) -> None:
    monkeypatch.setattr(cost, "cores", lambda: 1)
    monkeypatch.setattr(ways, "cores", lambda: 1)
    monkeypatch.setattr(cost, "_beside", lambda *_: seconds)
    monkeypatch.setattr(cost, "_each", lambda *_: 1.0)
    said = cost.preview_of(design, tmp_path)["cost"]
    assert (said["together"], said["sharing"]) == (together, 1 if together else None)
    assert 0 < said["seconds"] < 1e4
    assert not list(tmp_path.iterdir())


def test_a_study_goes_on_as_it_was_begun(design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_each", lambda *_: 1.0)
    ways.begin(design, tmp_path, 3)
    monkeypatch.setattr(cost, "_beside", lambda *_: 1e3)
    assert cost.preview_of(design, tmp_path)["cost"]["together"] == 3
    ways.begin(design, tmp_path, 0)
    monkeypatch.setattr(cost, "_beside", lambda *_: 0.0)
    assert cost.preview_of(design, tmp_path)["cost"]["together"] == 0
    assert cost.preview_of(design, tmp_path, Way(0, 2))["cost"]["together"] == 2  # unless somebody says otherwise
    file = file_of(design, tmp_path).with_name(ways.FILE)
    for word in ("{", "[]", "{}", '{"together": 4}', file.read_text().replace("0", "true", 1)):
        file.write_text(word)
        with pytest.raises(DamagedError, match=r"way.json: cannot be read") as error:
            cost.preview_of(design, tmp_path)
        assert error.value.fix.startswith("put it back as it was; or delete it")
    file.unlink()
    assert ways.begun(design, tmp_path) is None


def test_the_command_keeps_how_a_study_was_begun(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["ablate", "bit_xor_fpt", "--tiny", "--arm", "a: body - ln", "--lr", "1e-3", "--yes", "--out", str(tmp_path)]
    for word in ("body.init=pretrained", f"body.path={tiny_bert}", "threads=1", "train.steps=2", "train.eval_every=2"):
        said += ["-o", word]
    passes: list[int] = []
    real = Learners.losses

    def losses(self: Learners, batches: Sequence[Batch]) -> torch.Tensor:
        passes.append(len(batches))
        if len(passes) == 2:
            raise KeyboardInterrupt
        return real(self, batches)

    def run(*words: str, code: int) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*said, *words])
        assert ended.value.code == code
        return capsys.readouterr().err

    monkeypatch.setattr(Learners, "losses", losses)
    monkeypatch.setattr(cost, "_beside", lambda *_: 1.0)  # or the preview would make passes, too
    run("--together", "3", code=130)
    assert [json.loads(file.read_text())["together"] for file in tmp_path.glob("studies/*/way.json")] == [3]
    passes += [0] * 2
    told = run(code=0)
    assert "3 at a time in one pass through their body, of 2 arms" in told
    assert set(passes[4:]) == {3}
    assert "begun with" not in told
    for file in tmp_path.glob("*/*/result.json"):
        file.unlink()
    assert "begun with --together 3: some last bits are those of neither way" in run("--together", "2", code=0)
    noted = {str(json.loads(file.read_text())["beside"]) for file in tmp_path.glob("*/*/environment.json")}
    assert noted == {"[2, 1]", "[2, 0]"}


def test_what_is_measured_is_a_pass_that_is_shared(design: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = next(arm.recipe for arm in design.arms.arms if ways.company(arm.recipe))
    trained = next(arm.recipe for arm in design.arms.arms if not ways.company(arm.recipe))
    assert 0 < cost._beside(frozen, 3) < 10
    assert cost._beside(trained, 3) == float("inf")

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(cost, "step_beside", full)
    assert cost._beside(frozen, 3) == float("inf")
