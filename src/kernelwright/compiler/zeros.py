"""Where the program itself says that an operand, or a result, is zero: triangles, bands, masks that compare indices.

A triangular factor is ``where(j <= i, x, 0)`` in the program. Steps of a product at which a factor is known to be zero
add nothing, and results that a mask replaces need no product. What is known is a set of affine bounds; it depends on no
value. (Zero times infinity is not zero: the generated code skips steps only while the other factor is finite.)
"""

from __future__ import annotations

from dataclasses import dataclass

from ._dataflow import Flow, nodes, root, substitute
from ._visible import ranges
from .contraction import Contraction
from .program import Acc, Const, Expr, Index, Load, Map, Op, Program, Reduce


@dataclass(frozen=True)
class Zeros:
    """Steps that count satisfy ``low <= k < high`` for every low and high, results ``low <= n < high``; the others are
    indices over axes of the result. ``finite`` names the operands ("a", "b") that must be finite for this to hold."""

    k_lows: tuple[Index, ...] = ()
    k_highs: tuple[Index, ...] = ()
    n_lows: tuple[Index, ...] = ()
    n_highs: tuple[Index, ...] = ()
    finite: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.k_lows or self.k_highs or self.n_lows or self.n_highs)


Condition = tuple[Expr, bool]  # and whether it must hold


def known_zeros(program: Program, statement: Reduce, parts: Contraction) -> Zeros:
    """What the program says about a contraction with one summed axis and one axis of columns (else nothing)."""
    k = [x for x in parts.k if x.size != 1]
    n = [x for x in parts.n if x.size != 1]
    if len(k) != 1:
        return Zeros()
    position = program.statements.index(statement) if statement in program.statements else -1
    k_lows: tuple[Index, ...] = ()
    k_highs: tuple[Index, ...] = ()
    finite: set[str] = set()
    for role, other, load in (("a", "b", parts.a), ("b", "a", parts.b)):
        found, pure = _conditions(_written(program, load, position))
        bounds = [ranges(c, wanted, k[0].name)[:2] for c, wanted in found]
        lows, highs = (tuple(i for b in bounds for i in b[side]) for side in (0, 1))
        if lows or highs:
            k_lows, k_highs = k_lows + lows, k_highs + highs
            finite |= {other} if pure else {role, other}
    if not n:
        return Zeros(k_lows, k_highs, finite=frozenset(finite))
    results = [ranges(c, wanted, n[-1].name)[:2] for c, wanted in _needed(statement.epilogue)]
    n_lows, n_highs = (tuple(i for r in results for i in r[side]) for side in (0, 1))
    return Zeros(k_lows, k_highs, n_lows, n_highs, frozenset(finite))


def _written(program: Program, load: Load, position: int) -> Expr | None:
    """What the one Map that makes a temporary put where the load reads."""
    flow = Flow.of(program)
    writers = flow.writers.get(root(program, load.tensor), ())
    if len(writers) != 1 or not writers[0] < position or load.fill is not None:
        return None
    producer = program.statements[writers[0]]
    if not isinstance(producer, Map) or producer.store.tensor != load.tensor:
        return None
    bindings: dict[str, Index] = {}
    for written, read in zip(producer.store.index, load.index, strict=True):
        if len(written.terms) == 1 and written == Index.axis(str(written.terms[0][0])):
            bindings[str(written.terms[0][0])] = read
        elif written.terms:
            return None
    return substitute(producer.value, bindings)


def _conditions(expr: Expr | None) -> tuple[list[Condition], bool]:
    """What holds wherever the value is not zero, and whether it is zero elsewhere whatever was masked."""
    if not isinstance(expr, Op):
        return [], True
    if expr.name == "where":
        condition, yes, no = expr.args
        for kept, other, wanted in ((yes, no, True), (no, yes, False)):
            if isinstance(other, Const) and other.value == 0:
                inner, pure = _conditions(kept)
                return [(condition, wanted), *inner], pure
    if expr.name == "mul":
        left, right = _conditions(expr.args[0]), _conditions(expr.args[1])
        return left[0] + right[0], not (left[0] or right[0])
    if expr.name == "cast":
        return _conditions(expr.args[0])
    return [], True


def _needed(epilogue: Expr) -> list[Condition]:
    """What holds wherever the accumulator is looked at."""
    if not isinstance(epilogue, Op):
        return []
    using = [any(isinstance(n, Acc) for n in nodes(a)) for a in epilogue.args]
    if sum(using) != 1:
        return []
    side = using.index(True)
    inner = _needed(epilogue.args[side])
    return [(epilogue.args[0], side == 1), *inner] if epilogue.name == "where" and side else inner


__all__ = ["Zeros", "known_zeros"]
