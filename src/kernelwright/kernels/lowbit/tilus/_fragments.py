"""Tiles as the matrix units want them: which fragments one product of tiles multiplies, found by dividing layouts."""

from __future__ import annotations

import numpy as np

from ....errors import LowBitInvalid
from ._layout import Layout, column_local, column_spatial, local, spatial

FRAGMENT_A = column_local(2, 2) * spatial(8, 4) * local(1, 2)
FRAGMENT_B = local(2, 1) * column_spatial(4, 8) * local(2, 1)
FRAGMENT_C = local(2, 1) * spatial(8, 4) * local(1, 2)
"""Of mma.m16n8k16 (PTX manual): A is [16, 16], B [16, 8], C [16, 8]."""


def fragments(c: Layout, a: Layout, b: Layout) -> list[tuple[int, int, int]]:
    """The products of a dot: numbers of fragments of C, A and B, in the order in which they are summed.

    Raises ``LowBitInvalid`` when a layout is not made of fragments, or a warp does not hold what it must multiply.
    """
    outer = [whole / part for whole, part in ((c, FRAGMENT_C), (a, FRAGMENT_A), (b, FRAGMENT_B))]
    places = [_places(layout) for layout in outer]
    depth = outer[1].shape[1]
    found: list[tuple[int, int, int]] = []
    for k in range(depth):
        for slot in range(outer[0].slots):
            triples = set()
            for warp in range(outer[0].threads):
                row, column = (outer[0].thread_offsets[warp] + outer[0].slot_offsets[slot]).tolist()
                at = (places[1].get((warp, row, k)), places[2].get((warp, k, column)))
                triples.add((slot, *at))
            if len(triples) != 1 or None in next(iter(triples)):
                raise LowBitInvalid(
                    f"tiles {a.visualize()} and {b.visualize()} do not lie where {c.visualize()} needs them."
                )
            found.append(next(iter(triples)))  # type: ignore[arg-type]
    return found


def _places(layout: Layout) -> dict[tuple[int, ...], int]:
    """(warp, indices of a fragment) -> its number in the warp's registers."""
    indices: np.ndarray = layout.indices()
    return {
        (warp, *indices[warp, slot].tolist()): slot for warp in range(layout.threads) for slot in range(layout.slots)
    }
