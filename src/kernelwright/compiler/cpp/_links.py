"""Which reductions can follow another one block by block, although they read its result.

The sum of ``exp(x - m)`` reads the maximum ``m`` of the same row, the sum of ``(x - mean) ** 2`` reads the sum of the
same row. Neither needs the finished result: a partial sum can be moved from one shift to another by a factor, and from
one centre to another by a term. So one pass over the row does both, whatever the operators were called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..program import Const, Expr, Load, Op, Program, Reduce
from ._stages import Stage

FLOATS = ("float32", "float64")


@dataclass(frozen=True)
class Link:
    """``later`` reads, through ``load``, what ``earlier`` (a number among the first reductions) leaves.

    ``kind`` is "shift" (a sum of terms with the factor ``exp(-slope * load)``) or "centre" (a sum of
    ``(value - load) ** 2``).
    """

    kind: str
    earlier: int
    load: Load
    slope: float = 1.0


def links(program: Program, first: Stage, second: Stage) -> tuple[Link | None, ...] | None:
    """How each reduction of the second stage follows from the first; None entries do not read it.

    None if the two cannot run block by block.
    """
    if not first.reduces or len(first.reduces) != len(first.statements) or first.axes != second.axes:
        return None
    if not second.reduces or len(second.reduces) != len(second.statements) or first.inner != second.inner:
        return None
    found: list[Link | None] = []
    written = {s.store.tensor for s in first.reduces}
    for later in second.reduces:
        loads = {n for n in later.value.walk() if isinstance(n, Load) and n.tensor in written}
        if not loads:
            found.append(None)
            continue
        link = _link(first.reduces, later, loads.pop()) if len(loads) == 1 else None
        if link is None:
            return None
        found.append(link)
    aliases = {program.tensors[t].alias for t in written} - {None}
    others = {n.tensor for s in second.reduces for n in s.value.walk() if isinstance(n, Load)} - written
    if not any(found) or any(t in aliases or program.tensors[t].alias in written | aliases for t in others):
        return None
    return tuple(found)


def linked(earlier: Sequence[Reduce], later: Reduce) -> Link | None:
    """How one reduction follows from earlier ones over the same points, if it reads exactly one of them."""
    written = {s.store.tensor for s in earlier}
    loads = {n for n in later.value.walk() if isinstance(n, Load) and n.tensor in written}
    return _link(earlier, later, loads.pop()) if len(loads) == 1 else None


def _link(earlier: Sequence[Reduce], later: Reduce, load: Load) -> Link | None:
    if later.op != "sum" or later.value.dtype not in FLOATS:
        return None
    number = next(n for n, s in enumerate(earlier) if s.store.tensor == load.tensor)
    source = earlier[number]
    if load.index != source.store.index or source.value.dtype != later.value.dtype:
        return None
    if source.op == "max" and (slope := _slope(later.value, source.value, load)):
        return Link("shift", number, load, slope)
    if source.op == "sum" and _is_square(later.value, source.value, load):
        return Link("centre", number, load)
    return None


def _slope(value: Expr, top: Expr, load: Load) -> float | None:
    """k where the value is ``exp(k * (top - load))``, perhaps times factors that do not read the load."""
    if not isinstance(value, Op):
        return None
    if value.name == "exp":
        return _difference(value.args[0], top, load)
    if value.name == "mul":
        readers = [a for a in value.args if load in set(a.walk())]
        return _slope(readers[0], top, load) if len(readers) == 1 else None
    if value.name == "div" and load not in set(value.args[1].walk()):
        return _slope(value.args[0], top, load)
    return None


def _difference(value: Expr, top: Expr, load: Load) -> float | None:
    if not isinstance(value, Op) or len(value.args) != 2:
        return None
    a, b = value.args
    if value.name == "sub":
        return 1.0 if a == top and b == load else None
    if isinstance(a, Const) and value.name == "mul":
        a, b = b, a
    if value.name in ("mul", "div") and isinstance(b, Const) and b.value > 0 and _difference(a, top, load) == 1.0:
        slope = float(b.value) if value.name == "mul" else 1.0 / float(b.value)
        return slope if 0 < slope < float("inf") else None
    return None


def _is_square(value: Expr, term: Expr, load: Load) -> bool:
    """Is the value ``(term - load) ** 2``?"""
    if not isinstance(value, Op):
        return False
    if value.name == "square":
        (root,) = value.args
    elif (value.name == "mul" and value.args[0] == value.args[1]) or (
        value.name == "pow" and isinstance(value.args[1], Const) and value.args[1].value == 2
    ):
        root = value.args[0]
    else:
        return False
    return isinstance(root, Op) and root.name == "sub" and set(root.args) == {term, load} and term != load
