"""Wraps the body of a contraction kernel into the function that the module assembler expects."""

from __future__ import annotations

from collections.abc import Sequence

from ..program import Load, Program, Reduce, Size
from ._code import KernelCode
from ._operand import base_name
from .printer import store_type


def kernel_code(program: Program, reduce: Reduce, name: str, lines: Sequence[str], scratch: Size) -> KernelCode:
    """One ``static void`` function; parameters are what the statement reads, what it writes, symbols, scratch."""
    written = base_name(program, reduce.store.tensor)
    loads = [node for expr in (reduce.value, reduce.epilogue) for node in expr.walk() if isinstance(node, Load)]
    read = dict.fromkeys(base_name(program, load.tensor) for load in loads)
    tensors = [*(n for n in read if n != written), written]
    symbols = tuple(s.name for s in program.symbols)
    parameters = [_parameter(program, n, n == written) for n in tensors]
    parameters += [f"[[maybe_unused]] int64_t {s}" for s in symbols]
    if scratch != 0:
        parameters.append("char* scratch")
    body = "\n".join(f"  {line}" for line in lines)
    source = f"static void {name}({', '.join(parameters)}) {{\n{body}\n}}"
    return KernelCode(name, source, tuple(tensors), symbols, scratch)


def _parameter(program: Program, name: str, written: bool) -> str:
    const = "" if written else "const "
    return f"[[maybe_unused]] {const}{store_type(program.tensors[name].dtype)}* {name}"
