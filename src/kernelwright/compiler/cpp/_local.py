"""Moves tensors that only one kernel uses from memory into scratch of one row (or of one tile of a row)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..group import inner_axes, root
from ..program import Axis, Expr, Index, Load, Program, Size, Store, Tensor
from ._indices import flatten, static
from ._normal import Loop, Normal, map_exprs, same

STACK_BYTES = 192 << 10
ITEMSIZE = {
    "float32": 4, "float64": 8, "bfloat16": 2, "float16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint8": 1, "bool": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Local:
    """Scratch of one row: ``size`` elements of a tensor that never reaches memory."""

    name: str
    size: int
    dtype: str


def localise(normal: Normal, tile: Axis | None, tile_size: int) -> tuple[Normal, tuple[Local, ...]]:
    """Give each local tensor that fits an array per row; the others stay in memory."""
    result, found = normal, []
    left = STACK_BYTES
    for name in normal.local:
        moved = _move(result, name, tile, tile_size)
        bytes_ = moved[1].size * ITEMSIZE[moved[1].dtype] if moved else left + 1
        if moved is None or bytes_ > left:
            result = replace(result, memory=_in_order(result.program, (*result.memory, name)))
            continue
        left -= bytes_
        result = moved[0]
        found.append(moved[1])
    return replace(result, local=tuple(f.name for f in found)), tuple(found)


def _in_order(program: Program, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(n for n in program.tensors if n in names)


def _move(normal: Normal, name: str, tile: Axis | None, tile_size: int) -> tuple[Normal, Local] | None:
    """Rewrite every access to ``name`` as one to its row: outer axes drop out, the rest is packed densely."""
    program = normal.program
    outer = {a.name for a in normal.outer}
    stores = [s for s in normal.statements if root(program, s.store.tensor) == name]
    if len(stores) != 1:
        return None
    flat = flatten(program.tensors[stores[0].store.tensor], stores[0].store.index)
    layout = _layout(stores[0], flat, outer, tile, tile_size)
    if layout is None:
        return None
    packed, total = layout
    dtype = program.tensors[name].dtype
    statements: list[Loop] = []
    for statement in normal.statements:
        new = _rewrite(program, statement, name, flat, packed, outer, tile, tile_size)
        if new is None:
            return None
        statements.append(new)
    tensors = dict(program.tensors)
    tensors[name] = Tensor(name, (total,), dtype, (1,), "temp")
    return replace(normal, program=replace(program, tensors=tensors), statements=tuple(statements)), Local(
        name, total, dtype
    )


Packed = list[tuple[Size, int]]  # stride in memory -> stride in the row


def _layout(
    statement: Loop, flat: Index, outer: set[str], tile: Axis | None, tile_size: int
) -> tuple[Packed, int] | None:
    if not flat.is_affine or not same(flat.offset, 0):
        return None
    sizes = {a.name: static(a.size) for a in (*statement.axes, *inner_axes(statement))}
    inner: list[tuple[int, int]] = []
    for term, coefficient in flat.terms:
        if term in outer:
            continue
        stride, size = static(coefficient), sizes[str(term)]
        if stride is None or size is None:
            return None
        inner.append((stride, size))
    total = tile_size if tile and tile.name in flat.axes() else 1
    packed: Packed = []
    for stride, size in sorted(inner):
        packed.append((stride, total))
        total *= max(1, size)
    return packed, total


def _rewrite(
    program: Program,
    statement: Loop,
    name: str,
    stored: Index,
    packed: Packed,
    outer: set[str],
    tile: Axis | None,
    tile_size: int,
) -> Loop | None:
    failed = False

    def local(index: Index) -> Index:
        nonlocal failed
        result = Index.const(0)
        if not index.is_affine or not same(index.offset, 0):
            failed = True
            return index
        for term, coefficient in index.terms:
            if term in outer:
                failed |= not same(coefficient, stored.coefficient(str(term)))
                if tile and term == tile.name:
                    result = result + Index.axis(tile.name) - Index.axis(tile_begin(tile.name))
                continue
            place = next((p for stride, p in packed if same(stride, coefficient)), None)
            failed |= place is None
            result = result + Index(((term, place or 0),))
        missing = {str(t) for t, _ in stored.terms if t in outer} - index.axes()
        failed |= bool(missing)
        return result

    def change(node: Expr) -> Load | None:
        if isinstance(node, Load) and root(program, node.tensor) == name:
            flat = flatten(program.tensors[node.tensor], node.index)
            return replace(node, tensor=name, index=(local(flat),), fill=None)
        return None

    new = map_exprs(statement, change)
    if root(program, statement.store.tensor) == name:
        flat = flatten(program.tensors[statement.store.tensor], statement.store.index)
        new = replace(new, store=Store(name, (local(flat),)))
    return None if failed else new


def tile_begin(axis: str) -> str:
    """The C++ variable that holds where the current tile of an axis begins."""
    return f"{axis}_begin"
