"""Triton kernels in a Python text: which functions are kernels, and through which parameters each of them writes."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from ._names import Names, is_language

_READS = frozenset(("load", "load_tensor_descriptor", "atomic_add", "atomic_max", "atomic_min", "atomic_cas"))
_WRITES = frozenset(("store", "atomic_add", "atomic_max", "atomic_min", "atomic_xchg", "atomic_cas"))


@dataclass(frozen=True)
class Kernel:
    """A ``@triton.jit`` function: its parameters, and those that the pointers of its stores come from."""

    name: str
    parameters: tuple[str, ...]
    reads: bool
    written: frozenset[str]


def find_kernels(tree: ast.Module, names: Names) -> dict[str, Kernel]:
    """All of them by name; what a kernel does through helpers that are kernels too counts as its own."""
    functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and _is_kernel(n, names)}
    found = {name: _read(function, names, {}) for name, function in functions.items()}
    for _ in range(3):  # helpers of helpers
        found = {name: _read(function, names, found) for name, function in functions.items()}
    return found


def _is_kernel(function: ast.FunctionDef, names: Names) -> bool:
    decorators = (d.func if isinstance(d, ast.Call) else d for d in function.decorator_list)
    return any(names.path(d) in ("triton.jit", "triton.runtime.jit.jit") for d in decorators)


def _read(function: ast.FunctionDef, names: Names, known: dict[str, Kernel]) -> Kernel:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    parameters = tuple(a.arg for a in arguments)
    sources = _sources(function)
    reads, written = False, set[str]()
    for call in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        ours = is_language(names.path(call.func)) or (
            isinstance(call.func, ast.Attribute) and not names.path(call.func)  # a method: of a descriptor
        )
        if ours and name in _READS:
            reads = True
        if ours and name in _WRITES:
            pointer = call.args[0] if is_language(names.path(call.func)) and call.args else call.func
            written |= _origins(pointer, sources) & set(parameters)
        helper = known.get(name)
        if helper is not None and isinstance(call.func, ast.Name):
            reads |= helper.reads
            for parameter, given in bind(helper, call):
                if parameter in helper.written:
                    written |= _origins(given, sources) & set(parameters)
    return Kernel(function.name, parameters, reads, frozenset(written))


def bind(kernel: Kernel, call: ast.Call) -> list[tuple[str, ast.expr]]:
    """Parameters and what a call gives for them."""
    given = list(zip(kernel.parameters, call.args, strict=False))
    return given + [(k.arg, k.value) for k in call.keywords if k.arg]


def _sources(function: ast.FunctionDef) -> dict[str, set[str]]:
    """The names that each local name was computed from."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for part in ast.walk(target):
                    if isinstance(part, ast.Name):
                        found.setdefault(part.id, set()).update(_names(node.value))
    return found


def _origins(node: ast.AST, sources: dict[str, set[str]]) -> set[str]:
    seen, left = set[str](), list(_names(node))
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += sources.get(name, ())
    return seen


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


__all__ = ["Kernel", "bind", "find_kernels"]
