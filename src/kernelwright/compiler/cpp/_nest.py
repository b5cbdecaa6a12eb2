"""Prints one loop nest of maps: what a point computes as a lambda, and the loops that call it in whole vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..program import Axis, Index, Map, Program, Size
from ._ahead import Ahead
from ._indices import Ranges, bounds, flatten, size_text, static
from ._local import tile_begin
from ._normal import indices_of, rewrite
from ._pieces import pieces, straightened
from ._stages import Stage, W, step_of
from .printer import Printer, Temp


@dataclass(frozen=True)
class Context:
    """What every nest of a kernel knows."""

    program: Program
    tile: Axis | None  # the axis whose begin and end are variables of the item
    ranges: Ranges
    stream: frozenset[str]
    kept: frozenset[str]  # tensors that really are written (others only pass values on)
    vectors: int  # accumulators in flight
    tile_size: int = 1
    cross: Axis | None = None  # the second tiled axis of transposing maps
    split: str | None = None  # a reduced axis whose range is the thread's own
    ahead: Ahead | None = None  # the stage that prefetches the rows to come


@dataclass
class Text:
    """C++ lines with indentation."""

    lines: list[str] = field(default_factory=list)
    depth: int = 0

    def __call__(self, line: str) -> None:
        self.lines.append("  " * self.depth + line)

    def open(self, line: str = "") -> None:
        self(f"{line} {{" if line else "{")
        self.depth += 1

    def close(self, end: str = "}") -> None:
        self.depth -= 1
        self(end)

    def loop(self, axis: str, begin: str, end: str, step: str = "") -> None:
        self.open(f"for (int64_t {axis} = {begin}; {axis} < {end}; {f'{axis} += {step}' if step else f'++{axis}'})")


def bounds_of(context: Context, axis: Axis) -> tuple[str, str]:
    """The C++ range of a loop variable: the tile's for the tiled axis, the thread's for a split one."""
    tiled = {a.name for a in (context.tile, context.cross) if a}
    if axis.name in tiled or axis.name == context.split:
        return tile_begin(axis.name), f"{axis.name}_end"
    return "0", size_text(axis.size)


INLINE = "__attribute__((always_inline))"


def emit_maps(context: Context, stage: Stage, lane: str | None, text: Text) -> None:
    """Print the loops of a stage of maps."""
    text.open()
    others = [a for a in by_stride(context.program, stage) if a.name != lane]
    for axis in others:
        text.loop(axis.name, *bounds_of(context, axis))
    if lane is None:
        _map_point(context, stage, None, context.ranges, text)
    elif parts := pieces([i for s in stage.statements for i in indices_of(s)], lane, context.ranges):
        for part in parts:
            _emit_piece(context, stage, next(a for a in stage.axes if a.name == lane), part, text)
    else:
        axis = next(a for a in stage.axes if a.name == lane)
        interior = interior_of(context, stage)
        for name, ranges in variants(context, interior):
            text.open(f"const auto {name} = [&](const int64_t {lane}, const int lanes) {INLINE}")
            _map_point(context, stage, lane, ranges, text)
            text.close("};")
        lane_loop(context, axis, interior, text, lead=_lead(context, stage, axis))
    for _ in others:
        text.close()
    text.close()


def _emit_piece(context: Context, stage: Stage, lane: Axis, part: tuple[int, int], text: Text) -> None:
    """The loop over a piece of the lane axis in which every index runs in plain steps."""
    ranges = {**context.ranges, lane.name: part}
    straight = tuple(rewrite(s, lambda index: straightened(index, ranges)) for s in stage.statements)
    begin, end = bounds_of(context, lane)
    text.open()
    text.open(f"const auto point = [&](const int64_t {lane.name}, const int lanes) {INLINE}")
    _map_point(context, replace(stage, statements=straight), lane.name, ranges, text)
    text.close("};")
    text(f"int64_t at = kw::max<int64_t>({begin}, {part[0]});")
    text(f"const int64_t to = kw::min<int64_t>({end}, {part[1] + 1});")
    if part[1] - part[0] + 1 >= W:
        text("for (; at + kw::W <= to; at += kw::W) point(at, kw::W);")
    text("if (at < to) point(at, int(to - at));")
    text.close()


def _map_point(context: Context, stage: Stage, lane: str | None, ranges: Ranges, text: Text) -> None:
    printer = printer_of(context, lane, "lanes" if lane else None, ranges)
    for statement in stage.statements:
        assert isinstance(statement, Map)
        finish_map(context, printer, statement)
    for line in printer.lines:
        text(line)


def printer_of(
    context: Context, lane: str | None, count: str | None, ranges: Ranges, known: Mapping[str, Temp] | None = None
) -> Printer:
    """A printer for one point of a nest; ``known`` names variables that stand for tensors."""
    return Printer(context.program, lane=lane, count=count, ranges=ranges, stream=context.stream, known=known)


def finish_map(context: Context, printer: Printer, statement: Map) -> None:
    """Print a map's value and its store, or only remember the value if nothing else will read it."""
    temp = printer.temp(statement.value)
    if statement.store.tensor in context.kept:
        printer.store(statement.store, temp, temp.dtype)
    else:
        printer.forward(statement.store, temp)


# ── the lane loop ────────────────────────────────────────────────────────────────────────────────────────────────


