"""Prints one loop nest of reductions, with lanes along a reduced axis (folded at the end) or along the results.

A float32 sum longer than a block is added up block by block in float32 and over the blocks in double, so that its error
does not grow with its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..program import Acc, Axis, Index, Iota, Load, Map, Reduce
from ._ahead import ahead_loads
from ._indices import Ranges, static
from ._nest import (
    INLINE,
    Context,
    Text,
    bounds_of,
    by_stride,
    finish_map,
    interior_of,
    lane_loop,
    printer_of,
    variants,
)
from ._operators import convert_text, scalar_type, vector_type
from ._stages import Stage, W, extent, points, stage_cost
from .printer import Printer, Temp

ROW_BLOCK = 1 << 14  # values that a float32 sum adds up in float32 when lanes share a result
COLUMN_BLOCK = 1 << 7  # the same when every lane is a result
UNROLLED = 64  # loads and operations of a window that is unrolled completely

_STRUCTS = {
    "sum": "Sum", "prod": "Prod", "max": "Max", "min": "Min", "any": "Any", "all": "All",
    "argmax": "ArgMax", "argmin": "ArgMin",
}  # fmt: skip


def emit_reductions(context: Context, stage: Stage, lane: str | None, text: Text) -> None:
    """Print the loops of a stage of reductions (and the maps that feed them)."""
    text.open()
    others = [a for a in by_stride(context.program, stage) if a.name != lane]
    for axis in others:
        text.loop(axis.name, *bounds_of(context, axis))
    if lane is not None and lane in {a.name for a in stage.inner}:
        _emit_folded(context, stage, lane, text)
    else:
        _emit_placed(context, stage, lane, text)
    for _ in others:
        text.close()
    text.close()


# ── states ───────────────────────────────────────────────────────────────────────────────────────────────────────


def state_dtype(statement: Reduce) -> str:
    """The dtype a reduction accumulates in."""
    if statement.op in ("any", "all"):
        return "bool"
    dtype = statement.value.dtype
    if statement.op in ("sum", "prod"):
        if dtype == "float32" and acc_dtype(statement) == "float64":
            return "float64"
        if "float" not in dtype:
            return "int64"
    return "int32" if dtype == "bool" else dtype


def result_dtype(statement: Reduce) -> str:
    """The dtype of a finished accumulator."""
    return "int32" if statement.op.startswith("arg") else state_dtype(statement)


def acc_dtype(statement: Reduce) -> str:
    """The dtype in which the epilogue sees the accumulator."""
    return next((n.dtype for n in statement.epilogue.walk() if isinstance(n, Acc)), result_dtype_plain(statement))


def result_dtype_plain(statement: Reduce) -> str:
    """The dtype of an accumulator that no epilogue reads."""
    return "int32" if statement.op.startswith("arg") else statement.value.dtype


def state_type(statement: Reduce, vector: bool) -> str:
    """The C++ type of a reduction's accumulator."""
    dtype = state_dtype(statement)
    return f"kw::{_STRUCTS[statement.op]}<{vector_type(dtype) if vector else scalar_type(dtype)}>"


def is_long_sum(statement: Reduce) -> bool:
    """Does this reduction gain from blocks that meet in double?"""
    return statement.op == "sum" and state_dtype(statement) == "float32"


def whole_type(statement: Reduce, vector: bool) -> str:
    """The C++ type in which the blocks of a reduction meet."""
    if is_long_sum(statement):
        return f"kw::Total<{'kw::vf' if vector else 'float'}>"
    return state_type(statement, vector)


# ── the point ────────────────────────────────────────────────────────────────────────────────────────────────────


def _accumulators(stage: Stage) -> str:
    return "".join(f", auto& acc{n}" for n in range(len(stage.reduces)))


