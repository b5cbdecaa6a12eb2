"""Level 2 for loops on a GPU: how large tiles are, how many warps work on one, when a row is too long for registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..cpp._indices import static
from ..cpp._normal import Normal, axis_sizes
from ..cpp._stages import flat_accesses, points, step_of
from ..program import Axis, Map, Program, Reduce
from ._parts import inner_points, row_axes
from ._sizes import largest

WINDOW = 64  # a window up to this many points is walked point by point
COLUMNS = 32  # neighbouring results that a tile must cover where these lie side by side in memory
PROGRAMS = 528  # programs that fill a large GPU four times
LEAST_PART = 1 << 12  # values of a part of a row that is shared out
MOST_PARTS = 1024


@dataclass(frozen=True)
class TileSchedule:
    """Decisions for one group.

    ``points``: of a pointwise tile. ``elements``: of a tile of a reduction. ``longest``: a row up to this length is
    held in registers, a longer one is walked several times. ``warps``: the fewest that work on a tile. ``programs``: a
    reduction with fewer tiles than this shares its rows out.
    """

    points: int = 1024
    elements: int = 1024
    longest: int = 1 << 14
    warps: int = 4
    programs: int = PROGRAMS


@dataclass(frozen=True)
class Form:
    """How one kernel is printed.

    ``kind``: "points" (no rows), "rows" (whole rows in registers), "passes" (several passes over a row), "windows" (one
    point of a row at a time). ``x`` and ``r``: the tile's lengths along the rows and within a row, 0 for one row at a
    time and for none; ``r_text`` is the length within a row where it is only known at the launch. ``across``: an axis
    that gets a dimension of its own, so that both sides of a transposition are contiguous.
    """

    kind: str
    x: int
    r: int = 0
    warps: int = 4
    r_text: str = ""
    across: str = ""


def schedules(parts: list[Normal]) -> list[TileSchedule]:
    """Schedules worth trying, best guess first; no two print the same."""
    best = TileSchedule()
    forms = {form(part, best).kind for part in parts}
    found = [best]
    if "points" in forms or "windows" in forms:
        found += [replace(best, points=512), replace(best, points=2048), replace(best, points=2048, warps=8)]
    if "rows" in forms or "passes" in forms:
        found += [replace(best, elements=2048), replace(best, elements=4096), replace(best, warps=8)]
    if any(inner_points(part) > 1 << 11 for part in parts) and "rows" in forms:
        found.append(replace(best, longest=1 << 11))
    if any(tile_length(part) == 2 * best.longest for part in parts) and "passes" in forms:
        found.append(replace(best, longest=2 * best.longest))
    if any(isinstance(s, Reduce) for part in parts for s in part.statements):
        found.append(replace(best, programs=PROGRAMS // 4))
    different: dict[object, TileSchedule] = {}
    for schedule in found:
        forms_of_all = [form(part, schedule) for part in parts]
        shares = [parts_of_rows(part, schedule, each) for part, each in zip(parts, forms_of_all, strict=True)]
        different.setdefault((*forms_of_all, *shares), schedule)
    return list(different.values())


def form(part: Normal, schedule: TileSchedule) -> Form:
    """The form of one kernel."""
    row = longest_row(part)
    rows = points(part.outer)
    if not has_rows(part):
        across = crossing(part)
        if across:
            return Form("points", 32, 32, schedule.warps, across=across)
        return Form("points", min(schedule.points, max(32, power(rows))), warps=schedule.warps)
    side_by_side = _rows_side_by_side(part)
    plain = all(isinstance(s, Reduce) for s in part.statements)
    if plain and side_by_side and row <= WINDOW:
        return Form("windows", min(max(128, schedule.points // 4), max(32, power(rows))), warps=schedule.warps)
    length = power(row)
    least = min(COLUMNS, power(rows)) if side_by_side else 1
    if length * least <= schedule.longest and not (side_by_side and length > schedule.elements // 2):
        x = max(least, min(schedule.elements // length, power(rows)))
        text = "" if all(static(a.size) is not None for a in part_axes(part)) else "power"
        return Form("rows", 0 if x <= 1 else x, length, _warps(schedule, x * length), text)
    x = min(2 * COLUMNS, power(rows)) if side_by_side else 1
    while x > COLUMNS // 2 and not plain and rows < x * PROGRAMS // 4:  # which no other program helps with
        x //= 2
    r = min(length, max(16, 2 * schedule.elements // x))
    return Form("passes", 0 if x <= 1 else x, r, _warps(schedule, x * r))


def parts_of_rows(part: Normal, schedule: TileSchedule, chosen: Form) -> tuple[int, int]:
    """How many programs share a row, and how many of its points each takes; (1, 0) for one."""
    independent = all(isinstance(s, Reduce) and not s.op.startswith("arg") for s in part.statements)
    sizes = {points(s.raxes) for s in part.statements if isinstance(s, Reduce)}
    fixed = all(static(a.size) is not None for a in part_axes(part))
    if not independent or not fixed or len(sizes) != 1 or part.local or _linked(part):
        return 1, 0
    row, rows = sizes.pop(), points(part.outer)
    tiles = -(-rows // max(1, chosen.x))
    each = max(1, chosen.r)
    wanted = min(schedule.programs // max(1, tiles), row // max(each, LEAST_PART // max(1, chosen.x)), MOST_PARTS)
    if chosen.kind == "windows" or wanted < 2 or row * max(1, chosen.x) <= 2 * LEAST_PART:
        return 1, 0
    length = -(-row // wanted)
    length = -(-length // each) * each
    return -(-row // length), length


def has_rows(part: Normal) -> bool:
    """Has any statement points of its own besides those of the shared axes?"""
    outer = {a.name for a in part.outer}
    return any(not isinstance(s, Map) or {a.name for a in s.axes} != outer for s in part.statements)


def longest_row(part: Normal) -> int:
    """The most points a row can have."""
    outer = {a.name for a in part.outer}
    return max(_most(part.program, row_axes(s, outer)) for s in part.statements)


def tile_length(part: Normal) -> int:
    """The length of a tile that holds the longest row."""
    return power(longest_row(part))


def part_axes(part: Normal) -> list[Axis]:
    """Every axis that is not shared."""
    outer = {a.name for a in part.outer}
    return [Axis(n, size) for n, size in axis_sizes(part.statements).items() if n not in outer]


def power(size: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(0, size - 1).bit_length()


def _most(program: Program, axes: Sequence[Axis]) -> int:
    total = 1
    for axis in axes:
        total *= max(1, largest(program, axis.size))
    return total


def _warps(schedule: TileSchedule, elements: int) -> int:
    """Eight elements of a value for each thread, more only where a row is long."""
    return max(schedule.warps, min(16, power(elements // 256)))


def _linked(part: Normal) -> bool:
    """Does a statement read what another one of the part writes?"""
    written = {part.program.tensors[s.store.tensor].alias or s.store.tensor for s in part.statements}
    loads = [x for s in part.statements for x in part.program.loads(s)]
    return any((part.program.tensors[x.tensor].alias or x.tensor) in written for x in loads)


def _rows_side_by_side(part: Normal) -> bool:
    """Do neighbouring rows lie closer together in memory than a row is long, as columns and windows do?"""
    votes = 0
    outer = {a.name for a in part.outer}
    for statement in part.statements:
        inner = row_axes(statement, outer)
        for flat in list(flat_accesses(part.program, statement))[:-1] or list(flat_accesses(part.program, statement)):
            steps = [_step(step_of(flat, a.name)) for a in part.outer]
            own = [(_step(step_of(flat, a.name)), points([a])) for a in inner]
            near = min((s for s in steps if s), default=0)
            if not near or not any(s for s, _ in own):
                continue
            span = sum(s * (n - 1) for s, n in own)
            closest = min((s for s, n in own if s and n > 1), default=1)
            votes += 1 if near <= closest or (near <= span and points(inner) <= WINDOW) else -1
    return votes > 0


def _step(size: object) -> int:
    value = static(size) if size is not None else None
    return 1 << 20 if value is None else abs(value)


def crossing(part: Normal) -> str:
    """The axis along which most loads are contiguous, if results are not contiguous along it: a transposition."""
    *_, flat = flat_accesses(part.program, part.statements[-1])
    writing = next((a.name for a in part.outer if _step(step_of(flat, a.name)) == 1), None)
    if writing is None:
        return ""
    votes: dict[str, int] = {}
    for statement in part.statements:
        for access in list(flat_accesses(part.program, statement))[:-1]:
            near = [a for a in part.outer if step_of(access, a.name) == 1 and (static(a.size) or 0) >= COLUMNS]
            along = step_of(access, writing)
            if near and near[0].name != writing and along != 0:
                votes[near[0].name] = votes.get(near[0].name, 0) + 1
    size = next((static(a.size) or 0 for a in part.outer if a.name == writing), 0)
    return max(votes, key=lambda n: votes[n]) if votes and size >= COLUMNS // 4 else ""
