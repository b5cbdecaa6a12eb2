"""Level 2 for CUDA: how many threads share a row, how many values each holds, how wide an access is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..assembly import ITEMSIZE
from ..cpp._indices import flatten, static
from ..cpp._normal import Loop, Normal, ranges_of
from ..cpp._stages import flat_accesses, points
from ..program import Axis, Index, Reduce, Scan
from ..triton._parts import row_axes
from ..triton._schedule import _rows_side_by_side, crossing, has_rows, longest_row, part_axes, power

WARP = 32
VECTOR = 16  # bytes of the widest access
WINDOW = 64  # a window of neighbours up to this many points is walked by one thread
COLUMNS = 32  # neighbouring rows that a warp takes where these lie side by side in memory
MULTIPROCESSORS = 132  # of a large GPU
LEAST_PART = 1 << 12  # values of a part of a row that is shared out
MOST_PARTS = 512


@dataclass(frozen=True)
class CudaSchedule:
    """Decisions for one group.

    ``threads``: of a block, where rows do not ask for more. ``items``: values of a row that a thread holds, before
    more threads share the row; a row that 1024 threads cannot hold is walked several times. ``vectors``: may an access
    be wider than an element? ``blocks``: with fewer of them than this, a reduction shares its rows out.
    """

    threads: int = 256
    items: int = 16
    vectors: bool = True
    blocks: int = 2 * MULTIPROCESSORS


@dataclass(frozen=True)
class Form:
    """How one kernel is printed.

    ``kind``: "points" (no rows), "crossed" (through tiles in shared memory, ``across`` is the axis along which memory
    is read), "rows" (a row stays in registers), "passes" (a row is walked once for each nest). ``lanes`` threads share
    a row and a block has ``rows`` of them; with ``columns`` neighbouring threads have neighbouring rows. ``vector``:
    elements of an access along the row.
    """

    kind: str
    threads: int = 256
    lanes: int = 1
    rows: int = 1
    vector: int = 1
    columns: bool = False
    across: str = ""


def schedules(parts: Sequence[Normal]) -> list[CudaSchedule]:
    """Schedules worth trying, best guess first; no two print the same."""
    best = CudaSchedule()
    found = [best, replace(best, vectors=False), replace(best, threads=128), replace(best, threads=512)]
    if any(has_rows(part) for part in parts):
        found += [replace(best, items=8), replace(best, items=32)]
    if any(isinstance(s, Reduce) for part in parts for s in part.statements):
        found.append(replace(best, blocks=8 * MULTIPROCESSORS))
    different: dict[object, CudaSchedule] = {}
    for schedule in found:
        forms = [form(part, schedule) for part in parts]
        shared = [shares(part, schedule, each) for part, each in zip(parts, forms, strict=True)]
        different.setdefault((*forms, *shared), schedule)
    return list(different.values())


def form(part: Normal, schedule: CudaSchedule) -> Form:
    """The form of one kernel."""
    if not has_rows(part):
        across = crossing(part)
        if across:
            return Form("crossed", across=across)
        return Form("points", schedule.threads, vector=_width(part, part.outer, schedule))
    row, rows = longest_row(part), points(part.outer)
    side_by_side = _rows_side_by_side(part)
    scanned = any(isinstance(s, Scan) for s in part.statements)
    plain = all(isinstance(s, Reduce) for s in part.statements)
    if row <= 4 or (side_by_side and (scanned or (plain and row <= WINDOW))):
        return Form("passes", min(schedule.threads, max(WARP, power(rows))))
    fixed = all(static(a.size) is not None for a in part_axes(part))
    if side_by_side:
        lanes = min(schedule.threads // COLUMNS, power(row))
        kind = "rows" if fixed and row <= lanes * schedule.items and not plain else "passes"
        return Form(kind, COLUMNS * lanes, lanes, COLUMNS, columns=True)
    if scanned:
        return Form("passes", schedule.threads, schedule.threads)
    vector = _width(part, _row(part), schedule)
    lanes = _lanes(row, rows, vector, schedule)
    if not fixed or row > lanes * max(schedule.items, 2 * vector):
        lanes = schedule.threads if row > schedule.threads * vector else lanes
        return Form("passes", lanes if lanes > WARP else schedule.threads, lanes, _rows(lanes, schedule), vector)
    kind = "passes" if len(part.statements) == 1 else "rows"  # nothing is read twice
    return Form(kind, max(lanes, schedule.threads) if lanes <= WARP else lanes, lanes, _rows(lanes, schedule), vector)


def _lanes(row: int, rows: int, vector: int, schedule: CudaSchedule) -> int:
    """Threads for a row: as many as hold it, more where there are few rows."""
    items = schedule.items if rows >= 4 * MULTIPROCESSORS else max(vector, schedule.items // 4)
    return min(1024, max(2, power(-(-row // max(items, vector)))))


def _rows(lanes: int, schedule: CudaSchedule) -> int:
    return schedule.threads // lanes if lanes <= WARP else 1


def _row(part: Normal) -> tuple[Axis, ...]:
    """The axes of the longest row of a part."""
    outer = {a.name for a in part.outer}
    return ordered(part, max((row_axes(s, outer) for s in part.statements), key=points), part.statements[-1])


def shares(part: Normal, schedule: CudaSchedule, chosen: Form) -> tuple[int, int]:
    """How many blocks share a row, and how many of its points each takes; (1, 0) for one."""
    independent = all(isinstance(s, Reduce) and not s.op.startswith("arg") for s in part.statements)
    sizes = {points(s.raxes) for s in part.statements if isinstance(s, Reduce)}
    fixed = all(static(a.size) is not None for a in (*part.outer, *part_axes(part)))
    if not independent or not fixed or len(sizes) != 1 or part.local or _linked(part) or chosen.lanes == 1:
        return 1, 0
    row, rows = sizes.pop(), points(part.outer)
    blocks = -(-rows // chosen.rows)
    each = chosen.lanes * chosen.vector
    wanted = min(schedule.blocks // max(1, blocks), row // max(each, LEAST_PART // chosen.rows), MOST_PARTS)
    if wanted < 2:
        return 1, 0
    length = -(-row // wanted)
    length = -(-length // each) * each
    return -(-row // length), length


def _linked(part: Normal) -> bool:
    """Does a statement read what another one of the part writes?"""
    tensors = part.program.tensors
    written = {tensors[s.store.tensor].alias or s.store.tensor for s in part.statements}
    loads = [x for s in part.statements for x in part.program.loads(s)]
    return any((tensors[x.tensor].alias or x.tensor) in written for x in loads)


# ── vectors ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _width(part: Normal, axes: Sequence[Axis], schedule: CudaSchedule) -> int:
    """Elements that a thread takes at once along the innermost of these axes."""
    if not schedule.vectors or not axes:
        return 1
    inner = ordered(part, axes, part.statements[-1])[-1]
    size = static(inner.size)
    if size is None:
        return 1
    accesses = [
        (index, ITEMSIZE[part.program.tensors[name].dtype])
        for s in part.statements
        for name, index in _accesses(part, s)
        if inner.name in index.axes()
    ]
    several = not has_rows(part) and points(axes) < 4 * MULTIPROCESSORS * schedule.threads  # else threads would be few
    for width in (8, 4, 2) if not several else (2,):
        packed = [item for index, item in accesses if in_vectors(index, inner.name, width)]
        whole = size % width == 0 or (len(axes) == 1 and not has_rows(part))  # a single axis may have a tail
        if whole and packed and width * min(packed) <= VECTOR and 2 * len(packed) > len(accesses):
            return width
    return 1


def in_vectors(index: Index, axis: str, width: int) -> bool:
    """Are so many neighbours along an axis neighbours in memory, and the first one where a vector may begin?"""
    if width == 1 or static(index.coefficient(axis)) != 1:
        return False
    if (static(index.offset) or 0) % width or static(index.offset) is None:
        return False
    for term, coefficient in index.terms:
        if term == axis:
            continue
        step = static(coefficient)
        if step is None or step % width or (not isinstance(term, str) and axis in Index.of(term).axes()):
            return False
    return True


def _accesses(part: Normal, statement: Loop) -> list[tuple[str, Index]]:
    """Flat indices of what a statement reads and writes; those with padding have none."""
    tensors = part.program.tensors
    found = [(x.tensor, flatten(tensors[x.tensor], x.index)) for x in part.program.loads(statement) if x.fill is None]
    return [*found, (statement.store.tensor, flatten(tensors[statement.store.tensor], statement.store.index))]


def ordered(part: Normal, axes: Sequence[Axis], statement: Loop) -> tuple[Axis, ...]:
    """Axes in the order of memory, the one with the smallest step last; an arg reduction's stay as they are."""
    if isinstance(statement, Reduce) and statement.op.startswith("arg"):
        return tuple(axes)
    tensors = part.program.tensors
    own = flatten(tensors[statement.store.tensor], statement.store.index)
    names = {a.name for a in axes}
    flat = next((f for f in (own, *flat_accesses(part.program, statement)) if names <= f.axes()), own)
    steps = {a.name: abs(static(flat.coefficient(a.name)) or 0) for a in axes}
    return tuple(sorted(axes, key=lambda a: -steps[a.name]))


def ranges(part: Normal, steps: Mapping[str, int | None]) -> dict[str, tuple[int, int]]:
    """Bounds of every axis of a part, and of the steps around it."""
    found = {name: (0, count - 1) for name, count in steps.items() if count}
    for statement in part.statements:
        found.update(ranges_of(statement))
    return found


__all__ = ["CudaSchedule", "Form", "form", "in_vectors", "ordered", "ranges", "schedules", "shares"]
