"""How loops count: their turns, what a turn moves, what ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._numbers import (
    Number,
    Variable,
    divide,
    maximum,
    minimum,
    number,
)
from ._syntax import child, inner
from ._values import (
    Pointer,
    Truth,
)

if TYPE_CHECKING:
    from tree_sitter import Node


def stepped(start: Any, by: Number) -> Any:
    return start.moved(by) if isinstance(start, Pointer) else start + by


def count_turns(truth: Truth, turn: Variable) -> Number | None:
    """How often a loop runs whose condition, for turn number ``turn``, is ``truth``: None if that is not known."""
    if not truth.exact:
        return None
    found: Number | None = None
    for clause in truth.condition:
        if len(clause) != 1 or len(clause[0]) != 1 or clause[0][0].equal:
            return None
        left = clause[0][0].left
        step = -left.terms.get(turn, 0)
        if step <= 0:
            return None
        rest = left + Number({turn: step})
        quotient, _ = divide(rest, step)
        turns = maximum(quotient + 1, number(0))
        found = turns if found is None else minimum(found, turns)
    return found


def way(before: Any, after: Any) -> Number | None:
    """How far a value moved."""
    if isinstance(before, Number) and isinstance(after, Number):
        return after - before
    if isinstance(before, Pointer) and isinstance(after, Pointer) and before.buffer is after.buffer:
        return after.index - before.index if (after.base - before.base).value == 0 else None
    return None


def breaking(node: Node) -> Node | None:
    """The condition of ``if (...) break;``."""
    if node.type != "if_statement" or node.child_by_field_name("alternative") is not None:
        return None
    then = child(node, "consequence")
    found = inner(then) if then.type == "compound_statement" else [then]
    if len(found) != 1 or found[0].type != "break_statement":
        return None
    return inner(child(node, "condition"))[-1]


def commas(node: Node | None) -> list[Node]:
    if node is None:
        return []
    if node.type == "comma_expression":
        return [*commas(child(node, "left")), *commas(child(node, "right"))]
    return [node]
