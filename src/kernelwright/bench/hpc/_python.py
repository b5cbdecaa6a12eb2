"""Python: finds the function that a suggestion is about."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from ._roles import Parameter


@dataclass(frozen=True)
class Def:
    """A function at the top level of a module."""

    name: str
    parameters: tuple[Parameter, ...]
    single: bool = False


def defs(text: str) -> list[Def] | str:
    """Those that a module defines, in its order, or why it is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"it is no Python: {getattr(error, 'msg', error)}"
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not _for_device(node)]
    return [_def(node, "float32" in ast.unparse(node)) for node in found]


def without_main(text: str) -> str:
    """A module whose definitions, imports and constants are kept, and nothing that it does besides."""
    tree = ast.parse(text)
    kept = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    tree.body = [node for node in tree.body if isinstance(node, kept) or _is_constant(node)]
    return ast.unparse(tree)


def _for_device(node: ast.FunctionDef) -> bool:
    """Whether a function is a kernel that another one launches."""
    return any(re.search(r"\b(triton|cuda)\.jit\b", ast.unparse(decorator)) for decorator in node.decorator_list)


def _is_constant(node: ast.stmt) -> bool:
    """Whether a statement gives a name to something that needs no call."""
    calls = (ast.Call, ast.ListComp, ast.Await)
    return isinstance(node, ast.Assign | ast.AnnAssign) and not any(isinstance(n, calls) for n in ast.walk(node))


def _def(node: ast.FunctionDef, single: bool) -> Def:
    named = [*node.args.posonlyargs, *node.args.args]
    first_default = len(named) - len(node.args.defaults)
    listed = [Parameter(a.arg, optional=index >= first_default) for index, a in enumerate(named)]
    return Def(node.name, tuple(listed), single)


__all__ = ["Def", "defs", "without_main"]
