"""Sizes of a plan as numbers of the proof."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from ...targets.plan import SizeText
from ._numbers import Number, divide, maximum, minimum, number
from ._values import Unproved


def size_number(size: SizeText, symbols: Mapping[str, Number]) -> Number:
    """The value of a size: an int, or an expression over symbols that is affine in them."""
    if isinstance(size, int):
        return number(size)
    return _read(ast.parse(size, mode="eval").body, symbols)


def _read(node: ast.expr, symbols: Mapping[str, Number]) -> Number:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return number(node.value)
    if isinstance(node, ast.Name) and node.id in symbols:
        return symbols[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_read(node.operand, symbols)
    if isinstance(node, ast.BinOp):
        a, b = _read(node.left, symbols), _read(node.right, symbols)
        if isinstance(node.op, ast.Add):
            return a + b
        if isinstance(node.op, ast.Sub):
            return a - b
        if isinstance(node.op, ast.Mult) and (a.value is not None or b.value is not None):
            return b * a.value if a.value is not None else a * (b.value or 0)
        if isinstance(node.op, ast.FloorDiv) and (b.value or 0) > 0:
            return divide(a, b.value or 1)[0]
        if isinstance(node.op, ast.Mod) and (b.value or 0) > 0:
            return divide(a, b.value or 1)[1]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Max", "Min"):
        values = [_read(a, symbols) for a in node.args]
        found = values[0]
        for value in values[1:]:
            found = maximum(found, value) if node.func.id == "Max" else minimum(found, value)
        return found
    raise Unproved(f"the size {ast.unparse(node)} is not affine in the symbols")
