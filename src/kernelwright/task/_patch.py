"""Integer constants of a task's text ("knobs") and how to replace them.

A knob is ``name`` (an integer that the module's top level binds) or ``function#k`` (the k-th place in ``function``
where an integer literal or a name stands): ``batch_size`` changes everything derived from it, ``get_inputs#0`` only one
place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable


def patch_tree(tree: ast.Module, patches: Iterable[tuple[str, int]]) -> ast.Module:
    """Replace knobs' values; the tree is changed in place and returned."""
    values = dict(patches)
    if not values:
        return tree
    places = {id(_places(_function(tree, f))[int(k)]): values[f"{f}#{k}"] for f, _, k in _indexed(values)}
    _Replace(places).generic_visit(tree)
    body: list[ast.stmt] = []
    for statement in tree.body:
        body.append(statement)
        body.extend(_assign(name, values[name], statement) for name in assigned(statement) if name in values)
    tree.body = body
    return ast.fix_missing_locations(tree)


def module_knobs(tree: ast.Module) -> list[str]:
    """Names the top level binds exactly once by assignment, in order."""
    names = [name for statement in tree.body for name in assigned(statement)]
    return [name for name in dict.fromkeys(names) if names.count(name) == 1]


def function_knobs(tree: ast.Module, function: str) -> list[str]:
    """``function#k`` for each place in the function where an integer or a name stands."""
    node = _find(tree, function)
    return [f"{function}#{k}" for k, _ in enumerate(_places(node))] if node else []


def knob_value(tree: ast.Module, knob: str, names: dict[str, object]) -> object:
    """The value that a ``function#k`` knob has: its literal, or what the module's top level binds to its name."""
    function, _, index = knob.partition("#")
    node = _function(tree, function)
    place = _places(node)[int(index)]
    if isinstance(place, ast.Constant):
        return place.value
    stored = {n.id for s in node.body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names.get(place.id) if isinstance(place, ast.Name) and place.id not in stored else None


def assigned(statement: ast.stmt) -> list[str]:
    """Names that a top-level assignment binds (also ``a = b = 1`` and ``a, b = 1, 2``)."""
    if isinstance(statement, ast.Assign):
        targets: list[ast.expr] = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    else:
        return []
    nodes = [n for t in targets for n in (t.elts if isinstance(t, ast.Tuple | ast.List) else [t])]
    return [n.id for n in nodes if isinstance(n, ast.Name)]


def _assign(name: str, value: int, after: ast.stmt) -> ast.stmt:
    new = ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=ast.Constant(value=value))
    return ast.copy_location(new, after)


def _find(tree: ast.Module, function: str) -> ast.FunctionDef | None:
    return next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function), None)


def _function(tree: ast.Module, function: str) -> ast.FunctionDef:
    node = _find(tree, function)
    if node is None:
        raise ValueError(f"no function {function!r} to patch")
    return node


def _places(function: ast.FunctionDef) -> list[ast.expr]:
    """Expressions of the body that may be an integer, in source order."""
    nodes = [n for statement in function.body for n in ast.walk(statement)]
    found = [n for n in nodes if isinstance(n, ast.expr) and _is_place(n)]
    return sorted(found, key=lambda n: (n.lineno, n.col_offset))


def _is_place(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) is int and node.value > 1
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def _indexed(values: Iterable[str]) -> list[tuple[str, str, str]]:
    return [name.partition("#") for name in values if "#" in name]


class _Replace(ast.NodeTransformer):
    """Puts integers in chosen places."""

    def __init__(self, places: dict[int, int]) -> None:
        self.places = places

    def visit(self, node: ast.AST) -> ast.AST:
        if id(node) in self.places:
            return ast.copy_location(ast.Constant(value=self.places[id(node)]), node)
        return super().visit(node)
