"""Who reads and writes what in a program, and the substitutions that rewrites are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from .contraction import free_axes
from .program import (
    Axis,
    Expr,
    Extern,
    FloorDiv,
    Index,
    Load,
    Map,
    Mod,
    Op,
    Program,
    Recur,
    Reduce,
    Scan,
    Size,
    Statement,
    Store,
    Value,
    condition,
    statement_exprs,
)
from .sizes import dims_by_size, numel, same

HEAVY = frozenset((
    "div", "pow", "sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin",
    "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "sigmoid", "atan2",
    "fmod", "mod", "floordiv",
))  # fmt: skip


def root(program: Program, name: str) -> str:
    """The tensor that owns the memory."""
    alias = program.tensors[name].alias
    return name if alias is None else root(program, alias)


def extern_tensors(value: object) -> Iterable[str]:
    """Names of the tensors in an ATen call's arguments."""
    if isinstance(value, dict):
        if "tensor" in value:
            yield str(value["tensor"])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from extern_tensors(item)


def reads(statement: Statement) -> tuple[str, ...]:
    """Names a statement reads, aliases as they are named."""
    if isinstance(statement, Extern):
        return tuple(dict.fromkeys(extern_tensors([statement.args, [v for _, v in statement.kwargs]])))
    names = [n.tensor for e in statement_exprs(statement) for n in e.walk() if isinstance(n, Load)]
    return tuple(dict.fromkeys([*names, condition(statement)] if condition(statement) else names))


def writes(statement: Statement) -> tuple[str, ...]:
    if isinstance(statement, Extern):
        return tuple(name for name in statement.outputs if name)
    if isinstance(statement, Recur):
        return tuple(dict.fromkeys(part.store.tensor for part in statement.body))
    return (statement.store.tensor,)


@dataclass(frozen=True)
class Flow:
    """Positions of the statements that read and write each tensor that owns memory."""

    readers: Mapping[str, tuple[int, ...]]
    writers: Mapping[str, tuple[int, ...]]

    @staticmethod
    def of(program: Program) -> Flow:
        readers: dict[str, list[int]] = {}
        writers: dict[str, list[int]] = {}
        for position, statement in enumerate(program.statements):
            for name in {root(program, n) for n in reads(statement)}:
                readers.setdefault(name, []).append(position)
            for name in {root(program, n) for n in writes(statement)}:
                writers.setdefault(name, []).append(position)
        return Flow({k: tuple(v) for k, v in readers.items()}, {k: tuple(v) for k, v in writers.items()})


# ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────────


def rewrite(expr: Expr, fn: Callable[[Expr], Expr | None], memo: dict[int, Expr] | None = None) -> Expr:
    """Bottom-up like ``Expr.map``, also inside gather indices, and once per shared node (a chain may share many)."""
    memo = {} if memo is None else memo
    known = memo.get(id(expr))
    if known is not None:
        return known
    children = expr.children()
    fresh = tuple(rewrite(c, fn, memo) for c in children)
    node = expr if all(a is b for a, b in zip(fresh, children, strict=True)) else expr.rebuild(fresh)
    if isinstance(node, Load):
        index = tuple(_rewrite_index(i, fn, memo) for i in node.index)
        node = node if index == node.index else replace(node, index=index)
    result = fn(node) or node
    memo[id(expr)] = result
    return result


def _rewrite_index(index: Index, fn: Callable[[Expr], Expr | None], memo: dict[int, Expr]) -> Index:
    if index.is_affine:
        return index
    result = Index.const(index.offset)
    for term, coefficient in index.terms:
        result = result + _rewrite_term(term, fn, memo) * coefficient
    return result


def _rewrite_term(term: object, fn: Callable[[Expr], Expr | None], memo: dict[int, Expr]) -> Index:
    if isinstance(term, str):
        return Index.axis(term)
    if isinstance(term, FloorDiv):
        return Index.of(FloorDiv(_rewrite_index(term.index, fn, memo), term.divisor))
    if isinstance(term, Mod):
        return Index.of(Mod(_rewrite_index(term.index, fn, memo), term.modulus))
    assert isinstance(term, Value)
    return Index.of(Value(rewrite(term.expr, fn, memo)))