def variants(context: Context, interior: Ranges) -> list[tuple[str, Ranges]]:
    """Names of the lambdas a nest needs: one that checks bounds, and one for the interior where there is padding."""
    if not interior:
        return [("point", context.ranges)]
    return [("edge", context.ranges), ("point", {**context.ranges, **interior})]


def _lead(context: Context, stage: Stage, lane: Axis) -> str:
    """Where a stage of maps streams to at the begin of the lane axis; streams want whole vectors of memory."""
    for statement in stage.statements:
        name = statement.store.tensor
        flat = flatten(context.program.tensors[name], statement.store.index)
        if name in context.stream and step_of(flat, lane.name) == 1:
            printer = Printer(context.program, lane=None, ranges=context.ranges)
            return f"{printer.pointer(name)} + {printer.index(flat)}"
    return ""


def lane_loop(context: Context, lane: Axis, interior: Ranges, text: Text, wide: int = 0, lead: str = "") -> None:
    """Call ``point(lane, lanes)`` along the lane axis; ``wide`` vectors at once through ``points(lane)`` if not 0.

    With an interior, ``edge`` takes what lies before and after it. ``lead`` is an address at the lane axis that whole
    vectors should see aligned.
    """
    begin, end = bounds_of(context, lane)
    size = static(lane.size)
    if size is not None and size < W and not interior and begin == "0":
        text(f"point(0, {size});" if size else "")
        return
    last = end
    text(f"int64_t at = {begin};")
    if lead and not interior:
        text.open()
        text(f"const int64_t {lane.name} = at;")
        text(f"const int64_t before = kw::min<int64_t>({end} - at, kw::lead({lead}));")
        text("if (before) point(at, int(before)), at += before;")
        text.close()
    if interior:
        _interior_bounds(lane, interior, (begin, end), text)
        text(f"for (; at < from && at < {end}; at += kw::W) edge(at, int(kw::min<int64_t>(kw::W, {end} - at)));")
        last = "to"
    if wide > 1 and (size is None or size >= wide * W):
        text(f"for (; at + {wide * W} <= {last}; at += {wide * W}) points(at);")
    text(f"for (; at + kw::W <= {last}; at += kw::W) point(at, kw::W);")
    if interior:
        # The last vector of the interior overlaps the one before: computing a result twice is cheaper than masks.
        text("if (at < to && to - from >= kw::W) point(to - kw::W, kw::W), at = to;")
        text(f"for (; at < {end}; at += kw::W) edge(at, int(kw::min<int64_t>(kw::W, {end} - at)));")
    elif size is None or size % W or begin != "0" or lead:
        text(f"if (at < {end}) point(at, int({end} - at));")


def _interior_bounds(lane: Axis, interior: Ranges, span: tuple[str, str], text: Text) -> None:
    """Declare ``from`` and ``to``: the part of the lane axis in which no check is needed (nothing if outside)."""
    begin, end = span
    inside = " && ".join(f"{a} >= {lo} && {a} <= {hi}" for a, (lo, hi) in interior.items() if a != lane.name)
    first, last = begin, end
    if lane.name in interior:
        low, high = interior[lane.name]
        first, last = f"kw::max<int64_t>({begin}, {low})", f"kw::min<int64_t>({end}, {high + 1})"
    if inside:
        text(f"const bool inside = {inside};")
        first, last = f"inside ? {first} : {end}", f"inside ? {last} : {end}"
    text(f"const int64_t from = {first}, to = {last};")


def by_stride(program: Program, stage: Stage) -> list[Axis]:
    """Placing axes, widest stride of the store first."""
    store = stage.statements[-1].store
    index = store.index[0] if len(store.index) == 1 else None

    def stride(axis: Axis) -> int:
        value = static(index.coefficient(axis.name)) if index is not None else 0
        return -(value if value is not None else 1 << 40)

    return sorted(stage.axes, key=stride)


def interior_of(context: Context, stage: Stage) -> dict[str, tuple[int, int]]:
    """Ranges of placing axes inside which no padded load can leave its tensor; empty when nothing is padded."""
    found: dict[str, tuple[int, int]] = {}
    reduced = {a.name for a in stage.inner}
    for statement in stage.statements:
        for load in context.program.loads(statement):
            if load.fill is None:
                continue
            for index, size in zip(load.index, context.program.tensors[load.tensor].shape, strict=True):
                narrowed = _narrow(context, index, size, reduced)
                if narrowed:
                    axis, low, high = narrowed
                    old = found.get(axis, context.ranges[axis])
                    found[axis] = (max(old[0], low), min(old[1], high))
    if any(high < low for low, high in found.values()):
        return {}
    return {a: r for a, r in found.items() if r != context.ranges[a]}


def _narrow(context: Context, index: Index, size: Size, reduced: set[str]) -> tuple[str, int, int] | None:
    """The range of the one placing axis of an index that keeps it inside, whatever the reduced axes are."""
    if not index.is_affine:
        return None
    placing = [(str(t), static(c)) for t, c in index.terms if t not in reduced]
    limit = static(size)
    if len(placing) != 1 or limit is None or placing[0][0] not in context.ranges:
        return None
    axis, step = placing[0]
    rest = bounds(index - Index.axis(axis) * (step or 0), context.ranges)
    if step is None or step <= 0 or rest is None:
        return None
    return axis, -(rest[0] // step), (limit - 1 - rest[1]) // step
