"""A step waits for no number: on a GPU each wait would empty its queue. Here a number that is fetched is an error.

One is left to transformers: before a causal body's first block it looks whether several sequences were packed into one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import masking_utils

from xmodal.recipe import load_recipe
from xmodal.recipe.source import shipped
from xmodal.run.bare import bare_loop, endless, task_of
from xmodal.run.job import Asked

FETCHES = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.masked_select.default"}
"""What must know a number, or how many there are, before the program can go on."""


class NobodyWaits(TorchDispatchMode):
    """While it is entered, fetching a number is an error that names the place."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert str(func) not in FETCHES, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["gpt2", "minilm-l6", "smollm2-135m", "t5-small", "vit-s14-saliency"])
def test_nobody_waits_for_gradients(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda position_ids: None)
    overrides = [f"body.name={name}", "body.init=random", "body.layers='0:2'", "task.bits=3", "device=cpu"]
    recipe = endless(load_recipe(shipped()["bit_xor_fpt"], [*overrides, "freeze='body - ln - pos?'"]))
    moves = bare_loop(recipe, task_of(recipe), tmp_path).moves()
    asked = next(moves)
    assert isinstance(asked, Asked)
    with NobodyWaits():
        answer = asked.alone()
    assert answer.loss.shape == ()
