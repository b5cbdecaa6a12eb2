"""Prints depthwise convolutions as direct sums over the window (``kw/window.h``): one padded plane at a time."""

from __future__ import annotations

from dataclasses import dataclass

from ..contraction import Contraction
from ..program import Axis, Index, Program, Reduce, Size
from ._code import KernelCode
from ._finish import ending, finish_code, split_code
from ._indices import index_text, size_text, static
from ._kernel import kernel_code
from ._operand import SLACK, Operand, operand, table_text
from ._schedule import GemmSchedule, total

MOST_TAPS = 1024  # of one plane's window
MOST_PLANES = 64  # further summed positions (depth taps, channels) around the plane


@dataclass(frozen=True)
class Window:
    """Axes of a direct window: ``row``/``column`` of the result (row may be absent), the taps along them, the rest."""

    units: tuple[Axis, ...]
    row: Axis | None
    column: Axis
    row_tap: Axis | None
    column_tap: Axis | None
    planes: tuple[Axis, ...]
    strides: tuple[int, int]
    dilations: tuple[int, int]


def find_window(program: Program, parts: Contraction) -> Window | None:
    """The window of a contraction without row axes, or None if it has another form."""
    strides = program.tensors[parts.b.tensor].strides
    if parts.dtype != "float32" or not parts.n or not parts.windowed:
        return None
    if any(x.size != 1 for x in parts.m) or any(static(x.size) is None for x in parts.k):
        return None
    place = {dim: _pair(parts, index) for dim, index in enumerate(parts.b.index)}
    column = next((d for d, p in place.items() if p and static(strides[d]) == 1 and p[0] == parts.n[-1]), None)
    if column is None:
        return None
    rest = [d for d, p in place.items() if d != column and p and p[1] is not None]
    row = max(rest, key=lambda d: -(static(strides[d]) or 1 << 40), default=None)
    c, r = place[column], place[row] if row is not None else None
    assert c is not None
    taken = {x.name for p in (c, r) if p for x in p if x}
    window = Window(
        units=tuple(x for x in (*parts.batch, *parts.m, *parts.n) if x.name not in taken),
        row=r[0] if r else None,
        column=c[0],
        row_tap=r[1] if r else None,
        column_tap=c[1],
        planes=tuple(x for x in parts.k if x.name not in taken),
        strides=(_step(parts, row, r, 0), _step(parts, column, c, 0)),
        dilations=(_step(parts, row, r, 1), _step(parts, column, c, 1)),
    )
    return window if _fits(window) else None


def emit_window(program: Program, reduce: Reduce, parts: Contraction, name: str, schedule: GemmSchedule) -> KernelCode:
    """A direct depthwise convolution; ``mr`` result rows x ``nv`` vectors are in registers."""
    found = find_window(program, parts)
    assert found is not None
    axes = (*parts.batch, *parts.m, *parts.n, *parts.k)
    x = operand(program, parts.b, axes, found.units, "x", "float32", True, always=True)
    w = operand(program, parts.a, axes, (), "w", "float32", False)
    groups = {"batch": found.units, "m": (found.row,) if found.row else (), "n": (found.column,)}
    end = ending(program, reduce, groups)
    body = [
        *_setup(found, schedule, x, w),
        *finish_code(end, "float32", str(schedule.nv * 16)),
        *_loops(found, schedule, x, w),
    ]
    code = kernel_code(program, reduce, name, body, _thread_bytes(found, schedule, x) * schedule.threads + 64)
    return KernelCode(code.name, f"#include <kw/window.h>\n{code.source}", code.tensors, code.symbols, code.scratch)


