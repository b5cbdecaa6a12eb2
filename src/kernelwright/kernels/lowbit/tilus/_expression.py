"""Where a tile begins: small integer arithmetic over sizes, block numbers and loop counters, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Expression:
    """``op`` is "const" (``value``), "name" (``name``), or one of ``+ * // %`` of ``parts``; nothing is negative.

    >>> block = Expression.of("block_x")
    >>> (block * 64 + 16).value_in({"block_x": 2}), (block * 64 + 16).divisor, (block * 64 + 16).cpp
    (144, 16, '(block_x * 64 + 16)')
    """

    op: str
    value: int = 0
    name: str = ""
    parts: tuple[Expression, ...] = ()

    @staticmethod
    def of(what: Expression | int | str) -> Expression:
        """A number, a name, or an expression as it is."""
        if isinstance(what, Expression):
            return what
        return Expression("const", value=what) if isinstance(what, int) else Expression("name", name=what)

    def __add__(self, other: Expression | int) -> Expression:
        return self if other == 0 else Expression("+", parts=(self, Expression.of(other)))

    def __mul__(self, other: Expression | int) -> Expression:
        return self if other == 1 else Expression("*", parts=(self, Expression.of(other)))

    def __floordiv__(self, other: int) -> Expression:
        return self if other == 1 else Expression("//", parts=(self, Expression.of(other)))

    def __mod__(self, other: int) -> Expression:
        return Expression("%", parts=(self, Expression.of(other)))

    def value_in(self, names: Mapping[str, int]) -> int:
        """Its value where the names have these values."""
        if self.op in ("const", "name"):
            return self.value if self.op == "const" else names[self.name]
        a, b = (part.value_in(names) for part in self.parts)
        return {"+": a + b, "*": a * b}[self.op] if self.op in "+*" else a // b if self.op == "//" else a % b

    @property
    def divisor(self) -> int:
        """A number that divides it whatever the names stand for; 0 divides only 0."""
        if self.op in ("const", "name"):
            return self.value if self.op == "const" else 1
        a, b = (part.divisor for part in self.parts)
        return a * b if self.op == "*" else 1 if self.op == "//" else math.gcd(a, b)

    @property
    def cpp(self) -> str:
        """As C++."""
        if self.op in ("const", "name"):
            return str(self.value) if self.op == "const" else self.name
        return f"({f' {self.op[0]} '.join(part.cpp for part in self.parts)})"
