"""Sizes and indices as C++ int64 expressions, and what is known of their range."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import sympy

from ...errors import Unsupported
from ..program import FloorDiv, Index, Mod, Size, Tensor, Value

Ranges = Mapping[str, tuple[int, int]]  # axis -> inclusive bounds of its variable


def static(size: Size) -> int | None:
    """The size as a Python int, or None if it holds symbols."""
    if isinstance(size, int):
        return size
    return int(size) if size.is_Integer else None


def size_text(size: Size) -> str:
    """A size as a C++ expression over ``int64_t`` variables named as the symbols."""
    value = static(size)
    if value is not None:
        return str(value)
    return _sympy_text(sympy.expand(size))


def _sympy_text(expr: sympy.Expr) -> str:
    if expr.is_Integer:
        return str(int(expr))
    if expr.is_Symbol:
        return str(expr)
    args = [_sympy_text(a) for a in expr.args]
    if expr.is_Add:
        return "(" + " + ".join(args) + ")"
    if expr.is_Mul:
        numerator, denominator = expr.as_numer_denom()
        if denominator != 1:
            return f"({_sympy_text(numerator)} / {_sympy_text(denominator)})"
        return "(" + " * ".join(args) + ")"
    if expr.is_Pow and expr.args[1].is_Integer and int(expr.args[1]) > 0:
        return "(" + " * ".join([args[0]] * int(expr.args[1])) + ")"
    return _function_text(expr, args)


def _function_text(expr: sympy.Expr, args: list[str]) -> str:
    name = type(expr).__name__
    if name == "floor":
        numerator, denominator = expr.args[0].as_numer_denom()
        return f"kw::floor_div({_sympy_text(numerator)}, {_sympy_text(denominator)})"
    if name in ("FloorDiv", "CleanDiv"):
        return f"kw::floor_div({args[0]}, {args[1]})"
    if name in ("Mod", "PythonMod"):
        return f"kw::floor_mod({args[0]}, {args[1]})"
    if name in ("Max", "Min"):
        text = args[0]
        for arg in args[1:]:
            text = f"kw::{name.lower()}<int64_t>({text}, {arg})"
        return text
    raise Unsupported(f"The size {expr} has no C++ form.")


def flatten(tensor: Tensor, index: Sequence[Index]) -> Index:
    """The element offset of ``tensor[index]``."""
    total = Index.const(0)
    for position, stride in zip(index, tensor.strides, strict=True):
        total = total + position * stride
    return total


REPEATS = (2, 3, 4)  # quotients by these along the lanes are read by a shuffle


def repeated(index: Index, axis: str) -> FloorDiv | None:
    """The quotient by a small number through which alone the index depends on the axis, one element after the other."""
    terms = [(t, c) for t, c in index.terms if (t == axis if isinstance(t, str) else axis in Index.of(t).axes())]
    if len(terms) != 1 or not isinstance(terms[0][0], FloorDiv) or static(terms[0][1]) != 1:
        return None
    atom = terms[0][0]
    plain = all(isinstance(t, str) or axis not in Index.of(t).axes() for t, _ in atom.index.terms)
    if not plain or static(atom.index.coefficient(axis)) != 1 or static(atom.divisor) not in REPEATS:
        return None
    return atom


def index_text(index: Index, value: Callable[[Value], str]) -> str:
    """An index as C++; ``value`` prints a gather's integer expression."""
    parts: list[str] = []
    for term, coefficient in index.terms:
        text = term if isinstance(term, str) else _atom_text(term, value)
        parts.append(text if coefficient == 1 else f"{text} * {_factor(coefficient)}")
    if index.offset != 0 or not parts:
        parts.append(size_text(index.offset))
    return " + ".join(parts)


def _factor(size: Size) -> str:
    text = size_text(size)
    return f"({text})" if text.startswith("-") else text


def _atom_text(atom: FloorDiv | Mod | Value, value: Callable[[Value], str]) -> str:
    if isinstance(atom, Value):
        return value(atom)
    inner = index_text(atom.index, value)
    if isinstance(atom, FloorDiv):
        return f"kw::floor_div({inner}, {size_text(atom.divisor)})"
    return f"kw::floor_mod({inner}, {size_text(atom.modulus)})"


def bounds(index: Index, ranges: Ranges) -> tuple[int, int] | None:
    """Inclusive bounds of an index by interval arithmetic, or None where nothing is known."""
    low = high = static(index.offset)
    if low is None or high is None:
        return None
    for term, coefficient in index.terms:
        factor = static(coefficient)
        span = ranges.get(term) if isinstance(term, str) else _atom_bounds(term, ranges)
        if factor is None or span is None:
            return None
        ends = (factor * span[0], factor * span[1])
        low, high = low + min(ends), high + max(ends)
    return low, high


def _atom_bounds(atom: FloorDiv | Mod | Value, ranges: Ranges) -> tuple[int, int] | None:
    if isinstance(atom, Value):
        return None
    step = static(atom.divisor if isinstance(atom, FloorDiv) else atom.modulus)
    if step is None or step <= 0:
        return None
    if isinstance(atom, Mod):
        return 0, step - 1
    inner = bounds(atom.index, ranges)
    return (inner[0] // step, inner[1] // step) if inner else None
