"""Arithmetic on sizes, which are ints or sympy expressions: equality, exact division, runs of dims of equal size."""

from __future__ import annotations

import sympy

from .program import Size


def same(a: Size, b: Size) -> bool:
    """Whether two sizes are equal for every value of the symbols."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return bool(sympy.expand(sympy.sympify(a) - sympy.sympify(b)) == 0)


def is_one(size: Size) -> bool:
    return isinstance(size, int | sympy.Integer) and int(size) == 1


def numel(shape: tuple[Size, ...]) -> Size:
    total: Size = 1
    for size in shape:
        total = total * size
    return total


def same_shape(a: tuple[Size, ...], b: tuple[Size, ...]) -> bool:
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


def exact_quotient(a: Size, b: Size) -> Size | None:
    """a / b when b divides a for every value of the symbols, else None."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else None
    if same(b, 0):
        return None
    quotient = sympy.cancel(sympy.sympify(a) / sympy.sympify(b))
    numerator, denominator = sympy.fraction(sympy.together(quotient))
    if denominator != 1 or not _integral(numerator):
        return None
    return int(quotient) if quotient.is_Integer else quotient


def _integral(expr: sympy.Expr) -> bool:
    """Whether every coefficient of the expanded expression is an integer."""
    return all(c.is_Integer for c in sympy.expand(expr).as_coefficients_dict().values())


def dims_by_size(old: tuple[Size, ...], new: tuple[Size, ...]) -> list[tuple[list[int], list[int]]] | None:
    """Pair runs of old and new dims of equal product, as short as possible; None if sizes cannot be compared."""
    pairs: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        if i < len(old) and is_one(old[i]):
            pairs.append(([i], []))
            i += 1
        elif j < len(new) and is_one(new[j]):
            pairs.append(([], [j]))
            j += 1
        elif i >= len(old) or j >= len(new):
            return None
        else:
            run = _run(old, new, i, j)
            if run is None:
                return None
            pairs.append(run)
            i, j = run[0][-1] + 1, run[1][-1] + 1
    return pairs


def _run(old: tuple[Size, ...], new: tuple[Size, ...], i: int, j: int) -> tuple[list[int], list[int]] | None:
    """The shortest runs from i and j with the same product."""
    a, b, left, right = [i], [j], old[i], new[j]
    while not same(left, right):
        grow_left = _grow_left(left, right, a[-1] + 1 < len(old), b[-1] + 1 < len(new))
        if grow_left is None:
            return None
        if grow_left:
            a.append(a[-1] + 1)
            left = left * old[a[-1]]
        else:
            b.append(b[-1] + 1)
            right = right * new[b[-1]]
    return a, b


def _grow_left(left: Size, right: Size, more_left: bool, more_right: bool) -> bool | None:
    """Which product is the smaller and can still grow."""
    if isinstance(left, int) and isinstance(right, int):
        smaller = left < right
    elif exact_quotient(right, left) is not None:
        smaller = True
    elif exact_quotient(left, right) is not None:
        smaller = False
    else:
        return None
    return smaller if (more_left if smaller else more_right) else None
