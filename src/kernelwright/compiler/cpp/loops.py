"""Generates the kernels of everything that is not a contraction: maps, reductions, scans and their groups.

Level 2 is decided in :class:`LoopSchedule`: which axis is tiled and how, how many accumulators are in flight, whether a
long reduction is split over the threads, and whether results bypass the caches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..group import Group, inner_axes, root
from ..program import Axis, Map, Program, Reduce
from ._ahead import plan_ahead, reads_ahead
from ._chain import LEAST_ROW, Chain, chained, emit_chain
from ._code import KernelCode
from ._indices import size_text, static
from ._local import ITEMSIZE, STACK_BYTES, Local, localise, tile_begin
from ._nest import Context, Text, emit_maps
from ._normal import Loop, Normal, normalise, ranges_of
from ._recompute import recompute
from ._reduce import emit_reductions
from ._scan import emit_scan
from ._split import Split, padded_bytes, split
from ._stages import (
    Stage,
    W,
    best_lane,
    extent,
    flat_accesses,
    group_cost,
    points,
    stage_cost,
    stages,
    step_of,
)
from ._sweep import emit_sweep, sweepable, worth_sweeping
from ._transposed import cross_axis, emit_transposed, writing_axis
from .printer import store_type

LAST_CACHE = 32 << 20  # results larger than this are better written around the caches
LEAST_STREAM = 4 << 20  # bytes of a result that is worth writing around the caches beside a larger one
LEAST_UNITS = 60_000.0  # work in vector loads below which waking another thread costs more than it gives
FEW_ITEMS = 8  # fewer items than this leave threads idle: a long reduction is shared out instead
CROSS = 512  # length of a tile along the second axis of a transposing map
SWEEP = 1024  # results of a tile that is swept row by row
CHUNK = 8192  # elements of a long axis that one item takes
EVEN = 0.85  # share of the threads that rows must keep busy on average, else all threads share every row


@dataclass(frozen=True)
class LoopSchedule:
    """Level-2 decisions for one group.

    ``tile``: the outer axis cut into tiles of ``tile_size`` (its elements are the lanes, or it is merely shared out).
    ``cross``: a second tiled axis, along which strided loads are read and transposed.
    ``vectors``: accumulators in flight. ``split``: share a reduction out over the threads. ``stream``: write results
    around the caches. ``sweep``: column reductions take whole rows of a wide tile at a time. ``threads``: False runs
    serially. ``online``: reductions that read each other share one pass over a row that no cache holds. ``phases``: all
    threads share every row, one loop nest after the other. ``ahead``: a reduction prefetches the rows to come.
    """

    tile: str | None = None
    tile_size: int = CHUNK
    cross: str | None = None
    vectors: int = 4
    split: bool = False
    stream: bool = False
    sweep: bool = False
    threads: bool = True
    online: bool = True
    phases: bool = False
    ahead: bool = False


def schedules(program: Program, group: Group, machine: object | None = None) -> list[LoopSchedule]:
    """Schedules worth trying, best guess first."""
    normal = normalise(program, group)
    cache = int(getattr(machine, "last_cache_bytes", 0) or LAST_CACHE)
    best = _guess(normal, cache)
    found = [best]
    if best.ahead:
        found += [replace(best, ahead=False), replace(best, ahead=False, vectors=4)]
    if best.vectors > 1:
        found.append(replace(best, vectors=8 if best.vectors == 4 else 4))
        found.append(replace(best, vectors=2))
    if best.sweep:
        found += [replace(best, sweep=False, tile_size=4 * W), replace(best, tile_size=SWEEP // 2)]
    elif best.tile and _reducing(normal):
        found += [replace(best, tile_size=size) for size in (W, 4 * W, 8 * W, 16 * W) if size != best.tile_size]
    if best.split:
        found.append(replace(best, split=False))
    if best.phases or (_phased(normal) and len(normal.statements) > 1 and points(normal.outer) < 8 * _threads()):
        found.insert(1, replace(best, phases=not best.phases))
    if any(isinstance(c, Chain) for c in _chains(normal)):
        found.insert(1, replace(best, online=False))
    if _result_bytes(normal) >= cache // 4:
        found.append(replace(best, stream=not best.stream))
    return list(dict.fromkeys(found))


def emit_loops(program: Program, group: Group, name: str, schedule: LoopSchedule | None = None) -> KernelCode:
    """Print one kernel."""
    normal = normalise(program, group)
    schedule = schedule or _guess(normal, LAST_CACHE)
    body = Text(depth=1)
    if schedule.phases and _phased(normal):
        normal, scratch = _emit_phases(normal, schedule, body)
    elif schedule.split and (parted := _parted(normal)) is not None:
        _emit_split(parted, schedule, body)
        scratch = parted.scratch
    else:
        normal, scratch = _emit_group(normal, schedule, body), 0
    signature = _signature(normal, name)
    if scratch:
        signature = signature.removesuffix(")") + (", " if normal.memory else "") + "char* scratch)"
    text = Text()
    text.open(signature)
    text.lines += body.lines
    text.close()
    return KernelCode(name, "\n".join(text.lines), normal.memory, _symbols(normal), scratch)


def _emit_group(normal: Normal, schedule: LoopSchedule, text: Text, parted: Split | None = None) -> Normal:
    """Print the loops of a group; returns it as it was printed (some locals may have gone to memory)."""
    tile = next((a for a in normal.outer if a.name == schedule.tile), None)
    tile_size = _tile_size(tile, schedule)
    normal = recompute(normal, lambda made: _fits(normal, made, tile, tile_size))
    normal, local = localise(normal, tile, tile_size)
    cross = next((a for a in normal.outer if a.name == schedule.cross), None)
    rows = tuple(a for a in normal.outer if a not in (tile, cross))
    found = stages(normal, frozenset(a.name for a in rows))
    # Tiles follow each other along the axis that is read, so that what was fetched beyond one is of use to the next.
    tilings = [(a, size) for a, size in ((tile, tile_size), (cross, CROSS)) if a is not None]
    _emit_items(normal, schedule, tilings, rows, found, local, text, parted)
    return normal


def _emit_split(parted: Split, schedule: LoopSchedule, text: Text) -> None:
    offset = 0
    for tensor in parted.partial:
        kind = store_type(tensor.dtype)
        text(f"auto* KW_RESTRICT {tensor.name} = reinterpret_cast<{kind}*>(scratch + {offset});")
        offset += padded_bytes(tensor)
    for normal, cut in ((parted.parts, parted), (parted.whole, None)):
        tile = _tile_axis(normal, apart=cut.part.name if cut else "")
        inner = replace(schedule, tile=tile, split=False, sweep=schedule.sweep and cut is not None)
        _emit_group(normal, inner, text, cut)


def _emit_phases(normal: Normal, schedule: LoopSchedule, text: Text) -> tuple[Normal, int]:
    """Print one parallel loop per nest, over the points of all rows; returns the group and the bytes of scratch."""
    whole = recompute(normal, lambda made: False)
    memory = tuple(n for n in whole.program.tensors if n in {*whole.memory, *whole.local})
    scratch = 0
    for statements in _nests(whole):
        outer = whole.outer if isinstance(statements[-1], Reduce) else statements[-1].axes
        phase = replace(whole, statements=statements, outer=outer, local=(), memory=memory)
        parted = _parted(phase)
        tile = _tile_axis(phase)
        size = 4 * W if _reducing(phase) else CHUNK
        own = replace(schedule, tile=tile, tile_size=size, cross=cross_axis(phase, tile))
        if parted is not None and points(outer) < FEW_ITEMS * _threads():
            text.open()
            _emit_split(parted, own, text)
            text.close()
            scratch = max(scratch, parted.scratch)
        else:
            _emit_group(phase, own, text)
    return replace(whole, local=(), memory=memory), scratch


def _nests(normal: Normal) -> Iterator[tuple[Loop, ...]]:
    """Statements that are printed as one nest when threads share rows: maps, or reductions, in as few as can be."""
    for found in _chains(normal):
        parts = (found.first, found.second) if isinstance(found, Chain) else (found,)
        statements = tuple(s for stage in parts for s in stage.statements)
        maps = tuple(s for s in statements if isinstance(s, Map))
        yield from (found for found in (maps, tuple(s for s in statements if s not in maps)) if found)


def _phased(normal: Normal) -> bool:
    """Is the group reductions and maps over the same points, so that threads can share its rows nest by nest?"""
    sizes = {points((*s.axes, *inner_axes(s))) for s in normal.statements}
    return len(sizes) == 1 and all(isinstance(s, Map | Reduce) for s in normal.statements) and _reducing(normal)


def _chains(normal: Normal) -> list[Stage | Chain]:
    """The nests of a group without a tile, those that can share a pass joined."""
    rows = frozenset(a.name for a in normal.outer)
    context = Context(normal.program, None, {}, frozenset(), frozenset(), 1)
    return chained(context, stages(recompute(normal, lambda made: _fits(normal, made, None, 1)), rows))


def _parted(normal: Normal) -> Split | None:
    """The group with its rows cut into parts, if what is then printed is one pass."""
    parted = split(normal)
    if parted is None or not parted.linked:
        return parted
    rows = frozenset(a.name for a in parted.parts.outer)
    context = Context(parted.parts.program, None, {}, frozenset(), frozenset(), 1)
    found = chained(context, stages(parted.parts, rows), least=0)
    return parted if len(found) == 1 else None


def _fits(normal: Normal, made: Map, tile: Axis | None, tile_size: int) -> bool:
    """Does what a map leaves for the rest of a row fit the scratch of the row?"""
    outer = {a.name for a in normal.outer}
    inner = [a for a in made.axes if a.name not in outer]
    if any(static(a.size) is None for a in inner):
        return False
    width = tile_size if tile in made.axes else 1
    return points(inner) * width * ITEMSIZE[normal.program.tensors[made.store.tensor].dtype] <= STACK_BYTES


def _threads() -> int:
    return os.cpu_count() or 1


# ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────


def _guess(normal: Normal, cache: int) -> LoopSchedule:
    tile = _tile_axis(normal)
    reducing = _reducing(normal)
    cross = cross_axis(normal, tile)
    sweep = tile is not None and _sweeps(normal, tile)
    size = SWEEP if sweep else (4 * W if reducing or cross else CHUNK)
    stream = _result_bytes(normal) > cache or _crowded(normal, cache)
    tiles = -(-extent(normal.sizes[tile]) // size) if tile else 1
    items = points([a for a in normal.outer if a.name != tile]) * tiles
    large = points(_everything(normal)) > 1 << 17
    longest = items < FEW_ITEMS and large and _parted(normal) is not None
    busy = items / max(1, -(-items // _threads()) * _threads())  # of all threads, on average
    several = len(normal.statements) > 1
    phases = several and points(_everything(normal)) > 1 << 16 and not longest and busy < EVEN and _phased(normal)
    ahead = tile is None and reads_ahead(normal, cache)
    return LoopSchedule(
        tile=tile, tile_size=size, cross=cross, vectors=2 if ahead and not several else 4, split=longest, stream=stream,
        sweep=sweep, phases=phases, ahead=ahead,
    )  # fmt: skip


def _sweeps(normal: Normal, tile: str) -> bool:
    """Is the group one column reduction of a matrix too large for the caches?"""
    axis = next(a for a in normal.outer if a.name == tile)
    found = stages(normal, frozenset(a.name for a in normal.outer if a.name != tile))
    context = Context(normal.program, axis, {}, frozenset(), frozenset(), 1)
    return len(found) == 1 and sweepable(context, found[0], tile) and worth_sweeping(context, found[0], tile)


def _everything(normal: Normal) -> tuple[Axis, ...]:
    return tuple(Axis(n, s) for n, s in normal.sizes.items())


def _reducing(normal: Normal) -> bool:
    """Has any statement loops of its own besides the shared axes?"""
    return any(
        len(normal.outer) != len(s.axes) or getattr(s, "raxes", ()) or hasattr(s, "scan") for s in normal.statements
    )


def _tile_axis(normal: Normal, apart: str = "") -> str | None:
    """The outer axis worth having as lanes: the one that makes all nests together cheapest. Never ``apart``, the number
    of a part, of which addresses say nothing."""
    best: tuple[float, str | None] = (float("inf"), None)
    for name in (None, *(a.name for a in reversed(normal.outer) if a.name != apart)):
        rows = tuple(a for a in normal.outer if a.name != name)
        found = stages(normal, frozenset(a.name for a in rows))
        cost = group_cost(normal.program, found, points(rows))
        if cost < best[0] * 0.999:
            best = (cost, name)
    if best[1] is None and not _reducing(normal) and normal.outer:
        return normal.outer[-1].name
    return writing_axis(normal, best[1])


def _result_bytes(normal: Normal) -> int:
    """Bytes written to memory."""
    total = 0
    for statement in normal.statements:
        name = statement.store.tensor
        base = normal.program.tensors[name].alias or name
        if base in normal.memory:
            total += points(statement.axes) * ITEMSIZE[normal.program.tensors[name].dtype]
    return total


def _read_bytes(normal: Normal) -> int:
    """Bytes read from memory, each array at most once for each statement."""
    total = 0
    for statement in normal.statements:
        found = {root(normal.program, x.tensor): x for x in normal.program.loads(statement)}
        for name in found.keys() & set(normal.memory):
            total += points((*statement.axes, *inner_axes(statement))) * ITEMSIZE[normal.program.tensors[name].dtype]
    return total


def _crowded(normal: Normal, cache: int) -> bool:
    """Is a result of the program (of which the group may write a part) too large for the cache beside what is read?"""
    names = {root(normal.program, s.store.tensor) for s in normal.statements}
    tensors = [normal.program.tensors[name] for name in names]
    if any(t.role != "output" for t in tensors):
        return False
    written = sum(points([Axis("", size) for size in t.shape]) * ITEMSIZE[t.dtype] for t in tensors)
    return written > cache // 2 and written + _read_bytes(normal) > cache + cache // 4


def _tile_size(tile: Axis | None, schedule: LoopSchedule) -> int:
    if tile is None:
        return 1
    size = static(tile.size)
    if size is None:
        return schedule.tile_size
    rounded = -(-max(1, size) // W) * W
    return min(schedule.tile_size, rounded)


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _symbols(normal: Normal) -> tuple[str, ...]:
    return tuple(s.name for s in normal.program.symbols)


def _signature(normal: Normal, name: str) -> str:
    written = {normal.program.tensors[s.store.tensor].alias or s.store.tensor for s in normal.statements}
    parameters = []
    for tensor in normal.memory:
        const = "" if tensor in written else "const "
        parameters.append(f"{const}{store_type(normal.program.tensors[tensor].dtype)}* KW_RESTRICT {tensor}")
    parameters += [f"const int64_t {s}" for s in _symbols(normal)]
    return f"static void {name}({', '.join(parameters)})"


def _emit_items(
    normal: Normal,
    schedule: LoopSchedule,
    tilings: list[tuple[Axis, int]],
    rows: tuple[Axis, ...],
    found: list[Stage],
    local: tuple[Local, ...],
    text: Text,
    parted: Split | None = None,
) -> None:
    """The parallel loop over items: points of the row axes, times the tiles of the tiled axis."""
    ranges: dict[str, tuple[int, int]] = {}
    for statement in normal.statements:
        ranges.update(ranges_of(statement))
    tile, tile_size = next(((a, n) for a, n in tilings if a.name == schedule.tile), (None, 1))
    cross = next((a for a, _ in tilings if a.name == schedule.cross), None)
    stream = _streamed(normal) if schedule.stream else frozenset()
    context = Context(
        normal.program,
        tile,
        ranges,
        stream,
        _kept(normal, found, local),
        schedule.vectors,
        tile_size,
        cross,
        parted.axis if parted else None,
        plan_ahead(normal, found) if schedule.ahead and tile is None else None,
    )
    count = " * ".join([*(size_text(a.size) for a in rows), *(_tiles(a, n) for a, n in tilings)]) or "1"
    lengths = {a.name: n for a, n in tilings}
    item_cost = sum(
        stage_cost(normal.program, s, best_lane(normal.program, s))
        * points([Axis(a.name, min(lengths.get(a.name, extent(a.size)), extent(a.size))) for a in s.loops])
        for s in found
    )
    least = max(1, int(LEAST_UNITS / max(item_cost, 0.1)))
    if schedule.threads:
        text.open(f"kw::parallel_items({count}, {least}, [&](const int64_t item_begin, const int64_t item_end)")
    else:
        text.open()
        text(f"const int64_t item_begin = 0, item_end = {count};")
    for scratch in local:
        if scratch.name in context.kept:
            text(f"alignas(64) {store_type(scratch.dtype)} {scratch.name}[{max(1, scratch.size)}];")
    text.loop("item", "item_begin", "item_end")
    _decode(_item_order(normal, rows, tilings), text)
    if parted:
        begin, whole = tile_begin(parted.axis), size_text(normal.sizes[parted.axis])
        text(f"const int64_t {begin} = {parted.part.name} * {parted.length};")
        text(f"const int64_t {parted.axis}_end = kw::min<int64_t>({begin} + {parted.length}, {whole});")
    for stage in chained(context, found, 0 if parted else LEAST_ROW) if schedule.online or parted else found:
        if isinstance(stage, Chain):
            emit_chain(context, stage, text)
            continue
        lane = best_lane(normal.program, stage)
        if cross is not None and tile is not None:
            emit_transposed(context, normal, stage, tile.name, cross.name, text)
        elif stage.scan is not None:
            emit_scan(context, stage, lane, text)
        elif schedule.sweep and lane is not None and sweepable(context, stage, lane):
            emit_sweep(context, stage, next(a for a in stage.axes if a.name == lane), text)
        else:
            (emit_reductions if stage.reduces else emit_maps)(context, stage, lane, text)
    text.close()
    if stream:
        text("kw::stream_fence();")
    text.close("});" if schedule.threads else "}")


def _tiles(tile: Axis, tile_size: int) -> str:
    """How many tiles there are."""
    size = static(tile.size)
    return f"kw::ceil_div({size_text(tile.size)}, {tile_size})" if size is None else str(-(-size // tile_size))


def _item_order(
    normal: Normal, rows: tuple[Axis, ...], tilings: list[tuple[Axis, int]]
) -> list[tuple[Axis, int | None]]:
    """The factors of the item number, slowest first: rows, then tiles, unless tiles lie farther apart in the result.

    Neighbouring items then touch neighbouring memory, so what one leaves in the caches serves the next.
    """
    order: list[tuple[Axis, int | None]] = [(a, None) for a in rows]
    flat = list(flat_accesses(normal.program, normal.statements[-1]))[-1]
    strides = {a.name: static(step) for a in normal.outer if (step := step_of(flat, a.name)) is not None}
    for axis, length in tilings:
        place, own = len(order), strides.get(axis.name)
        while len(tilings) == 1 and own and place and (strides.get(order[place - 1][0].name) or own) < own:
            place -= 1
        order.insert(place, (axis, length))
    return order


def _decode(order: list[tuple[Axis, int | None]], text: Text) -> None:
    """The point of the row axes and the tiles that an item stands for."""
    rest = "item"
    for position, (axis, length) in enumerate(reversed(order)):
        name, last = axis.name, position == len(order) - 1
        count = size_text(axis.size) if length is None else _tiles(axis, length)
        if length is not None and count == "1":
            text(f"constexpr int64_t {tile_begin(name)} = 0;")
            text(f"const int64_t {name}_end = {size_text(axis.size)};")
            continue
        value = rest if last else f"{rest} % {_factor(count)}"
        if length is None:
            text(f"const int64_t {name} = {value};")
        else:
            begin, size = tile_begin(name), static(axis.size)
            whole = size is not None and size % length == 0
            end = f"{begin} + {length}"
            text(f"const int64_t {begin} = {value} * {length};")
            text(f"const int64_t {name}_end = {end if whole else f'kw::min<int64_t>({end}, {size_text(axis.size)})'};")
        if not last:
            text(f"const int64_t {name}_rest = {rest} / {_factor(count)};")
            rest = f"{name}_rest"


def _factor(text: str) -> str:
    return text if text.isdigit() else f"({text})"


def _kept(normal: Normal, found: list[Stage], local: tuple[Local, ...]) -> frozenset[str]:
    """Tensors whose elements must really be written: all but local ones that only their own nest reads."""
    kept = {s.store.tensor for s in normal.statements}
    for scratch in local:
        writers = [stage for stage in found if any(s.store.tensor == scratch.name for s in stage.statements)]
        readers = [
            stage
            for stage in found
            for s in stage.statements
            if any(load.tensor == scratch.name for load in normal.program.loads(s))
        ]
        made_by_map = all(type(s).__name__ == "Map" for s in normal.statements if s.store.tensor == scratch.name)
        if made_by_map and all(r is writers[0] for r in readers):
            kept.discard(scratch.name)
    return frozenset(kept)


def _streamed(normal: Normal) -> frozenset[str]:
    """Large results of maps that nothing in the kernel reads back."""
    read = {root(normal.program, x.tensor) for s in normal.statements for x in normal.program.loads(s)}
    found = set()
    for statement in normal.statements:
        name = statement.store.tensor
        size = ITEMSIZE[normal.program.tensors[name].dtype]
        large = points(statement.axes) * size >= LEAST_STREAM
        if isinstance(statement, Map) and large and size in (2, 4) and root(normal.program, name) not in read:
            found.add(name)
    return frozenset(found)
