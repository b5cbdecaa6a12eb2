"""Generates the kernels of everything that is not a contraction: maps, reductions, scans and their groups.

Level 2 is decided in :class:`LoopSchedule`: which axis is tiled and how, how many accumulators are in flight, whether a
long reduction is split over the threads, and whether results bypass the caches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..group import Group
from ..program import Axis, Program
from ._code import KernelCode
from ._indices import size_text, static
from ._local import ITEMSIZE, Local, localise, tile_begin
from ._nest import Context, Text, emit_maps
from ._normal import Normal, normalise, ranges_of
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
from .printer import store_type

LAST_CACHE = 32 << 20  # results larger than this are better written around the caches
LEAST_UNITS = 60_000.0  # work in vector loads below which waking another thread costs more than it gives
FEW_ITEMS = 8  # fewer items than this leave threads idle: a long reduction is shared out instead
CHUNK = 8192  # elements of a long axis that one item takes


@dataclass(frozen=True)
class LoopSchedule:
    """Level-2 decisions for one group.

    ``tile``: the outer axis cut into tiles of ``tile_size`` (its elements are the lanes, or it is merely shared out).
    ``vectors``: accumulators in flight. ``split``: share a reduction out over the threads. ``stream``: write results
    around the caches. ``threads``: False runs serially.
    """

    tile: str | None = None
    tile_size: int = CHUNK
    vectors: int = 4
    split: bool = False
    stream: bool = False
    threads: bool = True


def schedules(program: Program, group: Group, machine: object | None = None) -> list[LoopSchedule]:
    """Schedules worth trying, best guess first."""
    normal = normalise(program, group)
    cache = int(getattr(machine, "last_cache_bytes", 0) or LAST_CACHE)
    best = _guess(normal, cache)
    found = [best]
    if best.vectors > 1:
        found.append(replace(best, vectors=8 if best.vectors == 4 else 4))
        found.append(replace(best, vectors=2))
    if best.tile and _reducing(normal):
        found += [replace(best, tile_size=size) for size in (W, 4 * W, 8 * W, 16 * W) if size != best.tile_size]
    if best.split:
        found.append(replace(best, split=False))
    if not _reducing(normal) and _result_bytes(normal) >= cache // 4:
        found.append(replace(best, stream=not best.stream))
    return list(dict.fromkeys(found))


def emit_loops(program: Program, group: Group, name: str, schedule: LoopSchedule | None = None) -> KernelCode:
    """Print one kernel."""
    normal = normalise(program, group)
    schedule = schedule or _guess(normal, LAST_CACHE)
    parted = split(normal) if schedule.split else None
    text = Text()
    if parted is None:
        body = Text(depth=1)
        normal = _emit_group(normal, schedule, body)
        text.open(_signature(normal, name))
        text.lines += body.lines
        text.close()
        return KernelCode(name, "\n".join(text.lines), normal.memory, _symbols(normal))
    text.open(_signature(normal, name).removesuffix(")") + (", " if normal.memory else "") + "char* scratch)")
    _emit_split(parted, schedule, text)
    text.close()
    return KernelCode(name, "\n".join(text.lines), normal.memory, _symbols(normal), parted.scratch)


def _emit_group(normal: Normal, schedule: LoopSchedule, text: Text, parted: Split | None = None) -> Normal:
    """Print the loops of a group; returns it as it was printed (some locals may have gone to memory)."""
    tile = next((a for a in normal.outer if a.name == schedule.tile), None)
    tile_size = _tile_size(tile, schedule)
    normal, local = localise(normal, tile, tile_size)
    rows = tuple(a for a in normal.outer if tile is None or a.name != tile.name)
    found = stages(normal, frozenset(a.name for a in rows))
    _emit_items(normal, schedule, tile, tile_size, rows, found, local, text, parted)
    return normal


def _emit_split(parted: Split, schedule: LoopSchedule, text: Text) -> None:
    offset = 0
    for tensor in parted.partial:
        kind = store_type(tensor.dtype)
        text(f"auto* KW_RESTRICT {tensor.name} = reinterpret_cast<{kind}*>(scratch + {offset});")
        offset += padded_bytes(tensor)
    for normal, cut in ((parted.parts, parted), (parted.whole, None)):
        tile = _tile_axis(normal)
        inner = replace(schedule, tile=None if cut and tile == cut.part.name else tile, split=False)
        _emit_group(normal, inner, text, cut)


# ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────


def _guess(normal: Normal, cache: int) -> LoopSchedule:
    tile = _tile_axis(normal)
    reducing = _reducing(normal)
    size = 4 * W if reducing else CHUNK
    stream = not reducing and _result_bytes(normal) > cache
    tiles = -(-extent(normal.sizes[tile]) // size) if tile else 1
    few = points([a for a in normal.outer if a.name != tile]) * tiles < FEW_ITEMS
    longest = few and split(normal) is not None and points(_everything(normal)) > 1 << 17
    return LoopSchedule(tile=tile, tile_size=size, vectors=4, split=longest, stream=stream)


def _everything(normal: Normal) -> tuple[Axis, ...]:
    return tuple(Axis(n, s) for n, s in normal.sizes.items())


def _reducing(normal: Normal) -> bool:
    """Has any statement loops of its own besides the shared axes?"""
    return any(
        len(normal.outer) != len(s.axes) or getattr(s, "raxes", ()) or hasattr(s, "scan") for s in normal.statements
    )


def _tile_axis(normal: Normal) -> str | None:
    """The outer axis worth having as lanes: the one that makes all nests together cheapest."""
    best: tuple[float, str | None] = (float("inf"), None)
    for name in (None, *(a.name for a in reversed(normal.outer))):
        rows = tuple(a for a in normal.outer if a.name != name)
        found = stages(normal, frozenset(a.name for a in rows))
        cost = group_cost(normal.program, found, points(rows))
        if cost < best[0] * 0.999:
            best = (cost, name)
    if best[1] is None and not _reducing(normal) and normal.outer:
        return normal.outer[-1].name
    return best[1]


def _result_bytes(normal: Normal) -> int:
    """Bytes written to memory."""
    total = 0
    for statement in normal.statements:
        name = statement.store.tensor
        base = normal.program.tensors[name].alias or name
        if base in normal.memory:
            total += points(statement.axes) * ITEMSIZE[normal.program.tensors[name].dtype]
    return total


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
    tile: Axis | None,
    tile_size: int,
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
    stream = _streamed(normal, rows, tile_size) if schedule.stream else frozenset()
    kept = _kept(normal, found, local)
    context = Context(
        normal.program, tile, ranges, stream, kept, schedule.vectors, tile_size, parted.axis if parted else None
    )
    tiles = _tiles(tile, tile_size)
    count = " * ".join([*(size_text(a.size) for a in rows), tiles])
    item_cost = sum(
        stage_cost(normal.program, s, best_lane(normal.program, s))
        * points([a for a in s.loops if not tile or a.name != tile.name])
        * (tile_size if tile and tile.name in {a.name for a in s.loops} else 1)
        for s in found
    )
    least = max(1, int(LEAST_UNITS / max(item_cost, 0.1)))
    if schedule.threads:
        text.open(f"kw::parallel_items({count}, {least}, [&](const int64_t item_begin, const int64_t item_end)")
    else:
        text.open("")
        text(f"const int64_t item_begin = 0, item_end = {count};")
    for scratch in local:
        if scratch.name in context.kept:
            text(f"alignas(64) {store_type(scratch.dtype)} {scratch.name}[{max(1, scratch.size)}];")
    text.loop("item", "item_begin", "item_end")
    _decode(rows, tile, tile_size, tiles, text)
    if parted:
        begin, whole = tile_begin(parted.axis), size_text(normal.sizes[parted.axis])
        text(f"const int64_t {begin} = {parted.part.name} * {parted.length};")
        text(f"const int64_t {parted.axis}_end = kw::min<int64_t>({begin} + {parted.length}, {whole});")
    for stage in found:
        lane = best_lane(normal.program, stage)
        if stage.scan is not None:
            emit_scan(context, stage, lane, text)
        else:
            (emit_reductions if stage.reduces else emit_maps)(context, stage, lane, text)
    text.close()
    if stream:
        text("kw::stream_fence();")
    text.close("});" if schedule.threads else "}")


def _tiles(tile: Axis | None, tile_size: int) -> str:
    """How many tiles there are."""
    if tile is None:
        return "1"
    size = static(tile.size)
    return f"kw::ceil_div({size_text(tile.size)}, {tile_size})" if size is None else str(-(-size // tile_size))


def _decode(rows: tuple[Axis, ...], tile: Axis | None, tile_size: int, tiles: str, text: Text) -> None:
    """The point of the row axes and the tile that an item stands for."""
    rest = "item"
    if tile and tiles != "1":
        text(f"const int64_t {tile_begin(tile.name)} = item % {_factor(tiles)} * {tile_size};")
        end = f"kw::min<int64_t>({tile_begin(tile.name)} + {tile_size}, {size_text(tile.size)})"
        size = static(tile.size)
        if size is not None and size % tile_size == 0:
            end = f"{tile_begin(tile.name)} + {tile_size}"
        text(f"const int64_t {tile.name}_end = {end};")
        rest = f"item / {_factor(tiles)}"
    elif tile:
        text(f"constexpr int64_t {tile_begin(tile.name)} = 0;")
        text(f"const int64_t {tile.name}_end = {size_text(tile.size)};")
    if not rows:
        return
    if rest != "item":
        text(f"const int64_t row = {rest};")
        rest = "row"
    for position, axis in enumerate(reversed(rows)):
        last = position == len(rows) - 1
        text(f"const int64_t {axis.name} = {rest if last else f'{rest} % {_factor(size_text(axis.size))}'};")
        if not last:
            text(f"const int64_t row{position} = {rest} / {_factor(size_text(axis.size))};")
            rest = f"row{position}"


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


def _streamed(normal: Normal, rows: tuple[Axis, ...], tile_size: int) -> frozenset[str]:
    """Results of whole cache lines per row that nothing in the kernel reads back."""
    found = set()
    for statement in normal.statements:
        name = statement.store.tensor
        size = ITEMSIZE[normal.program.tensors[name].dtype]
        (flat,) = list(flat_accesses(normal.program, statement))[-1:]
        steps = [step_of(flat, a.name) for a in rows]
        aligned = all(s is not None and (v := static(s)) is not None and v * size % 64 == 0 for s in steps)
        if aligned and extent(flat.offset) * size % 64 == 0 and size == 4 and tile_size % W == 0:
            found.add(name)
    return frozenset(found)
