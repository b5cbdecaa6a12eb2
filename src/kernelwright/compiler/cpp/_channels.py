"""Prints depthwise convolutions with channels as lanes (``kw/channels.h``), where rows would not fill vectors.

Where channels are contiguous in memory, rows are read where they lie. Else a plane of sixteen channels is brought into
padded memory, [row][column][channel]; results go back the way the output lies: channel by channel as they are, or
turned into planes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..contraction import Contraction, flat_index
from ..program import Axis, Index, Program, Reduce, Size
from ._code import KernelCode
from ._finish import ending, finish_code, split_code
from ._indices import flatten, index_text, size_text, static
from ._kernel import kernel_code
from ._operand import base_name, table_text
from ._schedule import GemmSchedule, total
from .printer import store_type

MOST_POINTS = 1 << 15  # of a padded plane: sixteen of them must stay in the second-level cache
MOST_TAPS = 1024
SMALL = 8  # result columns up to which contiguous planes are worth transposing
BLOCK = 8  # result columns at once


@dataclass(frozen=True)
class Side:
    """One direction of the plane: the tensor's dimension, result and tap axes, and how the window moves."""

    dim: int
    axis: Axis
    tap: Axis | None
    stride: int
    dilation: int
    start: int
    extent: int

    @property
    def taps(self) -> int:
        return 1 if self.tap is None else static(self.tap.size) or 1

    @property
    def size(self) -> int:
        return static(self.axis.size) or 1


@dataclass(frozen=True)
class Channels:
    """The channel axis, the other axes (images), rows and columns."""

    channel: Axis
    units: tuple[Axis, ...]
    row: Side
    column: Side

    @property
    def points(self) -> int:
        return self.row.extent * self.column.extent

    @property
    def taps(self) -> int:
        return self.row.taps * self.column.taps


def find_channels(program: Program, parts: Contraction) -> Channels | None:
    """The form of a depthwise convolution in two dimensions, or None if the contraction is something else."""
    batch = [x for x in parts.batch if x.size != 1]
    tensor = program.tensors[parts.b.tensor]
    if parts.dtype != "float32" or len(batch) != 1 or any(x.size != 1 for x in parts.m) or not parts.windowed:
        return None
    sides = [s for dim in range(len(tensor.shape)) if (s := _side(program, parts, dim)) is not None]
    sides = sorted(sides, key=lambda s: -(static(tensor.strides[s.dim]) or 0))
    taken = {x.name for s in sides for x in (s.axis, s.tap) if x is not None}
    if len(sides) != 2 or any(x.size != 1 and x.name not in taken for x in parts.k):
        return None
    units = tuple(x for x in (*parts.batch, *parts.m, *parts.n) if x is not batch[0] and x.name not in taken)
    found = Channels(batch[0], units, *sides)
    count = static(found.channel.size)
    if found.points > MOST_POINTS or found.taps > MOST_TAPS or count is None or count < 8:
        return None
    return found


def channel_schedules(program: Program, reduce: Reduce, found: Channels, threads: int) -> list[GemmSchedule]:
    """One schedule where channels are contiguous or planes are small, else none."""
    if not _contiguous(program, reduce, found) and (found.column.size > SMALL or found.row.size > SMALL):
        return []
    return [GemmSchedule("channels", 1, 1, 0, 0, 0, threads)]


def emit_channels(
    program: Program, reduce: Reduce, parts: Contraction, name: str, schedule: GemmSchedule
) -> KernelCode:
    """A depthwise convolution; threads share blocks of sixteen channels times images."""
    found = find_channels(program, parts)
    assert found is not None
    last = _contiguous(program, reduce, found)
    plane = (found.row.axis, found.column.axis)
    groups = {"batch": found.units, "m": plane, "n": (found.channel,)}
    if not last:
        groups = {"batch": (*found.units, found.channel), "m": (), "n": plane}
    pitch = 16 if last else _whole(found.row.size * found.column.size)
    lying = last and _lying(program, parts, found)
    loops = _lying_loops(program, parts, found, schedule) if lying else _loops(program, parts, found, schedule, last)
    body = [
        *_setup(program, parts, found),
        *finish_code(ending(program, reduce, groups), "float32", str(pitch)),
        *loops,
    ]
    elements = _all_weights(found) if lying else _thread_elements(found)
    code = kernel_code(program, reduce, name, body, elements * 4 * schedule.threads + 64)
    return KernelCode(code.name, f"#include <kw/channels.h>\n{code.source}", code.tensors, code.symbols, code.scratch)


