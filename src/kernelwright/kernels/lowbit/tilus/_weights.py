"""Weights as tile programs read them: every thread's codes side by side, in the order in which its registers want them.

Source: Tilus (arXiv 2504.12984), section 6.2 ("change layout"), with the interleaving of MARLIN (arXiv 2408.11743)
said as a layout: the two codes of a pair lie 16 bits apart, so that one mask takes both.
"""

from __future__ import annotations

import torch

from ....errors import LowBitInvalid
from .._pack import pack, unpack
from ._fragments import FRAGMENT_B
from ._layout import Digit, Layout, byte_layout, local

LANES = 32


def weight_layout(depth: int, columns: int, bits: int) -> Layout:
    """How a warp holds ``[depth, columns]`` codes: as fragments of B, pairs interleaved where 16 bits are whole codes.

    >>> weight_layout(16, 16, 4).slots
    8
    """
    if depth % 16 or columns % 8 or depth * columns // LANES * bits % 8:
        raise LowBitInvalid(f"a warp's tile is {depth} x {columns}; it is made of fragments of 16 x 8, in whole bytes.")
    natural = local(depth // 16, columns // 8) * FRAGMENT_B
    apart = 16 // bits if 16 % bits == 0 else 0
    if apart < 2 or natural.slots % (2 * apart):
        return natural
    halves = [Digit(d.axis, d.weight << k, 2) for d in natural.local for k in reversed(range(d.size.bit_length() - 1))]
    if 2 ** len(halves) != natural.slots:
        return natural
    *others, two = halves
    place = len(others) - (apart.bit_length() - 1)
    return Layout(natural.shape, natural.spatial, (*others[:place], two, *others[place:]))


def change_layout(codes: torch.Tensor, bits: int, depth: int, columns: int) -> torch.Tensor:
    """Codes ``[K, N]`` (``uint8``) as the bytes of tiles: ``[K / depth, N / columns, depth * columns * bits / 8]``."""
    if codes.ndim != 2 or codes.shape[0] % depth or codes.shape[1] % columns:
        raise LowBitInvalid(f"codes have shape {tuple(codes.shape)}, which is no whole tiles of {depth} x {columns}.")
    place, flat = _places(depth, columns, bits)
    tiles = codes.unflatten(1, (-1, columns)).unflatten(0, (-1, depth)).permute(0, 2, 1, 3).flatten(2)
    mine = pack(tiles[..., place], bits)  # [.., .., lanes, bytes of each]
    return torch.empty_like(mine).flatten(2).index_copy_(2, flat.flatten(), mine.flatten(2))


def restore_layout(tiles: torch.Tensor, bits: int, depth: int, columns: int) -> torch.Tensor:
    """:func:`change_layout`'s inverse."""
    place, flat = _places(depth, columns, bits)
    mine = tiles[..., flat]
    codes = unpack(mine, bits, place.shape[1]).flatten(2)
    whole = torch.empty_like(codes).index_copy_(2, place.flatten(), codes).unflatten(2, (depth, columns))
    return whole.permute(0, 2, 1, 3).flatten(2).flatten(0, 1)


def _places(depth: int, columns: int, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each lane's codes in a tile, ``[32, slots]``, and of each lane's bytes in memory, ``[32, bytes]``."""
    layout = weight_layout(depth, columns, bits)
    index = torch.from_numpy(layout.indices())
    return index[..., 0] * columns + index[..., 1], torch.from_numpy(byte_layout(layout, bits).indices())[..., 0]
