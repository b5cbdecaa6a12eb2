"""A group's statements in the form loops are printed from: flat addresses, few long axes, simple indices.

Splitting and merging axes changes no result: an axis whose quotient and remainder are read becomes two axes, and
neighbouring axes that every access walks as one become one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy

from ..group import Group, inner_axes, root
from ..program import (
    Axis,
    Expr,
    Extern,
    FloorDiv,
    Index,
    Iota,
    Load,
    Map,
    Mod,
    Program,
    Recur,
    Reduce,
    Scan,
    Size,
    Store,
    Tensor,
    Value,
    statement_exprs,
)
from ._indices import REPEATS, Ranges, bounds, flatten, static
from ._pieces import straightened

Loop = Map | Reduce | Scan  # a statement that is printed as loops
CHEAP = 64  # points of a map that weigh as much as doing one small point again


@dataclass(frozen=True)
class Normal:
    """A group ready for scheduling: ``program`` knows a flat view of every tensor, ``outer`` are the shared axes."""

    program: Program
    statements: tuple[Loop, ...]
    outer: tuple[Axis, ...]
    local: tuple[str, ...]
    memory: tuple[str, ...]  # tensors in memory that the kernel touches

    @property
    def sizes(self) -> dict[str, Size]:
        return {a.name: a.size for s in self.statements for a in (*s.axes, *inner_axes(s))}


def normalise(program: Program, group: Group) -> Normal:
    """Flatten addresses, split and merge axes."""
    statements = tuple(s for s in group.statements if not isinstance(s, Extern | Recur))
    tensors = dict(program.tensors)
    outer, local = group.outer, tuple(n for n in group.local if not _padded(program, statements, n))
    statements, outer = _drop_single(statements, outer)
    statements, outer = _split_axes(program, statements, outer)
    statements = tuple(_flat(program, tensors, s) for s in statements)
    statements = tuple(rewrite(s, _simplifier(s)) for s in statements)
    statements, outer = _merge_axes(statements, outer)
    statements, outer = _repeat_cheap(replace(program, tensors=tensors), statements, outer, local)
    used = {root(program, n) for s in group.statements for n in _touched(program, s)}
    memory = tuple(n for n in program.tensors if n in used and n not in local)
    return Normal(replace(program, tensors=tensors), statements, outer, local, memory)


def flat_name(name: str) -> str:
    """The one-dimensional view of a tensor's memory."""
    return name + ".flat"


def ranges_of(statement: Loop) -> dict[str, tuple[int, int]]:
    """Inclusive bounds of the axes of static size."""
    axes = (*statement.axes, *inner_axes(statement))
    return {a.name: (0, size - 1) for a in axes if (size := static(a.size)) is not None and size > 0}


def same(a: Size, b: Size) -> bool:
    """Equality of sizes, symbolic ones included."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return bool(sympy.expand(a - b) == 0)


def rewrite(statement: Loop, change: Callable[[Index], Index]) -> Loop:
    """Apply ``change`` (Index -> Index) to every index of a statement, innermost first."""
    visit = _Rewriter(change)
    store = Store(statement.store.tensor, tuple(visit.index(i) for i in statement.store.index))
    value = visit.expr(statement.value)
    if isinstance(statement, Reduce):
        return replace(statement, value=value, store=store, epilogue=visit.expr(statement.epilogue))
    return replace(statement, value=value, store=store)


class _Rewriter:
    """Rewrites indices in expressions that share sub-expressions, each once."""

    def __init__(self, change: Callable[[Index], Index]) -> None:
        self.change = change
        self.done: dict[int, tuple[Expr, Expr]] = {}

    def expr(self, expr: Expr) -> Expr:
        found = self.done.get(id(expr))
        if found is None:
            found = self.done[id(expr)] = (expr, self._expr(expr))
        return found[1]

    def _expr(self, expr: Expr) -> Expr:
        if isinstance(expr, Load):
            return replace(expr, index=tuple(self.index(i) for i in expr.index))
        if isinstance(expr, Iota):
            return replace(expr, index=self.index(expr.index))
        return expr.rebuild(tuple(self.expr(c) for c in expr.children()))

    def index(self, index: Index) -> Index:
        result = Index.const(index.offset)
        for term, coefficient in index.terms:
            if isinstance(term, str):
                result = result + Index(((term, coefficient),))
            else:
                result = result + Index.of(self._atom(term)) * coefficient
        return self.change(result)

    def _atom(self, atom: FloorDiv | Mod | Value) -> FloorDiv | Mod | Value:
        if isinstance(atom, Value):
            return Value(self.expr(atom.expr))
        return replace(atom, index=self.index(atom.index))


def simplify(index: Index, ranges: Ranges) -> Index:
    """Quotients and remainders that are known become affine: (64 i + j) // 64 is i when 0 <= j < 64."""
    result = Index.const(index.offset)
    for term, coefficient in index.terms:
        part = Index(((term, 1),))
        if isinstance(term, FloorDiv | Mod):
            part = _simple_atom(term, ranges)
        result = result + part * coefficient
    return _recombine(straightened(result, ranges))