# ── recognising ──────────────────────────────────────────────────────────────────────────────────────────────────


def _side(program: Program, parts: Contraction, dim: int) -> Side | None:
    index, size = parts.b.index[dim], static(program.tensors[parts.b.tensor].shape[dim])
    names = index.axes()
    free = [x for x in parts.n if x.name in names and x.size != 1]
    taps = [x for x in parts.k if x.name in names and x.size != 1]
    if len(free) != 1 or len(taps) != 1 or len(names) != 2:
        return None
    stride, dilation = (static(index.coefficient(x.name)) for x in (free[0], taps[0]))
    start, count, window = static(index.offset), static(free[0].size), static(taps[0].size)
    if None in (stride, dilation, start, count, window, size):
        return None
    assert stride is not None and dilation is not None and start is not None  # noqa: PT018
    assert count is not None and window is not None  # noqa: PT018
    if stride < 1 or dilation < 1:
        return None
    extent = (count - 1) * stride + (window - 1) * dilation + 1
    return Side(dim, free[0], taps[0], stride, dilation, start, extent)


def _contiguous(program: Program, reduce: Reduce, found: Channels) -> bool:
    tensor = program.tensors[reduce.store.tensor]
    return flatten(tensor, reduce.store.index).coefficient(found.channel.name) == 1


def _lying(program: Program, parts: Contraction, found: Channels) -> bool:
    """Whether sixteen channels lie side by side, and most windows of a row are inside."""
    wide = _inside(program, parts, found) >= BLOCK // 2 and (static(found.channel.size) or 0) >= 16
    return wide and flat_index(program, parts.b).coefficient(found.channel.name) == 1


