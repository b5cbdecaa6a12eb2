"""Every type against its definition: value sets, nearest values, saturation, round trips, packing."""

from __future__ import annotations

import pytest
import torch

from kernelwright.errors import LowBitInvalid
from kernelwright.kernels.lowbit import all_types, dt, pack, packed_size, unpack

TYPES = pytest.mark.parametrize("kind", all_types(), ids=lambda kind: kind.name)


def test_value_sets_are_those_of_the_published_spectrum() -> None:
    positive = {
        "e1m1": [0, 1, 2, 3],
        "e1m2": [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5],
        "e2m1": [0, 0.5, 1, 1.5, 2, 3, 4, 6],
    }
    for name, values in positive.items():
        assert dt(name).values()[: len(values)].tolist() == values
    largest = {"e2m2": 7, "e2m3": 7.5, "e3m1": 24, "e3m2": 28, "e4m1": 384, "e5m1": 49152, "e4m3": 448, "e5m2": 57344}
    assert {name: dt(name).max for name in largest} == largest
    assert (dt("i4").min, dt("i4").max, dt("u4").max, dt("i1").min, dt("i1").max) == (-8, 7, 15, -1, 0)
    assert dt("sign").values().tolist() == [-1, 1]


@pytest.mark.parametrize(("name", "theirs"), [("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)])
def test_eight_bit_floats_are_pytorchs(name: str, theirs: torch.dtype) -> None:
    codes = torch.arange(256, dtype=torch.uint8)
    torch.testing.assert_close(dt(name).decode(codes), codes.view(theirs).float(), equal_nan=True)
    x = torch.randn(5000, generator=torch.Generator().manual_seed(0)) * 3
    assert torch.equal(dt(name).encode(x), x.to(theirs).view(torch.uint8))


@TYPES
def test_codes_survive_the_way_there_and_back(kind) -> None:
    values = kind.values()
    codes = torch.arange(2**kind.bits, dtype=torch.uint8)
    finite = values.isfinite()
    assert torch.equal(kind.encode(values[finite]), codes[finite])
    assert torch.equal(kind.decode(codes[finite], torch.float64), values[finite])


@TYPES
def test_encoding_is_the_nearest_value_with_ties_to_even_codes(kind) -> None:
    finite = kind.values()[kind.values().isfinite()].unique()
    x = torch.cat([torch.linspace(kind.min - 1, kind.max + 1, 997, dtype=torch.float64), finite, torch.zeros(1)])
    distance = (x[:, None] - finite).abs()
    got = kind.decode(kind.encode(x), torch.float64)
    assert torch.equal((got - x).abs(), distance.amin(1))
    if len(finite) > 1:
        middles = (finite[1:] + finite[:-1]) / 2
        assert (kind.encode(middles) % 2 == 0).all()


@TYPES
def test_what_lies_outside_saturates(kind) -> None:
    ends = kind.decode(kind.encode(torch.tensor([-torch.inf, torch.inf, -1e30, 1e30])))
    assert ends.tolist() == [kind.min, kind.max, kind.min, kind.max]


def test_zero_keeps_its_sign_in_floats() -> None:
    codes = dt("e3m2").encode(torch.tensor([0.0, -0.0, -1e-9, 1e-9]))
    assert codes.tolist() == [0, 32, 32, 0]


def test_nan_has_a_code_or_a_sentence() -> None:
    assert dt("e4m3").decode(dt("e4m3").encode(torch.tensor([torch.nan]))).isnan().all()
    with pytest.raises(LowBitInvalid, match="x holds NaN, and u4 has no code for it"):
        dt("u4").encode(torch.tensor([1.0, torch.nan]))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3, 5)])
def test_any_shape_is_encoded(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert dt("e2m1").encode(x).shape == shape
    assert dt("e2m1").decode(dt("e2m1").encode(x)).shape == shape


def test_names_have_their_long_forms_and_others_a_sentence() -> None:
    assert dt("uint4") is dt("u4")
    assert dt("int3") is dt("i3")
    assert dt("float8_e4m3") is dt("e4m3")
    with pytest.raises(LowBitInvalid, match="dtype is 'u9', which is none of u1"):
        dt("u9")


def test_codes_must_be_codes() -> None:
    with pytest.raises(LowBitInvalid, match="codes hold 16; codes of u4 are below 16"):
        dt("u4").decode(torch.tensor([16], dtype=torch.uint8))
    with pytest.raises(LowBitInvalid, match=r"codes have dtype torch\.int64"):
        dt("u4").decode(torch.tensor([1]))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64, 129])
def test_packing_comes_back_and_takes_no_bit_more(bits: int, count: int) -> None:
    codes = torch.randint(0, 2**bits, (3, count), dtype=torch.uint8, generator=torch.Generator().manual_seed(bits))
    stream = pack(codes, bits)
    assert stream.shape == (3, packed_size(count, bits)) == (3, -(-count * bits // 8))
    assert torch.equal(unpack(stream, bits, count), codes)
    wide = [sum(int(code) << bits * place for place, code in enumerate(row)) for row in codes]
    assert [int.from_bytes(bytes(row.tolist()), "little") for row in stream] == wide


def test_packing_does_not_mind_strides() -> None:
    codes = torch.randint(0, 8, (6, 10), dtype=torch.uint8)
    assert torch.equal(pack(codes.T, 3), pack(codes.T.contiguous(), 3))


def test_packing_refuses_what_is_no_row_of_codes() -> None:
    with pytest.raises(LowBitInvalid, match="bits is 9"):
        pack(torch.zeros(4, dtype=torch.uint8), 9)
    with pytest.raises(LowBitInvalid, match=r"torch\.int64"):
        pack(torch.zeros(4, dtype=torch.int64), 4)
    with pytest.raises(LowBitInvalid, match="10 codes of 3 bits take 4 bytes"):
        unpack(torch.zeros(5, dtype=torch.uint8), 3, 10)
