"""Which reads of rows are prefetched: pages and rows end before the hardware has seen where they lead.

Row after row lies side by side, so a few kilobytes further on is what comes next, in this row or in the next item's.
Where several stages walk a row, the first one waits for memory and the others compute: the dearest of them asks for the
next row meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..program import Load, Program, Reduce, Size
from ._indices import flatten, static
from ._local import ITEMSIZE
from ._normal import Normal
from ._stages import Stage, best_lane, points, stage_cost

AHEAD_BYTES = 6 << 10
LEAST_BYTES = 512
MOST_BYTES = 192 << 10  # of a row that the second cache holds beside the next one


@dataclass(frozen=True)
class Ahead:
    """The stage that prefetches, and how many bytes on."""

    stage: Stage
    distance: int


def plan_ahead(normal: Normal, found: Sequence[Stage]) -> Ahead | None:
    """Who prefetches what :func:`reads_ahead` has found worth it."""
    if len(normal.statements) == 1:
        return Ahead(found[0], AHEAD_BYTES)
    later = [stage for stage in found[1:] if stage.reduces and ahead_loads(normal.program, stage, normal.sizes, 64)]
    dearest = max(later, key=lambda s: stage_cost(normal.program, s, best_lane(normal.program, s)), default=None)
    return Ahead(dearest, 4 * points(dearest.inner)) if dearest else None


def ahead_loads(program: Program, stage: Stage, sizes: Mapping[str, Size], distance: int) -> list[tuple[Load, int]]:
    """Loads that walk far through memory without a gap, and how many elements on they are prefetched."""
    found: dict[Load, int] = {}
    for statement in stage.statements:
        for load in program.loads(statement):
            size = ITEMSIZE[program.tensors[load.tensor].dtype]
            if load.fill is None and dense_points(program, load, sizes) * size > MOST_BYTES:
                found[load] = distance // size
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
    """Does the group begin with a reduction over rows of an array that no cache holds?"""
    first = normal.statements[0]
    if not isinstance(first, Reduce):
        return False
    row = math.prod(static(a.size) or 1 << 30 for a in first.raxes)
    for load in normal.program.loads(first):
        size = ITEMSIZE[normal.program.tensors[load.tensor].dtype]
        large = dense_points(normal.program, load, normal.sizes) * size > cache
        if large and row * size >= LEAST_BYTES:
            return len(normal.statements) == 1 or row * size <= MOST_BYTES
    return False
