"""How a contraction's operand lies in memory: its pointer, its offsets per axis, and the padded copy it may need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..contraction import flat_index, padded_dims, product, span
from ..program import Axis, Index, Load, Program, Size, Tensor, contiguous
from ._indices import size_text, static
from .printer import store_type

SLACK = 64  # elements after a padded copy that vector loads may touch


@dataclass(frozen=True)
class Padding:
    """A padded copy in scratch: window of the tensor, outermost dimension first."""

    extent: tuple[Size, ...]
    start: tuple[Index, ...]  # over the batch axes when the copy is made batch by batch
    size: tuple[Size, ...]
    stride: tuple[Size, ...]
    fill: float
    base: Index  # of the element the window's dimensions count from
    local: bool  # one copy per thread, renewed for every batch element

    @property
    def elements(self) -> Size:
        return product(self.extent) + SLACK

    @property
    def rows(self) -> Size:
        return product(self.extent[:-1])

    @property
    def steady(self) -> bool:
        """Whether every copy has its borders at the same places, so that they need writing only once."""
        return not any(start.terms for start in self.start)


@dataclass(frozen=True)
class Operand:
    """``index`` is the element offset from ``pointer`` over the axes (without batch axes if the copy is local)."""

    name: str  # of the tensor whose memory it is
    ctype: str  # of its elements as the packers read them
    pointer: str
    index: Index
    elements: Size
    padding: Padding | None


def operand(
    program: Program,
    load: Load,
    axes: Sequence[Axis],
    batch: Sequence[Axis],
    role: str,
    dtype: str,
    local: bool,
    always: bool = False,
    narrow: bool = False,
) -> Operand:
    """Describe one operand; ``role`` names its padded copy, which it has if it needs one (or ``always``).

    A padded copy has the type of the products, or with ``narrow`` bfloat16 where the tensor has."""
    tensor = program.tensors[load.tensor]
    sizes = {axis.name: axis.size for axis in axes}
    name = base_name(program, load.tensor)
    if not always and not padded_dims(program, load, sizes):
        return Operand(name, store_type(tensor.dtype), name, flat_index(program, load), _reach(tensor), None)
    padding, index = _padded(tensor, load, sizes, frozenset(x.name for x in batch) if local else frozenset())
    ctype = "float" if dtype == "float32" else "double"
    if narrow and tensor.dtype == "bfloat16" and padding.fill == 0:
        ctype = store_type(tensor.dtype)
    return Operand(name, ctype, f"{role}_padded_", index, padding.elements, padding)


def base_name(program: Program, name: str) -> str:
    """The tensor whose memory ``name`` shares."""
    alias = program.tensors[name].alias
    return name if alias is None else base_name(program, alias)


def table(index: Index, axes: Sequence[Axis]) -> tuple[tuple[Size, Size], ...]:
    """(size, stride) of axes fused into one, outermost first, with neighbours merged where they are one run."""
    merged: list[tuple[Size, Size]] = []
    for axis in axes:
        size: Size = axis.size
        stride: Size = index.coefficient(axis.name)
        if size == 1:
            continue
        if merged and merged[-1][1] == stride * size:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged) or ((1, 0),)


def axes_text(index: Index, axes: Sequence[Axis]) -> str:
    """The initialiser of a ``kw::gemm::Axes``."""
    rows = table(index, axes)
    sizes = ", ".join(size_text(size) for size, _ in rows)
    strides = ", ".join(size_text(stride) for _, stride in rows)
    return f"{{{{{sizes}}}, {{{strides}}}}}"


def table_text(name: str, index: Index, axes: Sequence[Axis]) -> str:
    """The definition of a ``kw::gemm::Axes``."""
    return f"const kw::gemm::Axes<{len(table(index, axes))}> {name}{axes_text(index, axes)};"


def _reach(tensor: Tensor) -> Size:
    """One past the last element of a tensor, counted from its first."""
    total: Size = 1
    for size, stride in zip(tensor.shape, tensor.strides, strict=True):
        total = total + (size - 1) * stride
    return total


def _padded(tensor: Tensor, load: Load, sizes: dict[str, Size], dropped: frozenset[str]) -> tuple[Padding, Index]:
    """Dimensions in memory order; a dimension that only moves with the batch is part of where the window starts."""
    unsafe = padded_dims(Program({load.tensor: tensor}, (), (), ()), load, sizes)
    order = sorted(range(len(tensor.shape)), key=lambda d: -_weight(tensor.strides[d]))
    base = Index.const(0)
    dims: list[tuple[int, Size, Index, Index]] = []  # dimension, extent, start, position in the window
    for dim in order:
        fixed, moving = _split(load.index[dim], dropped)
        low, high = span(moving, sizes)
        if high == low and dim not in unsafe:
            base = base + (fixed + low) * tensor.strides[dim]
        else:
            dims.append((dim, high - low + 1, fixed + low, moving - low))
    dims = _staggered(dims) or [(order[-1], 1, Index.const(0), Index.const(0))]
    index = Index.const(0)
    for (_, _, _, position), stride in zip(dims, contiguous(tuple(d[1] for d in dims)), strict=True):
        index = index + position * stride
    padding = Padding(
        tuple(d[1] for d in dims),
        tuple(d[2] for d in dims),
        tuple(tensor.shape[d[0]] for d in dims),
        tuple(tensor.strides[d[0]] for d in dims),
        float(load.fill or 0),
        base,
        bool(dropped),
    )
    return padding, index


def _staggered(dims: list[tuple[int, Size, Index, Index]]) -> list[tuple[int, Size, Index, Index]]:
    """One more row where planes would lie a power of two apart and compete for the same cache sets."""
    if len(dims) < 3 or (plane := static(dims[-1][1] * dims[-2][1])) is None or plane % 64:
        return dims
    dim, extent, start, position = dims[-2]
    return [*dims[:-2], (dim, extent + 1, start, position), dims[-1]]


def _split(index: Index, names: frozenset[str]) -> tuple[Index, Index]:
    """(terms over ``names``, everything else)."""
    inside = tuple(t for t in index.terms if t[0] in names)
    outside = tuple(t for t in index.terms if t[0] not in names)
    return Index(inside, 0), Index(outside, index.offset)


def _weight(size: Size) -> float:
    value = static(size)
    return float(value) if value is not None else 1e6
