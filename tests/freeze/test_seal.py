"""The seal: frozen bits that move are found and named, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from xmodal.errors import XmodalError
from xmodal.freeze import Seal, parse
from xmodal.freeze.seal import tensor_digest


def buffers() -> dict[str, Tensor]:
    return {"running_mean": torch.zeros(4), "steps": torch.tensor(0), "mask": torch.ones(2, 2, dtype=torch.bool)}


def sealed(model: Any, spec: str = "body - ln - pos") -> tuple[Any, dict[str, Tensor], Seal]:
    plan, held = parse(spec).on(model, name="toy"), buffers()
    return plan, held, Seal.of(plan, held)


def test_training_what_trains_keeps_the_seal(gpt2: Any) -> None:
    plan, held, seal = sealed(gpt2)
    with torch.no_grad():
        for parameter in (*plan.trainable().values(), *plan.unused().values()):
            parameter.add_(1)
    seal.check(plan, held)
    assert seal == Seal.of(plan, held)
    assert set(seal.digests) == {*plan.frozen(), "buffer running_mean", "buffer steps", "buffer mask"}


def test_one_bit_of_one_frozen_tensor_breaks_it(gpt2: Any) -> None:
    plan, held, seal = sealed(gpt2)
    weight = plan.frozen()["attn[1].qkv.weight"]
    weight.data.view(torch.int32)[3, 2] ^= 1
    with pytest.raises(XmodalError) as caught:
        seal.check(plan, held)
    error = caught.value
    assert error.what == f"1 of {len(seal.digests)} sealed tensors moved: attn[1].qkv.weight"
    assert error.where == "toy, frozen: body - ln - pos"
    assert "keep every bit" in error.why
    assert "plan.trainable() only" in error.fix
    assert error.exit_code == 1
    weight.data.view(torch.int32)[3, 2] ^= 1
    seal.check(plan, held)


@pytest.mark.parametrize("name", list(buffers()))
def test_a_buffer_that_moved_breaks_it(gpt2: Any, name: str) -> None:
    plan, held, seal = sealed(gpt2)
    held[name].view(-1)[0] = 1 - held[name].view(-1)[0].int()
    with pytest.raises(XmodalError) as caught:
        seal.check(plan, held)
    assert caught.value.what.endswith(f"sealed tensors moved: buffer {name}")


def test_every_tensor_that_moved_is_counted_and_the_first_are_named(gpt2: Any) -> None:
    plan, held, seal = sealed(gpt2)
    with torch.no_grad():
        for parameter in plan.frozen().values():
            parameter.add_(1)
    first = ", ".join(list(plan.frozen())[:5])
    with pytest.raises(XmodalError) as caught:
        seal.check(plan, held)
    assert caught.value.what == f"24 of 27 sealed tensors moved: {first} and 19 more"


def test_a_tensor_that_came_or_went_breaks_it(gpt2: Any) -> None:
    plan, held, seal = sealed(gpt2)
    with pytest.raises(XmodalError, match="buffer new"):
        seal.check(plan, {**held, "new": torch.zeros(1)})
    del held["steps"]
    with pytest.raises(XmodalError, match="buffer steps"):
        seal.check(plan, held)
    with pytest.raises(XmodalError, match=r"pos\.weight"):
        seal.check(parse("body - ln").on(gpt2), buffers())


def test_a_buffer_and_a_site_of_one_name_are_two_tensors(gpt2: Any) -> None:
    plan = parse("pos").on(gpt2)
    assert set(Seal.of(plan, {"pos.weight": torch.zeros(1)}).digests) == {"pos.weight", "buffer pos.weight"}


def test_the_digest_of_all_is_of_the_values_and_not_of_the_order(gpt2: Any) -> None:
    plan, held, seal = sealed(gpt2)
    assert Seal.of(plan, dict(reversed(held.items()))).digest == seal.digest
    assert len(seal.digest) == 32
    held["steps"] += 1
    assert Seal.of(plan, held).digest != seal.digest
    assert Seal.of(plan, {}).digest != seal.digest
    assert Seal.of(plan, {"a": torch.zeros(1)}).digest != Seal.of(plan, {"b": torch.zeros(1)}).digest
    exchanged = {**buffers(), "a": torch.tensor(1), "b": torch.tensor(2)}
    assert (
        Seal.of(plan, exchanged).digest != Seal.of(plan, {**exchanged, "a": exchanged["b"], "b": exchanged["a"]}).digest
    )


def test_tensors_without_values_are_left_out(gpt2: Any) -> None:
    plan = parse("body").on(gpt2.to("meta"))
    assert Seal.of(plan, {"mask": torch.zeros(1, device="meta")}).digests == {}


DTYPES = [
    torch.bool,
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz, torch.float8_e8m0fnu),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)], ids=str)
def test_any_dtype_and_shape(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    zeros = torch.zeros(shape, dtype=dtype)
    assert tensor_digest(zeros) == tensor_digest(torch.zeros(shape, dtype=dtype))
    if zeros.numel():
        bits = zeros.reshape(-1).view(torch.uint8).clone()
        bits[-1] ^= 1
        assert tensor_digest(bits.view(dtype).reshape(shape)) != tensor_digest(zeros)


def test_shape_and_dtype_count_and_strides_do_not() -> None:
    values = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    assert tensor_digest(values) != tensor_digest(values.reshape(3, 2))
    assert tensor_digest(values) != tensor_digest(values.view(torch.int32))
    assert tensor_digest(torch.zeros(0, 2)) != tensor_digest(torch.zeros(0, 3))
    columns = values.t().contiguous().t()
    assert not columns.is_contiguous()
    assert tensor_digest(columns) == tensor_digest(values)
    assert tensor_digest(values[:1, :1].expand(2, 3)) == tensor_digest(torch.zeros(2, 3))
    assert tensor_digest(values[1:, 2::5]) == tensor_digest(torch.tensor([[5.0]]))
    assert tensor_digest(values[:, ::2]) == tensor_digest(values[:, ::2].clone())
    assert tensor_digest(values.requires_grad_()) == tensor_digest(values.detach())


def test_bits_count_and_not_values() -> None:
    assert tensor_digest(torch.tensor(0.0)) != tensor_digest(torch.tensor(-0.0))
    nan = torch.tensor(float("nan"))
    assert tensor_digest(nan) == tensor_digest(nan.clone())


def test_lazy_conjugates_are_made_real() -> None:
    values = torch.tensor([1 + 2j])
    assert tensor_digest(values.conj()) == tensor_digest(torch.tensor([1 - 2j]))
    assert tensor_digest(values.conj().imag) == tensor_digest(torch.tensor([-2.0]))