def _simple_atom(atom: FloorDiv | Mod, ranges: Ranges) -> Index:
    step = static(atom.divisor if isinstance(atom, FloorDiv) else atom.modulus)
    offset = static(atom.index.offset)
    if step is None or step <= 0 or offset is None:
        return Index.of(atom)
    whole = Index(tuple((t, c) for t, c in atom.index.terms if _divides(step, c)), offset // step * step)
    rest = atom.index - whole
    span = bounds(rest, ranges)
    if span is None or span[0] < 0 or span[1] >= step:
        return Index.of(atom)
    if isinstance(atom, Mod):
        return rest
    return Index(tuple((t, c // step) for t, c in whole.terms), offset // step)


def _divides(step: int, coefficient: Size) -> bool:
    value = static(coefficient)
    return value is not None and value % step == 0


def _recombine(index: Index) -> Index:
    """k (x // k) + x % k is x."""
    for term, coefficient in index.terms:
        if not isinstance(term, Mod):
            continue
        quotient = FloorDiv(term.index, term.modulus)
        if same(index.coefficient(quotient), coefficient * term.modulus):  # type: ignore[arg-type]
            without = index - Index.of(quotient) * (coefficient * term.modulus) - Index.of(term) * coefficient
            return _recombine(without + term.index * coefficient)
    return index


# ── flat addresses ───────────────────────────────────────────────────────────────────────────────────────────────


def _flat(program: Program, tensors: dict[str, Tensor], statement: Loop) -> Loop:
    """Every access without padding as a one-dimensional one, so that equal addresses are equal expressions."""
    ranges = ranges_of(statement)

    def view(name: str) -> str:
        base = root(program, name)
        found = program.tensors[base]
        tensors[flat_name(base)] = Tensor(flat_name(base), (1,), found.dtype, (1,), found.role, alias=base)
        return flat_name(base)

    def change(node: Expr) -> Expr | None:
        if not isinstance(node, Load):
            return None
        tensor = program.tensors[node.tensor]
        if node.fill is not None and not _all_inside(node, tensor, ranges):
            return None
        return replace(node, tensor=view(node.tensor), index=(flatten(tensor, node.index),), fill=None)

    statement = map_exprs(statement, change)
    tensor = program.tensors[statement.store.tensor]
    return replace(statement, store=Store(view(tensor.name), (flatten(tensor, statement.store.index),)))


def _all_inside(load: Load, tensor: Tensor, ranges: Ranges) -> bool:
    for index, size in zip(load.index, tensor.shape, strict=True):
        span, limit = bounds(index, ranges), static(size)
        if span is None or limit is None or span[0] < 0 or span[1] >= limit:
            return False
    return True


def map_exprs(statement: Loop, change: Callable[[Expr], Expr | None]) -> Loop:
    visit = _Mapper(change)
    if isinstance(statement, Reduce):
        return replace(statement, value=visit.expr(statement.value), epilogue=visit.expr(statement.epilogue))
    return replace(statement, value=visit.expr(statement.value))


class _Mapper:
    """Rewrites loads, also those inside gather indices, each shared node once."""

    def __init__(self, change: Callable[[Expr], Expr | None]) -> None:
        self.change = change
        self.done: dict[int, tuple[Expr, Expr]] = {}

    def expr(self, expr: Expr) -> Expr:
        found = self.done.get(id(expr))
        if found is None:
            found = self.done[id(expr)] = (expr, self._expr(expr))
        return found[1]

    def _expr(self, expr: Expr) -> Expr:
        if isinstance(expr, Load):
            expr = replace(expr, index=tuple(self._index(i) for i in expr.index))
        elif isinstance(expr, Iota):
            expr = replace(expr, index=self._index(expr.index))
        else:
            expr = expr.rebuild(tuple(self.expr(c) for c in expr.children()))
        return self.change(expr) or expr

    def _index(self, index: Index) -> Index:
        if index.is_affine:
            return index
        result = Index.const(index.offset)
        for term, coefficient in index.terms:
            if isinstance(term, Value):
                term = Value(self.expr(term.expr))
            elif not isinstance(term, str):
                term = replace(term, index=self._index(term.index))
            result = result + Index(((term, coefficient),))
        return result


def _padded(program: Program, statements: Sequence[Loop], name: str) -> bool:
    """Is a tensor read with padding? Then its coordinates matter and it stays in memory."""
    return any(
        load.fill is not None and root(program, load.tensor) == name for s in statements for load in program.loads(s)
    )


def _touched(program: Program, statement: object) -> set[str]:
    assert isinstance(statement, Map | Reduce | Scan)
    return {load.tensor for load in program.loads(statement)} | {statement.store.tensor}


# ── axes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def indices_of(statement: Loop) -> Iterator[Index]:
    """Every index of a statement: of loads (gather indices included), of iotas, of the store."""
    for expr in statement_exprs(statement):
        for node in expr.walk():
            if isinstance(node, Load):
                yield from node.index
            elif isinstance(node, Iota):
                yield node.index
    yield from statement.store.index


Change = Callable[[Index], Index]


def _substitution(bindings: Mapping[str, Index]) -> Change:
    return lambda index: index.substitute(bindings)


def _simplifier(statement: Loop, bindings: Mapping[str, Index] | None = None) -> Change:
    ranges = ranges_of(statement)
    return lambda index: simplify(index.substitute(bindings) if bindings else index, ranges)


def _drop_single(statements: tuple[Loop, ...], outer: tuple[Axis, ...]) -> tuple[tuple[Loop, ...], tuple[Axis, ...]]:
    """Axes of size 1 are their only value, 0 (a scanned axis stays)."""
    scans = {s.scan.name for s in statements if isinstance(s, Scan)}
    single = {n for n, size in axis_sizes(statements).items() if same(size, 1) and n not in scans}
    gone = {n: Index.const(0) for n in single}
    new: list[Loop] = []
    for s in statements:
        for name in single:
            s = _replace_axis(s, name, ())
        new.append(rewrite(s, _substitution(gone)))
    return tuple(new), tuple(a for a in outer if a.name not in single)


def _split_axes(
    program: Program, statements: tuple[Loop, ...], outer: tuple[Axis, ...]
) -> tuple[tuple[Loop, ...], tuple[Axis, ...]]:
    """Make two axes of one whose quotient or remainder by a divisor of its size is read.

    An axis along which memory is contiguous stays whole for small quotients: lanes along it read them by a shuffle.
    """
    whole = _walked(program, statements)
    while found := _splittable(statements, whole):
        axis, step = found
        size = static(axis.size)
        assert size is not None
        high, low = Axis(axis.name + "h", size // step), Axis(axis.name + "l", step)
        both = {axis.name: Index.axis(high.name) * step + Index.axis(low.name)}
        new: list[Loop] = []
        for s in statements:
            if axis.name in {a.name for a in (*s.axes, *inner_axes(s))}:
                s = _replace_axis(s, axis.name, (high, low))
                s = rewrite(s, _simplifier(s, both))
            new.append(s)
        statements = tuple(new)
        outer = tuple(b for a in outer for b in ((high, low) if a.name == axis.name else (a,)))
    return statements, outer


def _walked(program: Program, statements: Sequence[Loop]) -> frozenset[str]:
    """Axes along which some access is contiguous and no remainder is read."""
    walked: set[str] = set()
    bent: set[str] = set()
    for statement in statements:
        store = statement.store
        accesses = [(store.tensor, store.index), *((load.tensor, load.index) for load in program.loads(statement))]
        for name, place in accesses:
            flat = flatten(program.tensors[name], place)
            walked |= {t for t, c in flat.terms if isinstance(t, str) and static(c) == 1}
        for index in indices_of(statement):
            bent |= {n for t, _ in index.terms if isinstance(t, Mod) for n in t.index.axes()}
    return frozenset(walked - bent)


def _splittable(statements: Sequence[Loop], whole: frozenset[str]) -> tuple[Axis, int] | None:
    scans = {s.scan.name for s in statements if isinstance(s, Scan)}
    axes = {a.name: a for s in statements for a in (*s.axes, *inner_axes(s))}
    for statement in statements:
        for index in indices_of(statement):
            for atom in _quotients(index):
                step = static(atom.divisor if isinstance(atom, FloorDiv) else atom.modulus)
                terms = atom.index.terms
                if step is None or step <= 1 or not same(atom.index.offset, 0) or len(terms) != 1:
                    continue
                name, coefficient = terms[0]
                if not isinstance(name, str) or name in scans or not same(coefficient, 1):
                    continue
                if name in whole and isinstance(atom, FloorDiv) and step in REPEATS:
                    continue
                size = static(axes[name].size)
                if size is not None and size % step == 0 and size != step:
                    return axes[name], step
    return None


def _quotients(index: Index) -> Iterator[FloorDiv | Mod]:
    for term, _ in index.terms:
        if isinstance(term, FloorDiv | Mod):
            yield from _quotients(term.index)
            yield term


def _repeat_cheap(
    program: Program, statements: tuple[Loop, ...], outer: tuple[Axis, ...], local: tuple[str, ...]
) -> tuple[tuple[Loop, ...], tuple[Axis, ...]]:
    """Let the largest statement's slow axes be outer ones too where that repeats only a little work.

    A normalisation with stored statistics prepares a few numbers per channel: doing so again for every image lets the
    images be walked in the order of memory.
    """
    final = statements[-1]
    names = {a.name for a in outer}
    flat = flatten(program.tensors[final.store.tensor], final.store.index)
    strides = {a.name: static(flat.coefficient(a.name)) or 0 for a in final.axes}
    reach = max((strides[n] for n in names if n in strides), default=0)
    slow = [a for a in final.axes if a.name not in names and strides[a.name] > reach > 0]
    before = statements[:-1]
    repeated = math.prod(static(a.size) or CHEAP for a in slow) * sum(_work(s) for s in before)
    usable = isinstance(final, Map) and all(
        isinstance(s, Map) and root(program, s.store.tensor) in local and not _has_axis(s, slow) for s in before
    )
    if not slow or not usable or repeated * CHEAP > _work(final):
        return statements, outer
    widened = tuple(replace(s, axes=(*slow, *s.axes)) for s in before)
    return (*widened, final), (*slow, *outer)


def _work(statement: Loop) -> int:
    return math.prod(static(a.size) or 1 << 12 for a in (*statement.axes, *inner_axes(statement)))


def _has_axis(statement: Loop, axes: Sequence[Axis]) -> bool:
    return bool({a.name for a in axes} & {a.name for a in (*statement.axes, *inner_axes(statement))})


def _replace_axis(statement: Loop, name: str, new: tuple[Axis, ...]) -> Loop:
    def swap(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(b for a in axes for b in (new if a.name == name else (a,)))

    if isinstance(statement, Reduce):
        return replace(statement, axes=swap(statement.axes), raxes=swap(statement.raxes))
    if isinstance(statement, Scan) and statement.scan.name == name:
        return replace(statement, scan=new[-1])
    return replace(statement, axes=swap(statement.axes))


def _merge_axes(statements: tuple[Loop, ...], outer: tuple[Axis, ...]) -> tuple[tuple[Loop, ...], tuple[Axis, ...]]:
    """Make one axis of two that every access walks as one, until no pair is left."""
    while True:
        pair = next(_mergeable(statements, outer), None)
        if pair is None:
            return statements, outer
        first, second = pair
        merged = Axis(second.name, first.size * second.size)
        gone = {first.name: Index.const(0)}
        new: list[Loop] = []
        for s in statements:
            s = _replace_axis(_replace_axis(s, first.name, ()), second.name, (merged,))
            new.append(rewrite(s, _substitution(gone)))
        statements = tuple(new)
        outer = tuple(merged if a.name == second.name else a for a in outer if a.name != first.name)


def _mergeable(statements: Sequence[Loop], outer: tuple[Axis, ...]) -> Iterator[tuple[Axis, Axis]]:
    names = {a.name for a in outer}
    axes = {a.name: a for s in statements for a in (*s.axes, *inner_axes(s))}
    for a in axes.values():
        for b in axes.values():
            if a.name == b.name or (a.name in names) != (b.name in names):
                continue
            if all(_together(s, a, b) and _in_step(s, a.name, b) for s in statements):
                yield a, b


def _together(statement: Loop, a: Axis, b: Axis) -> bool:
    """Both axes play the same part in a statement (in an arg reduction also next to each other in this order)."""
    placing = {x.name for x in statement.axes}
    inner = [x.name for x in inner_axes(statement)]
    if isinstance(statement, Scan) and (a.name in inner or b.name in inner):
        return False
    if isinstance(statement, Reduce) and statement.op.startswith("arg") and a.name in inner and b.name in inner:
        return inner.index(b.name) == inner.index(a.name) + 1
    return (a.name in placing) == (b.name in placing) and (a.name in inner) == (b.name in inner)


def _in_step(statement: Loop, a: str, b: Axis) -> bool:
    return all(_index_in_step(i, a, b) for i in indices_of(statement))


def _index_in_step(index: Index, a: str, b: Axis) -> bool:
    if not same(index.coefficient(a), index.coefficient(b.name) * b.size):
        return False
    return all(_index_in_step(t.index, a, b) for t, _ in index.terms if isinstance(t, FloorDiv | Mod))


def axis_sizes(statements: Sequence[Loop]) -> Mapping[str, Size]:
    """Sizes of every axis in use."""
    return {a.name: a.size for s in statements for a in (*s.axes, *inner_axes(s))}
