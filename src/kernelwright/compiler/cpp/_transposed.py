"""Prints maps that read along one axis and write along another, in blocks of sixteen by sixteen.

Each block is read in whole vectors along its own contiguous axis, transposed in registers into a small array, and the
map then finds its operands there as vectors along the axis it writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..program import Axis, Index, Load, Map
from ._indices import flatten, size_text, static
from ._nest import INLINE, Context, Text, bounds_of, finish_map
from ._normal import Normal
from ._stages import Stage, W, extent, stages, step_of
from .printer import Printer, Temp

_VECTORS = ("float32", "bfloat16", "float16", "int32", "int16", "int8", "uint8")  # one 64-byte vector of lanes


@dataclass(frozen=True)
class Block:
    """A load that is transposed: its flat offset, and the step from lane to lane."""

    load: Load
    flat: Index
    step: str


def cross_axis(normal: Normal, lane: str | None) -> str | None:
    """The axis along which strided loads are contiguous when ``lane`` is the lane axis; None if there is none."""
    if lane is None or any(not isinstance(s, Map) or len(s.axes) != len(normal.outer) for s in normal.statements):
        return None
    rows = frozenset(a.name for a in normal.outer if a.name != lane)
    if len(stages(normal, rows)) != 1:
        return None
    votes: dict[str, int] = {}
    for statement in normal.statements:
        for load in normal.program.loads(statement):
            for axis in normal.outer:
                if _is_block(normal, load, lane, axis.name):
                    votes[axis.name] = votes.get(axis.name, 0) + 1
    return max(votes, key=lambda name: votes[name], default=None)


def writing_axis(normal: Normal, lane: str | None) -> str | None:
    """The lane axis of a map: the one given, unless it would scatter results that another axis writes side by side
    once what it reads is transposed. (Loads and stores at a stride look alike to a count of accesses; only the loads
    can be turned in registers.)"""
    statements = normal.statements
    if lane is None or any(not isinstance(s, Map) or len(s.axes) != len(normal.outer) for s in statements):
        return lane
    stores = [flatten(normal.program.tensors[s.store.tensor], s.store.index) for s in statements]
    if any((step := step_of(flat, lane)) is not None and static(step) in (0, 1) for flat in stores):
        return lane
    for axis in (a for a in normal.outer if extent(a.size) >= W):
        steps = [step_of(flat, axis.name) for flat in stores]
        if all(step is not None and static(step) == 1 for step in steps) and cross_axis(normal, axis.name):
            return axis.name
    return lane


def _is_block(normal: Normal, load: Load, lane: str, cross: str) -> bool:
    tensor = normal.program.tensors[load.tensor]
    if load.fill is not None or tensor.dtype not in _VECTORS:
        return False
    flat = flatten(tensor, load.index)
    step, along = step_of(flat, lane), step_of(flat, cross)
    if not flat.is_affine or step is None or along is None or static(along) != 1:
        return False
    return static(step) not in (0, 1)


def emit_transposed(context: Context, normal: Normal, stage: Stage, lane: str, cross: str, text: Text) -> None:
    """Print the loops over the blocks of the item's two tiles."""
    blocks = _blocks(normal, stage, lane, cross)
    text.open()
    parameters = f"const int64_t {lane}, const int64_t {cross}_0, const int lanes, const int across"
    text.open(f"const auto block = [&]({parameters}) {INLINE}")
    for number, block in enumerate(blocks):
        tensor = normal.program.tensors[block.load.tensor]
        kind = "kw::vf" if "float" in tensor.dtype else "kw::vi"
        printer = Printer(context.program, lane=None)
        offset = printer.index(block.flat.substitute({cross: Index.axis(f"{cross}_0")}))
        text(f"{kind} block{number}[kw::W];")
        source = f"{printer.pointer(block.load.tensor)} + {offset}"
        text(f"kw::transpose(block{number}, {source}, {block.step}, lanes, across);")
    text.open("for (int across_at = 0; across_at < across; ++across_at)")
    text(f"const int64_t {cross} = {cross}_0 + across_at;")
    known = {
        (block.load.tensor, block.load.index): Temp(f"block{number}[across_at]", _dtype(normal, block.load), True)
        for number, block in enumerate(blocks)
    }
    printer = Printer(context.program, lane=lane, count="lanes", ranges=context.ranges, stream=context.stream)
    printer.bind(known)
    for statement in stage.statements:
        assert isinstance(statement, Map)
        finish_map(context, printer, statement)
    for line in printer.lines:
        text(line)
    text.close()
    text.close("};")
    axes = {a.name: a for a in stage.axes}
    _emit_calls(context, axes[lane], axes[cross], text)
    text.close()


def _emit_calls(context: Context, lane: Axis, cross: Axis, text: Text) -> None:
    """Sixteen rows at a time are read along the second axis: few streams, each in order, whatever lies between rows."""
    (begin, end), (first, last) = bounds_of(context, lane), bounds_of(context, cross)
    text.loop("at", begin, end, "kw::W")
    text(f"int64_t next = {first};")
    text(f"if (at + kw::W <= {end}) for (; next + kw::W <= {last}; next += kw::W) block(at, next, kw::W, kw::W);")
    lanes, across = f"int(kw::min<int64_t>(kw::W, {end} - at))", f"int(kw::min<int64_t>(kw::W, {last} - next))"
    text(f"for (; next < {last}; next += kw::W) block(at, next, {lanes}, {across});")
    text.close()


def _blocks(normal: Normal, stage: Stage, lane: str, cross: str) -> list[Block]:
    found: dict[tuple[str, tuple[Index, ...]], Block] = {}
    for statement in stage.statements:
        for load in normal.program.loads(statement):
            if _is_block(normal, load, lane, cross):
                flat = flatten(normal.program.tensors[load.tensor], load.index)
                step = step_of(flat, lane)
                assert step is not None
                found[(load.tensor, load.index)] = Block(load, flat, size_text(step))
    return list(found.values())


def _dtype(normal: Normal, load: Load) -> str:
    dtype = normal.program.tensors[load.tensor].dtype
    return "float32" if "float" in dtype else dtype
