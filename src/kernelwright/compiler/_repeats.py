"""Finds statements that repeat: the same shapes of statements following each other again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .program import (
    Acc,
    Expr,
    Extern,
    FloorDiv,
    Index,
    Iota,
    Load,
    Map,
    Mod,
    Op,
    Program,
    Recur,
    Reduce,
    Scan,
    Statement,
)

LEAST = 4  # steps worth a loop
LONGEST = 64  # statements of one step

Access = tuple[str, tuple[Index, ...]]


@dataclass(frozen=True)
class Run:
    """``count`` repetitions of ``period`` statements from ``start`` on."""

    start: int
    period: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.period * self.count


def runs(program: Program) -> Iterator[Run]:
    """Runs by the shapes of statements alone, long ones first, at every place where a step might begin."""
    key = Keys(program)
    keys = [key(s) for s in program.statements]
    products = [isinstance(s, Reduce) and s.op == "sum" for s in program.statements]
    found: list[Run] = []
    for period in range(1, min(LONGEST, len(keys) // LEAST) + 1):
        start = 0
        while start + period < len(keys):
            length = 0
            while start + length + period < len(keys) and keys[start + length] == keys[start + length + period]:
                length += 1
            for shift in range(period):
                count = (length - shift) // period + 1
                if count >= LEAST and any(products[start + shift : start + shift + period]):
                    found.append(Run(start + shift, period, count))
            start += length + 1
    seen: set[tuple[int, int]] = set()
    for run in sorted(found, key=lambda r: (-r.period * r.count, r.period, r.start)):
        if (run.start, run.end) not in seen:  # the same statements in shorter steps come first
            seen.add((run.start, run.end))
            yield run


class Keys:
    """Equal numbers for statements that differ in names of tensors and constants of indices alone."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._numbers: dict[object, int] = {}

    def __call__(self, statement: Statement) -> int:
        return self._numbers.setdefault(self._statement(statement), len(self._numbers))

    def _statement(self, statement: Statement) -> object:
        if isinstance(statement, Extern | Scan | Recur):
            return id(statement)
        axes = (*statement.axes, *(statement.raxes if isinstance(statement, Reduce) else ()))
        names = {a.name: k for k, a in enumerate(axes)}
        memo: dict[int, int] = {}
        parts: tuple[object, ...] = (self._expr(statement.value, names, memo),)
        if isinstance(statement, Reduce):
            parts += (statement.op, len(statement.raxes), self._expr(statement.epilogue, names, memo))
        dtype = self.program.tensors[statement.store.tensor].dtype
        where = tuple(_index_key(i, names) for i in statement.store.index)
        return (type(statement).__name__, tuple(a.size for a in axes), parts, dtype, where, statement.when)

    def _expr(self, expr: Expr, names: dict[str, int], memo: dict[int, int]) -> int:
        if id(expr) not in memo:
            key = self._node(expr, names, memo)
            memo[id(expr)] = self._numbers.setdefault(key, len(self._numbers))
        return memo[id(expr)]

    def _node(self, expr: Expr, names: dict[str, int], memo: dict[int, int]) -> object:
        if isinstance(expr, Load):
            return ("load", expr.dtype, repr(expr.fill), tuple(_index_key(i, names) for i in expr.index))
        if isinstance(expr, Op):
            return (expr.name, expr.dtype, tuple(self._expr(a, names, memo) for a in expr.args))
        if isinstance(expr, Iota):
            return ("iota", expr.dtype, _index_key(expr.index, names), expr.index.offset)
        return ("acc", expr.dtype) if isinstance(expr, Acc) else ("const", expr.dtype, repr(expr.value))


def _index_key(index: Index, names: dict[str, int]) -> object:
    return tuple(sorted(((_term_key(t, names), c) for t, c in index.terms), key=repr))


def _term_key(term: object, names: dict[str, int]) -> object:
    if isinstance(term, str):
        return names.get(term, term)
    if isinstance(term, FloorDiv):
        return ("div", _index_key(term.index, names), term.index.offset, term.divisor)
    if isinstance(term, Mod):
        return ("mod", _index_key(term.index, names), term.index.offset, term.modulus)
    return ("value", repr(term))


def accesses(statement: Map | Reduce) -> list[Access]:
    """Loads in the order of the expression, then the store."""
    found: list[Access] = []
    seen: set[int] = set()

    def visit(expr: Expr) -> None:
        if id(expr) in seen:
            return
        seen.add(id(expr))
        if isinstance(expr, Load):
            found.append((expr.tensor, expr.index))
        for child in expr.children():
            visit(child)

    visit(statement.value)
    if isinstance(statement, Reduce):
        visit(statement.epilogue)
    found.append((statement.store.tensor, statement.store.index))
    return found


__all__ = ["LEAST", "Access", "Keys", "Run", "accesses", "runs"]
