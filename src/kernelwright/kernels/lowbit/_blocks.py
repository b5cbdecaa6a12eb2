"""The block formats of GGUF files: how 32 or 256 weights lie in one block of bytes.

A format is what takes its blocks apart into codes, and for each group of codes a scale and an offset:
``weight = scale * value(code) + offset``. Scales and offsets keep the 16 bits of the file where it has them, and are
float32 where they are products of a block's and a group's (no rounding: 11 bits by at most 8).
Source: the GGML formats as described in the GGUF documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ._types import dt

Parts = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]
"""Codes ``[blocks, weights]`` (uint8), scale and offset ``[blocks, weights / group]``."""

PLAIN = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
}


@dataclass(frozen=True)
class Block:
    """A block format: ``weights`` in ``bytes``, groups of ``group`` that share a scale, codes of type ``kind``."""

    weights: int
    bytes: int
    group: int
    kind: str
    take_apart: Callable[[torch.Tensor], Parts]

    def parts(self, data: torch.Tensor) -> Parts:
        """Take the bytes of whole blocks apart."""
        return self.take_apart(data.reshape(-1, self.bytes))

    def dequantize(self, data: torch.Tensor) -> torch.Tensor:
        """The weights that the blocks mean: float32, one axis."""
        codes, scale, offset = self.parts(data)
        values = dt(self.kind).decode(codes).view(*scale.shape, self.group) * scale.float()[..., None]
        if offset is not None:
            values = values + offset.float()[..., None]
        return values.flatten()


def _halves(blocks: torch.Tensor, at: int, count: int = 1) -> torch.Tensor:
    return blocks[:, at : at + 2 * count].contiguous().view(torch.float16)


def _nibbles(stored: torch.Tensor) -> torch.Tensor:
    """Low nibbles, then high nibbles: the order of GGML's blocks of 32."""
    return torch.cat([stored & 15, stored >> 4], -1)


def _fifth_bits(stored: torch.Tensor) -> torch.Tensor:
    """32 single bits of 4 bytes, in order."""
    return (stored[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=stored.device) & 1).flatten(1)


def _q4_0(blocks: torch.Tensor) -> Parts:
    scale = _halves(blocks, 0)
    return _nibbles(blocks[:, 2:]), scale, scale * -8


def _q4_1(blocks: torch.Tensor) -> Parts:
    return _nibbles(blocks[:, 4:]), _halves(blocks, 0), _halves(blocks, 2)


def _q5_0(blocks: torch.Tensor) -> Parts:
    scale = _halves(blocks, 0)
    return _nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6]) << 4, scale, scale * -16


def _q5_1(blocks: torch.Tensor) -> Parts:
    codes = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8]) << 4
    return codes, _halves(blocks, 0), _halves(blocks, 2)


def _q8_0(blocks: torch.Tensor) -> Parts:
    return blocks[:, 2:], _halves(blocks, 0), None


def _scales_of_k(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight 6-bit scales and eight 6-bit minima of 12 bytes: the last four have their top bits in the first eight."""
    first, second, third = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = torch.cat([first & 63, third & 15 | first >> 6 << 4], 1)
    minima = torch.cat([second & 63, third >> 4 | second >> 6 << 4], 1)
    return scales.float(), minima.float()


def _of_k(blocks: torch.Tensor, codes: torch.Tensor) -> Parts:
    whole = _halves(blocks, 0, 2).float()
    scales, minima = _scales_of_k(blocks[:, 4:16])
    return codes, whole[:, :1] * scales, -(whole[:, 1:] * minima)


def _q4_k(blocks: torch.Tensor) -> Parts:
    return _of_k(blocks, _nibbles(blocks[:, 16:].unflatten(1, (4, 32))).flatten(1))


def _q5_k(blocks: torch.Tensor) -> Parts:
    low = _nibbles(blocks[:, 48:].unflatten(1, (4, 32))).unflatten(2, (2, 32)).flatten(1, 2)  # [blocks, 8, 32]
    bit = torch.arange(8, dtype=torch.uint8, device=blocks.device)[:, None]
    high = blocks[:, None, 16:48] >> bit & 1
    return _of_k(blocks, (low | high << 4).flatten(1))


def _q6_k(blocks: torch.Tensor) -> Parts:
    low = blocks[:, :128].unflatten(1, (2, 64))
    high = blocks[:, 128:192].unflatten(1, (2, 1, 32))
    shift = 2 * torch.arange(4, dtype=torch.uint8, device=blocks.device)[:, None]
    codes = _nibbles(low).unflatten(2, (4, 32)) | (high >> shift & 3) << 4  # two halves of four runs of 32
    scale = _halves(blocks, 208).float() * blocks[:, 192:208].contiguous().view(torch.int8).float()
    return codes.flatten(1), scale, scale * -32


BLOCKS = {
    "Q4_0": Block(32, 18, 32, "u4", _q4_0),
    "Q4_1": Block(32, 20, 32, "u4", _q4_1),
    "Q5_0": Block(32, 22, 32, "u5", _q5_0),
    "Q5_1": Block(32, 24, 32, "u5", _q5_1),
    "Q8_0": Block(32, 34, 32, "i8", _q8_0),
    "Q4_K": Block(256, 144, 32, "u4", _q4_k),
    "Q5_K": Block(256, 176, 32, "u5", _q5_k),
    "Q6_K": Block(256, 210, 16, "u6", _q6_k),
}
