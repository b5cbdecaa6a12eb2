"""Numbers of 106 bits: unevaluated sums of two float64, ``hi + lo`` with ``|lo| <= ulp(hi) / 2``.

Sums and products of pairs are exact to about 2**-104 (T. J. Dekker, 1971; D. E. Knuth, TAOCP 2, 4.2.2). A product of
matrices is split into slices of so few bits that products of slices have no rounding error at all, in whatever order a
library adds them up (K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, 2012). NaN and infinity are those of float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

_SPLITTER = 134217729.0  # 2**27 + 1
_SLICES = 4
_LN2 = (0.6931471805599453, 2.3190468138462996e-17)
_HALVINGS = 9  # of an exponential's argument
_TERMS = 11  # of its series: |r| < ln(2) / 1024
_EXPONENTS = 690.0  # beyond, float64's own exponential is close to its ends


@dataclass(frozen=True)
class Pair:
    """``hi + lo``: two float64 tensors of one shape."""

    hi: torch.Tensor
    lo: torch.Tensor

    def __neg__(self) -> Pair:
        return Pair(-self.hi, -self.lo)

    def __add__(self, other: Pair) -> Pair:
        high, error = _two_sum(self.hi, other.hi)
        low, rest = _two_sum(self.lo, other.lo)
        high, error = _fast(high, error + low)
        return settled(high, error + rest)

    def __sub__(self, other: Pair) -> Pair:
        return self + -other

    def __mul__(self, other: Pair) -> Pair:
        high, error = _two_product(self.hi, other.hi)
        return settled(high, error + (self.hi * other.lo + self.lo * other.hi))

    def __truediv__(self, other: Pair) -> Pair:
        high = self.hi / other.hi
        rest = self - exact(high) * other
        return settled(high, rest.hi / other.hi)

    def map(self, move: Callable[[torch.Tensor], torch.Tensor]) -> Pair:
        """What only moves values, or scales them by a power of two, done to both halves."""
        return Pair(move(self.hi), move(self.lo))


def exact(x: torch.Tensor | float) -> Pair:
    """A float64 number as a pair."""
    hi = torch.as_tensor(x, dtype=torch.float64)
    return Pair(hi, torch.zeros_like(hi))


def settled(high: torch.Tensor, low: torch.Tensor) -> Pair:
    """``high + low`` with the low half below a rounding unit, and no low half where the high one is not finite."""
    low = _finite(low)
    hi = high + low
    return Pair(hi, _finite(low - (hi - high)))


def where(condition: torch.Tensor, one: Pair, other: Pair) -> Pair:
    return Pair(torch.where(condition, one.hi, other.hi), torch.where(condition, one.lo, other.lo))


def sqrt(x: Pair) -> Pair:
    root = x.hi.sqrt()
    rest = x - exact(root) * exact(root)
    return settled(root, rest.hi / (2.0 * root))


def exp(x: Pair) -> Pair:
    """By halving the argument nine times, a series, and nine squarings; float64's own near its ends."""
    plain = x.hi.exp()
    power = (x.hi / _LN2[0]).round().clamp(-1000.0, 1000.0).nan_to_num(0.0)
    ln2 = Pair(*(torch.full_like(x.hi, part) for part in _LN2))
    small = (x - exact(power) * ln2).map(lambda t: t * 2.0**-_HALVINGS)
    series = exact(torch.full_like(x.hi, 1.0 / math.factorial(_TERMS)))
    for n in range(_TERMS - 1, -1, -1):
        one = exact(torch.ones_like(x.hi))
        series = series * small + one / exact(float(math.factorial(n)))
    for _ in range(_HALVINGS):
        series = series * series
    half = (power / 2.0).floor()
    scaled = series.map(lambda t: t * torch.exp2(half) * torch.exp2(power - half))
    return where(x.hi.abs() < _EXPONENTS, scaled, Pair(plain, torch.zeros_like(plain)))


