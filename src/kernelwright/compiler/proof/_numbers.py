"""Integers of a kernel as affine forms over sizes, loop counters and what is defined by them.

Quotients, remainders, minima and choices are no affine forms: each becomes a variable of its own with a definition, a
conjunction of alternatives that determines it. Bounds of variables are only used to simplify; the solver decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

INFINITE = 1 << 62
Kind = Literal["size", "loop", "made", "data", "address"]
_NUMBERS = count()


@dataclass(eq=False)
class Variable:
    """``size``: fixed for the whole call; ``loop``: counts iterations, items, threads or lanes; ``made``: determined by
    others through its definition; ``data``: anything between its bounds (read from memory); ``address``: the same, of
    where memory lies, once for all values of the loops in ``within``."""

    kind: Kind
    name: str
    low: int = -INFINITE
    high: int = INFINITE
    definition: Condition = ()
    number: int = field(default_factory=lambda: next(_NUMBERS))
    within: tuple[Variable, ...] = ()
    asked: dict[object, tuple[Number, Number]] = field(default_factory=dict)  # what was made of it before

    @property
    def text(self) -> str:
        """The name under which the solver knows it."""
        return f"{self.kind[0]}{self.number}"


@dataclass(frozen=True, eq=False)
class Number:
    """``constant`` plus the sum of coefficients times variables."""

    terms: Mapping[Variable, int]
    constant: int = 0

    def __add__(self, other: Number | int) -> Number:
        other = number(other)
        terms = dict(self.terms)
        for variable, coefficient in other.terms.items():
            terms[variable] = terms.get(variable, 0) + coefficient
        return Number({v: c for v, c in terms.items() if c}, self.constant + other.constant)

    def __mul__(self, factor: int) -> Number:
        return Number({v: c * factor for v, c in self.terms.items()} if factor else {}, self.constant * factor)

    def __neg__(self) -> Number:
        return self * -1

    def __sub__(self, other: Number | int) -> Number:
        return self + number(other) * -1

    @property
    def value(self) -> int | None:
        """The constant that it is, if it is one."""
        return None if self.terms else self.constant

    @property
    def low(self) -> int:
        return self._bound(False)

    @property
    def high(self) -> int:
        return self._bound(True)

    def _bound(self, upper: bool) -> int:
        total = self.constant
        for variable, coefficient in self.terms.items():
            bound = variable.high if (coefficient > 0) is upper else variable.low
            if abs(bound) >= INFINITE:
                return INFINITE if upper else -INFINITE
            total += coefficient * bound
        return max(-INFINITE, min(INFINITE, total))

    def __str__(self) -> str:
        return " + ".join([*(f"{c}*{v.name}" for v, c in self.terms.items()), str(self.constant)])


def number(value: Number | int) -> Number:
    return value if isinstance(value, Number) else Number({}, value)


def variable(kind: Kind, name: str, low: int = -INFINITE, high: int = INFINITE) -> Number:
    """A new variable as a number."""
    return Number({Variable(kind, name, max(low, -INFINITE), min(high, INFINITE)): 1})


# ── what holds ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Fact:
    """``left >= 0``, or ``left == 0``."""

    left: Number
    equal: bool = False

    def always(self) -> bool:
        return (self.left.low == self.left.high == 0) if self.equal else self.left.low >= 0

    def never(self) -> bool:
        return (self.left.high < 0) or (self.equal and self.left.low > 0)


Clause = tuple[tuple[Fact, ...], ...]  # alternatives, each a conjunction
Condition = tuple[Clause, ...]  # all clauses hold

ALWAYS: Condition = ()
NEVER: Condition = ((),)


def holds(*facts: Fact) -> Condition:
    """All of these facts."""
    return tuple(((fact,),) for fact in facts if not fact.always())


def at_least(a: Number | int, b: Number | int) -> Condition:
    return holds(Fact(number(a) - b))


def less(a: Number | int, b: Number | int) -> Condition:
    return holds(Fact(number(b) - a - 1))


def equal(a: Number | int, b: Number | int) -> Condition:
    return holds(Fact(number(a) - b, equal=True))


def either(a: Condition, b: Condition) -> Condition:
    """One of two conditions holds."""
    if a == ALWAYS or b == ALWAYS:
        return ALWAYS
    return tuple((*x, *y) for x in a for y in b)


def negation(condition: Condition) -> Condition:
    """The condition does not hold."""
    result: Condition = NEVER
    for clause in condition:
        failed: Condition = ALWAYS
        for facts in clause:
            one: Clause = tuple(alternative for fact in facts for alternative in _opposite(fact))
            failed = (*failed, one)
        result = either(result, failed)
    return result


def _opposite(fact: Fact) -> Clause:
    below = (Fact(-fact.left - 1),)
    return (below, (Fact(fact.left - 1),)) if fact.equal else (below,)


def decided(condition: Condition) -> bool | None:
    """True or False where bounds of variables tell, else None."""
    found: bool | None = True
    for clause in condition:
        if any(all(f.always() for f in facts) for facts in clause):
            continue
        if all(any(f.never() for f in facts) for facts in clause):
            return False
        found = None
    return found


# ── what is defined by others ────────────────────────────────────────────────────────────────────────────────────


def define(name: str, low: int, high: int, definition: Callable[[Number], Condition]) -> Number:
    """A variable that its definition determines."""
    made = Variable("made", name, max(low, -INFINITE), min(high, INFINITE))
    result = Number({made: 1})
    made.definition = definition(result)
    return result


def divide(a: Number, by: int) -> tuple[Number, Number]:
    """Quotient (rounded down) and remainder by a positive constant."""
    whole = Number({v: c // by for v, c in a.terms.items() if c % by == 0}, a.constant // by)
    rest = Number({v: c for v, c in a.terms.items() if c % by}, a.constant % by)
    if rest.low >= 0 and rest.high < by:
        return whole, rest
    if not rest.terms:
        return whole + rest.constant // by, Number({}, rest.constant % by)
    asked, key = next(iter(rest.terms)).asked, (frozenset(rest.terms.items()), rest.constant, by)
    if key in asked:
        return whole + asked[key][0], asked[key][1]
    low = rest.low // by if rest.low > -INFINITE else -INFINITE
    high = rest.high // by if rest.high < INFINITE else INFINITE
    remainder = Variable("made", "remainder", 0, by - 1)
    left = Number({remainder: 1})
    quotient = define(
        "quotient",
        low,
        high,
        lambda q: (*equal(rest, q * by + left), ((Fact(left),),), ((Fact(number(by - 1) - left),),)),
    )
    remainder.definition = next(iter(quotient.terms)).definition
    asked[key] = quotient, left
    return whole + quotient, left


def choose(condition: Condition, a: Number, b: Number, name: str = "choice") -> Number:
    """``condition ? a : b``."""
    known = decided(condition)
    if known is not None:
        return a if known else b
    difference = a - b
    if difference.value == 0:
        return a
    return define(
        name,
        min(a.low, b.low),
        max(a.high, b.high),
        lambda made: either((*condition, *equal(made, a)), (*negation(condition), *equal(made, b))),
    )


def minimum(a: Number, b: Number) -> Number:
    gap = b - a
    if gap.low >= 0:
        return a
    if gap.high <= 0:
        return b
    asked, key = (
        next(iter(gap.terms)).asked,
        (frozenset(a.terms.items()), a.constant, frozenset(gap.terms.items()), gap.constant),
    )
    if key not in asked:
        low, high = min(a.low, b.low), min(a.high, b.high)
        smaller = define(
            "minimum", low, high, lambda m: (((Fact(gap), Fact(m - a, True)), (Fact(-gap - 1), Fact(m - b, True))),)
        )
        asked[key] = smaller, smaller
    return asked[key][0]


def maximum(a: Number, b: Number) -> Number:
    return -minimum(-a, -b)


def variables(numbers: Iterable[Number], conditions: Iterable[Condition]) -> list[Variable]:
    """All variables that these need, those of definitions too, in order of their making."""
    found: set[Variable] = set()
    waiting = [v for n in numbers for v in n.terms]
    waiting += [v for condition in conditions for v in mentioned(condition)]
    while waiting:
        made = waiting.pop()
        if made not in found:
            found.add(made)
            waiting += mentioned(made.definition)
    return sorted(found, key=lambda v: v.number)


def mentioned(condition: Condition) -> Iterator[Variable]:
    for clause in condition:
        for facts in clause:
            for fact in facts:
                yield from fact.left.terms
