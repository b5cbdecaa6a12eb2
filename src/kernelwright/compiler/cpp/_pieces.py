"""Cuts an axis where a reflected, clamped or wrapped index bends, so that each piece walks memory in plain steps.

An index such as ``|i - 5|`` is a value to be computed lane by lane; where the sign of ``i - 5`` is known it is
``5 - i`` or ``i - 5``, and the loads of a whole vector lie side by side.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from ..program import Const, Expr, Index, Iota, Op, Value
from ._indices import Ranges, bounds, static

MOST = 6  # pieces of an axis: more would cost code and leave short loops


@dataclass
class _Bend(Exception):
    """The sign of an index is not known: it changes along its axes."""

    index: Index


def straightened(index: Index, ranges: Ranges) -> Index:
    """The index with computed values replaced by plain steps wherever the ranges decide every case."""
    if index.is_affine:
        return index
    result = Index.const(index.offset)
    for term, coefficient in index.terms:
        part = Index(((term, 1),))
        if isinstance(term, Value):
            with suppress(_Bend):
                part = _affine(term.expr, ranges) or part
        result = result + part * coefficient
    return result


def pieces(indices: list[Index], axis: str, ranges: Ranges) -> list[tuple[int, int]]:
    """Inclusive ranges of ``axis`` in each of which no index bends along it; empty where there is nothing to gain."""
    values = [t for i in indices for t, _ in i.terms if isinstance(t, Value) and axis in Index.of(t).axes()]
    if not values or axis not in ranges:
        return []
    found: list[tuple[int, int]] = []
    waiting = [ranges[axis]]
    while waiting:
        low, high = waiting.pop()
        try:
            if any(_affine(v.expr, {**ranges, axis: (low, high)}) is None for v in values):
                return []
        except _Bend as bend:
            cut = _cut(bend.index, axis, low, high)
            if cut is None or len(found) + len(waiting) + 2 > MOST:
                return []
            waiting += [(cut, high), (low, cut - 1)]
            continue
        found.append((low, high))
    return found


def _cut(index: Index, axis: str, low: int, high: int) -> int | None:
    """Where along the axis the index changes its sign: the first point of the second part."""
    step, offset = static(index.coefficient(axis)), static(index.offset)
    if step not in (1, -1) or offset is None or len(index.terms) != 1:
        return None
    cut = -offset if step == 1 else offset + 1  # the first index >= 0, or the first below 0
    return cut if low < cut <= high else None


def _affine(expr: Expr, ranges: Ranges) -> Index | None:
    """The value of an integer expression as an affine index, None if it is none; raises :class:`_Bend`."""
    if isinstance(expr, Const):
        return Index.const(int(expr.value)) if "int" in expr.dtype else None
    if isinstance(expr, Iota):
        return expr.index if expr.index.is_affine and "int" in expr.dtype else None
    if not isinstance(expr, Op) or expr.dtype not in ("int64", "int32"):
        return None
    if expr.name == "where":
        chosen = _decided(expr.args[0], ranges)
        return None if chosen is None else _affine(expr.args[1 if chosen else 2], ranges)
    args = [_affine(a, ranges) for a in expr.args]
    known = [a for a in args if a is not None]
    if len(known) != len(args):
        return None
    return _combined(expr.name, known, ranges)


def _combined(name: str, args: list[Index], ranges: Ranges) -> Index | None:
    first, second = args[0], args[-1]
    if name == "cast":
        return first
    if name == "neg":
        return first * -1
    if name == "add":
        return first + second
    if name == "sub":
        return first - second
    if name == "abs":
        return first if _sign(first, ranges) >= 0 else first * -1
    if name == "minimum":
        return second if _sign(first - second, ranges) >= 0 else first
    if name == "maximum":
        return first if _sign(first - second, ranges) >= 0 else second
    return None


def _decided(expr: Expr, ranges: Ranges) -> bool | None:
    """The truth of a comparison of integers."""
    if not isinstance(expr, Op) or expr.name not in ("lt", "ge"):
        return None
    first, second = (_affine(a, ranges) for a in expr.args)
    if first is None or second is None:
        return None
    return (_sign(first - second, ranges) >= 0) == (expr.name == "ge")


def _sign(index: Index, ranges: Ranges) -> int:
    """1 where the index is at least 0 throughout, -1 where it is below."""
    span = bounds(index, ranges)
    if span is None:
        raise _Bend(index)
    if span[0] >= 0:
        return 1
    if span[1] < 0:
        return -1
    raise _Bend(index)
