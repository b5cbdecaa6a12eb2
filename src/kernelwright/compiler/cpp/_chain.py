"""Prints two stages of reductions, the second of which reads the first, in one pass over a row that no cache holds.

The row is walked in blocks that stay in the first cache. Each block is reduced by the first stage, then by the second
relative to what the first has found so far; :mod:`._links` says how the second's sums move along.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..program import Axis, Load, Reduce
from ._indices import flatten
from ._links import Link, links
from ._local import ITEMSIZE
from ._nest import Context, Text, bounds_of, by_stride, printer_of
from ._operators import scalar_type
from ._reduce import (
    emit_point,
    emit_row,
    finish_reduce,
    is_long_sum,
    state_dtype,
    state_type,
    whole_type,
)
from ._stages import Stage, W, best_lane, extent, points, step_of
from .printer import Temp

BLOCK_BYTES = 16 << 10  # of a row that both stages walk while it is in the first cache
LEAST_ROW = 192 << 10  # bytes of a row below which two passes through the second cache are as fast


@dataclass(frozen=True)
class Chain:
    """Two stages that share a pass; ``lane`` is the reduced axis that is walked in blocks."""

    first: Stage
    second: Stage
    links: tuple[Link | None, ...]
    lane: str


def chained(context: Context, found: list[Stage], least: int = LEAST_ROW) -> list[Stage | Chain]:
    """The stages, pairs that can share a pass over a long row joined."""
    result: list[Stage | Chain] = []
    for stage in found:
        before = result[-1] if result else None
        chain = _chain(context, before, stage, least) if isinstance(before, Stage) else None
        if chain is None:
            result.append(stage)
        else:
            result[-1] = chain
    return result


def _chain(context: Context, first: Stage, second: Stage, least: int) -> Chain | None:
    lane = best_lane(context.program, first)
    axis = next((a for a in first.inner if a.name == lane), None)
    if axis is None or best_lane(context.program, second) != lane:
        return None
    if points(first.inner) * _bytes_per_point(context, first, axis.name) < least:
        return None
    found = links(context.program, first, second)
    # Each block costs a few dozen operations of its own.
    if found is None or extent(axis.size) < 32 * W:
        return None
    return Chain(first, second, found, axis.name)


def _streams(context: Context, stage: Stage, lane: str) -> list[Load]:
    """Loads that walk memory along the lanes, each once."""
    found: dict[tuple[str, object], Load] = {}
    for statement in stage.statements:
        for load in context.program.loads(statement):
            tensor = context.program.tensors[load.tensor]
            if load.fill is None and step_of(flatten(tensor, load.index), lane) == 1:
                found.setdefault((load.tensor, load.index), load)
    return list(found.values())


def _bytes_per_point(context: Context, stage: Stage, lane: str) -> int:
    return sum(ITEMSIZE[context.program.tensors[x.tensor].dtype] for x in _streams(context, stage, lane))


def emit_chain(context: Context, chain: Chain, text: Text) -> None:
    """Print both stages. Where threads share a row, what is stored are the sums relative to the part's own shift."""
    first, second = chain.first, chain.second
    axis = next(a for a in first.inner if a.name == chain.lane)
    inner = [*(a for a in first.inner if a is not axis), axis]
    each = sum(_bytes_per_point(context, s, axis.name) for s in (first, second)) // 2
    block = max(16 * W, BLOCK_BYTES // max(1, each) // (16 * W) * (16 * W))
    text.open()
    others = by_stride(context.program, first)
    for other in others:
        text.loop(other.name, *bounds_of(context, other))
    for n, statement in enumerate(first.reduces):
        text(f"{whole_type(statement, True)} all{n};")
    known: dict[str, Temp] = {}
    for n, (statement, link) in enumerate(zip(second.reduces, chain.links, strict=True)):
        if link is None:
            text(f"{whole_type(statement, True)} rest{n};")
            continue
        text(f"kw::{'Shifted' if link.kind == 'shift' else 'Moments'} sum{n};")
        dtype = state_dtype(statement)
        if link.load.tensor not in known:
            known[link.load.tensor] = Temp(f"near{link.earlier}", dtype, False)
            text(f"{scalar_type(dtype)} near{link.earlier} = 0;")
            if link.kind == "centre":
                text(f"double part{link.earlier} = 0;  // the sum of the block")
    emit_point(context, first, axis.name, "first", context.ranges, text)
    ahead = [(x, block) for x in _streams(context, second, axis.name)]
    emit_point(context, second, axis.name, "second", context.ranges, text, known, ahead)
    for other in inner[:-1]:
        text.loop(other.name, *bounds_of(context, other))
    begin, end = bounds_of(context, axis)
    text.loop("block", begin, end, str(block))
    text(f"const int64_t block_end = kw::min<int64_t>(block + {block}, {end});")
    _emit_first(context, chain, inner, text)
    _emit_second(context, chain, inner, text)
    for _ in inner:
        text.close()
    _finish(context, chain, text)
    for _ in others:
        text.close()
    text.close()


def _emit_block(context: Context, stage: Stage, inner: list[Axis], point: str, text: Text) -> None:
    """Accumulate one block into ``acc0_0``, ``acc1_0`` and so on."""
    copies = context.vectors
    for copy in range(copies):
        for n, statement in enumerate(stage.reduces):
            text(f"{state_type(statement, True)} acc{n}_{copy};")
    emit_row(context, stage, inner, ("block", "block_end"), copies, text, point=point)
    for n in range(len(stage.reduces)):
        for copy in range(1, copies):
            text(f"acc{n}_0.merge(acc{n}_{copy});")


def _merge(statement: Reduce) -> str:
    return "merge_fold" if is_long_sum(statement) else "merge"


def _emit_first(context: Context, chain: Chain, inner: list[Axis], text: Text) -> None:
    text.open()
    _emit_block(context, chain.first, inner, "first", text)
    for n, statement in enumerate(chain.first.reduces):
        centred = [m for m, x in enumerate(chain.links) if x and x.kind == "centre" and x.earlier == n]
        if centred:
            kind = scalar_type(state_dtype(statement))
            text(f"part{n} = kw::whole(acc{n}_0);")
            text(f"near{n} = static_cast<{kind}>(part{n} / double(block_end - block));")
        text(f"all{n}.{_merge(statement)}(acc{n}_0);")
        shifted = [(m, x) for m, x in enumerate(chain.links) if x and x.kind == "shift" and x.earlier == n]
        if shifted:
            text(f"const double top{n} = all{n}.fold();")
        for m, link in shifted:
            kind = scalar_type(state_dtype(statement))
            text(f"near{n} = static_cast<{kind}>(sum{m}.move(top{n}, {link.slope!r}));")
    text.close()


def _emit_second(context: Context, chain: Chain, inner: list[Axis], text: Text) -> None:
    text.open()
    _emit_block(context, chain.second, inner, "second", text)
    for n, (statement, link) in enumerate(zip(chain.second.reduces, chain.links, strict=True)):
        if link is None:
            text(f"rest{n}.{_merge(statement)}(acc{n}_0);")
        elif link.kind == "shift":
            text(f"sum{n}.sum += kw::whole(acc{n}_0);")
        else:
            k = link.earlier
            text(f"sum{n}.add(double(block_end - block), part{k}, near{k}, kw::whole(acc{n}_0));")
    text.close()


def _finish(context: Context, chain: Chain, text: Text) -> None:
    """Store the results; the sums of the second stage relative to what the first one's result turned out to be."""
    printer = printer_of(context, None, None, context.ranges)
    for n, statement in enumerate(chain.first.reduces):
        finish_reduce(printer, statement, f"all{n}.fold()", n, False)
    for n, (statement, link) in enumerate(zip(chain.second.reduces, chain.links, strict=True)):
        finished = f"rest{n}.fold()"
        if link is not None:
            finished = f"sum{n}.sum"
            if context.split is None:
                wanted = printer.temp(link.load).name
                finished = f"sum{n}.about({wanted}{f', {link.slope!r}' if link.kind == 'shift' else ''})"
            finished = f"static_cast<{scalar_type(state_dtype(statement))}>({finished})"
        finish_reduce(printer, statement, finished, n + len(chain.first.reduces), False)
    for line in printer.lines:
        text(line)
