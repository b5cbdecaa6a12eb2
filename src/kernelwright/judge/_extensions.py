"""What a Python text will ask of ``load_inline``, read off without running it.

Only what is written out can be read: literals, names that the file binds once to such, and sums of texts. The worker
looks the extension up by what is asked for in earnest, so a call that was read wrongly finds nothing.
"""

from __future__ import annotations

import ast
from typing import Any

from ..errors import ExtensionRefused
from ..targets import Extension, extension_of

_ORDER = ("name", "cpp_sources", "cuda_sources")  # what authors give by position
_IGNORED = ("build_directory", "verbose", "keep_intermediates", "use_pch")  # they change nothing of what is built


def read_extensions(text: str) -> tuple[Extension, ...]:
    """Every extension, in order. Raises ``ExtensionRefused`` where one cannot be read, or must not be built."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()  # whoever runs it will say so
    names = _bound_once(tree)
    return tuple(_read(node, names) for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_load_inline(node))


def _is_load_inline(node: ast.Call) -> bool:
    return (isinstance(node.func, ast.Name) and node.func.id == "load_inline") or (
        isinstance(node.func, ast.Attribute) and node.func.attr == "load_inline"
    )


def _read(node: ast.Call, names: dict[str, ast.expr]) -> Extension:
    given = {**dict(zip(_ORDER, node.args, strict=False)), **{k.arg or "**": k.value for k in node.keywords}}
    where = f"the call of load_inline in line {node.lineno}"
    if "**" in given or len(node.args) > len(_ORDER):
        raise ExtensionRefused(f"{where} does not name its arguments")
    try:
        return extension_of({name: _value(value, names) for name, value in given.items() if name not in _IGNORED})
    except ValueError:
        raise ExtensionRefused(f"the arguments of {where} are not written out in the file") from None


def _bound_once(tree: ast.Module) -> dict[str, ast.expr]:
    """Names that the file binds in one place only, to an expression, at its outermost level."""
    stores = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)]
    found: dict[str, ast.expr] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if isinstance(target, ast.Name) and stores.count(target.id) == 1:
                found[target.id] = statement.value
    return found


def _value(node: ast.expr, names: dict[str, ast.expr]) -> Any:
    """Raises ``ValueError`` for what is not written out."""
    if isinstance(node, ast.Name) and node.id in names:
        return _value(names[node.id], {name: value for name, value in names.items() if name != node.id})
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item, names) for item in node.elts]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _value(node.left, names), _value(node.right, names)
        if type(left) is type(right) and isinstance(left, str | list):
            return left + right
    return ast.literal_eval(node)


__all__ = ["read_extensions"]
