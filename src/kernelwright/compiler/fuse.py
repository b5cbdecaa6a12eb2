"""Fusion: rewrites of a program that save passes through memory. Each is a small function from program to program.

``fuse`` applies them until nothing changes. None changes what is computed, apart from roundings to half types that
disappear with the tensor that was stored.
"""

from __future__ import annotations

from collections.abc import Callable

from . import algebra
from ._copies import elide_copies, remove_dead, unite_copies
from ._dataflow import (
    Flow,
    axes_of,
    covers,
    is_heavy,
    is_product,
    map_exprs,
    match,
    nodes,
    place,
    repeat,
    replace_at,
    rewrite,
    root,
    substitute,
    temp_read_once,
    values_in,
)
from ._scans import fuse_scan_copies
from ._selections import take_apart
from .factors import reorder_products
from .pieces import read_pieces
from .program import (
    Axis,
    Expr,
    Extern,
    Index,
    Load,
    Map,
    Op,
    Program,
    Recur,
    Reduce,
    Scan,
    Statement,
    Store,
)
from .simplify import common_statements, fold_constants
from .sizes import is_one, numel, same

# A fused expression may have at most so many nodes, so that it still fits the registers.
_MAX_NODES = 256


def fuse(program: Program) -> Program:
    """All rewrites, to a fixed point."""
    program = _settled(fold_constants(program))
    if (apart := take_apart(program)) is not program:
        program = _settled(apart)
    while (apart := read_pieces(program)) != program:
        program = _settled(apart)
    for rewrite_once in (algebra.select_instead_of_multiply, reorder_products, common_statements, remove_dead):
        program = rewrite_once(program)
    return program


def _settled(program: Program) -> Program:
    """The rewrites that save passes, until nothing changes."""
    for _ in range(64):
        before = program
        for rewrite_once in _REWRITES:
            program = rewrite_once(program)
        if program == before:
            break
    return program


def _loads_of(program: Program, statement: Statement, name: str) -> tuple[Load, ...]:
    exprs = (statement.value, statement.epilogue) if isinstance(statement, Reduce) else (statement.value,)  # type: ignore[union-attr]
    found = {n: None for e in exprs for n in nodes(e) if isinstance(n, Load) and root(program, n.tensor) == name}
    return tuple(found)


@repeat
def fuse_epilogues(program: Program) -> Program | None:
    """A Map that is the only reader of a Reduce's result, element by element, becomes the Reduce's epilogue."""
    flow = Flow.of(program)
    for name, writers in flow.writers.items():
        reader = temp_read_once(program, flow, name)
        if reader is None or not isinstance(program.statements[reader], Map):
            continue
        if not all(isinstance(program.statements[w], Reduce) and w < reader for w in writers):
            continue
        fused = [_with_epilogue(program, program.statements[w], program.statements[reader], name) for w in writers]  # type: ignore[arg-type]
        if all(f is not None for f in fused):
            return replace_at(program, {reader: [f for f in fused if f], **{w: [] for w in writers}})
    return None


def _with_epilogue(program: Program, producer: Reduce, consumer: Map, name: str) -> Reduce | None:
    loads = _loads_of(program, consumer, name)
    if len({n.index for n in loads}) != 1 or len({n.tensor for n in loads}) != 1:
        return None
    load = loads[0]
    if load.fill is not None or len(nodes(consumer.value)) + len(nodes(producer.epilogue)) > _MAX_NODES:
        return None
    if root(program, consumer.store.tensor) == name:
        return None
    matched = _matched(program, producer, consumer, load)
    if matched is None:
        return None
    axes, ours, theirs = matched
    result = substitute(producer.epilogue, ours)

    def fn(node: Expr) -> Expr | None:
        if isinstance(node, Load) and root(program, node.tensor) == name:
            return result if result.dtype == node.dtype else Op("cast", (result,), node.dtype)
        return None

    # The consumer's loads of the result go first: substitution would make other loads look alike.
    value = substitute(rewrite(consumer.value, _marked(fn, consumer, theirs)), {})
    store = Store(consumer.store.tensor, tuple(i.substitute(theirs) for i in consumer.store.index))
    return Reduce(axes, producer.raxes, producer.op, substitute(producer.value, ours), store, value)