def emit_point(
    context: Context,
    stage: Stage,
    lane: str | None,
    name: str,
    ranges: Ranges,
    text: Text,
    known: Mapping[str, Temp] | None = None,
    ahead: Sequence[tuple[Load, int]] = (),
) -> None:
    """The lambda that adds one point (or sixteen) to the accumulators it is given.

    ``known`` names variables that stand for tensors; ``ahead`` are loads to prefetch, each so many elements on.
    """
    folded = lane is not None and lane in {a.name for a in stage.inner}
    axes = [a.name for a in stage.inner if a.name != lane]
    parameters = [f"const int64_t {a}" for a in (*axes, *([lane] if lane else []))] + ["const int lanes"]
    text.open(f"const auto {name} = [&]({', '.join(parameters)}{_accumulators(stage)}) {INLINE}")
    if lane is None:
        text("(void)lanes;")
    printer = printer_of(context, lane, "lanes" if lane else None, ranges, known)
    for load, distance in ahead:
        where = f"{printer.pointer(load.tensor)} + {printer.address(load.tensor, load.index)} + {distance}"
        printer.lines.append(f"__builtin_prefetch({where}, 0, 2);")
    number = 0
    for statement in stage.statements:
        if isinstance(statement, Map):
            finish_map(context, printer, statement)
            continue
        assert isinstance(statement, Reduce)
        arguments = _added(printer, statement, lane is not None)
        printer.lines.append(f"acc{number}.add({', '.join([*arguments, *(['lanes'] if folded else [])])});")
        number += 1
    for line in printer.lines:
        text(line)
    text.close("};")


def _added(printer: Printer, statement: Reduce, vector: bool) -> list[str]:
    """What is added at a point: the value, for an arg reduction also its position."""
    temps = [printer.converted(printer.temp(statement.value), state_dtype(statement))]
    if statement.op.startswith("arg"):
        temps.append(printer.converted(printer.temp(Iota(_position(statement), "int64")), "int32"))
    return [printer.widened(t).name if vector else t.name for t in temps]


def _position(statement: Reduce) -> Index:
    """Row-major position in the reduced axes."""
    position, step = Index.const(0), 1
    for axis in reversed(statement.raxes):
        position = position + Index.axis(axis.name) * step
        step = step * axis.size
    return position


def finish_reduce(printer: Printer, statement: Reduce, finished: str, number: int, vector: bool) -> None:
    """Bind a finished accumulator to a variable of the epilogue's dtype, print the epilogue, store."""
    dtype, wanted = result_dtype(statement), acc_dtype(statement)
    kind = vector_type if vector else scalar_type
    text = finished if wanted == dtype else convert_text(finished, Temp(finished, dtype, vector), wanted)
    printer.lines.append(f"const {kind(wanted)} result{number} = {text};")
    printer.acc = f"result{number}"
    printer.forget_acc()
    temp = printer.temp(statement.epilogue)
    printer.store(statement.store, temp, temp.dtype)


def block_depth(inner: Sequence[Axis], limit: int) -> tuple[int, bool]:
    """How many reduced loops stay outside a block of at most ``limit`` points, and whether there are several blocks."""
    total, depth = 1, len(inner)
    while depth > 0:
        size = static(inner[depth - 1].size)
        total *= limit + 1 if size is None else size
        if total > limit:
            return depth, True
        depth -= 1
    return 0, False


# ── lanes are results ────────────────────────────────────────────────────────────────────────────────────────────


def _emit_placed(context: Context, stage: Stage, lane: str | None, text: Text) -> None:
    """Each lane is a result; the reduced axes run in sequence, several vectors of results at a time."""
    if lane is None:
        emit_point(context, stage, None, "point", context.ranges, text)
        _emit_results(context, stage, None, [("0", "1")], "point", context.ranges, text)
        return
    axis = next(a for a in stage.axes if a.name == lane)
    interior = interior_of(context, stage)
    size = static(axis.size)
    if size is not None and not interior:
        _emit_static_lanes(context, stage, axis, size, text)
        return
    for name, ranges in variants(context, interior):
        emit_point(context, stage, lane, f"add_{name}", ranges, text)
        inline = "" if name == "edge" else f" {INLINE}"
        text.open(f"const auto {name} = [&](const int64_t {lane}_0, const int lanes){inline}")
        _emit_results(context, stage, lane, [(f"{lane}_0", "lanes")], f"add_{name}", ranges, text)
        text.close("};")
    wide = context.vectors if size is None or size >= context.vectors * W else 0
    if wide > 1:
        _emit_vectors(context, stage, lane, "points", [W] * wide, {**context.ranges, **interior}, text)
    lane_loop(context, axis, interior, text, wide)


def _emit_static_lanes(context: Context, stage: Stage, axis: Axis, size: int, text: Text) -> None:
    """Whole groups of vectors and one ragged group, so that the reduced axes are walked once for all of it."""
    begin, end = bounds_of(context, axis)
    emit_point(context, stage, axis.name, "add_point", context.ranges, text)
    vectors = _fitting(context, axis, size)
    group = vectors * W
    rest = size % group
    if size >= group:
        _emit_vectors(context, stage, axis.name, "points", [W] * vectors, context.ranges, text)
    if rest:
        lanes = [min(W, rest - start) for start in range(0, rest, W)]
        _emit_vectors(context, stage, axis.name, "rest", lanes, context.ranges, text)
    text(f"int64_t at = {begin};")
    if size >= group:
        text(f"for (; at + {group} <= {end}; at += {group}) points(at);")
    if rest:
        text(f"if (at < {end}) rest(at);")


