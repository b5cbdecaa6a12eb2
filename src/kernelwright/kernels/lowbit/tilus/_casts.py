"""From codes of few bits to pairs of 16-bit floats in registers, as C++ text: a handful of word operations for two.

A type needs nothing here: what is done follows from its bits, sign, exponent and mantissa. Integers are put into the
mantissa of 1024 (of 128 in bf16), which one multiply-add takes away again together with the zero point; floats have
their fields moved to where the wide type has them, and one multiplication corrects the bias, subnormals included.

Source: Tilus (arXiv 2504.12984), section 7; MARLIN (arXiv 2408.11743), section 3.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from .._types import LowBitType
from ._program import BF16, F16, Wide


@dataclass(frozen=True)
class _Half:
    """A 16-bit float: its mantissa, its bias, the number into whose mantissa integers are put."""

    name: str
    mantissa: int
    bias: int
    host: int
    one: int


_HALVES = {F16: _Half("f16", 10, 15, 0x6400, 0x3C00), BF16: _Half("bf16", 7, 127, 0x4300, 0x3F80)}


def pair(kind: LowBitType, to: Wide, words: str, slots: tuple[int, int]) -> list[str]:
    """Lines that leave the values of two slots in ``pair``; ``words`` names the registers that hold the codes.

    Slots 16 bits apart in one word cost no shuffling: layouts of weights are chosen so (``interleaved``).
    """
    half, bits = _HALVES[to], kind.bits
    first, second = (slot * bits for slot in slots)
    if kind.kind in ("int", "uint") and bits > half.mantissa:
        return _bytes_to_bf16(kind, words, slots)
    if second - first == 16 and first // 32 == second // 32:
        at, source = first % 32, f"{words}[{first // 32}]"
        lines: list[str] = []
    else:
        fields = [_field(words, bit, bits) for bit in (first, second)]
        at, source = 0, "both"
        lines = [f"const uint32_t both = kw::tilus::pick({fields[0]}, {fields[1]}, 0x5410u);"]
    if kind.kind == "sign":  # +1 with the sign turned over, and turned back by the bit
        moved = _shifted(source, 15 - at)
        return [*lines, f"const uint32_t pair = ({moved} & 0x80008000u) ^ {_twice(half.one | 0x8000)};"]
    if kind.kind == "float":
        return lines + _float(kind, half, source, at)
    return lines + _integer(kind, half, source, at)


def _integer(kind: LowBitType, half: _Half, source: str, at: int) -> list[str]:
    bits, zero = kind.bits, 2 ** (kind.bits - 1) if kind.kind == "int" else 0
    if at + bits > half.mantissa:  # it does not fit under the host's leading one where it lies
        by = 8 if at >= 8 and at - 8 + bits <= half.mantissa else at  # neighbours share a shift by 8
        source, at = f"({source} >> {by})", at - by
    mask, host = (2**bits - 1) << at, half.host | zero << at
    step, base = 2.0**-at, float(2**half.mantissa)
    return [
        f"const uint32_t lanes = ({source} & {_twice(mask)}) ^ {_twice(host)};",
        f"const uint32_t pair = kw::tilus::fma_{half.name}(lanes, {_constant(step, half)}, "
        f"{_constant(-(base * step + zero), half)});",
    ]


def _float(kind: LowBitType, half: _Half, source: str, at: int) -> list[str]:
    exponent, mantissa, size = kind.exponent, kind.mantissa, kind.bits - 1
    magnitude = ((1 << size) - 1) << (half.mantissa - mantissa)
    sign = f"({_shifted(source, 15 - size - at)} & 0x80008000u)"
    rest = f"({_shifted(source, half.mantissa - mantissa - at)} & {_twice(magnitude)})"
    lines = [f"uint32_t pair = {sign} | {rest};"]
    factor = half.bias - (2 ** (exponent - 1) - 1)
    if factor:
        lines.append(
            f"pair = kw::tilus::fma_{half.name}(pair, {_constant(2.0**factor, half)}, {_constant(-0.0, half)});"
        )
    special = np.flatnonzero(~np.isfinite(kind.values().numpy()[: 1 << size]))
    if len(special) and factor:  # codes from the first special one on carry into the next bit when as many are added
        carry, ones = (1 << size) - int(special[0]), 0x7FFF >> half.mantissa << half.mantissa
        lines += [
            f"const uint32_t over = (({_shifted(source, -at)} & {_twice((1 << size) - 1)}) + {_twice(carry)}) "
            f"& {_twice(1 << size)};",
            f"pair |= over * {ones >> size}u;",
        ]
    return lines


def _bytes_to_bf16(kind: LowBitType, words: str, slots: tuple[int, int]) -> list[str]:
    """Eight bits do not fit beside bf16's leading one: by way of float32."""
    zero = float(2**23 + (128 if kind.kind == "int" else 0))
    flip = " ^ 0x80808080u" if kind.kind == "int" else ""
    floats = [f"kw::tilus::byte_less({words}[{slot // 4}]{flip}, {slot % 4}, {zero}f)" for slot in slots]
    return [f"const uint32_t pair = kw::tilus::pair_bf16({', '.join(floats)});"]


def _field(words: str, bit: int, bits: int) -> str:
    """A word whose lowest bits are those from ``bit`` on."""
    word, at = divmod(bit, 32)
    if at + bits > 32:
        return f"kw::tilus::funnel({words}[{word}], {words}[{word + 1}], {at})"
    return f"({words}[{word}] >> {at})" if at else f"{words}[{word}]"


def _shifted(source: str, by: int) -> str:
    return source if by == 0 else f"({source} << {by})" if by > 0 else f"({source} >> {-by})"


def _twice(lane: int) -> str:
    return f"0x{lane | lane << 16:08x}u"


def _constant(value: float, half: _Half) -> str:
    """A number in both lanes; every one that is asked for is exact."""
    if half.name == "f16":
        return _twice(int(np.float16(value).view(np.uint16)))
    return _twice(struct.unpack("<I", struct.pack("<f", value))[0] >> 16)
