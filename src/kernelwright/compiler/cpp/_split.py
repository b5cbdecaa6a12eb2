"""Shares a long reduction out over the threads when there are too few results to do so by results.

The reduced axis is cut into parts; each part is a row that leaves a partial result in scratch memory, and a second
small reduction over the parts finishes. Both are printed by the ordinary generators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..program import Acc, Axis, Const, Expr, Index, Iota, Load, Op, Program, Reduce, Size, Store, Tensor, contiguous
from ._indices import static
from ._links import Link, linked
from ._local import ITEMSIZE
from ._normal import Normal, map_exprs
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
    linked: bool = False  # does a reduction of a part read another one?

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
    reduces = [s for s in normal.statements if isinstance(s, Reduce)]
    for number, statement in enumerate(reduces):
        shape: tuple[Size, ...] = (part.size, *(a.size for a in statement.axes))
        dtype = state_dtype(statement)
        tensor = Tensor(f"partial{number}", shape, dtype, contiguous(shape), "temp")
        tensors[tensor.name] = tensor
        partial.append(tensor)
        index = tuple(Index.axis(a.name) for a in (part, *statement.axes))
        store = Store(tensor.name, index)
        value: Expr = Load(tensor.name, index, dtype)
        link = linked(reduces[:number], statement)
        if link is not None:
            near = Load(f"partial{link.earlier}", index, link.load.dtype)
            value = _moved(value, near, link, _count(size, length, part, each))
            near_value = map_exprs(statement, _replacing(link.load, near)).value
            statement = replace(statement, value=near_value)
        parts.append(replace(statement, axes=(part, *statement.axes), store=store, epilogue=Acc(dtype)))
        whole.append(replace(reduces[number], raxes=(part,), value=value))
    program: Program = replace(normal.program, tensors=tensors)
    first = replace(normal, program=program, statements=tuple(parts), outer=(part, *normal.outer))
    second = replace(normal, program=program, statements=tuple(whole))
    chained = any(linked(reduces[:n], s) for n, s in enumerate(reduces))
    return Split(first, second, axis.name, part, length, tuple(partial), chained)


def _replacing(old: Load, new: Load) -> Callable[[Expr], Expr | None]:
    return lambda node: new if node == old else None


def _count(size: int, length: int, part: Axis, each: int) -> Expr:
    """How many values a part holds, as a value of the part's number: the last part may be shorter."""
    left = Iota(Index.axis(part.name) * -length + size, "int64")
    return Op("mul", (Op("minimum", (left, Const(length, "int64")), "int64"), Const(each, "int64")), "int64")


def _moved(part: Expr, near: Load, link: Link, count: Expr) -> Expr:
    """A part's sum, which is relative to the part's own shift or mean, relative to the whole's."""
    kind, load = part.dtype, link.load
    if link.kind == "centre":
        n = Op("cast", (count,), kind)
        apart = Op("sub", (Op("div", (near, n), kind), load), kind)
        return Op("add", (part, Op("mul", (n, Op("square", (apart,), kind)), kind)), kind)
    zero = Const(0.0, kind)
    finite = Op("eq", (Op("sub", (near, near), kind), zero), "bool")
    away = Op("sub", (Op("where", (finite, near, zero), kind), load), kind)
    scaled = Op("mul", (part, Op("exp", (Op("mul", (away, Const(link.slope, kind)), kind),), kind)), kind)
    return Op("where", (Op("eq", (part, zero), "bool"), Op("sub", (load, load), kind), scaled), kind)


def _axis(normal: Normal) -> Axis | None:
    """The reduced axis to cut: the longest one; the same in all statements."""
    reduces = [s for s in normal.statements if isinstance(s, Reduce)]
    if len(reduces) != len(normal.statements) or normal.local:
        return None
    if any(s.op.startswith("arg") or set(s.raxes) != set(reduces[0].raxes) for s in reduces):
        return None
    if any(points(s.axes) > MOST_RESULTS for s in reduces):
        return None
    if not _independent(normal, reduces):
        return None
    sizes = [(static(a.size) or 0, -position, a) for position, a in enumerate(reduces[0].raxes)]
    size, _, axis = max(sizes, key=lambda entry: entry[:2])
    if any(static(a.size) is None for a in reduces[0].raxes) or size < 4 * W:
        return None
    return axis


def _independent(normal: Normal, reduces: Sequence[Reduce]) -> bool:
    """Do the values of a part depend on nothing but what other parts do not compute, links aside?"""
    tensors = normal.program.tensors
    written = {tensors[s.store.tensor].alias or s.store.tensor for s in reduces}
    for number, statement in enumerate(reduces):
        read = {x for x in statement.value.walk() if isinstance(x, Load)}
        link = linked(reduces[:number], statement)
        if link is not None:
            read.discard(link.load)
        if any((tensors[x.tensor].alias or x.tensor) in written for x in read):
            return False
    return True
