"""A seal: proof that what was frozen is, bit for bit, what it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from xmodal.errors import XmodalError
from xmodal.freeze.plan import Plan

NAMED = 5
"""Most tensors that a message names."""


@dataclass(frozen=True)
class Seal:
    """Digests of every frozen parameter and of buffers, taken before training and checked after it.

    Attributes:
        digests: by tensor; a parameter has its site as its name, a buffer has `buffer` before its own. Tensors on the
            meta device hold no bits and are left out.
    """

    digests: Mapping[str, str]

    @classmethod
    def of(cls, plan: Plan, buffers: Mapping[str, Tensor]) -> Seal:
        """The seal of what `plan` freezes and of `buffers`, as they are now."""
        return cls({name: tensor_digest(tensor) for name, tensor in _sealed(plan, buffers)})

    @property
    def digest(self) -> str:
        """One digest for all of it: 128 bits in hexadecimal, whatever the order of the tensors."""
        lines = "\n".join(f"{name} {digest}" for name, digest in sorted(self.digests.items()))
        return hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()

    def check(self, plan: Plan, buffers: Mapping[str, Tensor]) -> None:
        """Nothing, if every sealed tensor still has its bits.

        Raises:
            XmodalError: a tensor changed, is gone, or was not there when the seal was taken.
        """
        now = Seal.of(plan, buffers).digests
        moved = [name for name in {**self.digests, **now} if self.digests.get(name) != now.get(name)]
        if not moved:
            return
        more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
        raise XmodalError(
            f"{len(moved)} of {len({**self.digests, **now})} sealed tensors moved: {', '.join(moved[:NAMED])}{more}",
            where=f"{plan.name}, frozen: {plan.spec}",
            why="what is frozen must keep every bit; something wrote to these tensors after the seal was taken",
            fix="give the optimiser plan.trainable() only, and let no module update its buffers in training",
        )


def tensor_digest(tensor: Tensor) -> str:
    """128-bit digest of dtype, shape and bytes, in hexadecimal; device, strides and gradients do not count."""
    state = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape)} ".encode(), digest_size=16)
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    flat = plain.as_strided((plain.numel(),), (1,))  # a reshaped single element may keep a stride that view() refuses
    state.update(flat.view(torch.uint8).numpy().data)
    return state.hexdigest()


def _sealed(plan: Plan, buffers: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    tensors = {**plan.frozen(), **{f"buffer {name}": buffer for name, buffer in buffers.items()}}
    yield from ((name, tensor) for name, tensor in tensors.items() if not tensor.is_meta)
