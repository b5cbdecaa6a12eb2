"""How weights lie in memory for the processor: tiles of 16 rows, so that the lanes of a vector are rows.

A chunk holds 32 inputs of 16 rows: eight slices of 64 bytes of codes (byte ``4 r + j`` of slice ``s`` is row ``r``,
input ``4 s + j``), stored in planes of 4, 2 and 1 bits, each plane packed into as many vectors as its width: vector
``v`` of the plane of width ``w`` holds the slices ``v * 8/w ... (v + 1) * 8/w - 1``, the first in the lowest bits.
``kw/lowbit.h`` reads what is written here; rows are filled up with zeros to whole tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...errors import LowBitInvalid
from ._pack import pack
from ._tensor import QuantTensor
from ._types import LowBitType

ROWS, CHUNK, _SLICE = 16, 32, 4
_SMALL = (4, 8, 16)  # groups that a chunk holds several of
_PLANES = (8, 4, 2, 1)


@dataclass(frozen=True)
class TiledWeight:
    """A :class:`QuantTensor` in tiles.

    ``codes``: ``uint8``, ``[tiles, K / 32, bits, 64]``; ``scale`` and ``offset``: ``[tiles, K / group_size, 16]``.
    """

    codes: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor | None
    kind: LowBitType
    shape: tuple[int, int]
    group_size: int

    def quantized(self) -> QuantTensor:
        """The matrix that was laid out: :func:`tile`'s inverse."""
        rows = self.shape[0]
        codes = untiled(self.codes, self.kind.bits)[:rows] ^ zero_code(self.kind)
        scale, offset = (
            None if part is None else part.mT.reshape(-1, part.shape[1])[:rows] for part in (self.scale, self.offset)
        )
        assert scale is not None
        return QuantTensor.of_codes(codes, scale, offset, self.kind, self.group_size)


def zero_code(kind: LowBitType) -> int:
    """By how much integers are larger in memory than in value: signed types have their top bit turned over there."""
    return 2 ** (kind.bits - 1) if kind.kind == "int" else 0


def tileable(weight: QuantTensor) -> bool:
    """Whether :func:`tile` takes it: whole chunks of 32 columns, in groups of multiples of 32, or of 4, 8 or 16."""
    whole = weight.shape[1] % CHUNK == 0 and weight.kind.kind != "sign"
    return whole and (weight.group_size % CHUNK == 0 or weight.group_size in _SMALL)


def tile(weight: QuantTensor) -> TiledWeight:
    """Lay a matrix out in tiles. Raises ``LowBitInvalid`` for signs, and sizes that tiles do not hold."""
    if not tileable(weight):
        about = f"{weight.kind.name} in {weight.shape[1]} columns and groups of {weight.group_size}"
        raise LowBitInvalid(
            f"the weight is {about}; tiles hold numbers in multiples of {CHUNK} columns, and groups of multiples of "
            f"{CHUNK}, or of 4, 8 or 16."
        )
    rows, columns = weight.shape
    bits, more = weight.kind.bits, -rows % ROWS
    codes = weight.codes() ^ zero_code(weight.kind)
    codes = torch.nn.functional.pad(codes, (0, 0, 0, more))
    # [tiles, rows, chunks, slices, inputs] -> [tiles, chunks, slices, 64 bytes]
    slices = codes.view(-1, ROWS, columns // CHUNK, 8, _SLICE).permute(0, 2, 3, 1, 4).flatten(3)
    vectors, below = [], 0
    for width in _PLANES:
        if bits & width:
            part = (slices >> below) & (2**width - 1)
            grouped = part.unflatten(2, (width, 8 // width))  # [tiles, chunks, vectors, slices of one, 64]
            vectors.append(pack(grouped.movedim(3, 4).contiguous(), width)[..., 0])
            below += width
    scale, offset = (None if part is None else _tile_groups(part, more) for part in (weight.scale, weight.offset))
    assert scale is not None
    return TiledWeight(torch.cat(vectors, 2), scale, offset, weight.kind, weight.shape, weight.group_size)


def untiled(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """The unsigned codes of :func:`tile`'s: ``uint8``, ``[16 * tiles, K]``. Plain, for references."""
    tiles, chunks = codes.shape[:2]
    slices = torch.zeros(tiles, chunks, 8, 64, dtype=torch.uint8, device=codes.device)
    first = below = 0
    for width in _PLANES:
        if bits & width:
            vectors = codes[:, :, first : first + width]  # [tiles, chunks, width, 64]
            shifts = width * torch.arange(8 // width, dtype=torch.uint8, device=codes.device)[:, None]
            parts = (vectors[:, :, :, None] >> shifts) & (2**width - 1)
            slices = slices | (parts.flatten(2, 3) << below)
            first, below = first + width, below + width
    rows = slices.view(tiles, chunks, 8, ROWS, _SLICE).permute(0, 3, 1, 2, 4)
    return rows.reshape(tiles * ROWS, chunks * CHUNK)


def _tile_groups(part: torch.Tensor, more: int) -> torch.Tensor:
    return torch.nn.functional.pad(part, (0, 0, 0, more)).view(-1, ROWS, part.shape[1]).mT.contiguous()
