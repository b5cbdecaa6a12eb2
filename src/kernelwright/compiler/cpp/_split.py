"""Shares a long reduction out over the threads when there are too few results to do so by results.

The reduced axis is cut into parts; each part is a row that leaves a partial result in scratch memory, and a second
small reduction over the parts finishes. Both are printed by the ordinary generators.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..program import Acc, Axis, Index, Load, Program, Reduce, Size, Store, Tensor, contiguous
from ._indices import static
from ._local import ITEMSIZE
from ._normal import Normal
from ._reduce import state_dtype
from ._stages import W, extent, points

PARTS = 32
LEAST_PART = 1 << 15  # values of a part below which parts cost more than they give
MOST_RESULTS = 1 << 13


@dataclass(frozen=True)
class Split:
    """Two groups in place of one: ``parts`` writes the tensors ``partial`` that ``whole`` combines."""

    parts: Normal
    whole: Normal
    axis: str  # the reduced axis that is cut
    part: Axis  # the number of the part
    length: int  # of a part along the axis
    partial: tuple[Tensor, ...]

    @property
    def scratch(self) -> int:
        """Bytes of the partial results, each tensor in whole cache lines."""
        return sum(padded_bytes(t) for t in self.partial)


def padded_bytes(tensor: Tensor) -> int:
    """Bytes of a partial result in whole cache lines."""
    count = ITEMSIZE[tensor.dtype]
    for size in tensor.shape:
        count *= extent(size)
    return -(-count // 64) * 64


def split(normal: Normal) -> Split | None:
    """The group as parts and whole, or None if it is not made of long, static, independent reductions."""
    axis = _axis(normal)
    if axis is None:
        return None
    size = static(axis.size)
    assert size is not None
    inner = {a.name: a for s in normal.statements if isinstance(s, Reduce) for a in s.raxes}
    each = points([a for a in inner.values() if a.name != axis.name])
    results = max(points(s.axes) for s in normal.statements)
    length = max(-(-size // PARTS), -(-LEAST_PART // max(1, each * results)))
    length = -(-length // W) * W
    part = Axis(f"{axis.name}_part", -(-size // length))
    tensors = dict(normal.program.tensors)
    parts: list[Reduce] = []
    whole: list[Reduce] = []
    partial: list[Tensor] = []
    for number, statement in enumerate(normal.statements):
        assert isinstance(statement, Reduce)
        shape: tuple[Size, ...] = (part.size, *(a.size for a in statement.axes))
        dtype = state_dtype(statement)
        tensor = Tensor(f"partial{number}", shape, dtype, contiguous(shape), "temp")
        tensors[tensor.name] = tensor
        partial.append(tensor)
        index = tuple(Index.axis(a.name) for a in (part, *statement.axes))
        parts.append(
            replace(
                statement,
                axes=(part, *statement.axes),
                store=Store(tensor.name, index),
                epilogue=Acc(dtype),
            )
        )
        value = Load(tensor.name, index, dtype)
        whole.append(replace(statement, raxes=(part,), value=value))
    program: Program = replace(normal.program, tensors=tensors)
    first = replace(normal, program=program, statements=tuple(parts), outer=(part, *normal.outer))
    second = replace(normal, program=program, statements=tuple(whole))
    return Split(first, second, axis.name, part, length, tuple(partial))


def _axis(normal: Normal) -> Axis | None:
    """The reduced axis to cut: the longest one; the same in all statements."""
    reduces = [s for s in normal.statements if isinstance(s, Reduce)]
    if len(reduces) != len(normal.statements) or normal.local:
        return None
    if any(s.op.startswith("arg") or set(s.raxes) != set(reduces[0].raxes) for s in reduces):
        return None
    if any(points(s.axes) > MOST_RESULTS for s in reduces):
        return None
    written = {normal.program.tensors[s.store.tensor].alias or s.store.tensor for s in reduces}
    if any(
        (normal.program.tensors[x.tensor].alias or x.tensor) in written
        for s in reduces
        for x in normal.program.loads(s)
    ):
        return None
    sizes = [(static(a.size) or 0, -position, a) for position, a in enumerate(reduces[0].raxes)]
    size, _, axis = max(sizes, key=lambda entry: entry[:2])
    if any(static(a.size) is None for a in reduces[0].raxes) or size < 4 * W:
        return None
    return axis
