"""Cuts a group into kernels: in each, every program owns a tile of the shared axes and works through whole rows.

A program of a GPU kernel can see only its own rows, so a statement that places results along further axes of its own
stands alone; and where there are few rows, each nest becomes a kernel of its own, whose points fill the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..contraction import product
from ..cpp._normal import Loop, Normal, normalise
from ..cpp._recompute import recompute
from ..cpp._stages import points, stages
from ..group import Group, inner_axes, root
from ..program import Axis, Extern, Map, Program, Recur, Reduce, Scan

FEW_ROWS = 128  # with fewer rows than this, a program for each leaves the machine idle
LONG_ROW = 1 << 14  # and rows beyond this are worth sharing out


def parts(program: Program, group: Group) -> list[Normal]:
    """The kernels of a group, in order. What passes between two of them lies in memory."""
    runs = list(_runs(program, group))
    found: list[Normal] = []
    for statements, outer in runs:
        others = [s for run, _ in runs if run is not statements for s in run]
        local = tuple(n for n in group.local if not any(n in _touched(program, s) for s in others))
        normal = normalise(program, Group(tuple(statements), outer, local))
        found += _spread(normal) if _few(normal) else [normal]
    return found


def _runs(program: Program, group: Group) -> Iterator[tuple[list[Loop], tuple[Axis, ...]]]:
    """Consecutive statements that one program can do for its rows, with the axes of the rows."""
    names = {a.name for a in group.outer}
    run: list[Loop] = []
    for number, statement in enumerate(group.statements):
        assert not isinstance(statement, Extern | Recur)
        fits = _fits(statement, names) and len(group.statements) > 1
        if run and not (fits and _only_once(program, run, statement, group.statements[number:])):
            yield run, group.outer
            run = []
        if fits:
            run.append(statement)
        else:
            yield [statement], statement.axes
    if run:
        yield run, group.outer


def _fits(statement: Loop, names: set[str]) -> bool:
    own = {a.name for a in statement.axes}
    if isinstance(statement, Map):
        return own >= names
    return own == names and not (isinstance(statement, Scan) and statement.exclusive)


def _only_once(program: Program, run: Sequence[Loop], statement: Loop, rest: Sequence[object]) -> bool:
    """Whether no element is written twice, so that neither threads nor those who hand values on need an order.

    Parts of a tensor that nobody reads here may follow each other; what comes after a whole tensor replaces some of it.
    """
    name = root(program, statement.store.tensor)
    earlier = [s for s in run if root(program, s.store.tensor) == name]
    if not earlier:
        return True
    whole = product(program.tensors[name].shape)
    replaced = any(product([a.size for a in s.axes]) == whole for s in earlier)
    return not replaced and not any(name in _loaded(program, s) for s in rest if isinstance(s, Map | Reduce | Scan))


def _touched(program: Program, statement: Loop) -> set[str]:
    return _loaded(program, statement) | {root(program, statement.store.tensor)}


def _loaded(program: Program, statement: Loop) -> set[str]:
    return {root(program, x.tensor) for x in program.loads(statement)}


# ── few rows ─────────────────────────────────────────────────────────────────────────────────────────────────────


def inner_points(normal: Normal) -> int:
    """Points of the longest row."""
    outer = {a.name for a in normal.outer}
    return max(points(row_axes(s, outer)) for s in normal.statements)


def row_axes(statement: Loop, outer: set[str]) -> tuple[Axis, ...]:
    """The axes of a statement within a row, those that place results first."""
    return (*(a for a in statement.axes if a.name not in outer), *inner_axes(statement))


def _few(normal: Normal) -> bool:
    several = len(normal.statements) > 1 or isinstance(normal.statements[0], Map)
    return several and points(normal.outer) < FEW_ROWS and inner_points(normal) > LONG_ROW


def _spread(normal: Normal) -> list[Normal]:
    """Each nest on its own; what they leave each other goes through memory unless it is cheap to do again."""
    whole = recompute(normal, lambda made: False)
    program = whole.program
    found: list[Normal] = []
    for stage in stages(whole, frozenset(a.name for a in whole.outer)):
        maps = tuple(s for s in stage.statements if isinstance(s, Map))
        rest = tuple(s for s in stage.statements if not isinstance(s, Map))
        for statements in (maps, rest):
            if statements:
                found.append(normalise(program, Group(statements, statements[0].axes)))
    return found


# ── what stays out of memory ─────────────────────────────────────────────────────────────────────────────────────


def settled(normal: Normal, nests: Sequence[Sequence[Loop]]) -> Normal:
    """The part with its local tensors in memory wherever a value cannot simply be handed on."""
    kept = tuple(n for n in normal.local if _handed_on(normal, nests, n))
    memory = {*normal.memory, *(n for n in normal.local if n not in kept)}
    ordered = tuple(n for n in normal.program.tensors if n in memory)
    return replace(normal, local=kept, memory=ordered)


def _handed_on(normal: Normal, nests: Sequence[Sequence[Loop]], name: str) -> bool:
    """Is every read of a local tensor one of an element that the same program still holds?"""
    outer = {a.name for a in normal.outer}
    written: dict[object, int | None] = {}
    for number, nest in enumerate(nests):
        for statement in nest:
            for load in normal.program.loads(statement):
                if root(normal.program, load.tensor) != name:
                    continue
                if load.fill is not None or load.index not in written:
                    return False
                if written[load.index] not in (number, None):
                    return False
            if root(normal.program, statement.store.tensor) == name:
                alone = isinstance(statement, Map) and {a.name for a in statement.axes} <= outer
                whole = isinstance(statement, Reduce) or alone  # a scan has a value for each point of its row
                written[statement.store.index] = None if whole else number
    return True
