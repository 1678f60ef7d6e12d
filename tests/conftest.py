"""Shapes are executed; no test sees the user's cache or the network; two tiny bodies lie ready."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import runtime_checkable
from zlib import crc32

import pytest
from jaxtyping import install_import_hook

os.environ.pop("COLUMNS", None)  # rich reads it once, when a console is made
os.environ["XMODAL_PRECISION"] = "float32"  # what `auto` is: measured, it would differ between machines
os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers reads it, once, when it is imported

# Every module on the path of a batch, but families, which do not import torch until they build, and options, which
# pydantic checks.
SHAPED = [
    "xmodal.assemble",
    "xmodal.bodies.blocks",
    "xmodal.bodies.body",
    "xmodal.bodies.init",
    "xmodal.heads.readout",
    "xmodal.heads.score",
    "xmodal.run.evaluate",
    "xmodal.run.job",
    "xmodal.run.loop",
    "xmodal.tasks.bits",
    "xmodal.tasks.held",
    "xmodal.tasks.images",
    "xmodal.tasks.procedural",
    "xmodal.tensors",
    "xmodal.tokenizers.amino_acid",
    "xmodal.tokenizers.input_layer",
    "xmodal.tokenizers.patch",
    "xmodal.tokenizers.sequence",
]
install_import_hook(SHAPED, "beartype.beartype")

import torch  # noqa: E402
from transformers import (  # noqa: E402
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    LongformerConfig,
    LongformerModel,
    PreTrainedModel,
)

from xmodal import sources, types  # noqa: E402
from xmodal.bodies.bert import BertOptions  # noqa: E402
from xmodal.bodies.family import Family  # noqa: E402
from xmodal.bodies.gpt2 import GPT2Options  # noqa: E402
from xmodal.bodies.options import BodyOptions  # noqa: E402

for contract in (Family, types.Body, types.Head, types.Split, types.Task, types.Tokenizer):
    runtime_checkable(contract)  # so that beartype looks for every name that the contract promises

torch.set_num_threads(1)


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> None:
    """Whichever process makes a fixture, and whatever ran before it, its models are drawn alike."""
    torch.manual_seed(crc32(fixturedef.argname.encode()))


def pytest_runtest_call(item: pytest.Item) -> None:
    """So is what a test draws itself."""
    torch.manual_seed(crc32(item.nodeid.encode()))


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache and no hub, but for tests that need real weights: they read the user's cache."""
    marker = request.node.get_closest_marker("weights")
    if not marker:
        monkeypatch.setenv("XMODAL_HOME", str(tmp_path / "xmodal-home"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        return
    for name in marker.args or ("minilm-l6",):
        if (found := sources.status("bodies", name)) != "here":
            pytest.skip(f"the weights of {name} are {found} on this machine: xmodal get body {name}")


def save(model: PreTrainedModel, folder: Path) -> Path:
    """Saves a model after moving every parameter, so that no bias is zero and no two layer norms are alike."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty(parameter.shape).normal_(0, 0.1, generator=random))
    model.save_pretrained(folder)
    return folder


ENCODER = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
"""Sizes of the small encoders."""


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a GPT-2 of 3 blocks, as transformers saves it."""
    config = GPT2Config(vocab_size=97, n_positions=64, n_embd=32, n_layer=3, n_head=4)
    return save(GPT2Model(config), tmp_path_factory.mktemp("tiny-gpt2"))


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a BERT of 3 blocks, as transformers saves it, pooler included."""
    config = BertConfig(
        max_position_embeddings=64,
        type_vocab_size=2,
        **ENCODER,
        layer_norm_eps=1e-12,
    )
    return save(BertModel(config), tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="session")
def tiny_longformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Longformer of 3 blocks, with a window of 8 tokens, as transformers saves it, pooler included."""
    config = LongformerConfig(
        attention_window=8,
        max_position_embeddings=34,
        type_vocab_size=1,
        **ENCODER,
        layer_norm_eps=1e-5,
    )
    return save(LongformerModel(config), tmp_path_factory.mktemp("tiny-longformer"))


@pytest.fixture(params=["gpt2", "bert"])
def family(request: pytest.FixtureRequest) -> str:
    """Each family that xmodal builds."""
    return request.param


@pytest.fixture
def tiny(family: str, tiny_gpt2: Path, tiny_bert: Path) -> Callable[..., BodyOptions]:
    """Makes options of the tiny body of each family; `path` may be another folder."""

    def options(path: Path = tiny_gpt2 if family == "gpt2" else tiny_bert, **changes: object) -> BodyOptions:
        kind, name = (GPT2Options, "gpt2") if family == "gpt2" else (BertOptions, "minilm-l6")
        return kind.model_validate({"name": name, "path": str(path), **changes})

    return options
