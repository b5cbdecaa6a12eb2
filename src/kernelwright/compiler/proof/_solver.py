"""Questions about accesses, asked of isl: a well-kept library for sets of integers with affine constraints.

Sets are handed over as text, which isl reads itself. A question that takes too many steps has no answer, and then
nothing is proved.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from ._numbers import Condition, Fact, Number, Variable, variables

STEPS = 4_000_000  # of isl's own count, for one question


class Unanswered(Exception):
    """isl gave up."""


class Solver:
    """Reads sets and maps; all questions share one context. ``until`` (``time.thread_time``) ends its patience."""

    def __init__(self, until: float) -> None:
        self._until = until

    @cached_property
    def _isl(self):  # type: ignore[no-untyped-def]
        import islpy

        return islpy

    @cached_property
    def _context(self):  # type: ignore[no-untyped-def]
        return self._isl.Context()

    def ask(self, question):  # type: ignore[no-untyped-def]
        """``question(islpy, context)`` with a limit on its steps."""
        if time.thread_time() > self._until:
            raise Unanswered("the time is up")
        context = self._context
        context.reset_operations()
        context.set_max_operations(STEPS)
        try:
            return question(self._isl, context)
        except self._isl.Error as fault:
            raise Unanswered("the solver gave up") from fault
        finally:
            context.set_max_operations(0)

    def impossible(self, conditions: Sequence[Condition]) -> bool:
        """Is there no way for all conditions to hold?"""
        text = "{ [] : " + _exists(variables([], conditions), conditions) + " }"
        return bool(self.ask(lambda isl, context: isl.Set.read_from_str(context, text).is_empty()))

    def extreme(self, index: Number, condition: Condition, sign: int) -> int | None:
        """The greatest (sign 1) or least (sign -1) value of ``index``; None without a bound."""
        text = image([index], condition)

        def find(isl, context):  # type: ignore[no-untyped-def]
            found = isl.Set.read_from_str(context, text)
            if found.is_empty():
                return 0
            value = found.dim_max_val(0) if sign > 0 else found.dim_min_val(0)
            return int(value.to_python()) if value.is_int() else None

        return self.ask(find)

    def covers(self, wholes: Sequence[str], parts: Sequence[str]) -> bool:
        """Is every point of ``wholes`` in one of the parts?"""

        def find(isl, context):  # type: ignore[no-untyped-def]
            left = isl.Set.read_from_str(context, wholes[0])
            for whole in wholes[1:]:
                left = left.union(isl.Set.read_from_str(context, whole))
            for part in parts:
                left = left.subtract(isl.Set.read_from_str(context, part))
                if left.is_empty():
                    return True
            return bool(left.is_empty())

        return bool(self.ask(find))

    def injective(self, text: str) -> bool:
        """Do different inputs of a relation have different places?"""
        return bool(self.ask(lambda isl, context: isl.Map.read_from_str(context, text).is_injective()))


def image(index: Sequence[Number], condition: Condition, sizes: Iterable[Variable] = ()) -> str:
    """The places ``index`` takes under a condition, as isl reads it; ``sizes`` stay parameters."""
    names = [f"x{d}" for d in range(len(index))]
    kept = set(sizes)
    free = [v for v in variables(index, [condition]) if v not in kept]
    equations = " and ".join(f"{name} = {affine(n)}" for name, n in zip(names, index, strict=True))
    return f"{_parameters(kept)}{{ [{', '.join(names)}] : {_exists(free, [condition], equations)} }}"


def relation(inputs: Sequence[Variable], index: Sequence[Number], condition: Condition) -> str:
    """From values of ``inputs`` to places."""
    names = [f"x{d}" for d in range(len(index))]
    every = variables([*index, *(Number({v: 1}) for v in inputs)], [condition])
    sizes = [v for v in every if v.kind == "size" and v not in inputs]
    free = [v for v in every if v not in inputs and v not in sizes]
    equations = " and ".join(f"{name} = {affine(n)}" for name, n in zip(names, index, strict=True))
    domain = ", ".join(v.text for v in inputs)
    bounds = bounds_of(inputs)
    body = _exists(free, [condition], " and ".join(x for x in (equations, bounds) if x), also=inputs)
    return f"{_parameters(sizes)}{{ [{domain}] -> [{', '.join(names)}] : {body} }}"


def box(shape: Sequence[Number], sizes: Iterable[Variable] = ()) -> str:
    names = [f"x{d}" for d in range(len(shape))]
    inside = " and ".join(f"0 <= {x} < {affine(n)}" for x, n in zip(names, shape, strict=True)) or "0 = 0"
    own = set(sizes)
    bounds = bounds_of(sorted(own, key=lambda v: v.number))
    return f"{_parameters(own)}{{ [{', '.join(names)}] : {inside}{' and ' + bounds if bounds else ''} }}"


def bounds_of(found: Iterable[Variable]) -> str:
    return " and ".join(x for v in found for x in _bounds(v))


def affine(n: Number, names: Mapping[Variable, str] | None = None) -> str:
    """A number as isl reads it."""
    named = names or {}
    parts = [f"{c}*{named.get(v, v.text)}" for v, c in n.terms.items()]
    return " + ".join([*parts, str(n.constant)]) if n.constant or not parts else " + ".join(parts)


def _parameters(sizes: Iterable[Variable]) -> str:
    names = [v.text for v in sorted(sizes, key=lambda v: v.number)]
    return f"[{', '.join(names)}] -> " if names else ""


def _exists(
    free: Sequence[Variable], conditions: Sequence[Condition], extra: str = "", also: Sequence[Variable] = ()
) -> str:
    parts = [extra] if extra else []
    clauses = [clause for condition in conditions for clause in condition]
    clauses += [clause for v in dict.fromkeys((*free, *also)) for clause in v.definition]
    parts += dict.fromkeys(_clause(clause) for clause in clauses)
    parts += [x for v in free for x in _bounds(v)]
    body = " and ".join(parts) or "0 = 0"
    return f"exists ({', '.join(v.text for v in free)} : {body})" if free else body


def _bounds(v: Variable) -> list[str]:
    found = []
    if v.kind != "made" and v.low > -(1 << 61):
        found.append(f"{v.text} >= {v.low}")
    if v.kind != "made" and v.high < 1 << 61:
        found.append(f"{v.text} <= {v.high}")
    return found


def _clause(clause: tuple[tuple[Fact, ...], ...]) -> str:
    if not clause:
        return "0 = 1"
    found = [" and ".join(_fact(f) for f in facts) or "0 = 0" for facts in clause]
    return found[0] if len(found) == 1 else "(" + " or ".join(f"({x})" for x in found) + ")"


def _fact(fact: Fact) -> str:
    return f"{affine(fact.left)} {'=' if fact.equal else '>='} 0"
