"""Sizes as Python text that holds in a kernel and in its launcher alike."""

from __future__ import annotations

import sympy

from ...errors import Unsupported
from ..cpp._indices import static
from ..program import Program, Size

LARGEST = 2**31 - 1


def size_text(size: Size) -> str:
    """A size as an expression over ints named as the symbols; a sum or product comes in brackets."""
    value = static(size)
    return str(value) if value is not None else _text(sympy.expand(size))


def _text(expr: sympy.Expr) -> str:
    if expr.is_Integer or expr.is_Symbol:
        return str(expr)
    name = type(expr).__name__
    if name == "floor":  # before its parts are looked at: they may be fractions
        numerator, denominator = expr.args[0].as_numer_denom()
        return f"({_text(numerator)} // {_text(denominator)})"
    args = [_text(a) for a in expr.args]
    if expr.is_Add:
        return "(" + " + ".join(args) + ")"
    if expr.is_Mul:
        numerator, denominator = expr.as_numer_denom()
        if denominator != 1:
            return f"({_text(numerator)} // {_text(denominator)})"
        return "(" + " * ".join(args) + ")"
    if expr.is_Pow and expr.args[1].is_Integer and int(expr.args[1]) > 0:
        return "(" + " * ".join([args[0]] * int(expr.args[1])) + ")"
    if name in ("FloorDiv", "CleanDiv"):
        return f"({args[0]} // {args[1]})"
    if name in ("Mod", "PythonMod"):
        return f"({args[0]} % {args[1]})"
    raise Unsupported(f"The size {expr} has no form in Triton.")


def largest(program: Program, size: Size) -> int:
    """An upper bound of a size: every symbol at the end of its range."""
    value = static(size)
    if value is not None:
        return value
    ends = {s.name: s.hi for s in program.symbols}
    bound = sympy.sympify(size).subs({s: ends[str(s)] for s in size.free_symbols})  # type: ignore[union-attr]
    return int(bound)


def wide(program: Program, names: tuple[str, ...]) -> bool:
    """May an offset into one of these tensors, or the number of its elements, not fit 32 bits?"""
    for name in names:
        tensor = program.tensors[name]
        sizes = [largest(program, s) for s in tensor.shape]
        reach = sum((n - 1) * abs(largest(program, s)) for n, s in zip(sizes, tensor.strides, strict=True) if n > 0)
        count = 1
        for n in sizes:
            count *= n
        if max(reach, count) > LARGEST // 2:  # the last tile may begin below the end and reach beyond it
            return True
    return False
