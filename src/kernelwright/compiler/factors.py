"""Sums of products of several factors, in the order that costs least.

A sum of a matrix product is itself a sum of products, over more axes: ``sum_n sum_k x[m,k] w[n,k]``. Written out as one
sum over factors it can be taken in any order, and the cheapest may be far from the one that was written: here
``sum_k x[m,k] (sum_n w[n,k])``, a product with a vector. The same holds for means, for averages over the positions of
a convolution, for scalings and biases in between, and for chains of products.

Only axes matter here: which factor varies along which. Layouts, windows and padding stay in the indices of the factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from ._dataflow import Flow, covers, nodes, root, substitute
from ._fallback import Fresh, instead, linear, renamed
from .program import (
    Acc,
    Axis,
    Const,
    Expr,
    Index,
    Iota,
    Load,
    Map,
    Op,
    Program,
    Reduce,
    Size,
    Statement,
    Store,
)

MOST_FACTORS = 5
MEMORY = 4  # multiply-adds that take as long as reading or writing a number
WORTH = 0.7  # of the cost, from which on another order is taken
SMALL = 1 << 15  # multiply-adds that are not worth looking at

Scale = tuple[str, Expr]  # "mul" or "div", and by what


@dataclass(frozen=True)
class Factored:
    """``sum over raxes of the product of factors``, scaled by ``outer``, plus the sum of ``rest``."""

    factors: tuple[Expr, ...]
    raxes: tuple[Axis, ...]
    outer: tuple[Scale, ...]
    rest: Expr | None
    producers: tuple[Reduce, ...]  # whose results it does without


def reorder_products(program: Program) -> Program:
    """Take every sum of products in its cheapest order."""
    flow = Flow.of(program)
    for position, statement in enumerate(program.statements):
        if not isinstance(statement, Reduce) or statement.op != "sum" or statement.when:
            continue
        if statement.value.dtype not in ("float32", "float64") or not statement.raxes:
            continue
        found = _factored(program, flow, statement, position)
        order = found and _worthwhile(program, statement, found)
        if found and order:
            return reorder_products(_applied(program, statement, position, found, order))
    return program


# ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _factored(program: Program, flow: Flow, statement: Reduce, position: int) -> Factored | None:
    for load in {n: None for n in nodes(statement.value) if isinstance(n, Load)}:
        inner = _product(program, flow, load, position)
        parts = linear(statement.value, load) if inner else None
        if inner is None or parts is None:
            continue
        (bound, producer), (scales, rest) = inner, parts
        ends = linear(bound.epilogue, Acc)
        if ends is None:
            continue
        if ends[1] is not None:
            offset = ends[1]
            for how, by in scales:
                offset = Op(how, (offset, by), offset.dtype)
            rest = offset if rest is None else Op("add", (rest, offset), offset.dtype)
        scales = (*scales, *ends[0])
        raxes = (*statement.raxes, *bound.raxes)
        factors, producers, inner_raxes = _expanded(program, flow, bound.value, producer)
        producers = (bound, *producers)
        raxes = (*raxes, *inner_raxes)
        outer = tuple(s for s in scales if not s[1].axes() & {a.name for a in statement.raxes})
        for how, by in scales:
            if by.axes() & {a.name for a in statement.raxes}:
                more, others, added = (
                    _expanded(program, flow, by, position) if how == "mul" else ((_inverse(by),), (), ())
                )
                factors, producers, raxes = (*factors, *more), (*producers, *others), (*raxes, *added)
        used = set().union(*(f.axes() for f in factors))
        affine = all(i.is_affine for f in factors for n in nodes(f) if isinstance(n, Load) for i in n.index)
        if len(factors) <= MOST_FACTORS and affine and all(a.name in used for a in raxes):
            return Factored(tuple(factors), raxes, outer, rest, producers)
    return None


def _inverse(expr: Expr) -> Expr:
    return Op("div", (Const(1.0, expr.dtype), expr), expr.dtype)


def _product(program: Program, flow: Flow, load: Load, position: int) -> tuple[Reduce, int] | None:
    """The sum of products that a load reads and nothing else does, over the load's own axes; and where it is."""
    name = load.tensor
    writers, readers = flow.writers.get(name, ()), flow.readers.get(root(program, name), ())
    if program.tensors[name].role != "temp" or len(writers) != 1 or readers != (position,) or load.fill is not None:
        return None
    producer = program.statements[writers[0]]
    if not isinstance(producer, Reduce) or producer.op != "sum" or producer.when or writers[0] >= position:
        return None
    if producer.value.dtype != load.dtype or producer.store.tensor != name or not covers(program, producer, name):
        return None
    bindings: dict[str, Index] = {}
    for written, read in zip(producer.store.index, load.index, strict=True):
        if len(written.terms) == 1 and written == Index.axis(str(written.terms[0][0])) and read.is_affine:
            bindings[str(written.terms[0][0])] = read
        elif written.terms or written.offset != 0:
            return None
    value, epilogue = substitute(producer.value, bindings), substitute(producer.epilogue, bindings)
    return replace(producer, value=value, epilogue=epilogue), writers[0]


