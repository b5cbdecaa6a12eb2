"""Codes of 1 to 8 bits in as few bytes as they need, and back.

Along the last axis the codes form one stream of bits, the lowest bit of the first code first; a row ends on a byte. So
eight codes of ``b`` bits fill ``b`` bytes exactly, for every width, and a row of 4-bit codes is the usual low nibble
first.
"""

from __future__ import annotations

import torch

from ...errors import LowBitInvalid


def packed_size(count: int, bits: int) -> int:
    """Bytes that ``count`` codes take."""
    return (count * bits + 7) // 8


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """``[..., n]`` codes (``uint8``, each below ``2**bits``) as ``[..., ceil(n * bits / 8)]`` bytes.

    >>> pack(torch.tensor([1, 2, 3, 4, 5, 6, 7, 0], dtype=torch.uint8), 3).tolist()
    [209, 88, 31]
    """
    _check_bits(bits)
    if codes.dtype != torch.uint8 or not codes.ndim:
        raise LowBitInvalid(f"codes are {codes.dtype} of shape {tuple(codes.shape)}; pack() takes torch.uint8 rows.")
    count = codes.shape[-1]
    short = -count % 8
    groups = torch.nn.functional.pad(codes, (0, short)).reshape(*codes.shape[:-1], -1, 8).long()
    words = (groups << (bits * torch.arange(8, device=codes.device))).sum(-1)  # at most 64 bits: one int64
    spread = words[..., None] >> (8 * torch.arange(bits, device=codes.device))
    stream = (spread & 255).to(torch.uint8).flatten(-2)
    return stream[..., : packed_size(count, bits)].contiguous()


def unpack(stream: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """The first ``count`` codes of every row of :func:`pack`'s bytes: ``[..., count]``, ``uint8``."""
    _check_bits(bits)
    if stream.dtype != torch.uint8 or not stream.ndim or stream.shape[-1] != packed_size(count, bits):
        raise LowBitInvalid(
            f"the packed rows are {stream.dtype} of shape {tuple(stream.shape)}; {count} codes of {bits} bits take "
            f"{packed_size(count, bits)} bytes of torch.uint8."
        )
    short = -stream.shape[-1] % bits
    groups = torch.nn.functional.pad(stream, (0, short)).reshape(*stream.shape[:-1], -1, bits).long()
    words = (groups << (8 * torch.arange(bits, device=stream.device))).sum(-1)
    spread = words[..., None] >> (bits * torch.arange(8, device=stream.device))
    return (spread & (2**bits - 1)).to(torch.uint8).flatten(-2)[..., :count].contiguous()


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 8:
        raise LowBitInvalid(f"bits is {bits}; codes have 1 to 8 bits.")
