"""What `precision: auto` is on this machine: measured once, and kept beside the weights."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import get_args

import torch

from xmodal import sources
from xmodal.errors import UnwrittenError, UsageError
from xmodal.recipe import Recipe
from xmodal.recipe.schema import VARIABLE
from xmodal.run.whole import write_json

WORTH = 1.2
"""How much faster products in bfloat16 must be than in float32 for rounded matrices to be worth it."""
ROWS, WIDTH, INNER, ROUNDS = 120, 768, 3072, 9
"""The product that is measured: a sample of bit-memory through GPT-2's feed-forward layer."""
HOPELESS = 4
"""How many times slower the first product in bfloat16 may be before no more are tried."""
CHOICES = tuple(name for name in get_args(Recipe.model_fields["precision"].annotation) if name != "auto")
FILE = "machine.json"
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16", "sve")
"""What of a CPU decides how fast its products are, in the words of Linux."""


@dataclass(frozen=True)
class Choice:
    """What `auto` is, and why.

    Attributes:
        precision: what it stands for.
        why: in words.
    """

    precision: str
    why: str


@cache
def automatic(device: str) -> Choice:
    """What `auto` is on `device`, a word of torch's such as `cpu` or `cuda:0`.

    Raises:
        UsageError: the environment variable says something else than a precision.
    """
    if said := os.environ.get(VARIABLE):
        if said not in CHOICES:
            fix = f"one of {', '.join(CHOICES)}, or unset it"
            raise UsageError(f"there is no precision '{said}'", where=f"{VARIABLE} in the environment", fix=fix)
        return Choice(said, f"{VARIABLE} says so")
    if torch.device(device).type == "mps":
        return Choice("float32", "bfloat16 was never tried on mps")
    machine, known = _machine(device), _read()
    if machine not in known:
        known[machine] = asdict(_measured(device))
        try:
            write_json(sources.home() / FILE, known)
        except UnwrittenError:
            os.environ[VARIABLE] = known[machine]["precision"]  # for the processes that this one starts
    return Choice(**known[machine])


def _machine(device: str) -> str:
    """What the answer depends on; a folder of weights may be shared by machines that differ."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else _processor()
    return f"{name}, torch {torch.__version__}"


def _processor() -> str:
    """The name of the CPU, and which of the arithmetic that matters it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        said = dict(line.split(":", 1) for line in lines if ":" in line)
    except (OSError, ValueError):
        said = {}
    words = {key.strip(): value.split() for key, value in said.items()}
    name = " ".join(words.get("model name", [platform.processor() or platform.machine()]))
    has = [flag for flag in FLAGS if flag in words.get("flags", [])]
    return f"{name} {' '.join(has) or torch.backends.cpu.get_cpu_capability()}"


def _measured(device: str) -> Choice:
    """Alternating, medians; some tenths of a second on two cores."""
    random = torch.Generator().manual_seed(0)
    left, right = torch.randn(ROWS, WIDTH, generator=random), torch.randn(WIDTH, INNER, generator=random)
    pairs = [(left.to(device, dtype), right.to(device, dtype)) for dtype in (torch.float32, torch.bfloat16)]
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for (a, b), taken in zip(pairs, times, strict=True):
            began = perf_counter()
            float((a @ b)[0, 0])  # waits for an accelerator
            taken.append(perf_counter() - began)
        if times[1][0] > HOPELESS * times[0][0]:
            break
    ratio = median(times[0]) / median(times[1])
    why = f"a matrix product in bfloat16 takes {1 / ratio:.2g} times what one in float32 does on this machine"
    return Choice("bf16-frozen" if ratio >= WORTH else "float32", why)


def _read() -> dict[str, dict[str, str]]:
    try:
        known = json.loads((sources.home() / FILE).read_text(encoding="utf-8"))
        return {
            machine: asdict(Choice(**choice)) for machine, choice in known.items() if choice["precision"] in CHOICES
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}  # it is measured again