def log(x: Pair) -> Pair:
    """One step of Newton's method from float64's."""
    plain = x.hi.log()
    rest = x * exp(exact(-plain)) - exact(1.0)
    return settled(plain, rest.hi)


def total(x: Pair, dims: Sequence[int]) -> Pair:
    """The sum over dimensions, which are gone from the result, in pairs of pairs."""
    rest = [d for d in range(x.hi.dim()) if d not in dims]
    shape = [x.hi.shape[d] for d in rest]
    left = x.map(lambda t: t.permute([*dims, *rest]).reshape(-1, *shape))
    while (count := left.hi.shape[0]) > 1:
        half = count // 2
        joined = left.map(lambda t, h=half: t[:h]) + left.map(lambda t, h=half: t[h : 2 * h])  # type: ignore[misc]
        odd = left.map(lambda t, h=half: t[2 * h :])  # type: ignore[misc]
        left = Pair(torch.cat([joined.hi, odd.hi]), torch.cat([joined.lo, odd.lo]))
    return left.map(lambda t: t.sum(0))  # of one, or of none


def running(x: Pair, dim: int) -> Pair:
    """The sums of all beginnings along a dimension, by doubling."""
    left, step = x, 1
    while step < x.hi.shape[dim]:
        rest = x.hi.shape[dim] - step
        moved = left.map(lambda t, n=step, r=rest: t.narrow(dim, n, r)) + left.map(  # type: ignore[misc]
            lambda t, r=rest: t.narrow(dim, 0, r)  # type: ignore[misc]
        )
        kept = left.map(lambda t, n=step: t.narrow(dim, 0, n))  # type: ignore[misc]
        left = Pair(torch.cat([kept.hi, moved.hi], dim), torch.cat([kept.lo, moved.lo], dim))
        step *= 2
    return left


def product(
    multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    a: Pair,
    b: Pair,
    dims: tuple[Sequence[int], Sequence[int]],
    length: int,
) -> Pair:
    """A bilinear operation (a product of matrices, a convolution) of ``length`` terms in each element of its result.

    ``dims``: over which dimensions of either operand the largest element is taken, by which its slices are cut.
    Products of slices are exact; what the slices leave, 2**-80 of the largest, is multiplied as float64 does.
    """
    plain = multiply(a.hi, b.hi)
    bits = (53 - math.ceil(math.log2(max(length, 2)))) // 2
    left, left_rest = _slices(a, dims[0], bits)
    right, _ = _slices(b, dims[1], bits)
    result = exact(torch.zeros_like(plain))
    for i, mine in enumerate(left):
        rest = b.hi
        for its in right[: _SLICES - i]:
            result = result + exact(multiply(mine, its))
            rest = rest - its
        result = result + exact(multiply(mine, rest + b.lo))
    result = result + exact(multiply(left_rest, b.hi))
    return where(result.hi.isfinite() & plain.isfinite(), result, Pair(plain, torch.zeros_like(plain)))


def _slices(x: Pair, dims: Sequence[int], bits: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Slices of so many bits, from the top, and what is left; together they are the number."""
    left = _finite(x.hi)
    top = left.abs().amax(list(dims), keepdim=True) if left.numel() else left.sum(list(dims), keepdim=True)
    exponent = torch.frexp(top).exponent
    slices = []
    for k in range(_SLICES):
        if k == 2:
            left = left + x.lo
        anchor = torch.ldexp(torch.full_like(top, 1.5), exponent - k * bits + 53 - bits)
        piece = _finite((left + anchor) - anchor)
        slices.append(piece)
        left = left - piece
    return slices, left


def _two_sum(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _fast(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where ``|a| >= |b|``."""
    b = _finite(b)
    total = a + b
    return total, b - (total - a)


def _two_product(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    result = a * b
    (ah, al), (bh, bl) = _split(a), _split(b)
    return result, ((ah * bh - result) + ah * bl + al * bh) + al * bl


def _split(a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    large = _SPLITTER * a
    high = large - (large - a)
    return high, a - high


def _finite(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x.isfinite(), x, 0.0)
