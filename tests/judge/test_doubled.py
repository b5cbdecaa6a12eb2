"""Numbers of 106 bits against rational arithmetic, which is exact, and against float64 where they end."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
import torch

from kernelwright.judge import _doubled as doubled
from kernelwright.judge._doubled import Pair, exact

COUNT = 40


def numbers(seed: int, *shape: int) -> Pair:
    generator = torch.Generator().manual_seed(seed)
    high = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return doubled.settled(high, 2.0**-54 * high * torch.randn(*shape, generator=generator, dtype=torch.float64))


def fractions(x: Pair) -> list[Fraction]:
    parts = zip(x.hi.reshape(-1).tolist(), x.lo.reshape(-1).tolist(), strict=True)
    return [Fraction(high) + Fraction(low) for high, low in parts]


def close(found: Pair, wanted: list[Fraction], bits: int) -> None:
    for mine, its in zip(fractions(found), wanted, strict=True):
        assert abs(mine - its) <= abs(its) * Fraction(1, 2**bits)


@pytest.mark.parametrize("apply", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_arithmetic_is_exact_to_a_hundred_bits(apply: Callable[..., Any]) -> None:
    a, b = numbers(0, COUNT), numbers(1, COUNT)
    close(apply(a, b), [apply(x, y) for x, y in zip(fractions(a), fractions(b), strict=True)], 102)


def test_what_cancels_leaves_its_digits() -> None:
    a, small = numbers(2, COUNT), numbers(3, COUNT).map(lambda t: t * 2.0**-30)
    found = (a + small) - a
    close(found, fractions(small), 70)


@pytest.mark.parametrize(
    ("function", "decimal"),
    [(doubled.sqrt, Decimal.sqrt), (doubled.exp, Decimal.exp), (doubled.log, Decimal.ln)],
    ids=["sqrt", "exp", "log"],
)
def test_functions_are_exact_to_ninety_bits(
    function: Callable[[Pair], Pair], decimal: Callable[[Decimal], Decimal]
) -> None:
    x = numbers(4, COUNT)
    x = doubled.where(x.hi < 0, -x, x)
    with localcontext(prec=60):
        exactly = [Decimal(f.numerator) / Decimal(f.denominator) for f in fractions(x)]
        close(function(x), [Fraction(decimal(d)) for d in exactly], 88)


def test_sums_and_products_of_matrices() -> None:
    x = numbers(5, 6, 7)
    rows = [fractions(x.map(lambda t, k=k: t[k])) for k in range(6)]  # type: ignore[misc]
    close(doubled.total(x, [1]), [sum(row, Fraction(0)) for row in rows], 98)
    close(doubled.running(x, 1).map(lambda t: t[:, -1]), [sum(row, Fraction(0)) for row in rows], 98)
    assert doubled.total(x.map(lambda t: t[:, :0]), [1]).hi.tolist() == [0.0] * 6
    a, b = numbers(6, 3, 50), numbers(7, 50, 2)
    a = a.map(lambda t: t * torch.logspace(-8, 8, 50, dtype=torch.float64).log2().round().exp2())
    left = [fractions(a.map(lambda t, k=k: t[k])) for k in range(3)]  # type: ignore[misc]
    right = [fractions(b.map(lambda t, k=k: t[:, k])) for k in range(2)]  # type: ignore[misc]
    wanted = [sum((x * y for x, y in zip(row, column, strict=True)), Fraction(0)) for row in left for column in right]
    close(doubled.product(torch.mm, a, b, ([1], [0]), 50), wanted, 70)


def test_a_small_number_beside_a_large_one_is_not_lost() -> None:
    a = exact(torch.tensor([[1.0, 1e-30]], dtype=torch.float64))
    b = exact(torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    assert doubled.product(torch.mm, a, b, ([1], [0]), 2).hi.item() == 1e-30


def test_ends_are_those_of_float64() -> None:
    x = torch.tensor([0.0, float("inf"), -float("inf"), float("nan"), 1e308, 5e-324, -1.0], dtype=torch.float64)
    y = x.flip(0)
    for mine, its in (
        (exact(x) + exact(y), x + y),
        (exact(x) * exact(y), x * y),
        (exact(x) / exact(y), x / y),
        (doubled.exp(exact(x)), x.exp()),
        (doubled.log(exact(x)), x.log()),
        (doubled.sqrt(exact(x)), x.sqrt()),
        (doubled.total(exact(x), [0]), x.sum()),
        (doubled.product(torch.matmul, exact(x), exact(y), ([0], [0]), 7), x @ y),
    ):
        torch.testing.assert_close(mine.hi, its, equal_nan=True, rtol=1e-15, atol=0.0)
        assert bool(mine.lo.isfinite().all())
