"""The quick way to a yes says yes only where the bound made from float64 does, whatever float64 says."""

from __future__ import annotations

import math

import pytest
import torch

from kernelwright.judge._agree import agreement
from kernelwright.judge._bounds import compare, expect, rounding_share

SHAPES = [(), (0, 4), (1,), (7,), (3, 16), (5, 37), (16, 64), (2, 3, 33)]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def near(eager: torch.Tensor, seed: int, length: int) -> torch.Tensor:
    """A candidate's answer that is as far from eager's as may still agree, here and there a little farther."""
    generator = torch.Generator().manual_seed(seed)
    share = rounding_share(eager.dtype, length)
    step = 1.0 + share * (torch.rand(eager.shape, generator=generator, dtype=torch.float64) * 2.04 - 1.02)
    return (eager.double() * step).to(eager.dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("wrong", [0.0, 1e-7, 1e-3, 3.0, 1e30])
def test_a_yes_is_a_yes_of_the_bound(dtype: torch.dtype, wrong: float) -> None:
    """``wrong``: how far the reference's own answer is from float64's, relative to it and in a few places only."""
    agreed = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        shape, length = SHAPES[seed % len(SHAPES)], (1, 100, 100_000)[seed % 3]
        value = torch.randn(shape, generator=generator, dtype=torch.float64) * 10.0 ** (seed % 7 - 3)
        places = torch.rand(shape, generator=generator) < 0.2
        eager = torch.where(places, value * (1.0 + wrong), value).to(dtype)
        got = near(eager, seed, length) if seed % 4 else eager.clone()
        yes = agreement(eager, got, length)
        if yes is not None:
            agreed += 1
            full = compare(expect(value, eager, [], length), got)
            assert not full.category, full.detail
            assert full.error <= yes.error + 1e-9
            assert yes.compared == 0  # whether the reference contradicts itself is not known
    assert agreed >= 15


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values_agree_with_their_like_only(dtype: torch.dtype) -> None:
    eager = torch.tensor([math.nan, math.inf, -math.inf, -0.0, 1.0, torch.finfo(dtype).tiny], dtype=dtype)
    assert agreement(eager, eager.clone(), 1) is not None
    other = eager.clone()
    other[3] = 0.0
    assert agreement(eager, other, 1) is not None
    for k, value in (
        (0, 1.0),
        (1, -math.inf),
        (1, torch.finfo(dtype).max),
        (2, math.nan),
        (4, math.nan),
        (5, math.inf),
    ):
        wrong = other.clone()
        wrong[k] = value
        assert agreement(eager, wrong, 1) is None, (k, value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_only_float64_overflows_or_is_no_number_eager_is_right(dtype: torch.dtype) -> None:
    eager = torch.tensor([1.0, torch.finfo(dtype).max, 3.0, math.inf, math.nan], dtype=dtype)
    value = torch.tensor([math.nan, math.inf, -math.inf, 1.0, 2.0], dtype=torch.float64)
    assert agreement(eager, eager.clone(), 1) is not None
    assert not compare(expect(value, eager, [], 1), eager.clone()).category


def test_integers_and_bools_agree_when_they_are_equal() -> None:
    for eager in (torch.arange(12).view(3, 4), torch.tensor([True, False])):
        assert agreement(eager, eager.clone(), 1) is not None
        other = eager.clone()
        other.view(-1)[1] = other.view(-1)[0]
        assert agreement(eager, other, 1) is None


def test_complex_and_strided_tensors_and_other_forms() -> None:
    eager = torch.randn(6, 5, dtype=torch.complex64)
    assert agreement(eager, eager.clone(), 1) is not None
    assert agreement(eager, eager + 1e-3j, 1) is None
    strided = torch.randn(4, 8).t()
    assert agreement(strided, strided.contiguous(), 1) is not None
    assert agreement(strided, strided.contiguous() * 1.001, 1) is None
    assert agreement(strided, strided.reshape(-1), 1) is None
    assert agreement(strided, strided.double(), 1) is None


def test_a_missing_term_and_a_truncated_product_do_not_agree() -> None:
    a, b = torch.randn(33, 512), torch.randn(512, 47)
    eager = a @ b
    assert agreement(eager, eager - a[:, :1] * b[:1], 512) is None
    assert agreement(eager, (a.bfloat16() @ b.bfloat16()).float(), 512) is None
