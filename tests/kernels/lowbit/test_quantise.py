"""Quantisers against what each of them promises to make small, and the tensors against their definitions."""

from __future__ import annotations

import pytest
import torch

from kernelwright.errors import LowBitInvalid
from kernelwright.kernels.lowbit import (
    BinaryTensor,
    QuantTensor,
    all_types,
    binary_code,
    compress,
    expand,
    from_affine,
    from_awq,
    from_gptq,
    gptq,
    half_quadratic,
    pack,
    round_to_nearest,
    to_awq,
    to_binary,
    to_gptq,
    two_of_four,
)

QUANTISED = [kind.name for kind in all_types() if kind.name not in ("i1", "sign")]


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(48, 256, generator=torch.Generator().manual_seed(7))


def error(made: QuantTensor | BinaryTensor, weight: torch.Tensor) -> float:
    return float((made.dequantize() - weight).square().mean())


@pytest.mark.parametrize("name", QUANTISED)
@pytest.mark.parametrize("group", [32, 64, None])
def test_no_weight_is_further_off_than_half_a_step(name: str, group: int | None, weight: torch.Tensor) -> None:
    made = round_to_nearest(weight, name, group)
    steps = made.kind.values()[made.kind.values().isfinite()].unique().diff().amax()
    scale = made.scale.repeat_interleave(made.group_size, 1)
    shifted = 1.0 if made.kind.kind == "uint" else 0.5  # a rounded zero point moves the range by half a step more
    assert ((made.dequantize() - weight).abs() <= shifted * steps * scale * (1 + 1e-5)).all()


def test_error_falls_with_every_bit(weight: torch.Tensor) -> None:
    for family in ("u", "i"):
        errors = [error(round_to_nearest(weight, f"{family}{bits}", 64), weight) for bits in range(2, 9)]
        assert errors == sorted(errors, reverse=True)


def test_a_group_keeps_zero_exactly_where_it_has_a_zero_point(weight: torch.Tensor) -> None:
    weight = weight + 3.0
    weight[:, ::5] = 0.0
    assert (round_to_nearest(weight, "u4", 64).dequantize()[:, ::5] == 0).all()


def test_constant_and_zero_groups_are_exact() -> None:
    weight = torch.cat([torch.zeros(2, 32), torch.full((2, 32), -3.0)], 1)
    for name in ("u4", "i4", "e2m1"):
        torch.testing.assert_close(round_to_nearest(weight, name, 32).dequantize(), weight)


def test_clipping_and_half_quadratic_improve_on_rounding(weight: torch.Tensor) -> None:
    for name in ("u2", "u3", "u4"):
        plain = round_to_nearest(weight, name, 64)
        assert error(round_to_nearest(weight, name, 64, clip=True), weight) < error(plain, weight)
        better = half_quadratic(weight, name, 64)
        assert (better.dequantize() - weight).abs().mean() < (plain.dequantize() - weight).abs().mean()


