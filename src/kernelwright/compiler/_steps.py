"""Puts statements into the form in which the steps of an unrolled loop look alike.

Fusion has put an epilogue into whichever product came last, and the capture has listed statements where they were first
needed. Here products stand alone again, products with concatenated rows fall into products with each part, and each
statement stands with the step whose input it needs.
"""

from __future__ import annotations

from dataclasses import replace

from ._dataflow import Flow, is_product, reads, rewrite, root, writes
from .program import Acc, Axis, Expr, Index, Load, Map, Op, Program, Reduce, Statement, Store, Tensor, contiguous
from .sizes import same


def separated(program: Program) -> Program:
    """The same program with products alone, concatenations taken apart and steps in a row."""
    return _late(_ordered(_parted(_bare(program))))


# ── products alone ───────────────────────────────────────────────────────────────────────────────────────────────


def _bare(program: Program) -> Program:
    """Epilogues that read tensors become Maps."""
    tensors = dict(program.tensors)
    statements: list[Statement] = []
    for statement in program.statements:
        if not isinstance(statement, Reduce) or not _reading(statement):
            statements.append(statement)
            continue
        name = _fresh(tensors, f"{statement.store.tensor}_sum")
        shape = tuple(a.size for a in statement.axes)
        index = tuple(Index.axis(a.name) for a in statement.axes)
        dtype = statement.value.dtype
        tensors[name] = Tensor(name, shape, dtype, contiguous(shape), "temp")
        statements.append(replace(statement, store=Store(name, index), epilogue=Acc(dtype)))
        axes, bindings = _renamed(statement.axes, f"_{name}")
        load = Load(name, tuple(i.substitute(bindings) for i in index), dtype)
        value = rewrite(statement.epilogue, lambda n, load=load: load if isinstance(n, Acc) else None)  # type: ignore[misc]
        value = value.substitute(bindings)
        where = tuple(i.substitute(bindings) for i in statement.store.index)
        statements.append(Map(axes, value, Store(statement.store.tensor, where), statement.when))
    return replace(program, tensors=tensors, statements=tuple(statements))


def _reading(statement: Reduce) -> bool:
    return is_product(statement) and not isinstance(statement.epilogue, Acc)


def _renamed(axes: tuple[Axis, ...], suffix: str) -> tuple[tuple[Axis, ...], dict[str, Index]]:
    fresh = tuple(Axis(a.name + suffix, a.size) for a in axes)
    return fresh, {a.name: Index.axis(b.name) for a, b in zip(axes, fresh, strict=True)}


def _fresh(tensors: dict[str, Tensor], name: str) -> str:
    while name in tensors:
        name += "_"
    return name


# ── concatenations ───────────────────────────────────────────────────────────────────────────────────────────────


def _parted(program: Program) -> Program:
    """A product with rows that copies put together is the sum of the products with each of them."""
    flow = Flow.of(program)
    tensors = dict(program.tensors)
    sums: dict[str, Expr] = {}
    statements: list[Statement] = []
    for statement in program.statements:
        parts = _parts(program, flow, statement, tensors) if isinstance(statement, Reduce) else None
        if parts is None:
            statements.append(_with_sums(statement, sums))
            continue
        assert isinstance(statement, Reduce)
        statements += parts
        total: Expr | None = None
        for part in parts:
            load: Expr = Load(part.store.tensor, statement.store.index, statement.value.dtype)
            total = load if total is None else Op("add", (total, load), load.dtype)
        assert total is not None
        sums[statement.store.tensor] = total
    return replace(program, tensors=tensors, statements=tuple(statements))


def _parts(program: Program, flow: Flow, statement: Reduce, tensors: dict[str, Tensor]) -> list[Reduce] | None:
    """One product for each copy, or None."""
    target = program.tensors[statement.store.tensor]
    plain = is_product(statement) and isinstance(statement.epilogue, Acc) and len(statement.raxes) == 1
    if not plain or target.role != "temp" or not _readable(program, flow, target.name, statement):
        return None
    assert isinstance(statement.value, Op)
    raxis = statement.raxes[0]
    for side, rows in enumerate(statement.value.args):
        if not isinstance(rows, Load) or rows.fill is not None or program.tensors[rows.tensor].role != "temp":
            continue
        dims = [d for d, i in enumerate(rows.index) if raxis.name in i.axes()]
        copies = [program.statements[w] for w in flow.writers.get(rows.tensor, ())]
        if len(dims) != 1 or rows.index[dims[0]] != Index.axis(raxis.name) or len(copies) < 2:
            continue
        found = [_copied(c, rows, dims[0]) for c in copies]
        if any(f is None for f in found) or not same(sum(f[1] for f in found if f), raxis.size):
            continue
        result = []
        for number, each in enumerate(f for f in found if f):
            load, size, offset = each
            other = statement.value.args[1 - side].substitute({raxis.name: Index.axis(raxis.name) + offset})
            axis = Axis(f"{raxis.name}_{number}", size)
            name = _fresh(tensors, f"{target.name}_part{number}")
            tensors[name] = replace(target, name=name)
            args = (load, other) if side == 0 else (other, load)
            value = replace(statement.value, args=args).substitute({raxis.name: Index.axis(axis.name)})
            result.append(replace(statement, raxes=(axis,), value=value, store=Store(name, statement.store.index)))
        return result
    return None