def _inside(program: Program, parts: Contraction, found: Channels) -> int:
    """Columns of results whose windows are inside."""
    column, size = found.column, static(program.tensors[parts.b.tensor].shape[found.column.dim]) or 0
    reach = (column.taps - 1) * column.dilation
    firsts = [column.start + q * column.stride for q in range(column.size)]
    return sum(first >= 0 and first + reach < size for first in firsts)


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _whole(size: int) -> int:
    return -(-size // 16) * 16


def _results(found: Channels) -> int:
    """Elements of the results of a plane, with what the last block of columns writes beyond."""
    return (_whole(found.row.size * found.column.size) + 2 * BLOCK) * 16


def _thread_elements(found: Channels) -> int:
    beyond = BLOCK * found.column.stride * 16
    return found.points * 16 + beyond + found.taps * 16 + 2 * _results(found)


def _base(program: Program, parts: Contraction, found: Channels) -> Index:
    """The offset of a plane's element (0, 0) in channel 0, from the unit's axes."""
    tensor = program.tensors[parts.b.tensor]
    names = {x.name for x in found.units}
    index = Index.const(0)
    for dim, position in enumerate(parts.b.index):
        if dim not in (found.row.dim, found.column.dim):
            index = index + position * tensor.strides[dim]
    return Index(tuple(t for t in index.terms if t[0] in names), index.offset)


def _setup(program: Program, parts: Contraction, found: Channels) -> list[str]:
    tensor = program.tensors[parts.b.tensor]
    sides = (found.row, found.column)
    lists = [
        [s.extent for s in sides],
        [s.start for s in sides],
        [tensor.shape[s.dim] for s in sides],
        [tensor.strides[s.dim] for s in sides],
    ]
    names = ("extent_", "start_", "size_", "stride_")
    taps = tuple(s.tap for s in sides if s.tap is not None)
    x, w = flat_index(program, parts.b), flat_index(program, parts.a)
    return [
        *(
            f"const int64_t {n}[2] = {{{', '.join(size_text(v) for v in row)}}};"
            for n, row in zip(names, lists, strict=True)
        ),
        table_text("x_lane_table_", x, (found.channel,)),
        table_text("w_lane_table_", w, (found.channel,)),
        table_text("tap_table_", w, taps),
        f"int64_t taps_[{found.taps}];",
        f"tap_table_.table(0, {found.taps}, taps_);",
        f"const int64_t channels_ = {size_text(found.channel.size)}, others_ = {size_text(total(found.units))};",
        "const int64_t units_ = kw::ceil_div(channels_, 16) * others_;",
    ]


def _loops(program: Program, parts: Contraction, found: Channels, schedule: GemmSchedule, last: bool) -> list[str]:
    row, column = found.row, found.column
    each = _thread_elements(found)
    x, w = parts.b.tensor, parts.a.tensor
    weights = flat_index(program, parts.a).offset
    pitch, wide = column.extent * 16, column.size
    beyond = found.points * 16 + BLOCK * column.stride * 16
    work = f"units_ * {16 * row.size * wide * found.taps}"
    kinds = [f"kw::gemm::Source<{store_type(program.tensors[t].dtype)}>" for t in (x, w)]
    reach = [_reach(program, t) for t in (x, w)]
    finish = [
        f"for (int64_t i_ = 0; i_ < {row.size * wide}; ++i_) finish_(other_, results_ + i_ * 16, i_, 1, lane_, width_);"
    ]
    if not last:
        finish = [
            f"kw::channels::turn(turned_, {_whole(row.size * wide)}, results_, {row.size * wide});",
            "for (int i_ = 0; i_ < width_; ++i_) finish_(other_ * channels_ + lane_ + i_, "
            f"turned_ + i_ * {_whole(row.size * wide)}, 0, 1, 0, {row.size * wide});",
        ]
    return [
        f"const int most_ = kw::min({schedule.threads}, kw::max_threads());",
        f"const int threads_ = {work} < {1 << 20} ? 1 : int(kw::min<int64_t>(most_, units_));",
        "kw::parallel(threads_, [&](int thread_, int count_) {",
        f"float* const plane_ = reinterpret_cast<float*>(scratch) + thread_ * {each};",
        f"float* const w_ = plane_ + {beyond};",
        f"float* const results_ = w_ + {found.taps * 16};",
        f"[[maybe_unused]] float* const turned_ = results_ + {_results(found)};",
        f"for (int64_t i_ = 0; i_ < {each}; i_ += 16) kw::store(plane_ + i_, kw::vf{{}});",
        "int64_t entered_ = -1;",
        "for (int64_t unit_ = units_ * thread_ / count_; unit_ < units_ * (thread_ + 1) / count_; ++unit_) {",
        "const int64_t lane_ = unit_ / others_ * 16, other_ = unit_ % others_;",
        "const int width_ = int(kw::min<int64_t>(16, channels_ - lane_));",
        *(line.replace("const", "[[maybe_unused]] const", 1) for line in split_code("other_", found.units)),
        "int64_t lanes_[16];",
        "if (lane_ != entered_) {",
        "w_lane_table_.table(lane_, width_, lanes_);",
        f"const {kinds[1]} weights_{{{base_name(program, w)} + {size_text(weights)}, -({size_text(weights)}), "
        f"{size_text(reach[1])} - ({size_text(weights)})}};",
        f"kw::gemm::pack_group<false>(w_, 16, 16, width_, weights_, lanes_, taps_, {found.taps});",
        "}",
        "x_lane_table_.table(lane_, width_, lanes_);",
        f"const int64_t base_ = {index_text(_base(program, parts, found), str)};",
        f"const {kinds[0]} source_{{{base_name(program, x)} + base_, -base_, {size_text(reach[0])} - base_}};",
        "kw::channels::plane(plane_, source_, lanes_, width_, extent_, start_, size_, stride_);",
        "entered_ = lane_;",
        f"for (int64_t p_ = 0; p_ < {row.size}; ++p_) {{",
        f"const kw::channels::Inside taps_in_(p_ * {row.stride} + start_[0], size_[0], {row.dilation}, {row.taps});",
        f"for (int64_t q_ = 0; q_ < {wide}; q_ += {_columns(wide)}) {{",
        f"float* const tile_ = results_ + (p_ * {wide} + q_) * 16;",
        f"kw::channels::window<{column.taps}, {_columns(wide)}>(tile_, plane_ + (p_ * {row.stride * pitch} + "
        f"q_ * {column.stride * 16}), {row.dilation * pitch}, {column.dilation * 16}, {column.stride * 16}, "
        "w_, taps_in_.low, taps_in_.high);",
        "}",
        "}",
        *finish,
        "}",
        "});",
    ]


def _all_weights(found: Channels) -> int:
    return _whole(static(found.channel.size) or 0) * found.taps


def _lying_loops(program: Program, parts: Contraction, found: Channels, schedule: GemmSchedule) -> list[str]:
    """Threads share the rows of all images; for each row, block after block of channels. The last block may overlap the
    one before."""
    row, column = found.row, found.column
    x, w = (base_name(program, load.tensor) for load in (parts.b, parts.a))
    weights, reach = flat_index(program, parts.a).offset, _reach(program, parts.a.tensor)
    kind = store_type(program.tensors[parts.a.tensor].dtype)
    sizes = f"{column.taps}, {_columns(_inside(program, parts, found))}"
    return [
        f"const int64_t rows_all_ = others_ * {row.size};",
        f"const int most_ = kw::min({schedule.threads}, kw::max_threads());",
        f"const int threads_ = rows_all_ * channels_ * {column.size * found.taps} < {1 << 20} ? 1 : "
        "int(kw::min<int64_t>(most_, rows_all_));",
        "kw::parallel(threads_, [&](int thread_, int count_) {",
        f"float* const w_ = reinterpret_cast<float*>(scratch) + thread_ * {_all_weights(found)};",
        "for (int64_t lane_ = 0; lane_ < channels_; lane_ += 16) {",
        "int64_t lanes_[16];",
        "const int64_t from_ = kw::min(lane_, channels_ - 16);",
        "w_lane_table_.table(from_, 16, lanes_);",
        f"const kw::gemm::Source<{kind}> weights_{{{w} + {size_text(weights)}, -({size_text(weights)}), "
        f"{size_text(reach)} - ({size_text(weights)})}};",
        f"kw::gemm::pack_group<false>(w_ + lane_ * {found.taps}, 16, 16, 16, weights_, lanes_, taps_, {found.taps});",
        "}",
        "for (int64_t at_ = rows_all_ * thread_ / count_; at_ < rows_all_ * (thread_ + 1) / count_; ++at_) {",
        f"const int64_t other_ = at_ / {row.size}, p_ = at_ % {row.size};",
        *(line.replace("const", "[[maybe_unused]] const", 1) for line in split_code("other_", found.units)),
        f"const int64_t top_ = p_ * {row.stride} + start_[0];",
        f"const kw::channels::Inside taps_in_(top_, size_[0], {row.dilation}, {row.taps});",
        f"const auto* x_ = {x} + {index_text(_base(program, parts, found), str)} + top_ * stride_[0];",
        f"kw::channels::row<{sizes}>(x_, start_[1], size_[1], {row.dilation} * stride_[0], stride_[1], "
        f"{column.stride}, {column.dilation}, w_, {found.taps * 16}, channels_, taps_in_, {column.size}, "
        "[&](const float* tile_, int64_t lane_, int64_t q_, int columns_) {",
        f"finish_(other_, tile_, p_ * {column.size} + q_, columns_, lane_, 16);",
        "});",
        "}",
        "});",
    ]


def _columns(wide: int) -> int:
    """Columns of a block, so that blocks waste little."""
    blocks = -(-wide // BLOCK)
    return -(-wide // blocks)


def _reach(program: Program, name: str) -> Size:
    tensor = program.tensors[name]
    reach: Size = 1
    for size, stride in zip(tensor.shape, tensor.strides, strict=True):
        reach = reach + (size - 1) * stride
    return reach
