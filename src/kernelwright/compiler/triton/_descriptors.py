"""Operands that the copy engine can fetch by itself: plain matrices, described to it once for each launch.

A tensor descriptor says where a matrix lies and how large a tile is; the engine then moves whole tiles into shared
memory, with zeros beyond the edges, and no thread computes an address.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..contraction import Contraction, flat_index, padded_dims
from ..cpp._indices import static
from ..cpp._operand import table
from ..group import root
from ..program import Axis, Load, Program

_ALIGNMENT = 16  # bytes: of the matrix and of its rows
_LONGEST = 256  # elements of a tile's side
_BYTES = {"bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Described:
    """A matrix of ``outer`` rows, ``stride`` apart, of ``inner`` contiguous elements.

    ``turned``: its rows are steps of the sum, so that a tile must be transposed, or is that of the other operand.
    """

    tensor: str
    outer: int
    inner: int
    stride: int
    turned: bool

    def tile(self, own: int, depth: int) -> tuple[int, int]:
        """The sides of a tile in memory."""
        return (depth, own) if self.turned else (own, depth)

    def text(self, own: int, depth: int) -> str:
        """The descriptor as Python of the launcher."""
        sides = ", ".join(map(str, self.tile(own, depth)))
        return f"TensorDescriptor({self.tensor}, [{self.outer}, {self.inner}], [{self.stride}, 1], [{sides}])"


def described(program: Program, parts: Contraction) -> tuple[Described, Described] | None:
    """Both operands as matrices, where both are."""
    if any(static(a.size) != 1 for a in parts.batch):
        return None
    a, b = _matrix(program, parts.a, parts.m, parts), _matrix(program, parts.b, parts.n, parts)
    return (a, b) if a is not None and b is not None else None


def _matrix(program: Program, load: Load, own: tuple[Axis, ...], parts: Contraction) -> Described | None:
    tensor, flat = program.tensors[load.tensor], flat_index(program, load)
    sizes = {a.name: a.size for a in (*parts.batch, *own, *parts.k)}
    if tensor.dtype not in _BYTES or padded_dims(program, load, sizes) or static(flat.offset) != 0:
        return None
    runs = [table(flat, axes) for axes in (own, parts.k)]
    if any(len(run) != 1 for run in runs):
        return None
    rows, depth = ([static(n) for n in run[0]] for run in runs)
    for turned, (outer, inner) in ((False, (rows, depth)), (True, (depth, rows))):
        (count, stride), (length, step) = outer, inner
        if count and stride and length and step == 1 and stride * _BYTES[tensor.dtype] % _ALIGNMENT == 0:
            return Described(root(program, load.tensor), count, length, stride, turned)
    return None


def fits_engine(sides: tuple[int, int]) -> bool:
    """Can the engine move such a tile?"""
    return max(sides) <= _LONGEST