def window_schedules(found: Window, threads: int) -> list[GemmSchedule]:
    """Register blocks: rows enough to reuse each loaded vector, vectors enough to hide latency."""
    rows, columns = _size(found.row, 64), _size(found.column, 1024)
    vectors = -(-columns // 16)
    pairs = []
    for nv in (1, 2, 3, 4, 6, 8):
        if nv > max(1, vectors):
            continue
        mr = max(
            1,
            min(
                rows,
                20 // nv * (1 + _paired(found)),
                8 * (1 + _paired(found)) if found.strides[0] == 1 else 6 * (1 + _paired(found)),
            ),
        )
        mr = -(-rows // -(-rows // mr))  # balanced blocks
        mr += mr % 2 if _paired(found) else 0
        waste = (-(-vectors // nv) * nv / vectors) * (-(-rows // mr) * mr / rows)
        reuse = 1 + 1.2 * found.strides[0] / mr + 0.15 / nv
        latency = max(1.0, 8 / (mr * nv))
        pairs.append((waste * reuse * latency, mr, nv))
    return [GemmSchedule("window", mr, nv, 0, 0, 0, threads) for _, mr, nv in sorted(pairs)[:3]]


# ── recognising ──────────────────────────────────────────────────────────────────────────────────────────────────


def _pair(parts: Contraction, index: Index) -> tuple[Axis, Axis | None] | None:
    """(result axis, summed axis or None) of a dimension that moves along one result axis of ``n``."""
    names = index.axes()
    free = [x for x in parts.n if x.name in names]
    taps = [x for x in parts.k if x.name in names]
    if len(free) != 1 or len(taps) > 1 or len(names) != len(free) + len(taps):
        return None
    return free[0], (taps[0] if taps else None)


def _step(parts: Contraction, dim: int | None, pair: tuple[Axis, Axis | None] | None, which: int) -> int:
    axis = pair[which] if pair else None
    if axis is None or dim is None:
        return 1
    return static(parts.b.index[dim].coefficient(axis.name)) or 0


def _fits(window: Window) -> bool:
    taps = _size(window.row_tap, 1) * _size(window.column_tap, 1)
    planes = static(total(window.planes))
    positive = all(s > 0 for s in (*window.strides, *window.dilations))
    return positive and taps <= MOST_TAPS and planes is not None and planes <= MOST_PLANES


def _size(axis: Axis | None, default: int) -> int:
    size = 1 if axis is None else static(axis.size)
    return default if size is None else size


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _pitch(found: Window, x: Operand) -> Size:
    return x.index.coefficient(found.row.name) // found.strides[0] if found.row else 0


def _plane(found: Window, schedule: GemmSchedule, x: Operand) -> Size:
    """Elements of a thread's padded plane, with what the last vectors and rows read beyond it."""
    assert x.padding is not None
    beyond = schedule.mr * found.strides[0] * _pitch(found, x) + schedule.nv * 16 * found.strides[1] + SLACK
    return x.padding.elements + beyond


def _weights(found: Window) -> int:
    count = static(total((*found.planes, *_taps(found))))
    assert count is not None
    return count


def _paired(found: Window) -> bool:
    """Rows of at most eight results: two rows share a vector."""
    return _size(found.column, 16) <= 8 and _size(found.row, 1) >= 2 and found.strides[1] <= 2


def _block(found: Window, schedule: GemmSchedule) -> tuple[int, int, bool]:
    paired = _paired(found)
    return (schedule.mr // 2 if paired else schedule.mr, schedule.nv, paired)


def _taps(found: Window) -> tuple[Axis, ...]:
    return tuple(x for x in (found.row_tap, found.column_tap) if x is not None)


def _thread_elements(found: Window, schedule: GemmSchedule, x: Operand) -> Size:
    size = _plane(found, schedule, x) + _weights(found)
    value = static(size)
    return size * 16 if value is None else -(-value // 16) * 16


def _thread_bytes(found: Window, schedule: GemmSchedule, x: Operand) -> Size:
    return _thread_elements(found, schedule, x) * 4


def _setup(found: Window, schedule: GemmSchedule, x: Operand, w: Operand) -> list[str]:
    pad = x.padding
    assert pad is not None
    taps = (_size(found.row_tap, 1), _size(found.column_tap, 1))
    numbers = (*taps, *found.strides, *found.dilations, *_block(found, schedule))
    dims = len(pad.extent)
    lists = [", ".join(size_text(s) for s in group) for group in (pad.extent, pad.size, pad.stride)]
    return [
        f"typedef kw::window::Window<{', '.join(str(n).lower() for n in numbers)}> Window;",
        f"const int64_t units_ = {size_text(total(found.units))};",
        f"const int64_t extent_[{dims}] = {{{lists[0]}}}, size_[{dims}] = {{{lists[1]}}};",
        f"const int64_t stride_[{dims}] = {{{lists[2]}}};",
        table_text("plane_table_", x.index, found.planes),
        table_text("weight_table_", w.index, (*found.planes, *_taps(found))),
        f"int64_t planes_[{static(total(found.planes))}], weights_[{_weights(found)}];",
        f"plane_table_.table(0, {static(total(found.planes))}, planes_);",
        f"weight_table_.table(0, {_weights(found)}, weights_);",
    ]


def _loops(found: Window, schedule: GemmSchedule, x: Operand, w: Operand) -> list[str]:
    pad = x.padding
    assert pad is not None
    names = {a.name for a in found.units}
    base = Index(tuple(t for t in w.index.terms if t[0] in names), w.index.offset)
    rows = size_text(found.row.size) if found.row else "1"
    columns, width = size_text(found.column.size), schedule.nv * 16
    each = size_text(_thread_elements(found, schedule, x))
    work = size_text(total((*found.units, *((found.row,) if found.row else ()), found.column)))
    serial = f"int64_t({work}) * {_weights(found)} < {1 << 20}"
    row_step = size_text(_pitch(found, x) * found.strides[0])
    borders = "first_" if pad.steady else "true"
    starts = ", ".join(_text(i) for i in pad.start)
    return [
        f"const int most_ = kw::min({schedule.threads}, kw::max_threads());",
        f"const int threads_ = {serial} ? 1 : int(kw::min<int64_t>(most_, units_));",
        "kw::parallel(threads_, [&](int thread_, int count_) {",
        f"float* const plane_ = reinterpret_cast<float*>(scratch) + thread_ * {each};",
        f"float* const w_ = plane_ + {size_text(_plane(found, schedule, x))};",
        "bool first_ = true;",
        "for (int64_t unit_ = units_ * thread_ / count_; unit_ < units_ * (thread_ + 1) / count_; ++unit_) {",
        *(line.replace("const", "[[maybe_unused]] const", 1) for line in split_code("unit_", found.units)),
        f"const int64_t start_[{len(pad.start)}] = {{{starts}}};",
        f"kw::gemm::pad<{len(pad.extent)}>(plane_, {x.name} + {_text(pad.base)}, extent_, start_, size_, stride_, "
        f"float({pad.fill!r}), 0, {size_text(pad.rows)}, {borders});",
        "first_ = false;",
        f"const auto* from_ = {w.name} + {_text(base)};",
        f"for (int i_ = 0; i_ < {_weights(found)}; ++i_) w_[i_] = kw::get(from_ + weights_[i_]);",
        f"for (int64_t row_ = 0; row_ < {rows}; row_ += {schedule.mr})",
        f"for (int64_t column_ = 0; column_ < {columns}; column_ += {width}) {{",
        f"alignas(64) float tile_[{schedule.mr * width}];",
        f"Window::run(tile_, plane_ + row_ * {row_step} + column_ * {found.strides[1]} + {size_text(x.index.offset)}, "
        f"{size_text(_pitch(found, x))}, w_, planes_, {static(total(found.planes))});",
        f"finish_(unit_, tile_, row_, int(kw::min<int64_t>({schedule.mr}, {rows} - row_)), column_, "
        f"int(kw::min<int64_t>({width}, {columns} - column_)));",
        "}",
        "}",
        "});",
    ]


def _text(index: Index) -> str:
    return index_text(index, lambda atom: str(atom))