def _expanded(
    program: Program, flow: Flow, expr: Expr, position: int
) -> tuple[tuple[Expr, ...], tuple[Reduce, ...], tuple[Axis, ...]]:
    """The factors of an expression that the statement at ``position`` reads, through the products it is made of."""
    if isinstance(expr, Op) and expr.name == "mul":
        parts = [_expanded(program, flow, a, position) for a in expr.args]
        return tuple(f for p in parts for f in p[0]), parts[0][1] + parts[1][1], parts[0][2] + parts[1][2]
    inner = _product(program, flow, expr, position) if isinstance(expr, Load) else None
    if inner is None or not isinstance(inner[0].epilogue, Acc):
        return (expr,), (), ()
    factors, producers, raxes = _expanded(program, flow, inner[0].value, inner[1])
    return factors, (inner[0], *producers), (*inner[0].raxes, *raxes)


# ── choosing ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Node:
    """A step: one factor, or the product of two nodes; summed over ``raxes``, it varies along ``axes``."""

    axes: frozenset[str]
    raxes: frozenset[str]
    cost: float
    factor: int = -1
    parts: tuple[Node, ...] = ()

    def leaves(self) -> Iterator[int]:
        """The factors it is made of, and in which order."""
        if self.parts:
            for part in self.parts:
                yield from part.leaves()
        else:
            yield self.factor


def _worthwhile(program: Program, statement: Reduce, found: Factored) -> Node | None:
    """The cheapest order, if it is much cheaper than the written one at both ends of every size's range."""
    chosen = None
    for end in ("hi", "lo"):
        at = {s.name: min(getattr(s, end), 1 << 12) for s in program.symbols}
        sizes = {a.name: _number(a.size, at) for a in (*statement.axes, *found.raxes)}
        before = _cost(statement, at) + sum(_cost(p, at) for p in found.producers)
        order = chosen or _cheapest(found, {a.name for a in statement.axes}, sizes)
        after = _again(order, found, sizes) + 2 * MEMORY * _points({a.name for a in statement.axes}, sizes)
        if found.rest is not None:
            after += MEMORY * _points(found.rest.axes(), sizes)
        if (end == "hi" and before < SMALL) or after > WORTH * before:
            return None
        chosen = order
    return chosen


def _number(size: Size, at: dict[str, int]) -> float:
    return float(size) if isinstance(size, int) else float(size.subs({s: at[str(s)] for s in size.free_symbols}))


def _points(axes: Iterable[str], sizes: dict[str, float]) -> float:
    return math.prod(sizes[a] for a in axes)


def _cost(statement: Reduce, at: dict[str, int]) -> float:
    sizes = {a.name: _number(a.size, at) for a in (*statement.axes, *statement.raxes)}
    loads = [n for n in nodes(statement.value) if isinstance(n, Load)]
    memory = sum(_points(n.axes() & set(sizes), sizes) for n in loads) + _points(
        [a.name for a in statement.axes], sizes
    )
    return _points(sizes, sizes) + MEMORY * memory


def _again(node: Node, found: Factored, sizes: dict[str, float]) -> float:
    """The cost of an order at these sizes."""
    below = sum(_again(p, found, sizes) for p in node.parts)
    read = [p.axes for p in node.parts] or [node.axes | node.raxes]
    if not node.parts and not node.raxes:
        return 0.0
    memory = sum(_points(a, sizes) for a in (*read, node.axes))
    return below + _points(node.axes | node.raxes, sizes) + MEMORY * memory


