"""Prints convolutions with result channels as lanes (``kw/direct.h``): inputs are read where they lie, without padding.

Where planes are small against the window, a good part of the products of a padded convolution are with zeros; where
channels are contiguous, bringing inputs into panels costs more than it saves. Both are spared here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..contraction import Contraction, flat_index, padded_dims
from ..program import Axis, Index, Load, Program, Reduce
from ._code import KernelCode
from ._finish import ending, finish_code, split_code
from ._indices import flatten, index_text, size_text, static
from ._kernel import kernel_code
from ._operand import base_name, table_text
from ._schedule import SERIAL_PRODUCTS, Cache, GemmSchedule

MOST_TAPS = 64  # outside the row
MOST_COUNTS = 6  # numbers of results a tap may reach: each is compiled
LEAST_CHANNELS = 16
LEAST_ROW = 6  # results in a row
WEIGHT_BYTES = 320 << 10  # of one block of weights: it is streamed from the second-level cache
PARTIAL_BYTES = 192 << 10
PACK_STEPS = 256  # steps of the weights whose places are tabulated at once
SPARED = 1.0  # the share of a blocked product's work from which this is the better guess
BANKED = 0.9  # what each row adds where all rows' inputs lie in one bank of the nearest cache
CONTIGUOUS = 1.4  # the same where channels are contiguous, so that a blocked product has much to bring into panels


@dataclass(frozen=True)
class Direct:
    """``x`` and ``w`` are the operands; axes by part. ``column`` and ``tap`` run along a row of results."""

    x: Load
    w: Load
    groups: tuple[Axis, ...]
    units: tuple[Axis, ...]
    outs: tuple[Axis, ...]
    column: Axis
    tap: Axis | None
    outer: tuple[Axis, ...]  # taps outside the row
    channel: Axis
    step: int  # elements between neighbouring results' inputs
    tap_step: int
    channel_step: int
    reach: tuple[tuple[int, int], ...]  # per tap: the columns [from, to) whose input is inside
    inside: float  # share of the outer taps that are inside
    edges: tuple[int, ...]  # dimensions that outer taps may leave

    @property
    def columns(self) -> int:
        return len_of(self.column)


@dataclass(frozen=True)
class Pieces:
    """How rows of results are cut: per piece its first result, its length, and (from, count) of each tap."""

    rows: tuple[tuple[int, int, tuple[tuple[int, int], ...]], ...]

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(sorted({count for _, _, taps in self.rows for _, count in taps if count}))


def len_of(axis: Axis | None) -> int:
    """The static size of an axis; 1 for none."""
    size = 1 if axis is None else static(axis.size)
    assert size is not None
    return size


def find_direct(program: Program, parts: Contraction) -> Direct | None:
    """The form of a convolution with enough channels, or None if the contraction is something else."""
    if parts.dtype != "float32" or not parts.windowed:
        return None
    axes = (*parts.batch, *parts.m, *parts.n, *parts.k)
    if any(static(axis.size) is None for axis in axes):
        return None
    x, w, pixels, outs = parts.a, parts.b, parts.m, parts.n
    if _mixed(w, parts):
        x, w, pixels, outs = w, x, outs, pixels
    if _mixed(w, parts) or x.fill not in (None, 0) or w.fill is not None:
        return None
    if program.tensors[x.tensor].dtype != "float32":
        return None
    ones = {axis.name: Index.const(0) for axis in axes if axis.size == 1}
    x, w = (replace(load, index=tuple(i.substitute(ones) for i in load.index)) for load in (x, w))
    return _described(program, parts, x, w, pixels, outs)


def direct_schedules(found: Direct, cache: Cache) -> list[tuple[float, GemmSchedule]]:
    """Register tiles with what they cost, cheapest first."""
    ranked = []
    for nv in (1, 2, 3, 4):
        for blocks in range(1, found.columns + 1):
            rows = -(-found.columns // blocks)
            if not cache.registers.fit(rows, nv, spare=0):  # inputs are broadcast as they are multiplied
                continue
            pieces = cut(found, rows)
            if len(pieces.counts) <= MOST_COUNTS:
                ranked.append((_cost(found, pieces, nv), rows, nv))
            if rows * nv < 12 * cache.registers.most // 28:
                break
    taps = len_of(found.tap) * math.prod(map(len_of, found.outer))
    result = []
    for cost, rows, nv in sorted(ranked)[:2]:
        channels = len_of(found.channel)
        blocks = -(-channels * taps * nv * 64 // WEIGHT_BYTES)
        result.append((cost, GemmSchedule("direct", rows, nv, 0, -(-channels // blocks), nv * 16, cache.workers)))
    return result


def prefers_direct(program: Program, reduce: Reduce, found: Direct, cost: float, blocked: float) -> bool:
    """Whether it has less to do than a blocked product whose cost is ``blocked``."""
    return cost < blocked * (CONTIGUOUS if _lanes_contiguous(program, reduce, found) else SPARED)


def cut(found: Direct, rows: int) -> Pieces:
    """Cut a row of results into pieces of ``rows``."""
    pieces = []
    for first in range(0, found.columns, rows):
        end = min(found.columns, first + rows)
        spans = [(max(first, low), min(end, high)) for low, high in found.reach]
        taps = tuple((low - first, high - low) if high > low else (0, 0) for low, high in spans)
        pieces.append((first, end - first, taps))
    return Pieces(tuple(pieces))


def emit_direct(program: Program, reduce: Reduce, parts: Contraction, name: str, schedule: GemmSchedule) -> KernelCode:
    """A convolution whose lanes are result channels."""
    found = find_direct(program, parts)
    assert found is not None
    last = _lanes_contiguous(program, reduce, found)
    pieces = cut(found, schedule.mr)
    batch = (*found.groups, *found.units)
    sides = {"m": (found.column,), "n": found.outs} if last else {"m": found.outs, "n": (found.column,)}
    pitch = schedule.nc if last else -(-schedule.mr // 16) * 16
    lines = [
        *_setup(program, found, schedule, pieces),
        *finish_code(ending(program, reduce, {"batch": batch, **sides}), "float32", str(pitch)),
        *_unit(program, found),
        *_pack(program, found, schedule),
        *_drive(program, found, pitch, last, _shared(program, found, schedule, pieces)),
    ]
    code = kernel_code(program, reduce, name, lines, _scratch(program, found, schedule, pieces))
    return KernelCode(code.name, f"#include <kw/direct.h>\n{code.source}", code.tensors, code.symbols, code.scratch)


# ── recognising ──────────────────────────────────────────────────────────────────────────────────────────────────


def _mixed(load: Load, parts: Contraction) -> bool:
    """Whether one of its indices adds a result axis to a summed one."""
    summed, free = {a.name for a in parts.k}, {a.name for a in (*parts.m, *parts.n)}
    return any(index.axes() & summed and index.axes() & free for index in load.index)


def _described(
    program: Program, parts: Contraction, x: Load, w: Load, places: tuple[Axis, ...], outs: tuple[Axis, ...]
) -> Direct | None:
    flat, sizes = flat_index(program, x), {a.name: a.size for a in (*parts.batch, *parts.m, *parts.n, *parts.k)}
    shape, pixels = program.tensors[x.tensor].shape, [p for p in places if p.size != 1]
    if not pixels or any(static(s) is None for s in (*shape, *(c for _, c in flat.terms), flat.offset)):
        return None
    column = min(pixels, key=lambda p: abs(_number(flat.coefficient(p.name))))
    row = next(d for d, index in enumerate(x.index) if column.name in index.axes())
    names = [set(index.axes()) for index in x.index]
    free = {p.name for p in pixels}
    window = {k.name for k in parts.k if any(k.name in n and n & free for n in names)}
    plain = [k for k in parts.k if k.name not in window and k.size != 1]
    taps = [k for k in parts.k if k.name in names[row] and k.size != 1]
    edges = padded_dims(program, x, sizes)
    if len(plain) != 1 or len(taps) > 1 or any(plain[0].name in names[d] for d in edges):
        return None
    if any(len(names[d] & free) > 1 or len(names[d] - free) > 1 for d in edges):
        return None
    if names[row] - {column.name} - {t.name for t in taps}:
        return None
    outer = tuple(k for k in parts.k if k is not plain[0] and k not in taps and k.size != 1)
    tap, channel = taps[0] if taps else None, plain[0]
    step, tap_step, channel_step = (_number(flat.coefficient(a.name)) if a else 0 for a in (column, tap, channel))
    found = Direct(
        x, w, parts.batch, tuple(p for p in places if p is not column), outs,
        column, tap, outer, channel, step, tap_step, channel_step,
        _reach(x.index[row], column, tap, _number(shape[row])),
        math.prod(_share(x.index[d], sizes, _number(shape[d])) for d in edges if d != row),
        tuple(d for d in edges if d != row),
    )  # fmt: skip
    count = math.prod(map(len_of, outs))
    taps_count = math.prod(map(len_of, outer))
    large = count >= 16 and len_of(channel) >= LEAST_CHANNELS and len_of(column) >= LEAST_ROW
    return found if large and taps_count <= MOST_TAPS and len_of(tap) <= 32 else None


def _number(size: object) -> int:
    return int(size)  # type: ignore[call-overload]


def _reach(index: Index, column: Axis, tap: Axis | None, size: int) -> tuple[tuple[int, int], ...]:
    step, offset = _number(index.coefficient(column.name)), _number(index.offset)
    gap = _number(index.coefficient(tap.name)) if tap else 0
    spans = []
    for t in range(len_of(tap)):
        inside = [q for q in range(len_of(column)) if 0 <= q * step + t * gap + offset < size]
        spans.append((inside[0], inside[-1] + 1) if inside else (0, 0))
    return tuple(spans)


def _share(index: Index, sizes: dict[str, object], size: int) -> float:
    """The share of positions of a dimension's axes that are inside."""
    positions = [_number(index.offset)]
    for term, coefficient in index.terms:
        assert isinstance(term, str)
        positions = [p + _number(coefficient) * i for p in positions for i in range(_number(sizes[term]))]
    return sum(0 <= p < size for p in positions) / len(positions)