@pytest.mark.parametrize(("name", "group"), [("u4", 64), ("u3", 128), ("i4", None), ("e2m1", 32), ("u2", 256)])
def test_gptq_makes_the_outputs_better(name: str, group: int | None, weight: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(4, 200, 256, generator=generator) @ torch.randn(256, 256, generator=generator)
    outputs = inputs @ weight.T

    def off(made: QuantTensor) -> float:
        return float((inputs @ made.dequantize().T - outputs).square().mean())

    assert off(gptq(weight, inputs, name, group)) < 0.6 * off(round_to_nearest(weight, name, group, clip=True))


def test_gptq_with_inputs_that_are_never_seen(weight: torch.Tensor) -> None:
    inputs = torch.randn(100, 256)
    inputs[:, 10:20] = 0
    assert gptq(weight, inputs, "u4", 64).dequantize().isfinite().all()


def test_binary_coding_reaches_the_published_errors() -> None:
    rows = torch.randn(400, 128, generator=torch.Generator().manual_seed(0))
    greedy = {bits: binary_code(rows, bits, rounds=0) for bits in (1, 2, 3, 4)}
    fitted = {bits: binary_code(rows, bits) for bits in (1, 2, 3, 4)}
    for bits, most in {1: 0.37, 2: 0.12, 3: 0.036, 4: 0.0125}.items():
        assert error(fitted[bits], rows) <= most
        before = (greedy[bits].dequantize() - rows).square().sum(1)
        after = (fitted[bits].dequantize() - rows).square().sum(1)
        assert (after <= before * (1 + 1e-5)).all()
    assert torch.equal(fitted[1].dequantize(), greedy[1].dequantize())


def test_binary_coding_heeds_importance() -> None:
    rows = torch.randn(50, 64, generator=torch.Generator().manual_seed(1))
    importance = torch.ones_like(rows)
    importance[:, :8] = 100.0
    plain, heeding = binary_code(rows, 2, 64), binary_code(rows, 2, 64, importance=importance)
    off = [(made.dequantize() - rows)[:, :8].square().sum() for made in (plain, heeding)]
    assert off[1] < off[0]


def test_binary_coding_of_constant_rows_is_exact() -> None:
    rows = torch.tensor([[2.0] * 16, [0.0] * 16, [-1.5] * 16])
    torch.testing.assert_close(binary_code(rows, 3, None).dequantize(), rows)


@pytest.mark.parametrize("name", ["u1", "u2", "u3", "u4", "u8", "i2", "i4", "i8"])
def test_integers_are_binary_coding(name: str, weight: torch.Tensor) -> None:
    made = round_to_nearest(weight, name, 64)
    wide = torch.float64
    most = 1e-6 * made.scale.amax() * 2**made.kind.bits
    assert (to_binary(made).dequantize(wide) - made.dequantize(wide)).abs().max() <= most


def test_floats_are_no_binary_coding(weight: torch.Tensor) -> None:
    with pytest.raises(LowBitInvalid, match="the weight's type is e2m1; only integers"):
        to_binary(round_to_nearest(weight, "e2m1", 64))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_gptq_checkpoints_come_back(bits: int, weight: torch.Tensor) -> None:
    made = round_to_nearest(weight, f"u{bits}", 64)
    qweight, qzeros, scales = to_gptq(made)
    assert qweight.shape == (256 * bits // 32, 48)
    assert qzeros.shape == (4, 48 * bits // 32)
    back = from_gptq(qweight, qzeros, scales, torch.arange(256) // 64, bits=bits)
    assert torch.equal(back.codes(), made.codes())
    torch.testing.assert_close(back.zero_points().round(), made.zero_points().round())
    torch.testing.assert_close(back.dequantize(), made.dequantize(), rtol=2e-3, atol=2e-3)
    low, column = int(qweight[0, 5]) & (2**bits - 1), made.codes()[5, 0]
    assert low == column  # the first input lies in the lowest bits


def test_awq_checkpoints_come_back(weight: torch.Tensor) -> None:
    made = round_to_nearest(weight, "u4", 64)
    qweight, qzeros, scales = to_awq(made)
    back = from_awq(qweight, qzeros, scales)
    assert torch.equal(back.codes(), made.codes())
    torch.testing.assert_close(back.dequantize(), made.dequantize(), rtol=2e-3, atol=2e-3)
    nibbles = [int(qweight[3, 0]) >> 4 * place & 15 for place in range(8)]
    assert nibbles == [int(made.codes()[row, 3]) for row in (0, 2, 4, 6, 1, 3, 5, 7)]


def test_checkpoints_that_do_not_fit_get_a_sentence(weight: torch.Tensor) -> None:
    qweight, qzeros, scales = to_gptq(round_to_nearest(weight, "u4", 64))
    with pytest.raises(LowBitInvalid, match="g_idx reorders"):
        from_gptq(qweight, qzeros, scales, torch.arange(256) % 4)
    with pytest.raises(LowBitInvalid, match="scales have shape"):
        from_gptq(qweight, qzeros, scales[:, :-8])
    with pytest.raises(LowBitInvalid, match=r"qweight is torch\.int64"):
        from_gptq(qweight.long(), qzeros, scales)
    with pytest.raises(LowBitInvalid, match="integer zero points alone"):
        to_awq(half_quadratic(weight, "u4", 64))


def test_affine_codes_are_what_they_say() -> None:
    codes = torch.randint(-8, 8, (4, 32))
    scale, zero = torch.rand(4, 2) + 0.5, torch.randint(-3, 4, (4, 2))
    meant = (codes - zero.repeat_interleave(16, 1)) * scale.repeat_interleave(16, 1)
    torch.testing.assert_close(from_affine(codes, scale, zero, "i4").dequantize(), meant)
    with pytest.raises(LowBitInvalid, match="codes reach from"):
        from_affine(codes, scale, zero, "u4")


def test_two_of_four_keeps_the_largest_and_comes_back(weight: torch.Tensor) -> None:
    mask = two_of_four(weight)
    assert (mask.unflatten(1, (-1, 4)).sum(-1) == 2).all()
    fours = weight.abs().unflatten(1, (-1, 4))
    kept = fours.masked_fill(~mask.unflatten(1, (-1, 4)), torch.inf).amin(-1)
    assert (fours.masked_fill(mask.unflatten(1, (-1, 4)), 0).amax(-1) <= kept).all()
    made = round_to_nearest(weight * mask, "i4", 64)
    codes = made.codes()
    assert (codes[~mask] == 0).all()
    stay, places = compress(codes, mask)
    assert stay.shape == (48, 128)
    assert places.shape == (48, 64)
    assert torch.equal(expand(stay, places, 0), codes)


def test_fours_with_fewer_than_two_weights_are_filled_up() -> None:
    mask = torch.tensor([[False] * 4, [False, False, True, False], [False, False, False, True]])
    codes = torch.where(mask, 5, 0).to(torch.uint8)
    stay, places = compress(codes, mask)
    assert torch.equal(expand(stay, places, 0), codes)
    assert ((places & 3) < (places >> 2)).all()
    with pytest.raises(LowBitInvalid, match="more than two of some four"):
        compress(codes, torch.ones_like(mask))


def test_pruning_heeds_the_inputs() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    inputs = torch.tensor([[100.0, 100.0, 1.0, 1.0]])
    assert two_of_four(weight, inputs).tolist() == [[True, True, False, False]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"group_size": 48}, "group_size is 48, which does not divide the 256"),
        ({"group_size": 0}, "group_size is 0"),
        ({"kind": "i1"}, "dtype is i1, whose range has no symmetric scale"),
        ({"kind": "f4"}, "dtype is 'f4'"),
        ({"weight": torch.full((4, 256), torch.nan)}, "weight holds NaN"),
        ({"weight": torch.zeros(0, 256)}, r"the weight has shape \(0, 256\)"),
        ({"weight": torch.zeros(4, 256, dtype=torch.int32)}, r"weight is torch\.int32"),
        ({"weight": torch.zeros(256)}, r"of shape \(256,\)"),
    ],
)
def test_bad_arguments_get_a_sentence(change, sentence: str, weight: torch.Tensor) -> None:
    arguments = {"weight": weight, "kind": "u4", "group_size": 64, **change}
    with pytest.raises(LowBitInvalid, match=sentence):
        round_to_nearest(**arguments)


def test_parts_that_do_not_fit_get_a_sentence() -> None:
    packed = pack(torch.zeros(4, 64, dtype=torch.uint8), 4)
    scale = torch.ones(4, 2)

    def made(**change) -> QuantTensor:
        parts = {"packed": packed, "scale": scale, "offset": None, "shape": (4, 64), "group_size": 32, **change}
        return QuantTensor(kind=round_to_nearest(torch.ones(1, 1), "u4", None).kind, **parts)

    made()
    with pytest.raises(LowBitInvalid, match="packed is"):
        made(packed=torch.zeros(4, 64, dtype=torch.uint8))  # unpacked weights
    with pytest.raises(LowBitInvalid, match="scale holds NaN or infinity"):
        made(scale=torch.full((4, 2), torch.nan))
    with pytest.raises(LowBitInvalid, match="offset is"):
        made(offset=torch.ones(4, 1))
