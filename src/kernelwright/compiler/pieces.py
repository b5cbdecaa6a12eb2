"""What is put together from pieces need not be put together: its one reader can read the pieces.

A concatenation is a tensor that several maps write, each its range of one dimension. A statement that reads it along
one of its own axes falls into one statement for each piece: where the axis places results they write their ranges of
the result, where it is summed each adds to what the one before has left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ._dataflow import Flow, is_product, nodes, rewrite, root, substitute
from ._fallback import Fresh, finished, renamed
from .program import Acc, Axis, Expr, Index, Load, Map, Op, Program, Reduce, Statement, Store
from .sizes import numel, same

MOST = 4  # pieces: each is code of its own
_JOIN = {"sum": "add", "prod": "mul", "max": "maximum", "min": "minimum", "any": "or", "all": "and"}


@dataclass(frozen=True)
class Piece:
    """The range of the dimension that a map writes, and what it writes there over its axes."""

    start: int
    size: int
    writer: Map


def read_pieces(program: Program) -> Program:
    """Let every tensor made of pieces be read piece by piece, where one statement reads it."""
    flow = Flow.of(program)
    for name, writers in flow.writers.items():
        readers = flow.readers.get(name, ())
        if not 2 <= len(writers) <= MOST or len(readers) != 1 or program.tensors[name].role != "temp":
            continue
        consumer, maps = program.statements[readers[0]], [program.statements[w] for w in writers]
        if not isinstance(consumer, Map | Reduce) or consumer.when or max(writers) >= readers[0]:
            continue
        found = _pieces(program, name, maps)
        if found is None or _moved_on(program, flow, [*writers], readers[0]):
            continue
        split = _split(program, consumer, name, *found)
        if split is not None:
            fresh, parts = split
            gone = {*writers, readers[0]}
            before = [s for k, s in enumerate(program.statements[: readers[0]]) if k not in gone]
            statements = (*before, *parts, *program.statements[readers[0] + 1 :])
            return read_pieces(replace(program, statements=statements, tensors=fresh.tensors))
    return program


def _moved_on(program: Program, flow: Flow, writers: list[int], reader: int) -> bool:
    """Whether what the maps read is written anew before the reader's turn."""
    for position in writers:
        names = {root(program, n.tensor) for n in program.loads(program.statements[position])}
        if any(position < w <= reader for n in names for w in flow.writers.get(n, ())):
            return True
    return False


def _pieces(program: Program, name: str, maps: Sequence[Statement]) -> tuple[int, list[Piece]] | None:
    """The dimension that is cut, and the pieces in order; they tile the tensor."""
    shape = program.tensors[name].shape
    found: list[Piece] = []
    cut: set[int] = set()
    for writer in maps:
        if not isinstance(writer, Map) or writer.when or writer.store.tensor != name:
            return None
        sizes = {a.name: a.size for a in writer.axes}
        for dim, index in enumerate(writer.store.index):
            term = index.terms[0][0] if index.terms else ""
            size = sizes.get(str(term), 1)
            if index.terms and (len(index.terms) > 1 or index - index.offset != Index.axis(str(term))):
                return None
            if not (isinstance(size, int) and isinstance(index.offset, int)):
                if not (index.offset == 0 and same(size, shape[dim])):
                    return None
            elif not (index.offset == 0 and same(size, shape[dim])):
                cut.add(dim)
                found.append(Piece(index.offset, size, writer))
    if len(cut) != 1 or len(found) != len(maps):
        return None
    found.sort(key=lambda p: p.start)
    ends = [0, *(p.start + p.size for p in found)]
    if [p.start for p in found] != ends[:-1] or not same(ends[-1], shape[min(cut)]):
        return None
    return min(cut), found


def _split(
    program: Program, consumer: Map | Reduce, name: str, dim: int, pieces: list[Piece]
) -> tuple[Fresh, list[Statement]] | None:
    exprs = (consumer.value, consumer.epilogue) if isinstance(consumer, Reduce) else (consumer.value,)
    loads = [n for e in exprs for n in nodes(e) if isinstance(n, Load) and root(program, n.tensor) == name]
    names = {n.index[dim] for n in loads if n.tensor == name}
    if any(n.tensor != name for n in loads) or len(names) != 1:
        return None
    along = next(iter(names))
    axis = next((a for a in _axes(consumer) if Index.axis(a.name) == along), None)
    if axis is None or not same(axis.size, program.tensors[name].shape[dim]):
        return None
    if isinstance(consumer, Reduce) and axis in consumer.raxes and consumer.op not in _JOIN:
        return None
    values = [_value(program, p, dim, n) for p in pieces for n in dict.fromkeys(loads)]
    if any(v is None for v in values) or not _worth(program, consumer, axis, name, values):
        return None
    fresh = Fresh(program)
    parts: list[Statement] = []
    left: Load | None = None
    for number, piece in enumerate(pieces):
        part = _part(consumer, name, dim, axis, piece)
        if isinstance(part, Reduce) and axis in consumer.raxes:  # type: ignore[union-attr]
            part, left = _chained(fresh, part, left, number == len(pieces) - 1)
        parts.append(renamed(fresh, part))
    return fresh, parts


