"""How a body starts when it is not simply pretrained. The schemes are our own.

A library's default of the day is no control: transformers changed "random GPT-2" by a factor of 4.9 in the residual
projections between two releases. Here every tensor's scheme is written down, and a test measures its deviation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from xmodal import seeds
from xmodal.bodies.options import Anatomy
from xmodal.types import Site

STD = 0.02


def random_tensor(site: Site, shape: torch.Size, anatomy: Anatomy, scheme: str, seed: int) -> Tensor:
    """A tensor of a body that was never trained.

    Layer norms start at one and zero, biases at zero. Matrices and embeddings:

    - `flat`: N(0, 0.02) everywhere, what transformers 4.x did for GPT-2 and Lu 2021 ran;
    - `published` for GPT-2: the same, and N(0, 0.02 / sqrt(2 * blocks)) for the two matrices of a block that write to
      the residual stream (Radford 2019, section 2.3);
    - `published` for BERT: N(0, 0.02) cut at two deviations (Devlin's code, `truncated_normal_initializer`), which
      leaves a deviation of 0.0176.
    """
    if site.kind == "bias":
        return torch.zeros(shape)
    if site.role == "ln":
        return torch.ones(shape)
    random = seeds.torch_generator("init.body", seed, str(site))
    if scheme == "flat":
        return torch.empty(shape).normal_(0, STD, generator=random)
    if anatomy.family == "bert":
        # Uniform probabilities between those of -2 and 2 deviations, through the inverse of the normal distribution.
        edge = math.erf(2 / math.sqrt(2))
        return torch.empty(shape).uniform_(-edge, edge, generator=random).erfinv_() * (math.sqrt(2) * STD)
    residual = site.part in ("out", "down")
    std = STD / math.sqrt(2 * len(anatomy.layers)) if residual else STD
    return torch.empty(shape).normal_(0, std, generator=random)


def matched_tensor(site: Site, pretrained: Tensor, seed: int) -> Tensor:
    """Normal noise with the mean and deviation of the pretrained tensor (Lu 2021, table 9, "statistics only")."""
    random = seeds.torch_generator("init.body", seed, str(site))
    noise = torch.empty(pretrained.shape).normal_(generator=random)
    return noise * pretrained.std(correction=0) + pretrained.mean()


def permuted_tensor(site: Site, pretrained: Tensor, seed: int) -> Tensor:
    """The pretrained values in random order: the whole distribution is kept, and no structure."""
    random = seeds.torch_generator("init.body", seed, str(site))
    return pretrained.flatten()[torch.randperm(pretrained.numel(), generator=random)].view(pretrained.shape)