def _fitting(context: Context, axis: Axis, size: int) -> int:
    """The most vectors at a time of which a tile holds a whole number."""
    vectors = context.vectors
    if context.tile and context.tile.name == axis.name and size > context.tile_size:
        while context.tile_size % (vectors * W):
            vectors -= 1
    return vectors


def _emit_vectors(
    context: Context, stage: Stage, lane: str, name: str, lanes: Sequence[int], ranges: Ranges, text: Text
) -> None:
    """A lambda for some vectors of results side by side."""
    text.open(f"const auto {name} = [&](const int64_t {lane}_0)")
    calls = [
        (f"{lane}_0 + {copy * W}" if copy else f"{lane}_0", "kw::W" if count == W else str(count))
        for copy, count in enumerate(lanes)
    ]
    _emit_results(context, stage, lane, calls, "add_point", ranges, text)
    text.close("};")


def _emit_results(
    context: Context,
    stage: Stage,
    lane: str | None,
    calls: list[tuple[str, str]],
    point: str,
    ranges: Ranges,
    text: Text,
) -> None:
    """Accumulate and store some vectors of results; ``calls`` gives each its lane variable and its count of lanes."""
    vector = lane is not None
    depth, blocked = block_depth(stage.inner, COLUMN_BLOCK)
    names = [(n, c) for c in range(len(calls)) for n in range(len(stage.reduces))]
    if blocked:
        for number, copy in names:
            text(f"{whole_type(stage.reduces[number], vector)} all{number}_{copy};")
    unroll = point != "add_edge" and _unrolled(context, stage, lane, len(calls))
    opened = _open_blocks(context, stage.inner[:depth], text) if blocked else 0
    for number, copy in names:
        text(f"{state_type(stage.reduces[number], vector)} acc{number}_{copy};")
    inner_opened = _open_inside(context, stage.inner, depth, blocked, unroll, point == "add_edge", text)
    axes = "".join(f"{a.name}, " for a in stage.inner)
    for copy, (start, count) in enumerate(calls):
        states = "".join(f", acc{n}_{copy}" for n in range(len(stage.reduces)))
        text(f"{point}({axes}{f'{start}, ' if vector else ''}{count}{states});")
    for _ in range(inner_opened):
        text.close()
    if blocked:
        for number, copy in names:
            text(f"all{number}_{copy}.merge(acc{number}_{copy});")
    for _ in range(opened):
        text.close()
    for copy, (start, count) in enumerate(calls):
        state = f"{'all' if blocked else 'acc'}{{}}_{copy}"
        emit_finish(context, stage, lane, (start, count), state, ranges, text)


def emit_finish(
    context: Context,
    stage: Stage,
    lane: str | None,
    call: tuple[str, str],
    state: str,
    ranges: Ranges,
    text: Text,
) -> None:
    """Store the results of one vector; ``state`` names its accumulators, with a place for the reduction's number."""
    text.open()
    if lane:
        text(f"const int64_t {lane} = {call[0]};")
    printer = printer_of(context, lane, call[1] if lane else None, ranges)
    for number, statement in enumerate(stage.reduces):
        finish_reduce(printer, statement, f"{state.format(number)}.value()", number, lane is not None)
    for line in printer.lines:
        text(line)
    text.close()


def _unrolled(context: Context, stage: Stage, lane: str | None, copies: int) -> bool:
    """Is the window small enough, and its body cheap enough, to be unrolled completely?"""
    if any(static(a.size) is None for a in stage.inner):
        return False
    weight = stage_cost(context.program, stage, lane) * (W if lane else 1)
    return points(stage.inner) * copies * weight <= UNROLLED


def _open_blocks(context: Context, axes: Sequence[Axis], text: Text) -> int:
    """Loops over the blocks: whole axes, the last one in pieces."""
    for axis in axes[:-1]:
        text.loop(axis.name, *bounds_of(context, axis))
    name, (begin, end) = axes[-1].name, bounds_of(context, axes[-1])
    text.loop(f"{name}_0", begin, end, str(COLUMN_BLOCK))
    text(f"const int64_t {name}_1 = kw::min<int64_t>({name}_0 + {COLUMN_BLOCK}, {end});")
    return len(axes)