def _cheapest(found: Factored, kept: set[str], sizes: dict[str, float]) -> Node:
    """Over all subsets of the factors, smallest first: the best way to have their product."""
    axes = [f.axes() for f in found.factors]
    every = range(len(axes))
    best: dict[frozenset[int], Node] = {}
    for count in range(1, len(axes) + 1):
        for chosen in combinations(every, count):
            subset = frozenset(chosen)
            alive = kept.union(*(axes[k] for k in every if k not in subset))
            ways = [_leaf(found, chosen[0], alive, sizes)] if count == 1 else _joins(found, best, subset, alive, sizes)
            best[subset] = min(ways, key=lambda n: n.cost)
    return best[frozenset(every)]


def _leaf(found: Factored, factor: int, alive: set[str], sizes: dict[str, float]) -> Node:
    axes = found.factors[factor].axes()
    node = Node(axes & alive, axes - alive, 0.0, factor)
    return replace(node, cost=_again(node, found, sizes))


def _joins(
    found: Factored, best: dict[frozenset[int], Node], subset: frozenset[int], alive: set[str], sizes: dict[str, float]
) -> list[Node]:
    first, *others = sorted(subset)
    ways = []
    for count in range(len(others)):
        for more in combinations(others, count):
            left = best[frozenset((first, *more))]
            right = best[subset - {first, *more}]
            axes = left.axes | right.axes
            node = Node(axes & alive, axes - alive, 0.0, parts=(left, right))
            ways.append(replace(node, cost=_again(node, found, sizes)))
    return ways


# ── rewriting ────────────────────────────────────────────────────────────────────────────────────────────────────


def _applied(program: Program, statement: Reduce, position: int, found: Factored, order: Node) -> Program:
    fresh = Fresh(program)
    axes = (*statement.axes, *found.raxes)
    quick: list[Statement] = []
    dtype = statement.value.dtype
    total: Expr = Acc(dtype)
    for how, by in found.outer:
        total = Op(how, (total, by), dtype)
    if found.rest is not None:
        total = Op("add", (total, _rest(fresh, statement, found.rest, quick)), dtype)
    value, raxes = _value(fresh, found, order, axes, quick)
    return instead(program, fresh, position, statement, value, raxes, total, quick)


def _value(
    fresh: Fresh, found: Factored, node: Node, axes: tuple[Axis, ...], quick: list[Statement]
) -> tuple[Expr, tuple[Axis, ...]]:
    """What a node sums, over which axes; nodes below it become temporaries."""
    raxes = tuple(a for a in axes if a.name in node.raxes)
    if not node.parts:
        return found.factors[node.factor], raxes
    operands = []
    for part in node.parts:
        value, inner = _value(fresh, found, part, axes, quick)
        if inner or not isinstance(value, Load):
            value = _kept(fresh, value, tuple(a for a in axes if a.name in part.axes), inner, quick)
        operands.append(value)
    return Op("mul", (operands[0], operands[1]), operands[0].dtype), raxes


def _kept(fresh: Fresh, value: Expr, axes: tuple[Axis, ...], raxes: tuple[Axis, ...], quick: list[Statement]) -> Load:
    """A value as a temporary over its axes."""
    made = fresh.tensor(tuple(a.size for a in axes), value.dtype)
    index = tuple(Index.axis(a.name) for a in axes)
    store = Store(made.name, index)
    statement = Reduce(axes, raxes, "sum", value, store, Acc(value.dtype)) if raxes else Map(axes, value, store)
    quick.append(renamed(fresh, statement))
    return Load(made.name, index, value.dtype)


def _rest(fresh: Fresh, statement: Reduce, rest: Expr, quick: list[Statement]) -> Expr:
    """What is added to every term, summed up."""
    inside = rest.axes()
    summed = tuple(a for a in statement.raxes if a.name in inside)
    if summed:
        rest = _kept(fresh, rest, tuple(a for a in statement.axes if a.name in inside), summed, quick)
    for axis in statement.raxes:
        if axis.name not in inside:
            count = Const(float(axis.size), rest.dtype) if isinstance(axis.size, int) else None
            rest = Op("mul", (rest, count or Iota(Index.const(axis.size), rest.dtype)), rest.dtype)
    return rest


__all__ = ["reorder_products"]