def _axes(statement: Map | Reduce) -> tuple[Axis, ...]:
    return (*statement.axes, *statement.raxes) if isinstance(statement, Reduce) else statement.axes


def _value(program: Program, piece: Piece, dim: int, load: Load) -> Expr | None:
    """What a load of the whole reads in a piece, the axis counted from the piece's start; None if it is not known."""
    bindings = {
        str(index.terms[0][0]): read
        for index, read in zip(piece.writer.store.index, load.index, strict=True)
        if index.terms
    }
    value = substitute(piece.writer.value, bindings)
    if load.fill is not None:  # padding must mean the same in the piece's own tensor
        inner = piece.writer.value
        if not isinstance(inner, Load) or inner.fill is not None or not isinstance(value, Load):
            return None
        shape, own = program.tensors[load.tensor].shape, program.tensors[inner.tensor].shape
        kept = [(s, i) for d, (s, i) in enumerate(zip(shape, piece.writer.store.index, strict=True)) if d != dim]
        theirs = [(s, i) for d, (s, i) in enumerate(zip(own, inner.index, strict=True)) if d != dim]
        if len(shape) != len(own) or any(not same(a, b) or i != j for (a, i), (b, j) in zip(kept, theirs, strict=True)):
            return None
        value = replace(value, fill=load.fill)
    return value if value.dtype == load.dtype else Op("cast", (value,), load.dtype)


def _worth(program: Program, consumer: Map | Reduce, axis: Axis, name: str, values: Sequence[Expr | None]) -> bool:
    """Whether reading pieces costs less than the copy."""
    if not is_product(consumer):
        return True
    assert isinstance(consumer, Reduce)
    if not all(isinstance(v, Load) and all(i.is_affine for i in v.index) for v in values):
        return False
    if axis in consumer.axes:
        return True
    result, whole = numel(tuple(a.size for a in consumer.axes)), numel(program.tensors[name].shape)
    return isinstance(result, int) and isinstance(whole, int) and result * (len(values) - 1) < whole


def _part(consumer: Map | Reduce, name: str, dim: int, axis: Axis, piece: Piece) -> Map | Reduce:
    """The consumer where its axis runs through one piece."""
    own = Axis(f"{axis.name}_{piece.start}", piece.size)
    here = {axis.name: Index.axis(own.name) + piece.start}

    def read(node: Expr) -> Expr | None:
        if not isinstance(node, Load) or node.tensor != name:
            return None
        index = tuple(i - piece.start if d == dim else i for d, i in enumerate(node.index))
        bindings = {str(w.terms[0][0]): r for w, r in zip(piece.writer.store.index, index, strict=True) if w.terms}
        value = substitute(piece.writer.value, bindings)
        if node.fill is not None and isinstance(value, Load):
            value = replace(value, fill=node.fill)
        return value if value.dtype == node.dtype else Op("cast", (value,), node.dtype)

    def moved(expr: Expr) -> Expr:
        return rewrite(substitute(expr, here), read)

    store = Store(consumer.store.tensor, tuple(i.substitute(here) for i in consumer.store.index))
    axes = tuple(own if a == axis else a for a in consumer.axes)
    if isinstance(consumer, Map):
        return replace(consumer, axes=axes, value=moved(consumer.value), store=store)
    raxes = tuple(own if a == axis else a for a in consumer.raxes)
    value, end = moved(consumer.value), moved(consumer.epilogue)
    return replace(consumer, axes=axes, raxes=raxes, value=value, store=store, epilogue=end)


def _chained(fresh: Fresh, part: Reduce, left: Load | None, last: bool) -> tuple[Reduce, Load | None]:
    """Start from what the piece before has left; leave it to the next one, unless this is the last."""
    dtype = part.value.dtype
    total: Expr = Acc(dtype) if left is None else Op(_JOIN[part.op], (Acc(dtype), left), dtype)
    if last:
        return replace(part, epilogue=finished(part.epilogue, total)), None
    made = fresh.tensor(tuple(a.size for a in part.axes), dtype)
    index = tuple(Index.axis(a.name) for a in part.axes)
    return replace(part, store=Store(made.name, index), epilogue=total), Load(made.name, index, dtype)


__all__ = ["read_pieces"]