def _readable(program: Program, flow: Flow, name: str, statement: Reduce) -> bool:
    """Whether all readers are Maps that load single elements, so that a sum may stand for the element."""
    readers = [program.statements[r] for r in flow.readers.get(name, ())]
    if len(flow.writers.get(name, ())) != 1 or any(t.alias == name for t in program.tensors.values()):
        return False
    # The store is over its own axes alone, so that a load's index says which element it is.
    names = [a.name for a in statement.axes]
    plain = all(
        not i.terms or (len(i.terms) == 1 and i == Index.axis(str(i.terms[0][0]))) for i in statement.store.index
    )
    return plain and len(names) == len({*names}) and all(isinstance(r, Map) for r in readers)


def _copied(copy: Statement, rows: Load, dim: int) -> tuple[Load, int, int] | None:
    """What a copy puts into the rows: the load in the rows' index, how many columns, from which on."""
    if not isinstance(copy, Map) or not isinstance(copy.value, Load) or copy.value.fill is not None or copy.when:
        return None
    bindings: dict[str, Index] = {}
    size, offset = 1, 0
    sizes = {a.name: a.size for a in copy.axes}
    for d, (written, read) in enumerate(zip(copy.store.index, rows.index, strict=True)):
        names = [t for t, _ in written.terms if isinstance(t, str)]
        if not written.is_affine or len(names) > 1 or (names and written.coefficient(names[0]) != 1):
            return None
        if d != dim:
            if not isinstance(written.offset, int) or written.offset != 0 or (not names and read.terms):
                return None
            if names:
                bindings[names[0]] = read
            continue
        width = sizes[names[0]] if names else 1
        if not isinstance(width, int) or not isinstance(written.offset, int):
            return None
        size, offset = width, written.offset
        if names:
            bindings[names[0]] = read
    if len(bindings) != len(copy.axes) or size < 2:
        return None
    load = copy.value.substitute(bindings)
    return (load, size, offset) if isinstance(load, Load) and all(i.is_affine for i in load.index) else None


def _with_sums(statement: Statement, sums: dict[str, Expr]) -> Statement:
    """Loads of a parted product become sums of loads at the same element."""
    if not isinstance(statement, Map) or not any(n in sums for n in reads(statement)):
        return statement

    def fn(node: Expr) -> Expr | None:
        if not isinstance(node, Load) or node.tensor not in sums:
            return None
        index = node.index
        return rewrite(sums[node.tensor], lambda n: replace(n, index=index) if isinstance(n, Load) else None)

    return replace(statement, value=rewrite(statement.value, fn))


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _ordered(program: Program) -> Program:
    """Every statement right after the latest of those it needs that need nothing themselves."""
    keys: list[int] = []
    writers: dict[str, list[int]] = {}
    readers: dict[str, list[int]] = {}
    for position, statement in enumerate(program.statements):
        read = {root(program, n) for n in reads(statement)}
        written = {root(program, n) for n in writes(statement)}
        needed = [w for n in read | written for w in writers.get(n, ())] + [
            r for n in written for r in readers.get(n, ())
        ]
        keys.append(max(keys[n] for n in needed) if needed else position)
        for name in read:
            readers.setdefault(name, []).append(position)
        for name in written:
            writers.setdefault(name, []).append(position)
    order = sorted(range(len(keys)), key=lambda p: (keys[p], p))
    return replace(program, statements=tuple(program.statements[p] for p in order))


def _late(program: Program) -> Program:
    """Products right before what reads them first: with the step that uses them, not the one that made the rows."""
    flow = Flow.of(program)
    keys: dict[int, tuple[int, int, str]] = {}  # where in the order, how many products before that place, its weight
    for position in reversed(range(len(program.statements))):
        statement = program.statements[position]
        keys[position] = (position, 0, "")
        if not isinstance(statement, Reduce) or not is_product(statement):
            continue
        name = root(program, statement.store.tensor)
        settled = all(w < position for n in reads(statement) for w in flow.writers.get(root(program, n), ()))
        later = [r for r in flow.readers.get(name, ()) if r > position]
        if settled and later and flow.writers[name] == (position,) and program.tensors[name].role == "temp":
            place, depth, _ = min(keys[r] for r in later)
            inputs = [n for n in reads(statement) if program.tensors[n].role == "input"]
            keys[position] = (place, depth - 1, max(inputs, default=""))
    order = sorted(range(len(keys)), key=lambda p: (*keys[p], p))
    return replace(program, statements=tuple(program.statements[p] for p in order))


__all__ = ["separated"]
