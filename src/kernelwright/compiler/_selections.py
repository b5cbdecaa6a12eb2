"""A sum of choices by an axis is put together from pieces: each piece is what is chosen there.

The gradient of ``q, k, v = x.unbind()`` is such a sum, of tensors that are zero but for one slice each. Taken apart
along the axis nothing is left to choose, and what makes a slice can write it where it belongs.
"""

from __future__ import annotations

from dataclasses import replace

from ._dataflow import nodes, rewrite, substitute
from ._fallback import Fresh, renamed
from .program import Axis, Const, Expr, Index, Iota, Map, Op, Program, Statement, Store
from .simplify import folded

MOST = 4  # pieces: each is code of its own


def take_apart(program: Program) -> Program:
    """Every map that does nothing but choose by a short axis becomes one map for each place along it."""
    statements: list[Statement] = []
    fresh = Fresh(program)
    for statement in program.statements:
        axis = _chosen_by(statement) if isinstance(statement, Map) and not statement.when else None
        if axis is None or not isinstance(statement, Map):
            statements.append(statement)
            continue
        statements += [renamed(fresh, _at(statement, axis, place)) for place in range(int(axis.size))]
    return program if len(statements) == len(program.statements) else replace(program, statements=tuple(statements))


def _chosen_by(statement: Map) -> Axis | None:
    """The axis whose value decides what is loaded, if one load is left wherever it is known."""
    for axis in statement.axes:
        if isinstance(axis.size, int) and 1 < axis.size <= MOST and _decides(statement, axis):
            pieces = [_at(statement, axis, place) for place in range(axis.size)]
            if all(not any(isinstance(n, Op) for n in nodes(piece.value)) for piece in pieces):
                return axis
    return None


def _decides(statement: Map, axis: Axis) -> bool:
    own = Index.axis(axis.name)
    choices = [n.args[0] for n in nodes(statement.value) if isinstance(n, Op) and n.name == "where"]
    return any(isinstance(n, Iota) and n.index == own for choice in choices for n in nodes(choice))


def _at(statement: Map, axis: Axis, place: int) -> Map:
    """The map at one place of an axis. A zero that is added is left out, so that a negative zero stays one."""
    here = {axis.name: Index.const(place)}

    def known(node: Expr) -> Expr | None:
        if isinstance(node, Iota) and not node.index.terms and isinstance(node.index.offset, int):
            return Const(node.index.offset, node.dtype)
        if isinstance(node, Op) and node.name == "add":
            left, right = node.args
            for one, other in ((left, right), (right, left)):
                if isinstance(one, Const) and one.value == 0 and other.dtype == node.dtype:
                    return other
        return folded(node)

    store = Store(statement.store.tensor, tuple(i.substitute(here) for i in statement.store.index))
    axes = tuple(a for a in statement.axes if a != axis)
    value = rewrite(substitute(statement.value, here), known)
    return replace(statement, axes=axes, value=value, store=store)


__all__ = ["take_apart"]
