"""Which reads of short rows are prefetched: rows end before the hardware has seen where they lead.

Row after row lies side by side, so a few kilobytes further on is what the next items will read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..program import Load, Program, Reduce, Size
from ._indices import flatten, static
from ._local import ITEMSIZE
from ._normal import Normal
from ._stages import Stage

AHEAD_BYTES = 6 << 10
SHORT_BYTES = 16 << 10  # longer rows are fetched in time without being told
LEAST_BYTES = 512


def ahead_loads(program: Program, stage: Stage, sizes: Mapping[str, Size]) -> list[tuple[Load, int]]:
    """Loads that walk memory without a gap, and how many elements on they are prefetched."""
    found: dict[Load, int] = {}
    for statement in stage.reduces:
        for load in program.loads(statement):
            if load.fill is None and dense_points(program, load, sizes):
                found[load] = AHEAD_BYTES // ITEMSIZE[program.tensors[load.tensor].dtype]
    return list(found.items())


def dense_points(program: Program, load: Load, sizes: Mapping[str, Size]) -> int:
    """How many elements a load reads if its axes together walk memory one element after the other, else 0."""
    flat = flatten(program.tensors[load.tensor], load.index)
    steps = [(static(c), static(sizes[t])) for t, c in flat.terms if isinstance(t, str)]
    known = [(c, n) for c, n in steps if c is not None and n is not None]
    if len(known) != len(flat.terms):
        return 0
    reach = 1
    for step, size in sorted(known):
        if step != reach:
            return 0
        reach *= size
    return reach if known else 0


def reads_ahead(normal: Normal, cache: int) -> bool:
    """Is the group one reduction over short rows of an array that no cache holds?"""
    if len(normal.statements) != 1 or not isinstance(normal.statements[0], Reduce):
        return False
    (statement,) = normal.statements
    assert isinstance(statement, Reduce)
    row = math.prod(static(a.size) or 1 << 30 for a in statement.raxes)
    for load in normal.program.loads(statement):
        size = ITEMSIZE[normal.program.tensors[load.tensor].dtype]
        large = dense_points(normal.program, load, normal.sizes) * size > cache
        if large and LEAST_BYTES <= row * size <= SHORT_BYTES:
            return True
    return False
