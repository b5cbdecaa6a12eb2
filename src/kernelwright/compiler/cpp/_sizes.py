"""Sizes as text: Python for plans, C++ for sources. Both round divisions down, as sizes do."""

from __future__ import annotations

from torch.utils._sympy.printers import CppPrinter, PythonPrinter

from ...targets.plan import SizeText
from ..program import Size

_PYTHON = PythonPrinter()
_CPP = CppPrinter()


def python_size(size: Size) -> SizeText:
    """An int, or a Python expression over the symbols."""
    if isinstance(size, int):
        return size
    return int(size) if size.is_Integer else str(_PYTHON.doprint(size))


def cpp_size(size: Size) -> str:
    """A C++ expression of type int64_t over the symbols."""
    if isinstance(size, int):
        return str(size) if abs(size) < 2**31 else f"{size}LL"
    return f"int64_t({_CPP.doprint(size)})"
