"""One integer in, named and independent random streams out.

A stream is a function of (seed, name, counters) alone, so adding one never shifts another, and a run that resumes at
step 1000 needs no saved generator: it asks for the streams of step 1000.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    import torch


def stream(name: str, seed: int, *counters: int | str) -> int:
    """A 63-bit seed for the stream `name`: `stream("order", seed, epoch)`.

    Args:
        name: what the randomness is for (`data`, `split`, `order`, `init.body`, `init.input`, `init.head`, `dropout`).
        seed: the run's seed.
        counters: further coordinates, such as an epoch or a step.
    """
    words = "\x1f".join([name, str(seed), *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest()) >> 1


def torch_generator(name: str, seed: int, *counters: int | str) -> torch.Generator:
    """A torch generator on that stream. What is random is drawn on the CPU, then moved: every device sees the same."""
    import torch

    return torch.Generator().manual_seed(stream(name, seed, *counters))


def reseed(seed: int, device: torch.device) -> None:
    """Seeds what torch draws from by itself (dropout) on the CPU and on that device.

    On the CPU it is `torch.manual_seed` without the stack trace that this keeps for a GPU that is not in use.
    """
    import torch

    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def numpy_generator(name: str, seed: int, *counters: int | str) -> numpy.random.Generator:
    """A numpy generator (Philox) on that stream."""
    import numpy

    return numpy.random.Generator(numpy.random.Philox(stream(name, seed, *counters)))
