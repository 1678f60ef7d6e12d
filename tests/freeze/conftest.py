"""Two bodies in small, with an input layer and a head: width 4, inner width 16, 8 positions, 3 blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from xmodal.types import Site

DEPTH = 3


class Toy(nn.Module):
    """Modules of known sites; `claims` walks them."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[tuple[Site, nn.Module]] = []
        self.sheets = nn.ModuleList()

    def add(self, site: Site, module: nn.Module) -> None:
        self.sheets.append(module)
        self.places.append((site, module))

    def claims(self) -> Iterator[tuple[Site, nn.Parameter]]:
        for site, module in self.places:
            for kind, parameter in module.named_parameters():
                yield replace(site, kind=kind), parameter  # type: ignore[arg-type]


def make_toy(family: str) -> Toy:
    toy = Toy()
    toy.add(Site("input"), nn.Linear(3, 4))
    toy.add(Site("embed", part="token", used=False), nn.Embedding(10, 4))
    toy.add(Site("pos"), nn.Embedding(8, 4))
    if family == "bert":
        toy.add(Site("embed", part="type"), nn.Embedding(2, 4))
        toy.add(Site("ln", part="embed"), nn.LayerNorm(4))
    for layer in range(DEPTH):
        toy.add(Site("ln", layer, "attn"), nn.LayerNorm(4))
        if family == "bert":
            for part in ("q", "k", "v"):
                toy.add(Site("attn", layer, part), nn.Linear(4, 4))
        else:
            toy.add(Site("attn", layer, "qkv"), nn.Linear(4, 12))
        toy.add(Site("attn", layer, "out"), nn.Linear(4, 4))
        toy.add(Site("ln", layer, "ffn"), nn.LayerNorm(4))
        toy.add(Site("ffn", layer, "up"), nn.Linear(4, 16))
        toy.add(Site("ffn", layer, "down"), nn.Linear(16, 4))
    if family == "gpt2":
        toy.add(Site("ln", part="final"), nn.LayerNorm(4))
    toy.add(Site("head"), nn.Linear(4, 2))
    return toy


@pytest.fixture
def gpt2() -> Toy:
    """Fused `attn.qkv`, `ln.final`, and no embedding that is used."""
    torch.manual_seed(0)
    return make_toy("gpt2")


@pytest.fixture
def bert() -> Toy:
    """Separate `attn.q`, `k`, `v`, `ln.embed`, and a used `embed.type`."""
    torch.manual_seed(0)
    return make_toy("bert")