def substitute(expr: Expr, bindings: Mapping[str, Index]) -> Expr:
    """Replace axes by indices, sharing what was shared."""

    def fn(node: Expr) -> Expr | None:
        if isinstance(node, Load):
            return replace(node, index=tuple(i.substitute(bindings) for i in node.index))
        if not isinstance(node, Op) and node.axes():
            return node.substitute(bindings)
        return None

    return _shallow(expr, fn, {})


def _shallow(expr: Expr, fn: Callable[[Expr], Expr | None], memo: dict[int, Expr]) -> Expr:
    known = memo.get(id(expr))
    if known is None:
        children = expr.children()
        node = expr.rebuild(tuple(_shallow(c, fn, memo) for c in children)) if children else expr
        known = memo[id(expr)] = fn(node) or node
    return known


def nodes(expr: Expr) -> list[Expr]:
    """Every distinct node object once (shared nodes are not walked again)."""
    seen: dict[int, Expr] = {}
    stack = [expr]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node
        stack.extend(node.children())
        if isinstance(node, Load):
            stack.extend(v.expr for i in node.index for v in values_in(i))
    return list(seen.values())


def values_in(index: Index) -> Iterable[Value]:
    """The gathers inside an index."""
    for term, _ in index.terms:
        if isinstance(term, Value):
            yield term
        elif isinstance(term, FloorDiv | Mod):
            yield from values_in(term.index)


def is_heavy(expr: Expr) -> bool:
    return any(isinstance(n, Op) and n.name in HEAVY for n in nodes(expr))


def is_product(statement: Statement) -> bool:
    """Whether a statement is a contraction: a sum of products of two loads."""
    return (
        isinstance(statement, Reduce)
        and statement.op == "sum"
        and isinstance(statement.value, Op)
        and statement.value.name == "mul"
        and all(_is_operand(a) for a in statement.value.args)
        and free_axes(statement)
    )


def _is_operand(expr: Expr) -> bool:
    while isinstance(expr, Op) and expr.name == "cast":
        expr = expr.args[0]
    return isinstance(expr, Load)


def map_exprs(statement: Statement, fn: Callable[[Expr], Expr]) -> Statement:
    """The statement with a function applied to each of its expressions."""
    if isinstance(statement, Recur):
        return replace(statement, body=tuple(_part(map_exprs(part, fn)) for part in statement.body))
    if isinstance(statement, Reduce):
        return replace(statement, value=fn(statement.value), epilogue=fn(statement.epilogue))
    if isinstance(statement, Map | Scan):
        return replace(statement, value=fn(statement.value))
    return statement


def _part(statement: Statement) -> Map | Reduce:
    assert isinstance(statement, Map | Reduce)
    return statement


def rename(statement: Statement, names: Mapping[str, str]) -> Statement:
    """Replace tensors by others of the same shape."""
    if isinstance(statement, Extern):
        kwargs = tuple((k, _rename_value(v, names)) for k, v in statement.kwargs)
        args = tuple(_rename_value(a, names) for a in statement.args)
        return Extern(statement.op, args, kwargs, tuple(names.get(o, o) for o in statement.outputs))
    if isinstance(statement, Recur):
        return replace(statement, body=tuple(_part(rename(part, names)) for part in statement.body))

    def fn(node: Expr) -> Expr | None:
        return replace(node, tensor=names[node.tensor]) if isinstance(node, Load) and node.tensor in names else None

    renamed = map_exprs(statement, lambda e: rewrite(e, fn))
    assert isinstance(renamed, Map | Reduce | Scan)
    store = renamed.store
    return replace(renamed, store=Store(names.get(store.tensor, store.tensor), store.index))


def _rename_value(value: object, names: Mapping[str, str]) -> object:
    if isinstance(value, dict) and "tensor" in value:
        return {**value, "tensor": names.get(str(value["tensor"]), value["tensor"])}
    if isinstance(value, list | tuple):
        return [_rename_value(v, names) for v in value]
    return value


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────


def place(program: Program, tensor: str, index: tuple[Index, ...]) -> Index:
    """The position in memory that an index reads."""
    total = Index()
    for i, stride in zip(index, program.tensors[tensor].strides, strict=True):
        total = total + i * stride
    return total


