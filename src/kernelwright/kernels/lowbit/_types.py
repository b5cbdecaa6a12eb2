"""The number types of at most eight bits: integers, small floats and one-bit signs, all read off one table.

A type is nothing but the list of the values that its codes stand for. Encoding, decoding, ranges and packing follow
from that list, so a new type is one line in ``_TABLE``.

Source: the spectrum of Tilus (arXiv 2504.12984, section 5): bias ``2**(e-1) - 1``, subnormals kept, no infinities
except where the exponent has five bits; ``e4m3`` is PyTorch's ``float8_e4m3fn``, ``e5m2`` its ``float8_e5m2``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from ...errors import LowBitInvalid


@dataclass(frozen=True)
class LowBitType:
    """A number type of 1 to 8 bits. Two types are equal when their names are.

    ``kind`` is ``"int"`` (two's complement), ``"uint"``, ``"float"`` (sign, exponent, mantissa) or ``"sign"`` (code 0
    is -1, code 1 is +1).

    >>> dt("e2m1").values().tolist()[:8]
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    >>> dt("i3").encode(torch.tensor([-9.0, 0.5, 1.5])).tolist()
    [4, 0, 2]
    """

    name: str
    kind: str
    bits: int
    exponent: int = 0
    mantissa: int = 0

    def values(self) -> torch.Tensor:
        """What every code stands for: float64, ``[2**bits]``, in the order of the codes."""
        return _values(self)

    @property
    def max(self) -> float:
        """The largest finite value."""
        return float(_grid(self)[0][-1])

    @property
    def min(self) -> float:
        """The smallest finite value."""
        return float(_grid(self)[0][0])

    def decode(self, codes: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Codes (``uint8``, any shape) to values of ``dtype``, which must hold them exactly."""
        _check_codes(self, codes)
        return _values(self).to(dtype)[codes.long()]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """The code (``uint8``) of the nearest value, ties to even; what lies outside becomes the largest or smallest.

        Raises ``LowBitInvalid`` for NaN where the type has none.
        """
        wide = x.double()
        missing = wide.isnan()
        if missing.any() and not self._has_nan:
            raise LowBitInvalid(f"x holds NaN, and {self.name} has no code for it: only e4m3 and e5m1, e5m2 have one.")
        values, codes = _grid(self)
        codes = codes.to(wide.device)
        nearest = codes[_nearest(wide, values.to(wide.device), codes)]
        if self.kind == "float":  # zero has two codes, and a tiny negative number rounds to the negative one
            sign_bit = 1 << (self.bits - 1)
            nearest = torch.where((nearest == 0) & wide.signbit(), sign_bit, nearest)
        if missing.any():
            nearest = torch.where(missing, int(_values(self).isnan().nonzero()[0]), nearest)
        return nearest.to(torch.uint8)

    @property
    def _has_nan(self) -> bool:
        return bool(_values(self).isnan().any())


def dt(name: str) -> LowBitType:
    """The type of that name: ``u1``-``u8``, ``i1``-``i8`` (also ``uint4``, ``int4``), ``e2m1``, ``e4m3`` ..., ``sign``.

    Raises ``LowBitInvalid`` for any other name.
    """
    short = name.removeprefix("float").split("_")[-1].replace("uint", "u").replace("int", "i")
    if short not in _TYPES:
        raise LowBitInvalid(f"dtype is {name!r}, which is none of {', '.join(_TYPES)}.")
    return _TYPES[short]


def all_types() -> tuple[LowBitType, ...]:
    """Every type there is, integers first."""
    return tuple(_TYPES.values())


# Exponent and mantissa bits of the floats.
_TABLE = (
    *((5, 2), (4, 3)),  # 8 bits
    *((5, 1), (4, 2), (3, 3), (2, 4)),  # 7
    *((4, 1), (3, 2), (2, 3)),  # 6
    *((3, 1), (2, 2), (1, 3)),  # 5
    *((2, 1), (1, 2)),  # 4
    (1, 1),  # 3
)
_TYPES = {
    made.name: made
    for made in (
        *(LowBitType(f"u{bits}", "uint", bits) for bits in range(1, 9)),
        *(LowBitType(f"i{bits}", "int", bits) for bits in range(1, 9)),
        LowBitType("sign", "sign", 1),
        *(LowBitType(f"e{e}m{m}", "float", 1 + e + m, e, m) for e, m in _TABLE),
    )
}


@cache
def _values(kind: LowBitType) -> torch.Tensor:
    codes = torch.arange(2**kind.bits, dtype=torch.float64)
    if kind.kind == "uint":
        return codes
    if kind.kind == "int":
        return torch.where(codes < 2 ** (kind.bits - 1), codes, codes - 2**kind.bits)
    if kind.kind == "sign":
        return 2 * codes - 1
    return _float_values(kind.exponent, kind.mantissa)


def _float_values(exponent: int, mantissa: int) -> torch.Tensor:
    codes = torch.arange(2 ** (exponent + mantissa))
    field, fraction = codes >> mantissa, (codes & (2**mantissa - 1)) / 2**mantissa
    bias = 2 ** (exponent - 1) - 1
    power = torch.exp2((field.clamp(min=1) - bias).double())  # subnormals have the exponent of the smallest normals
    magnitude = power * (fraction.double() + (field > 0))
    top = field == 2**exponent - 1
    if exponent == 5:
        magnitude = magnitude.masked_fill(top & (fraction == 0), torch.inf).masked_fill(top & (fraction > 0), torch.nan)
    elif (exponent, mantissa) == (4, 3):
        magnitude[-1] = torch.nan
    return torch.cat([magnitude, -magnitude])


@cache
def _grid(kind: LowBitType) -> tuple[torch.Tensor, torch.Tensor]:
    """The finite values in rising order with their codes (zero once)."""
    values = _values(kind)
    codes = values.isfinite().nonzero()[:, 0]
    if kind.kind == "float":
        codes = codes[codes != 2 ** (kind.bits - 1)]
    order = values[codes].argsort()
    return values[codes][order], codes[order]


def _nearest(x: torch.Tensor, values: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Index of the value nearest to each x; of two equally near ones that with the even code."""
    if len(values) == 1:
        return torch.zeros_like(x, dtype=torch.long)
    middles = (values[1:] + values[:-1]) / 2  # exact: few bits each
    below = torch.searchsorted(middles, x.contiguous())
    tie = (below < len(middles)) & (middles[below.clamp(max=len(middles) - 1)] == x) & (codes[below] % 2 == 1)
    return below + tie


def _check_codes(kind: LowBitType, codes: torch.Tensor) -> None:
    if codes.dtype != torch.uint8:
        raise LowBitInvalid(f"codes have dtype {codes.dtype}; codes of {kind.name} are torch.uint8.")
    if kind.bits < 8 and codes.numel() and int(codes.max()) >= 2**kind.bits:
        raise LowBitInvalid(f"codes hold {int(codes.max())}; codes of {kind.name} are below {2**kind.bits}.")