def _cost(found: Direct, pieces: Pieces, nv: int) -> float:
    """Multiply-adds of vectors, with what short tiles lose (see ``tile_cost``), and the ends of every tile."""
    panels = -(-math.prod(map(len_of, found.outs)) // (nv * 16))
    outer = math.prod(map(len_of, found.outer)) * found.inside
    units = math.prod(map(len_of, (*found.groups, *found.units)))
    load = 0.35 + BANKED * (found.step % 16 == 0)
    total = 0.0
    for _, rows, taps in pieces.rows:
        steps = sum(max(c * nv, 8) + load * c + 1.5 * nv for _, c in taps if c)
        calls = len({tap for tap in taps if tap[1]})
        total += steps * outer * len_of(found.channel) + (calls + 2) * (2 * rows * nv + 20)
    return panels * units * total


def _lanes_contiguous(program: Program, reduce: Reduce, found: Direct) -> bool:
    place = flatten(program.tensors[reduce.store.tensor], reduce.store.index)
    return bool(
        abs(_number(place.coefficient(found.column.name))) > abs(_number(place.coefficient(found.outs[-1].name)))
    )


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _setup(program: Program, found: Direct, schedule: GemmSchedule, pieces: Pieces) -> list[str]:
    taps, outer = len_of(found.tap), math.prod(map(len_of, found.outer))
    numbers = (
        schedule.mr, schedule.nv, found.step, found.channel_step, taps, found.tap_step, outer, *pieces.counts,
    )  # fmt: skip
    counts = [math.prod(map(len_of, axes)) for axes in (found.groups, found.units, found.outs)]
    channels = len_of(found.channel)
    panels = -(-counts[2] // schedule.nc)
    work = math.prod(counts) * found.columns * channels * taps * outer
    rows = ", ".join(_piece(piece) for piece in pieces.rows)
    return [
        f"typedef kw::direct::Tile<{', '.join(map(str, numbers))}> Tile;",
        f"static constexpr kw::direct::Piece<{taps}> pieces_[] = {{{rows}}};",
        f"const kw::direct::Shape shape_{{{counts[0]}, {panels}, {counts[1]}, {counts[2]}, {channels}, {schedule.kc}, "
        f"{_chunk(found, schedule, pieces)}}};",
        f"const int threads_ = {int(work < SERIAL_PRODUCTS)} ? 1 : kw::min({schedule.threads}, kw::max_threads());",
    ]


def _piece(piece: tuple[int, int, tuple[tuple[int, int], ...]]) -> str:
    first, rows, taps = piece
    order = sorted(range(len(taps)), key=lambda t: (-taps[t][1], taps[t][0], t))
    lists = ([t[0] for t in taps], [t[1] for t in taps], order)
    return f"{{{first}, {rows}, " + ", ".join("{" + ", ".join(map(str, each)) + "}" for each in lists) + "}"


def _unit(program: Program, found: Direct) -> list[str]:
    """The lambda ``unit_`` that lists the outer taps inside, as offsets into x and numbers."""
    flat = flat_index(program, found.x)
    names = {a.name for a in (*found.groups, *found.units, *found.outer)}
    place = Index(tuple(t for t in flat.terms if t[0] in names), flat.offset)
    shape = program.tensors[found.x.tensor].shape
    tests = " && ".join(
        f"uint64_t({index_text(found.x.index[d], str)}) < uint64_t({size_text(shape[d])})" for d in found.edges
    )
    loops = [f"for (int64_t {a.name} = 0; {a.name} < {size_text(a.size)}; ++{a.name})" for a in found.outer]
    return [
        "auto unit_ = [&](int64_t group_, int64_t row_, int64_t* at_, int* which_) {",
        *(f"[[maybe_unused]] {line}" for line in split_code("group_", found.groups)),
        *(f"[[maybe_unused]] {line}" for line in split_code("row_", found.units)),
        "(void)group_; (void)row_;",
        "int count_ = 0, number_ = 0;",
        *loops,
        "{",
        f"if ({tests or 'true'}) {{ at_[count_] = {index_text(place, str)}; which_[count_++] = number_; }}",
        "++number_;",
        "}",
        "return count_;",
        "};",
    ]


def _pack(program: Program, found: Direct, schedule: GemmSchedule) -> list[str]:
    """The lambda ``pack_``: one panel of weights, read in the order in which they lie."""
    flat = flat_index(program, found.w)
    taps = tuple(a for a in (*found.outer, found.tap) if a is not None)
    summed = _weight_order(program, found)
    numbers, count = Index.const(0), 1
    for axis in reversed(taps):
        numbers = numbers + Index.axis(axis.name) * count
        count *= len_of(axis)
    channels, nr, kc = len_of(found.channel), schedule.nc, schedule.kc
    return [
        table_text("w_group_", flat, found.groups),
        table_text("w_free_", flat, found.outs),
        table_text("w_k_", flat, summed),
        table_text("w_channel_", Index.axis(found.channel.name), summed),
        table_text("w_tap_", numbers, summed),
        "auto pack_ = [&](int64_t group_, int64_t panel_, int64_t c_, int64_t kc_, float* to_) {",
        f"int64_t base_, lane_[{nr}], step_[{PACK_STEPS}], place_[{PACK_STEPS}], tap_[{PACK_STEPS}];",
        f"const int width_ = int(kw::min<int64_t>({nr}, shape_.outs - panel_ * {nr}));",
        "w_group_.table(group_, 1, &base_);",
        f"w_free_.table(panel_ * {nr}, width_, lane_);",
        f"const int64_t last_ = (c_ + kc_) * {count};",
        f"for (int64_t k_ = c_ * {count}; k_ < last_; k_ += {PACK_STEPS}) {{",
        f"const int64_t n_ = kw::min<int64_t>({PACK_STEPS}, last_ - k_);",
        "w_k_.table(k_, n_, step_);",
        "w_channel_.table(k_, n_, place_);",
        "w_tap_.table(k_, n_, tap_);",
        "for (int64_t i_ = 0; i_ < n_; ++i_) {",
        f"const int64_t c0_ = place_[i_] / {kc} * {kc}, size_ = kw::min<int64_t>({kc}, {channels} - c0_);",
        f"place_[i_] = ((c0_ - c_) * {count} + tap_[i_] * size_ + place_[i_] - c0_) * {nr};",
        "}",
        f"kw::direct::pack<{nr}>(to_, {base_name(program, found.w.tensor)} + base_ + {size_text(flat.offset)}, lane_, "
        "width_, step_, place_, n_);",
        "}",
        "};",
    ]


def _weight_order(program: Program, found: Direct) -> list[Axis]:
    """The summed axes as the weights lie."""
    flat = flat_index(program, found.w)
    axes = [a for a in (found.channel, *found.outer, found.tap) if a is not None]
    return sorted(axes, key=lambda a: -abs(_number(flat.coefficient(a.name))))


def _shared(program: Program, found: Direct, schedule: GemmSchedule, pieces: Pieces) -> bool:
    """Whether all weights are packed before: else blocks would be packed for every chunk, or cannot be packed alone."""
    if _chunk(found, schedule, pieces) < math.prod(map(len_of, found.units)):
        return True
    return schedule.kc < len_of(found.channel) and _weight_order(program, found)[0] is not found.channel


def _drive(program: Program, found: Direct, pitch: int, last: bool, shared: bool) -> list[str]:
    ends = ["finish_(unit_, tile_, first_, rows_, out_, width_);"]
    if not last:
        ends = [
            f"alignas(64) float turned_[Tile::NR * {pitch}];",
            f"kw::direct::turn<Tile::NR, {pitch}>(turned_, tile_, rows_);",
            "finish_(unit_, turned_, out_, width_, first_, rows_);",
        ]
    return [
        "auto end_ = [&](int64_t unit_, const float* tile_, int first_, int rows_, int64_t out_, int width_) {",
        *ends,
        "};",
        f"kw::direct::product<Tile, {str(shared).lower()}>(shape_, pieces_, threads_, scratch, "
        f"{base_name(program, found.x.tensor)}, {found.channel_step}, pack_, unit_, end_);",
    ]


def _chunk(found: Direct, schedule: GemmSchedule, pieces: Pieces) -> int:
    """Units whose partial sums stay in the second-level cache."""
    one = len(pieces.rows) * schedule.mr * schedule.nc * 4
    units = math.prod(map(len_of, found.units))
    return units if schedule.kc >= len_of(found.channel) else max(1, min(units, PARTIAL_BYTES // one))


def _scratch(program: Program, found: Direct, schedule: GemmSchedule, pieces: Pieces) -> int:
    groups, outs, outer = (math.prod(map(len_of, axes)) for axes in (found.groups, found.outs, found.outer))
    each = schedule.nc * outer * len_of(found.tap)  # elements of a panel of weights for one channel
    own, packed = schedule.kc * each, 0
    if _shared(program, found, schedule, pieces):
        own, packed = 0, groups * -(-outs // schedule.nc) * each * len_of(found.channel)
    tiles = 1 if schedule.kc >= len_of(found.channel) else _chunk(found, schedule, pieces) * len(pieces.rows)
    return (packed + (own + tiles * schedule.mr * schedule.nc) * schedule.threads) * 4 + 64