def axes_of(statement: Map | Reduce | Scan) -> tuple[Axis, ...]:
    """All loop variables of a statement."""
    if isinstance(statement, Reduce):
        return statement.axes + statement.raxes
    return (*statement.axes, statement.scan) if isinstance(statement, Scan) else statement.axes


def covers(program: Program, statement: Map | Reduce, tensor: str) -> bool:
    """Whether the statement alone writes every element of the tensor."""
    return same(numel(tuple(a.size for a in statement.axes)), numel(program.tensors[tensor].shape))


@dataclass(frozen=True)
class Matched:
    """Two sets of axes that enumerate the same positions: the finer axes, and each side's axes in terms of them."""

    axes: tuple[Axis, ...]
    left: dict[str, Index]
    right: dict[str, Index]


def match(left: tuple[Axis, ...], left_place: Index, right: tuple[Axis, ...], right_place: Index) -> Matched | None:
    """Line up the axes of two statements that touch the same memory positions in all; None where they do not."""
    if not same(left_place.offset, right_place.offset):
        return None
    a, b = _ordered(left, left_place), _ordered(right, right_place)
    if a is None or b is None:
        return None
    pairs = dims_by_size(tuple(x.size for x, _ in a), tuple(x.size for x, _ in b))
    if pairs is None:
        return None
    axes: list[Axis] = []
    bind_left: dict[str, Index] = {}
    bind_right: dict[str, Index] = {}
    for i, j in pairs:
        ours, theirs = [a[k] for k in i], [b[k] for k in j]
        if not (ours and theirs) or not (len(ours) == 1 or len(theirs) == 1):
            return None
        if not (_dense(ours) and _dense(theirs) and same(ours[-1][1], theirs[-1][1])):
            return None
        fine, coarse, bind = (theirs, ours, bind_left) if len(ours) == 1 else (ours, theirs, bind_right)
        axes += [axis for axis, _ in fine]
        step: Size = 1
        total = Index()
        for axis, _ in reversed(fine):
            total = total + Index.axis(axis.name) * step
            step = step * axis.size
        bind[coarse[0][0].name] = total
    return Matched(tuple(axes), bind_left, bind_right)


def _ordered(axes: tuple[Axis, ...], where: Index) -> list[tuple[Axis, Size]] | None:
    """Axes with their strides, outermost first; None unless every axis moves through memory by a known stride."""
    if not where.is_affine or len(where.terms) != len(axes):
        return None
    steps = [(axis, where.coefficient(axis.name)) for axis in axes]
    if any(isinstance(s, int) and s <= 0 for _, s in steps):
        return None
    ordered: list[tuple[Axis, Size]] = []
    for item in steps:  # insertion: symbolic strides compare by divisibility
        at = len(ordered)
        while at and _larger(item[1], ordered[at - 1][1]):
            at -= 1
        ordered.insert(at, item)
    return ordered


def _larger(a: Size, b: Size) -> bool:
    if isinstance(a, int) and isinstance(b, int):
        return a > b
    from .sizes import exact_quotient

    quotient = exact_quotient(a, b)
    return quotient is not None and not same(quotient, 1)


def _dense(run: list[tuple[Axis, Size]]) -> bool:
    return all(same(outer[1], inner[1] * inner[0].size) for outer, inner in pairwise(run))


# ── what rewrites are made of ───────────────────────────────────────────────────────────────────────────────────────


def repeat(step: Callable[[Program], Program | None]) -> Callable[[Program], Program]:
    """Apply a rewrite of one place until no place is left."""

    def run(program: Program) -> Program:
        while (after := step(program)) is not None:
            program = after
        return program

    run.__doc__ = step.__doc__
    return run


def same_index(a: Index, b: Index) -> bool:
    difference = a - b
    return all(same(c, 0) for _, c in difference.terms) and same(difference.offset, 0)


def temp_read_once(program: Program, flow: Flow, name: str) -> int | None:
    """The position of the only statement that reads a temporary."""
    readers = flow.readers.get(name, ())
    return readers[0] if len(readers) == 1 and program.tensors[name].role == "temp" else None


def replace_at(program: Program, changes: dict[int, list[Statement]]) -> Program:
    statements: list[Statement] = []
    for position, statement in enumerate(program.statements):
        statements += changes.get(position, [statement])
    return replace(program, statements=tuple(statements))