def _open_inside(
    context: Context, inner: Sequence[Axis], depth: int, blocked: bool, unroll: bool, rare: bool, text: Text
) -> int:
    """Loops inside a block: all unrolled where that pays, kept small where they rarely run."""
    opened = 0
    if blocked:
        name = inner[depth - 1].name
        text.loop(name, f"{name}_0", f"{name}_1")
        opened += 1
    for axis in inner[depth:]:
        if static(axis.size) is not None and (unroll or rare):
            text(f"#pragma GCC unroll {extent(axis.size) if unroll else 1}")
        text.loop(axis.name, *bounds_of(context, axis))
        opened += 1
    return opened


# ── lanes share a result ─────────────────────────────────────────────────────────────────────────────────────────


def _emit_folded(context: Context, stage: Stage, lane: str, text: Text) -> None:
    """Lanes run along a reduced axis: several accumulators in flight, folded when the row is done."""
    sizes = {name: high + 1 for name, (_, high) in context.ranges.items()}
    mine = context.ahead if context.ahead and context.ahead.stage is stage else None
    ahead = ahead_loads(context.program, stage, sizes, mine.distance) if mine else ()
    emit_point(context, stage, lane, "point", context.ranges, text, ahead=ahead)
    inner = [*(a for a in stage.inner if a.name != lane), next(a for a in stage.inner if a.name == lane)]
    depth, blocked = block_depth(inner, ROW_BLOCK)
    copies = max(1, min(context.vectors, extent(inner[-1].size) // W))
    if blocked:
        for number, statement in enumerate(stage.reduces):
            text(f"{whole_type(statement, True)} all{number};")
    outside = inner[: min(depth, len(inner) - 1)]
    for axis in outside:
        text.loop(axis.name, *bounds_of(context, axis))
    opened = len(outside)
    span = bounds_of(context, inner[-1])
    if blocked and depth == len(inner):
        text.loop("block", *span, str(ROW_BLOCK))
        text(f"const int64_t block_end = kw::min<int64_t>(block + {ROW_BLOCK}, {span[1]});")
        span = ("block", "block_end")
        opened += 1
    for copy in range(copies):
        for number, statement in enumerate(stage.reduces):
            text(f"{state_type(statement, True)} acc{number}_{copy};")
    middle = inner[len(outside) : -1]
    for axis in middle:
        text.loop(axis.name, *bounds_of(context, axis))
    emit_row(context, stage, inner, span, copies, text)
    for _ in middle:
        text.close()
    for number, statement in enumerate(stage.reduces):
        for copy in range(1, copies):
            text(f"acc{number}_0.merge(acc{number}_{copy});")
        if blocked:
            text(f"all{number}.{'merge_fold' if is_long_sum(statement) else 'merge'}(acc{number}_0);")
    for _ in range(opened):
        text.close()
    printer = printer_of(context, None, None, context.ranges)
    for number, statement in enumerate(stage.reduces):
        name = f"all{number}" if blocked else f"acc{number}_0"
        finish_reduce(printer, statement, f"{name}.fold()", number, False)
    for line in printer.lines:
        text(line)


def emit_row(
    context: Context,
    stage: Stage,
    inner: Sequence[Axis],
    span: tuple[str, str],
    copies: int,
    text: Text,
    *,
    point: str = "point",
) -> None:
    """The innermost loop: whole groups of vectors, whole vectors, the rest."""
    (begin, end), lane = span, inner[-1]
    size = static(lane.size)
    axes = "".join(f"{a.name}, " for a in inner[:-1])

    def call(copy: int, count: str) -> str:
        states = "".join(f", acc{n}_{copy}" for n in range(len(stage.reduces)))
        return f"{point}({axes}at{f' + {copy * W}' if copy else ''}, {count}{states});"

    if size is not None and size < W and context.split != lane.name:
        text.open()
        text("constexpr int64_t at = 0;")
        text(call(0, str(size)))
        text.close()
        return
    text.open()
    text(f"int64_t at = {begin};")
    if copies > 1:
        text.open(f"for (; at + {copies * W} <= {end}; at += {copies * W})")
        for copy in range(copies):
            text(call(copy, "kw::W"))
        text.close()
    text(f"for (; at + kw::W <= {end}; at += kw::W) {call(0, 'kw::W')}")
    if size is None or size % W or context.split == lane.name:
        text(f"if (at < {end}) {call(0, f'int({end} - at)')}")
    text.close()