def _marked(
    fn: Callable[[Expr], Expr | None], consumer: Map, bindings: dict[str, Index]
) -> Callable[[Expr], Expr | None]:
    """Replace the result's loads; move every other leaf to the new axes."""

    def both(node: Expr) -> Expr | None:
        replaced = fn(node)
        if replaced is not None:
            return replaced
        return None if isinstance(node, Op) else node.substitute(bindings)

    return both


def _matched(
    program: Program, producer: Map | Reduce, consumer: Map, load: Load
) -> tuple[tuple[Axis, ...], dict[str, Index], dict[str, Index]] | None:
    """Common axes of a producer and a consumer that reads exactly what it wrote."""
    written, read = producer.store, load
    partial = not covers(program, producer, root(program, written.tensor))
    if partial:
        return _matched_part(program, producer, consumer, load)
    if not same(numel(tuple(a.size for a in consumer.axes)), numel(tuple(a.size for a in producer.axes))):
        return _matched_slice(producer, consumer, load) if isinstance(producer, Reduce) else None
    found = match(
        producer.axes,
        place(program, written.tensor, written.index),
        consumer.axes,
        place(program, read.tensor, read.index),
    )
    if found is None:
        return None
    return found.axes, found.left, found.right


def _matched_part(
    program: Program, producer: Map | Reduce, consumer: Map, load: Load
) -> tuple[tuple[Axis, ...], dict[str, Index], dict[str, Index]] | None:
    """A producer that writes a part of the tensor: the consumer's axes follow the producer's store."""
    if load.tensor != producer.store.tensor:
        return None
    shape = program.tensors[load.tensor].shape
    bindings: dict[str, Index] = {}
    for size, read, written in zip(shape, load.index, producer.store.index, strict=True):
        if is_one(size):
            continue
        axis = read.terms[0][0] if len(read.terms) == 1 else None
        sizes = [a.size for a in consumer.axes if a.name == axis]
        if not sizes or read != Index.axis(str(axis)) or not same(sizes[0], size) or axis in bindings:
            return None
        bindings[str(axis)] = written
    if len(bindings) != len(consumer.axes):
        return None
    return producer.axes, {}, bindings


def _matched_slice(
    producer: Reduce, consumer: Map, load: Load
) -> tuple[tuple[Axis, ...], dict[str, Index], dict[str, Index]] | None:
    """A consumer that reads a part of what was written, each element once: only that part is computed."""
    if load.tensor != producer.store.tensor:
        return None
    bindings: dict[str, Index] = {}
    used: list[str] = []
    for read, written in zip(load.index, producer.store.index, strict=True):
        if not read.is_affine or len(read.terms) > 1 or written.offset != 0 or len(written.terms) > 1:
            return None
        used += [str(term) for term, _ in read.terms]
        if written.terms:
            bindings[str(written.terms[0][0])] = read
    if sorted(used) != sorted(a.name for a in consumer.axes) or len(bindings) != len(producer.axes):
        return None
    return consumer.axes, bindings, {}


@repeat
def inline_maps(program: Program) -> Program | None:
    """A temporary Map with one reading statement is computed where it is read."""
    flow = Flow.of(program)
    for name, writers in flow.writers.items():
        reader = temp_read_once(program, flow, name)
        if reader is None or len(writers) != 1 or writers[0] >= reader:
            continue
        producer, consumer = program.statements[writers[0]], program.statements[reader]
        if not isinstance(producer, Map) or isinstance(consumer, Extern | Recur) or not covers(program, producer, name):
            continue
        fused = _inlined(program, producer, consumer, name)
        if fused is not None:
            return replace_at(program, {reader: [fused], writers[0]: []})
    return None


