"""Prints the phases of a transposed convolution, or a convolution, as one kernel (``kw/phases.h``)."""

from __future__ import annotations

import itertools
import math
import operator

from ..contraction import flat_index
from ..phases import Phases, Residue
from ..program import Axis, Index, Program
from ._code import KernelCode
from ._finish import ending, finish_code, split_code
from ._indices import index_text, static
from ._kernel import kernel_code
from ._operand import base_name
from ._schedule import SERIAL_PRODUCTS, Cache, GemmSchedule, register_tiles

INPUT_BYTES = 384 << 10  # of the lanes that a panel of weights meets: they come from the second-level cache
COPY_SHARE = 0.9  # most of the second-level cache that a convolution's padded copy takes
MOST_PARTS = 8  # of an input laid out by residues
UNALIGNED = 1.5  # cycles of a vector that is read where it lies
LAID = 4.0  # cycles of a vector of the padded copy
PACKED = 3.0  # cycles of a vector that a blocked product packs; twice that with a stride
_RANK = 3  # planes, rows, lanes: what is missing has one


def phase_schedules(found: Phases, machine: Cache | None = None) -> list[GemmSchedule]:
    """Register tiles of whole residues, best guess first."""
    cache, step, outs = machine or Cache(), found.sides[-1].step, _size(found.outs)
    fitting = register_tiles("float32", cache.registers)
    tiles = {(mr // step, nv) for mr, nv in fitting if mr % step == 0 and mr // step <= outs}
    tiles = tiles or {(1, 1)}  # more residues than registers
    tile_bytes = _size(found.channel) * max(p[1] for p in _phases(found)) * 4
    return [
        GemmSchedule("phases", oc, nv, 0, 0, max(1, INPUT_BYTES // (tile_bytes * (nv + 1) * 16)), cache.workers)
        for oc, nv in sorted(tiles, key=lambda t: (phase_cost(found, *t), t))[:3]
    ]


def phase_cost(found: Phases, oc: int, nv: int) -> float:
    """The cost of a register tile of ``oc`` channels for the whole result, in the unit of ``gemm_cost``."""
    row, units = found.sides[-1], _size(found.image) * _size(found.group)
    rows, taps = oc * row.step, sum(len(slot.taps) for slot in row.slots) / row.step
    tiles = sum(p[1] * p[2] * -(-p[4] // (nv * 16)) for p in _phases(found)) * -(-_size(found.outs) // oc)
    each = max(rows * nv, 8) + 0.35 * rows + UNALIGNED * nv
    return units * _size(found.channel) * (tiles * taps * each + LAID * _pitches(found)[0] / 16)


def convolution_schedules(found: Phases, machine: Cache) -> list[GemmSchedule]:
    """Schedules of a convolution whose padded copy stays in the second-level cache, else none."""
    parts = math.prod(len(side.parts) for side in found.sides)
    taps = math.prod(len(side.slots[0].taps) for side in found.sides)
    copy = _parts(found)[0] * len(found.sides[0].parts) * 4
    if taps == 1 or parts > MOST_PARTS or copy > COPY_SHARE * machine.l2:
        return []
    return phase_schedules(found, machine)


def prefers_phases(found: Phases, schedule: GemmSchedule, blocked: float) -> bool:
    """Whether reading the input where it lies spares more than it costs; ``blocked`` is what a blocked product costs
    without the packing of its columns."""
    points = math.prod(map(_size, (found.image, found.group, found.channel, *found.places)))
    vectors = points * math.prod(len(side.slots[0].taps) for side in found.sides) / 16
    packed = PACKED * (2 if any(side.stride > 1 for side in found.sides) else 1)
    return phase_cost(found, schedule.mr, schedule.nv) < blocked + packed * vectors


def emit_phases(program: Program, found: Phases, name: str, schedule: GemmSchedule | None = None) -> KernelCode:
    """``mr`` result channels, all residues along the row, x ``nv`` vectors of lanes are one register tile."""
    schedule = schedule or phase_schedules(found)[0]
    axes = [a for a in (found.image, found.group) if a is not None]
    groups = {"batch": (*axes, *found.places[:-1]), "m": _some(found.outs), "n": found.places[-1:]}
    width = schedule.nv * 16 * found.sides[-1].step
    lines = [
        *_tables(program, found, schedule),
        *finish_code(ending(program, found.result, groups), "float32", str(width)),
        *_enter(program, found, axes),
        f"kw::phases::product(tile_, shape_, phases_, taps_, threads_, scratch, {base_name(program, found.w.tensor)}, "
        "enter_, finish_);",
    ]
    code = kernel_code(program, found.result, name, lines, _scratch(found, schedule))
    return KernelCode(code.name, f"#include <kw/phases.h>\n{code.source}", code.tensors, code.symbols, code.scratch)


def _some(axis: Axis | None) -> tuple[Axis, ...]:
    return () if axis is None else (axis,)


def _size(axis: Axis | None) -> int:
    size = 1 if axis is None else static(axis.size)
    assert size is not None
    return size


# ── geometry ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _pitches(found: Phases) -> list[int]:
    """Elements of the padded copy from one point to the next: along channels, then in each direction."""
    sizes = [side.pitch for side in found.sides]
    return [math.prod(sizes[d:]) for d in range(len(sizes) + 1)]


def _parts(found: Phases) -> list[int]:
    """Elements from one part of the padded copy to the next, in each direction."""
    counts = [len(side.parts) for side in found.sides]
    each = _size(found.channel) * _pitches(found)[0]
    return [each * math.prod(counts[d + 1 :]) for d in range(len(counts))]


def _offset(found: Phases, direction: int, back: int) -> int:
    """Elements of the padded copy that a tap reads back."""
    side = found.sides[direction]
    part = side.parts.index(-back % side.stride) * _parts(found)[direction]
    return side.behind(back) * _pitches(found)[direction + 1] - part


def _outer(found: Phases) -> list[tuple[Residue, ...]]:
    """The residues outside the row, each combination once."""
    return list(itertools.product(*(side.slots for side in found.sides[:-1])))


def _phases(found: Phases) -> list[tuple[int, ...]]:
    """Per phase: its first tap and their number, planes, rows, lanes in all, first lane, first plane and row."""
    pitches, result, first = _pitches(found)[1:], [], 0
    for combination in _outer(found):
        taps = math.prod(len(r.taps) for r in combination)
        sizes = [1] * (_RANK - len(found.sides)) + [r.size for r in combination]
        places = [0] * (_RANK - len(found.sides)) + [
            r.lane * side.step + side.begin + side.slots.index(r)
            for r, side in zip(combination, found.sides, strict=False)
        ]
        lane = sum(r.lane * pitch for r, pitch in zip(combination, pitches, strict=False))
        row = found.sides[-1]
        lanes = (sizes[-1] - 1) * row.pitch + row.lanes
        result.append((first, taps, *sizes, lanes, lane, *places))
        first += taps
    return result


def _margin(found: Phases) -> int:
    """Elements before the padded copy, which taps reach from its first row."""
    behind = [max(0, *(s.behind(b) for b in s.backs)) for s in found.sides]
    return -(-sum(map(operator.mul, behind, _pitches(found)[1:])) // 16) * 16


def _copy(found: Phases, schedule: GemmSchedule) -> int:
    """Elements of a padded copy with its margins."""
    row = found.sides[-1]
    beyond = (schedule.nv + 1) * 16 + max(0, *(-row.behind(b) for b in row.backs))
    size = _margin(found) + _parts(found)[0] * len(found.sides[0].parts) + beyond
    return -(-size // 16) * 16


def _scratch(found: Phases, schedule: GemmSchedule) -> int:
    row = found.sides[-1]
    panels = -(-_size(found.outs) // schedule.mr)
    taps = sum(p[1] for p in _phases(found)) * _size(found.channel)
    weights = sum(row.reached(b) for b in row.backs) * schedule.mr
    packed = _size(found.group) * taps * weights * panels
    return (packed + taps * len(row.backs) + 32 + _copy(found, schedule) * schedule.threads) * 4 + 64


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _tables(program: Program, found: Phases, schedule: GemmSchedule) -> list[str]:
    row, pitches = found.sides[-1], _pitches(found)
    flat = flat_index(program, found.w)
    strides = [_number(s) for s in program.tensors[found.w.tensor].strides]
    partial = row.reached(row.backs[-1]) % row.step
    full = len(row.backs) - (partial > 0)
    weights = [[(row.weight(j, b) or 0) * strides[-1] for j in range(row.step)] for b in row.backs]
    backs = [_offset(found, len(found.sides) - 1, back) for back in row.backs]
    taps = []
    for combination in _outer(found):
        for chosen in itertools.product(*(r.taps for r in combination)):
            back = sum(_offset(found, d, b) for d, (b, _) in enumerate(chosen))
            taps.append([back, sum(k * stride for (_, k), stride in zip(chosen, strides[2:-1], strict=True))])
    phases = [[p[0], p[1], p[2], p[3], p[5], p[6], p[7]] for p in _phases(found)]
    missing = _RANK - len(found.sides)
    sizes = [1] * missing + [_size(p) for p in found.places]
    steps = [1] * missing + [side.step for side in found.sides]
    images, groups = _size(found.image), _size(found.group)
    numbers = [
        images * groups, groups, _size(found.outs), _size(found.channel), pitches[0],
        pitches[1] if len(pitches) > 3 else 0, row.pitch, row.lanes, row.begin, sizes[2], sizes[0], sizes[1],
        steps[0], steps[1], _margin(found), _copy(found, schedule), schedule.nc,
        *(_number(flat.coefficient(a.name)) if a else 0 for a in (found.group, found.channel, found.outs)),
    ]  # fmt: skip
    points = sum(count * planes * lanes for _, count, planes, _, lanes, *_ in _phases(found)) * len(row.backs)
    work = images * groups * _size(found.outs) * _size(found.channel) * points
    return [
        f"typedef kw::phases::Tile<{row.step}, {schedule.mr}, {schedule.nv}, {full}, {partial}> Tile;",
        f"static constexpr Tile tile_{{{_braces(backs)}, {_nested(weights)}}};",
        f"static constexpr kw::phases::Tap taps_[] = {_nested(taps)};",
        f"static constexpr kw::phases::Phase phases_[] = {_nested(phases)};",
        f"const kw::phases::Shape shape_{_braces(numbers)};",
        f"const int threads_ = {int(work < SERIAL_PRODUCTS)} ? 1 : kw::min({schedule.threads}, kw::max_threads());",
    ]


def _enter(program: Program, found: Phases, axes: list[Axis]) -> list[str]:
    flat = flat_index(program, found.x)
    names = {a.name for a in axes}
    base = Index(tuple(t for t in flat.terms if t[0] in names), 0)
    lines = []
    for number, part in enumerate(itertools.product(*(side.parts for side in found.sides))):
        lines += _lay(program, found, base, number, part)
    return ["auto enter_ = [&](int64_t unit_, float* to_) {", *split_code("unit_", tuple(axes)), *lines, "};"]


def _lay(program: Program, found: Phases, base: Index, number: int, part: tuple[int, ...]) -> list[str]:
    """Lay out the input whose coordinates have the residues ``part``."""
    tensor, missing = program.tensors[found.x.tensor], [1] * (_RANK - len(found.sides))
    strides = [_number(s) for s in tensor.strides[1:]]
    first = base + sum(map(operator.mul, part, strides[1:]))
    sizes = [-(-(side.extent - r) // side.stride) for side, r in zip(found.sides, part, strict=True)]
    steps = [stride * side.stride for side, stride in zip(found.sides, strides[1:], strict=True)]
    pitches = _pitches(found)
    lists = [
        [_size(found.channel), *missing, *sizes], [strides[0], *missing, *steps], [pitches[0], *missing, *pitches[1:]],
    ]  # fmt: skip
    arrays = ", ".join(_braces(values[:4]) for values in lists)
    return [
        f"static constexpr kw::phases::Part part_{number}_{{{arrays}}};",
        f"kw::phases::lay<{found.sides[-1].stride}>(to_ + {number * _parts(found)[-1]}, "
        f"{base_name(program, found.x.tensor)} + {index_text(first, str)}, part_{number}_);",
    ]


def _number(size: object) -> int:
    return int(size)  # type: ignore[call-overload]


def _braces(values: object) -> str:
    assert isinstance(values, list | tuple)
    return "{" + ", ".join(map(str, values)) + "}"


def _nested(rows: list[list[int]]) -> str:
    return "{" + ", ".join(map(_braces, rows)) + "}"
