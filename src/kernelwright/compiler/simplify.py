"""Constant folding and common sub-expressions among statements."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from ._dataflow import Flow, map_exprs, rename, rewrite, root
from .program import (
    Acc,
    Const,
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
    Value,
    condition,
)

_FOLD: dict[str, Callable[..., float | int | bool]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "neg": lambda a: -a,
    "minimum": min, "maximum": max, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b, "and": lambda a, b: a and b,
    "or": lambda a, b: a or b, "not": lambda a: not a, "square": lambda a: a * a, "abs": abs,
    "div": lambda a, b: a / b,
}  # fmt: skip


def fold_constants(program: Program) -> Program:
    """Evaluate operations on literals; drop multiplications by 1, choices by a literal and casts to the same dtype."""
    statements = tuple(map_exprs(s, lambda e: rewrite(e, folded)) for s in program.statements)
    return program if statements == program.statements else replace(program, statements=statements)


def folded(node: Expr) -> Expr | None:
    """What an operation on literals comes to; None where it stays."""
    if not isinstance(node, Op):
        return None
    args = node.args
    if node.name == "cast" and args[0].dtype == node.dtype:
        return args[0]
    if node.name == "where" and isinstance(args[0], Const):
        return args[1] if args[0].value else args[2]
    if node.name in _FOLD and all(isinstance(a, Const) for a in args):
        return _literal(node)
    if node.name in ("mul", "div") and isinstance(args[1], Const) and args[1].value == 1:
        return args[0]
    if node.name == "mul" and isinstance(args[0], Const) and args[0].value == 1:
        return args[1]
    if node.name == "and" and any(isinstance(a, Const) and a.value for a in args):
        return args[1] if isinstance(args[0], Const) and args[0].value else args[0]
    return None


def _literal(node: Op) -> Const | None:
    values = [a.value for a in node.args if isinstance(a, Const)]
    if any(isinstance(v, float) and not math.isfinite(v) for v in values):
        return None
    try:
        result = _FOLD[node.name](*values)
    except (OverflowError, ZeroDivisionError):
        return None
    if node.dtype.startswith("int") and abs(result) >= 2**31:
        return None
    if node.dtype == "bool":
        return Const(bool(result), "bool")
    return Const(float(result) if node.dtype.startswith("float") else int(result), node.dtype)


# ── common statements ────────────────────────────────────────────────────────────────────────────────────────────


def common_statements(program: Program) -> Program:
    """Statements that compute the same temporary twice: keep the first."""
    flow = Flow.of(program)
    number = _Numbers()
    seen: dict[object, str] = {}
    renamed: dict[str, str] = {}
    kept: list[Statement] = []
    for position, statement in enumerate(program.statements):
        statement = rename(statement, renamed) if renamed else statement
        if isinstance(statement, Extern | Recur) or not _sharable(program, flow, statement, position):
            kept.append(statement)
            continue
        target = program.tensors[statement.store.tensor]
        key = (number.statement(statement), target.shape, target.strides, target.dtype)
        first = seen.setdefault(key, target.name)
        aliased = any(t.alias == target.name for t in program.tensors.values())
        if first == target.name or target.role != "temp" or target.alias or aliased:
            kept.append(statement)
        else:
            renamed[target.name] = first
    return replace(program, statements=tuple(kept)) if renamed else program


def _sharable(program: Program, flow: Flow, statement: Map | Reduce | Scan, position: int) -> bool:
    """Whether the statement always writes its tensor, and alone."""
    return not condition(statement) and flow.writers[root(program, statement.store.tensor)] == (position,)


class _Numbers:
    """Equal expressions get equal numbers, whatever their axes are called; shared nodes are visited once."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}

    def _number(self, key: object) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def statement(self, statement: Map | Reduce | Scan) -> int:
        axes = list(statement.axes)
        extra: tuple[object, ...] = ()
        if isinstance(statement, Reduce):
            axes += statement.raxes
            extra = (statement.op, len(statement.raxes))
        elif isinstance(statement, Scan):
            axes.append(statement.scan)
            extra = (statement.op, statement.reverse, statement.exclusive)
        names = {a.name: k for k, a in enumerate(axes)}
        memo: dict[int, int] = {}
        parts = [self.expr(statement.value, names, memo)]
        if isinstance(statement, Reduce):
            parts.append(self.expr(statement.epilogue, names, memo))
        where = tuple(self.index(i, names, memo) for i in statement.store.index)
        return self._number((type(statement).__name__, tuple(a.size for a in axes), extra, tuple(parts), where))

    def expr(self, node: Expr, names: dict[str, int], memo: dict[int, int]) -> int:
        if id(node) not in memo:
            memo[id(node)] = self._number(self._key(node, names, memo))
        return memo[id(node)]

    def _key(self, node: Expr, names: dict[str, int], memo: dict[int, int]) -> object:
        if isinstance(node, Load):
            index = tuple(self.index(i, names, memo) for i in node.index)
            return ("load", node.tensor, index, node.dtype, repr(node.fill))
        if isinstance(node, Iota):
            return ("iota", self.index(node.index, names, memo), node.dtype)
        if isinstance(node, Op):
            return ("op", node.name, tuple(self.expr(a, names, memo) for a in node.args), node.dtype)
        if isinstance(node, Acc):
            return ("acc", node.dtype)
        return ("const", repr(node.value), node.dtype)

    def index(self, index: Index, names: dict[str, int], memo: dict[int, int]) -> int:
        terms = tuple(sorted(((self._term(t, names, memo), c) for t, c in index.terms), key=repr))
        return self._number(("index", terms, index.offset))

    def _term(self, term: object, names: dict[str, int], memo: dict[int, int]) -> object:
        if isinstance(term, str):
            return ("axis", names.get(term, term))
        if isinstance(term, FloorDiv):
            return ("div", self.index(term.index, names, memo), term.divisor)
        if isinstance(term, Mod):
            return ("mod", self.index(term.index, names, memo), term.modulus)
        assert isinstance(term, Value)
        return ("value", self.expr(term.expr, names, memo))
