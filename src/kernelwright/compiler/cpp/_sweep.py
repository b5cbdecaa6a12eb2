"""Prints column reductions that sweep whole rows of a wide tile, with one accumulator per result in the first cache.

Walking down one column group of a large matrix touches a new page per row; sweeping rows reads memory in order, and the
accumulators of a tile stay in L1 meanwhile. The hardware does not see from one row's page to the next row's, so each
row asks for the one that is swept a group later.
"""

from __future__ import annotations

from ..program import Axis, Load
from ._indices import Ranges, flatten, static
from ._nest import Context, Text, bounds_of, interior_of
from ._reduce import emit_finish, emit_point, is_long_sum, state_type, whole_type
from ._stages import Stage, W, flat_accesses, points, step_of

ROWS = 8  # rows added to an accumulator between its load and its store
BLOCK = 1 << 7  # rows that a float32 sum adds up before they meet the others in double
NEAR = 1024  # bytes: rows closer than this follow each other as one stream anyway
FAR = 1 << 18  # bytes: a column group that spans more than this crowds the second cache


def sweepable(context: Context, stage: Stage, lane: str | None) -> bool:
    """Can this stage be printed so? The lanes must be the tiled axis, without padding."""
    tiled = context.tile is not None and lane == context.tile.name
    return tiled and bool(stage.inner) and bool(stage.reduces) and not interior_of(context, stage)


def worth_sweeping(context: Context, stage: Stage, lane: str) -> bool:
    """Does a walk down the columns jump from page to page over more than a cache?"""
    last = stage.inner[-1]
    steps = [
        static(step) or 0
        for statement in stage.statements
        for flat in list(flat_accesses(context.program, statement))[:-1]
        if (step := step_of(flat, last.name)) is not None and static(step_of(flat, lane) or 0) == 1
    ]
    stride = 4 * max(steps, default=0)
    return stride >= NEAR and stride * points(stage.inner) > FAR


def emit_sweep(context: Context, stage: Stage, lane: Axis, text: Text) -> None:
    """Print the stage for the item's tile."""
    text.open()
    others = [a for a in stage.axes if a.name != lane.name]
    for axis in others:
        text.loop(axis.name, *bounds_of(context, axis))
    emit_point(context, stage, lane.name, "add_point", context.ranges, text, ahead=_ahead(context, stage, lane.name))
    vectors = -(-context.tile_size // W)
    blocked = any(is_long_sum(s) for s in stage.reduces) and points(stage.inner) > BLOCK
    for number, statement in enumerate(stage.reduces):
        if blocked:
            text(f"{whole_type(statement, True)} all{number}[{vectors}];")
        else:
            text(f"{state_type(statement, True)} acc{number}[{vectors}];")
    last = stage.inner[-1]
    for axis in stage.inner[:-1]:
        text.loop(axis.name, *bounds_of(context, axis))
    begin, end = bounds_of(context, last)
    if blocked:
        text.loop("block", begin, end, str(BLOCK))
        text(f"const int64_t block_end = kw::min<int64_t>(block + {BLOCK}, {end});")
        for number, statement in enumerate(stage.reduces):
            text(f"{state_type(statement, True)} acc{number}[{vectors}];")
        begin, end = "block", "block_end"
    text(f"int64_t down = {begin};")
    text.open(f"for (; down + {ROWS} <= {end}; down += {ROWS})")
    _emit_rows(context, stage, lane, ROWS, text)
    text.close()
    text.open(f"for (; down < {end}; ++down)")
    _emit_rows(context, stage, lane, 1, text)
    text.close()
    if blocked:
        for number, _ in enumerate(stage.reduces):
            text(f"for (int v = 0; v < {vectors}; ++v) all{number}[v].merge(acc{number}[v]);")
        text.close()
    for _ in stage.inner[:-1]:
        text.close()
    _emit_results(context, stage, lane, "all" if blocked else "acc", context.ranges, text)
    for _ in others:
        text.close()
    text.close()


def _ahead(context: Context, stage: Stage, lane: str) -> list[tuple[Load, int]]:
    """Loads that lie side by side in a row, and how many elements on the same place of the next group of rows is."""
    found: dict[Load, int] = {}
    for statement in stage.statements:
        for load in context.program.loads(statement):
            flat = flatten(context.program.tensors[load.tensor], load.index)
            down = static(step_of(flat, stage.inner[-1].name) or 0)
            if load.fill is None and down and static(step_of(flat, lane) or 0) == 1:
                found[load] = ROWS * down
    return list(found.items())


def _emit_rows(context: Context, stage: Stage, lane: Axis, rows: int, text: Text) -> None:
    """Add some rows to every accumulator of the tile."""
    begin, end = bounds_of(context, lane)
    axes = "".join(f"{a.name}, " for a in stage.inner[:-1])
    states = "".join(f", state{n}" for n in range(len(stage.reduces)))
    text("int v = 0;")
    text(f"int64_t at = {begin};")
    whole, rest = f"for (; at + kw::W <= {end}; at += kw::W, ++v)", f"if (at < {end})"
    for head, count in ((whole, "kw::W"), (rest, f"int({end} - at)")):
        text.open(head)
        for number, _ in enumerate(stage.reduces):
            text(f"auto state{number} = acc{number}[v];")
        for row in range(rows):
            text(f"add_point({axes}down{f' + {row}' if row else ''}, at, {count}{states});")
        for number, _ in enumerate(stage.reduces):
            text(f"acc{number}[v] = state{number};")
        text.close()


def _emit_results(context: Context, stage: Stage, lane: Axis, prefix: str, ranges: Ranges, text: Text) -> None:
    begin, end = bounds_of(context, lane)
    text.open()
    text("int v = 0;")
    text.open(f"for (int64_t at = {begin}; at < {end}; at += kw::W, ++v)")
    text(f"const int lanes = int(kw::min<int64_t>(kw::W, {end} - at));")
    emit_finish(context, stage, lane.name, ("at", "lanes"), f"{prefix}{{}}[v]", ranges, text)
    text.close()
    text.close()
