"""Help for tests that stop runs and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from xmodal.assemble import Assembled
from xmodal.run import bare
from xmodal.run.events import Event, Stepped


class StopAt:
    """Listens to a run and asks it to stop after some step."""

    def __init__(self, step: int) -> None:
        self._step, self._reached = step, False

    def __call__(self, event: Event) -> None:
        self._reached |= isinstance(event, Stepped) and event.step >= self._step

    def asked(self) -> bool:
        return self._reached


def spy_on_assembly(patch: pytest.MonkeyPatch) -> list[Assembled]:
    """A list that fills with what runs assemble from now on."""
    held: list[Assembled] = []
    original = bare.assemble

    def spy(*args: Any, **kwargs: Any) -> Assembled:
        held.append(original(*args, **kwargs))
        return held[-1]

    patch.setattr(bare, "assemble", spy)
    return held


def same_tensors(one: Path, two: Path) -> None:
    """Asserts that two safetensors files hold the same names and bits."""
    left, right = load_file(one), load_file(two)
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different