def _inlined(program: Program, producer: Map, consumer: Map | Reduce | Scan, name: str) -> Statement | None:
    loads = _loads_of(program, consumer, name)
    if any(n.fill is not None for n in loads) or root(program, consumer.store.tensor) == name:
        return None
    patterns = {(n.tensor, n.index) for n in loads}
    size = sum(len(nodes(e)) for e in _exprs(consumer)) + len(patterns) * len(nodes(producer.value))
    if size > _MAX_NODES or not _worth(producer, consumer, loads, len(patterns)):
        return None
    direct = _inlined_by_index(producer, consumer, loads)
    if direct is not None or not isinstance(consumer, Map) or len(patterns) != 1:
        return direct
    return _inlined_by_place(program, producer, consumer, loads[0])


def _exprs(statement: Map | Reduce | Scan) -> tuple[Expr, ...]:
    return (statement.value, statement.epilogue) if isinstance(statement, Reduce) else (statement.value,)


def _worth(producer: Map, consumer: Map | Reduce | Scan, loads: tuple[Load, ...], patterns: int) -> bool:
    """Whether computing at each read costs no more than memory would."""
    if is_product(consumer):  # a contraction reads memory; only another address of the same memory may take its place
        return isinstance(producer.value, Load) and producer.value.fill is None and all(
            i.is_affine for i in producer.value.index
        )  # fmt: skip
    repeated = any({a.name for a in axes_of(consumer) if not is_one(a.size)} - _index_axes(n) for n in loads)
    if not repeated and patterns == 1 and not any(v for n in loads for i in n.index for v in values_in(i)):
        return True
    many = sum(isinstance(n, Load) for n in nodes(producer.value))
    return not is_heavy(producer.value) and many <= 1


def _index_axes(load: Load) -> set[str]:
    return {name for i in load.index for name in i.axes()}


def _inlined_by_index(producer: Map, consumer: Map | Reduce | Scan, loads: tuple[Load, ...]) -> Statement | None:
    """The load's index says where in the producer's axes it reads."""
    store = producer.store
    if any(n.tensor != store.tensor for n in loads):
        return None
    names: list[str | None] = []
    for index in store.index:
        if not index.terms and same(index.offset, 0):
            names.append(None)
        elif len(index.terms) == 1 and index == Index.axis(str(index.terms[0][0])):
            names.append(str(index.terms[0][0]))
        else:
            return None

    def fn(node: Expr) -> Expr | None:
        if not isinstance(node, Load) or node.tensor != store.tensor:
            return None
        bindings = {n: i for n, i in zip(names, node.index, strict=True) if n is not None}
        value = substitute(producer.value, bindings)
        return value if value.dtype == node.dtype else Op("cast", (value,), node.dtype)

    return map_exprs(consumer, lambda e: rewrite(e, fn))


def _inlined_by_place(program: Program, producer: Map, consumer: Map, load: Load) -> Statement | None:
    """The read goes through another shape of the same memory: give both the finer axes of the two."""
    found = _matched(program, producer, consumer, load)
    if found is None:
        return None
    axes, ours, theirs = found
    value = substitute(producer.value, ours)

    def fn(node: Expr) -> Expr | None:
        if isinstance(node, Load) and node.tensor == load.tensor and node.index == load.index:
            return value if value.dtype == node.dtype else Op("cast", (value,), node.dtype)
        return None

    store = Store(consumer.store.tensor, tuple(i.substitute(theirs) for i in consumer.store.index))
    return Map(axes, rewrite(consumer.value, _marked(fn, consumer, theirs)), store)


_REWRITES: tuple[Callable[[Program], Program], ...] = (
    fold_constants,
    common_statements,
    remove_dead,
    algebra.hoist_scalings,
    elide_copies,
    unite_copies,
    fuse_epilogues,
    inline_maps,
    fuse_scan_copies,
    remove_dead,
)

__all__ = ["elide_copies", "fuse", "fuse_epilogues", "fuse_scan_copies", "inline_maps", "remove_dead"]
