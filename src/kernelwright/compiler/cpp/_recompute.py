"""Computes again, wherever it is read, what a map would otherwise leave in memory for the rest of its row.

A row that is too long for scratch goes out to memory and comes back: an exponential is cheaper than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..group import root
from ..program import Expr, Load, Map, Op
from ._normal import Loop, Normal, map_exprs
from ._stages import operations

DEAREST = 64.0  # operations that cost as much as writing and reading a value, in vector loads


def recompute(normal: Normal, fits: Callable[[Map], bool]) -> Normal:
    """The group without the local maps whose results do not fit the scratch of a row."""
    statements = list(normal.statements)
    gone: list[str] = []
    for name in normal.local:
        writers = [n for n, s in enumerate(statements) if root(normal.program, s.store.tensor) == name]
        if len(writers) != 1 or not isinstance(made := statements[writers[0]], Map) or fits(made):
            continue
        inlined = _inlined(normal, statements, writers[0], name)
        if inlined is not None:
            statements = inlined
            gone.append(name)
    if not gone:
        return normal
    local = tuple(n for n in normal.local if n not in gone)
    return replace(normal, statements=tuple(statements), local=local)


def _inlined(normal: Normal, statements: list[Loop], position: int, name: str) -> list[Loop] | None:
    made = statements[position]
    assert isinstance(made, Map)
    program = normal.program
    after = statements[position + 1 :]
    readers = [s for s in after if any(root(program, x.tensor) == name for x in program.loads(s))]
    loads = [x for s in readers for x in program.loads(s) if root(program, x.tensor) == name]
    sources = {root(program, x.tensor) for x in program.loads(made)}
    if any(x.index != made.store.index or x.fill is not None for x in loads):
        return None
    if any(root(program, s.store.tensor) in sources for s in after) or (len(readers) > 1 and _dear(made, len(readers))):
        return None

    def change(node: Expr) -> Expr | None:
        if not isinstance(node, Load) or root(program, node.tensor) != name:
            return None
        return made.value if made.value.dtype == node.dtype else Op("cast", (made.value,), node.dtype)

    return [*statements[:position], *(map_exprs(s, change) for s in after)]


def _dear(made: Map, readers: int) -> bool:
    return operations(made) * (readers - 1) > DEAREST
