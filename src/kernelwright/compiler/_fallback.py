"""Cheaper ways that hold for finite numbers only, with the written way behind them.

To reorder sums, or to leave out products with zero, is exact in real arithmetic; but infinity times zero is not zero,
and what a NaN spoils depends on the order. The cheap ways of this compiler read every number that the written way reads
and hide none of them: a number that is not finite makes some element of their result so. Hence the program computes the
cheap way, looks at its result, and only where that is not finite everywhere computes what was written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ._dataflow import Flow, covers, nodes, reads, rewrite, root, substitute
from .program import (
    Acc,
    Axis,
    Const,
    Expr,
    Index,
    Load,
    Map,
    Op,
    Program,
    Reduce,
    Size,
    Statement,
    Store,
    Tensor,
    contiguous,
)


class Fresh:
    """Names of axes and tensors that a program does not have yet."""

    def __init__(self, program: Program) -> None:
        self.tensors = dict(program.tensors)
        axes = [a.name for s in program.statements for a in _axes(s)]
        self._axis = max((int(n[1:]) for n in axes if n[:1] == "a" and n[1:].isdigit()), default=0)
        self._tensor = max((int(n[1:]) for n in self.tensors if n[:1] == "t" and n[1:].isdigit()), default=0)

    def axis(self, size: Size) -> Axis:
        self._axis += 1
        return Axis(f"a{self._axis}", size)

    def tensor(self, shape: tuple[Size, ...], dtype: str) -> Tensor:
        self._tensor += 1
        made = Tensor(f"t{self._tensor}", shape, dtype, contiguous(shape), "temp")
        self.tensors[made.name] = made
        return made


def _axes(statement: Statement) -> tuple[Axis, ...]:
    parts = getattr(statement, "body", (statement,))
    found = [a for p in parts for field in ("axes", "raxes") for a in getattr(p, field, ())]
    return (*found, *(a for field in ("scan", "step") if (a := getattr(statement, field, None)) is not None))


def instead(
    program: Program,
    fresh: Fresh,
    position: int,
    statement: Reduce,
    value: Expr,
    raxes: tuple[Axis, ...] = (),
    total: Expr | None = None,
    before: Sequence[Statement] = (),
) -> Program:
    """The sum at ``position`` computed as that of ``value`` over ``raxes``, as written where that is not finite.

    ``total`` is the sum made of the accumulator; ``before`` are statements that the value needs.
    """
    dtype = statement.value.dtype
    total = total or Acc(dtype)
    store, end = statement.store, finished(statement.epilogue, total)
    written, after = statement, []
    if linear(statement.epilogue, Acc) is None or not covers(program, statement, store.tensor):
        # The epilogue may hide what is not finite: look at the sum itself.
        made = fresh.tensor(tuple(a.size for a in statement.axes), dtype)
        index = tuple(Index.axis(a.name) for a in statement.axes)
        store, end = Store(made.name, index), total
        written = replace(statement, store=store, epilogue=Acc(dtype))
        last = finished(statement.epilogue, Load(made.name, index, dtype))
        after = [renamed(fresh, Map(statement.axes, last, statement.store))]
    if raxes:
        quick: Map | Reduce = Reduce(statement.axes, raxes, "sum", value, store, end)
    else:
        quick = Map(statement.axes, finished(end, value), store)
    cheap = [*before, renamed(fresh, quick)]
    flag = fresh.tensor((1,), "bool")
    moved = _feeders(program, position, {_root_of(fresh, n) for s in cheap for n in reads(s)})
    guarded = [replace(s, when=flag.name) for k in moved if isinstance(s := program.statements[k], Map | Reduce)]
    guarded.append(replace(written, when=flag.name))
    kept = [s for k, s in enumerate(program.statements[:position]) if k not in moved]
    statements = (*kept, *cheap, _not_finite(fresh, store.tensor, flag), *guarded, *after)
    statements = (*statements, *program.statements[position + 1 :])
    return replace(program, statements=statements, tensors=fresh.tensors)


def renamed(fresh: Fresh, statement: Map | Reduce) -> Map | Reduce:
    """The statement with axes of its own."""
    old = (*statement.axes, *(statement.raxes if isinstance(statement, Reduce) else ()))
    made = {a.name: fresh.axis(a.size) for a in old}
    bindings = {name: Index.axis(axis.name) for name, axis in made.items()}
    store = Store(statement.store.tensor, tuple(i.substitute(bindings) for i in statement.store.index))
    axes, value = tuple(made[a.name] for a in statement.axes), substitute(statement.value, bindings)
    if isinstance(statement, Map):
        return replace(statement, axes=axes, value=value, store=store)
    raxes, end = tuple(made[a.name] for a in statement.raxes), substitute(statement.epilogue, bindings)
    return replace(statement, axes=axes, raxes=raxes, value=value, store=store, epilogue=end)


def _root_of(fresh: Fresh, name: str) -> str:
    """The tensor that owns the memory, among old and new ones."""
    alias = fresh.tensors[name].alias
    return name if alias is None else _root_of(fresh, alias)


def _feeders(program: Program, position: int, kept: set[str]) -> tuple[int, ...]:
    """Earlier statements whose results nothing but the statement at ``position`` needs, directly or not."""
    flow = Flow.of(program)
    moved = {position}
    for k in reversed(range(position)):
        statement = program.statements[k]
        if not isinstance(statement, Map | Reduce) or statement.when:
            continue
        target = root(program, statement.store.tensor)
        if program.tensors[target].role != "temp" or target in kept:
            continue
        readers = flow.readers.get(target, ())
        if readers and set(readers) <= moved and not _overwritten(program, flow, statement, k, position):
            moved.add(k)
    return tuple(sorted(moved - {position}))


def _overwritten(program: Program, flow: Flow, statement: Statement, start: int, end: int) -> bool:
    """Whether anything the statement reads is written between two positions."""
    names = {root(program, n) for n in reads(statement)}
    return any(start < w < end for n in names for w in flow.writers.get(n, ()))


def _not_finite(fresh: Fresh, name: str, flag: Tensor) -> Reduce:
    tensor = fresh.tensors[name]
    axes = tuple(fresh.axis(size) for size in tensor.shape)
    dtype = "float64" if tensor.dtype == "float64" else "float32"
    value = Op("abs", (Load(name, tuple(Index.axis(a.name) for a in axes), dtype),), dtype)
    finite = Op("lt", (value, Const(math.inf, dtype)), "bool")
    return Reduce((), axes, "any", Op("not", (finite,), "bool"), Store(flag.name, (Index.const(0),)), Acc("bool"))


def linear(expr: Expr, leaf: object) -> tuple[tuple[tuple[str, Expr], ...], Expr | None] | None:
    """``expr`` as (leaf times and divided by factors) plus a rest; None where it is not that.

    ``leaf`` is the node itself or the class of it (``Acc``). Factors are ("mul" or "div", expression).
    """
    if _is(expr, leaf):
        return (), None
    if not isinstance(expr, Op):
        return None
    inside = [any(_is(n, leaf) for n in nodes(a)) for a in expr.args]
    if sum(inside) != 1:
        return None
    side = inside.index(True)
    found = linear(expr.args[side], leaf)
    if found is None:
        return None
    factors, rest = found
    if expr.name == "neg":
        minus = Const(-1.0, expr.dtype)
        return (*factors, ("mul", minus)), rest and Op("neg", (rest,), expr.dtype)
    if len(expr.args) != 2:
        return None
    other = expr.args[1 - side]
    if expr.name == "mul" or (expr.name == "div" and side == 0):
        return (*factors, (expr.name, other)), rest and Op(expr.name, (rest, other), expr.dtype)
    if expr.name == "add":
        return factors, other if rest is None else Op("add", (rest, other), expr.dtype)
    if expr.name != "sub":
        return None
    if side == 0:
        return factors, Op("neg", (other,), expr.dtype) if rest is None else Op("sub", (rest, other), expr.dtype)
    minus = Const(-1.0, expr.dtype)
    return (*factors, ("mul", minus)), other if rest is None else Op("sub", (other, rest), expr.dtype)


def _is(node: Expr, leaf: object) -> bool:
    return isinstance(node, leaf) if isinstance(leaf, type) else node == leaf


def finished(epilogue: Expr, value: Expr) -> Expr:
    """An epilogue with the accumulator's value put in."""
    return rewrite(epilogue, lambda node: value if isinstance(node, Acc) else None)


__all__ = ["Fresh", "finished", "instead", "linear", "renamed"]
