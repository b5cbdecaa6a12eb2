"""Prints attention as one kernel: a block of query rows at a time, its scores in scratch that fits the nearest caches.

Level 2 is decided in :class:`AttentionSchedule`. The lanes are query rows (see ``kw/attention.h``), so everything
between the products is arithmetic on whole vectors; :mod:`._attention_panel` prints that part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import sympy

from ...errors import Unsupported
from ..attention import Attention
from ..contraction import flat_index, product
from ..program import Axis, Index, Load, Program, Size, Tensor
from ._attention_panel import Panel, W, panel_of
from ._code import KernelCode
from ._indices import size_text, static
from ._operand import base_name
from ._schedule import Cache
from .printer import Printer, store_type

SERIAL_PRODUCTS = 1 << 20  # fewer multiply-adds than this are not worth a second thread
CHUNK_BYTES = 20 << 10  # of the panel, so that it stays in the nearest cache between the stages
MOST_ROWS = {1: 16, 2: 12, 3: 8, 4: 6}  # of a register tile, by its vectors: more do not pay
SETS = 2048  # bytes: rows a multiple of this apart compete for the same cache sets


@dataclass(frozen=True)
class AttentionSchedule:
    """``nv`` vectors of query rows are one block; ``mr`` keys of S, ``out`` columns of O one register tile; ``chunk``
    keys are taken at once."""

    nv: int = 3
    mr: int = 8
    out: int = 8
    chunk: int = 96
    threads: int = 2


@dataclass(frozen=True)
class _Parts:
    """What the printing functions share."""

    program: Program
    match: Attention
    schedule: AttentionSchedule
    panel: Panel

    @property
    def lanes(self) -> int:
        return self.schedule.nv * W

    @property
    def ctype(self) -> str:
        return "float" if self.match.dtype == "float32" else "double"

    @property
    def native(self) -> int:
        """Vectors of the machine in sixteen lanes."""
        return 1 if self.match.dtype == "float32" else 2

    @property
    def tail(self) -> int:
        """Vectors that the last block of rows needs."""
        rows = static(self.match.row.size)
        left = (rows or 0) % self.lanes
        return -(-left // W) if left else self.schedule.nv


def schedules(program: Program, match: Attention, machine: Cache | None = None) -> list[AttentionSchedule]:
    """Schedules worth trying, best guess first."""
    cache = machine or Cache()
    rows = static(match.row.size)
    wide = match.dtype == "float64"
    widths = [nv for nv in ((1,) if wide else (1, 2, 3, 4)) if nv == 1 or cache.registers.fit(2, nv)]
    found = [_schedule(match, nv, cache) for nv in widths]
    return sorted(found, key=lambda s: _cost(s, rows, match))[:3]


def emit_attention(
    program: Program, match: Attention, name: str, schedule: AttentionSchedule | None = None
) -> KernelCode:
    """The kernel of a match."""
    chosen = schedule or schedules(program, match)[0]
    parts = _Parts(program, match, chosen, panel_of(program, match, chosen.nv * W))
    tensors, written = _tensors(program, match)
    parameters = [
        f"[[maybe_unused]] {'' if n in written else 'const '}{store_type(program.tensors[n].dtype)}* {n}"
        for n in tensors
    ]
    symbols = tuple(s.name for s in program.symbols)
    parameters += [*(f"[[maybe_unused]] const int64_t {s}" for s in symbols), "char* scratch"]
    layout = _layout(parts)
    lines = [*_head(parts), *_item(parts, layout), "}", "});"]
    body = "\n".join(f"  {line}" for line in lines)
    source = f"#include <kw/attention.h>\nstatic void {name}({', '.join(parameters)}) {{\n{body}\n}}"
    return KernelCode(name, source, tensors, symbols, _total(layout) * chosen.threads + 64)


def _schedule(match: Attention, nv: int, cache: Cache) -> AttentionSchedule:
    vectors = nv * (1 if match.dtype == "float32" else 2)
    most = max(mr for mr in range(1, MOST_ROWS[vectors] + 1) if mr == 1 or cache.registers.fit(mr, vectors))
    width = static(match.width.size) or 64
    out = max(range(max(1, most // 2), most + 1), key=lambda r: (width / (-(-width // r) * r), r))
    size = 4 if match.dtype == "float32" else 8
    chunk = max(most, CHUNK_BYTES // (nv * W * size) // most * most)
    return AttentionSchedule(nv, most, out, chunk, cache.workers)


def _cost(schedule: AttentionSchedule, rows: int | None, match: Attention) -> tuple[float, int]:
    """Lanes computed, dearer for narrow blocks; a block for every thread first."""
    count = rows or 1024
    block = schedule.nv * W
    lanes = count // block * block + -(-(count % block) // W) * W
    overhead = {1: 1.15, 2: 1.02, 3: 1.0, 4: 1.06}[schedule.nv]
    outer = static(product(a.size for a in match.outer)) or 64
    items = outer * -(-count // block)
    rounds = -(-items // schedule.threads) * schedule.threads / items
    return (round(lanes * overhead * max(1.0, rounds), 3), -schedule.nv)


# ── scratch ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _layout(parts: _Parts) -> list[tuple[str, str, Size]]:
    """(C++ type, name, elements) of every array of one thread."""
    match, lanes, kind = parts.match, parts.lanes, parts.ctype
    depth, width = (static(a.size) or 0 for a in (match.depth, match.width))
    rounded = -(-width // W) * W
    arrays: list[tuple[str, str, Size]] = [
        (kind, "query_", depth * lanes),
        (kind, "result_", rounded * lanes),
        (kind, "tile_", rounded * W),
        ("int64_t", "from_", _chunks(parts) * 2),
    ]
    for load, name, side in ((match.k, "keys_", depth), (match.v, "values_", width)):
        if _copied(parts, load):
            arrays.append((kind, name, parts.schedule.chunk * side))
    arrays += [(kind, f"panel{i}_", product((match.key.size, lanes))) for i in range(parts.panel.buffers)]
    arrays += [(store_type(s.dtype), s.name, product(s.shape)) for s in parts.panel.staged]
    return arrays


def _chunks(parts: _Parts) -> Size:
    keys = static(parts.match.key.size)
    return -(-keys // parts.schedule.chunk) + 1 if keys is not None else parts.match.key.size + 1


_BYTES = {"float": 4, "double": 8, "int64_t": 8, "int32_t": 4, "int16_t": 2, "kw::bf16": 2, "kw::f16": 2}


def _bytes(kind: str, count: Size) -> Size:
    size = count * _BYTES.get(kind, 1)
    value = static(size)
    if value is not None:
        return -(-value // 64) * 64
    parts = [int(c) for c in sympy.expand(size).as_coefficients_dict().values()]
    return size * (64 // math.gcd(64, *parts))  # symbolic sizes have no cheap rounding


def _total(layout: Sequence[tuple[str, str, Size]]) -> Size:
    total: Size = 0
    for kind, _, count in layout:
        total = total + _bytes(kind, count)
    return total


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _head(parts: _Parts) -> list[str]:
    match, s = parts.match, parts.schedule
    outer = size_text(product(a.size for a in match.outer))
    row, key, depth, width = (size_text(a.size) for a in (match.row, match.key, match.depth, match.width))
    return [
        f"const int64_t blocks_ = kw::ceil_div({row}, {parts.lanes}), items_ = {outer} * blocks_;",
        f"const int64_t work_ = {outer} * {row} * {key} * ({depth} + {width});",
        f"const int threads_ = work_ < {SERIAL_PRODUCTS} ? 1 : "
        f"kw::min<int64_t>(kw::min({s.threads}, kw::max_threads()), items_);",
        "int64_t next_ = 0;",
        "kw::parallel(threads_, [&](int thread_, int) {",
        "for (;;) {",
        "const int64_t item_ = items_ - 1 - __atomic_fetch_add(&next_, 1, __ATOMIC_RELAXED);",
        "if (item_ < 0) break;",
    ]


def _item(parts: _Parts, layout: Sequence[tuple[str, str, Size]]) -> list[str]:
    """One block of query rows of one point of the outer axes."""
    match, lanes = parts.match, parts.lanes
    row = size_text(match.row.size)
    lines = [f"char* at_ = scratch + thread_ * {size_text(_total(layout))};"]
    for kind, name, count in layout:
        lines.append(f"auto* const {name} = reinterpret_cast<{kind}*>(at_);")
        lines.append(f"at_ += {size_text(_bytes(kind, count))};")
    lines += [f"{parts.ctype}* const {p} = panel{i}_;" for p, i in parts.panel.places]
    lines += [
        f"const int64_t row0_ = item_ % blocks_ * {lanes}, rows_ = kw::min<int64_t>({lanes}, {row} - row0_);",
        f"const int vectors_ = static_cast<int>((rows_ + {W - 1}) / {W});",
        f"const bool narrow_ = vectors_ <= {parts.tail} && {parts.tail} < {parts.schedule.nv};",
        *_decode("item_ / blocks_", match.outer),
        *_query(parts),
        *parts.panel.stage(),
        *_ranges(parts),
    ]
    for level in range(parts.panel.levels):
        lines += _pass(parts, level)
    return [*lines, *parts.panel.between(parts.panel.levels), *parts.panel.keep(), *_finish(parts)]


def _decode(rest: str, axes: Sequence[Axis]) -> list[str]:
    lines = []
    for number, axis in enumerate(reversed(axes)):
        last = number == len(axes) - 1
        lines.append(f"const int64_t {axis.name} = {rest if last else f'({rest}) % {size_text(axis.size)}'};")
        rest = f"({rest}) / {size_text(axis.size)}"
    return [f"[[maybe_unused]] {line}" for line in lines]


def _base(parts: _Parts, load: Load, axes: Sequence[Axis]) -> tuple[str, list[Size]]:
    """The element offset of a load without the given axes, and the stride along each of them."""
    flat = flat_index(parts.program, load)
    strides = [flat.coefficient(a.name) for a in axes]
    for axis, stride in zip(axes, strides, strict=True):
        flat = flat - Index.axis(axis.name) * stride
    printer = Printer(parts.program, lane=None)
    text = printer.index(flat)
    if printer.lines:
        raise Unsupported("attention whose heads are gathered by values in memory")
    return text, strides


def _query(parts: _Parts) -> list[str]:
    """The rows of Q, transposed: [depth][row]."""
    match = parts.match
    offset, (step, along) = _base(parts, match.q, (match.row, match.depth))
    tensor = parts.program.tensors[match.q.tensor]
    name = base_name(parts.program, match.q.tensor)
    if tensor.dtype == match.dtype:
        where = f"{name} + {offset} + row0_ * {size_text(step)}, {size_text(step)}, {size_text(along)}"
        return [f"kw::attention::turn(query_, {parts.lanes}, {where}, rows_, {size_text(match.depth.size)});"]
    return [
        "{",
        f"int64_t lane_[{parts.lanes}], step_[{size_text(match.depth.size)}];",
        f"for (int i_ = 0; i_ < rows_; ++i_) lane_[i_] = i_ * {size_text(step)};",
        f"for (int i_ = 0; i_ < {size_text(match.depth.size)}; ++i_) step_[i_] = i_ * {size_text(along)};",
        f"const int64_t base_ = {offset} + row0_ * {size_text(step)};",
        f"const kw::gemm::Source<{store_type(tensor.dtype)}> source_{{{name} + base_, -base_, "
        f"{size_text(_reach(tensor))} - base_}};",
        f"kw::gemm::pack(query_, {parts.lanes}, 0, source_, lane_, rows_, step_, {size_text(match.depth.size)});",
        "}",
    ]


def _reach(tensor: Tensor) -> Size:
    total: Size = 1
    for size, stride in zip(tensor.shape, tensor.strides, strict=True):
        total = total + (size - 1) * stride
    return total


def _ranges(parts: _Parts) -> list[str]:
    """Which keys of each chunk any row sees: ``from_[2 i] <= key < from_[2 i + 1]``, whole register tiles."""
    match, s, key = parts.match, parts.schedule, size_text(parts.match.key.size)
    mask = parts.panel.mask
    if mask is None:
        return [
            "int64_t kept_ = 0;",
            f"for (int64_t c_ = 0; c_ < {key}; c_ += {s.chunk}, ++kept_) {{ from_[2 * kept_] = c_; "
            f"from_[2 * kept_ + 1] = kw::min<int64_t>(c_ + {s.chunk}, {key}); }}",
        ]
    offset, (step, along) = _base(parts, match.v, (match.key, match.width))
    name, width = base_name(parts.program, match.v.tensor), size_text(match.width.size)
    finite = (
        f"kw::attention::finite({name} + {offset} + (LOW) * {size_text(step)}, (HIGH) - (LOW), {size_text(step)}, "
        f"{width}, {size_text(along)})"
    )
    lines = [
        *parts.panel.limits(),
        "int64_t kept_ = 0;",
        f"for (int64_t c_ = 0; c_ < {key}; c_ += {s.chunk}) {{",
        f"const int64_t end_ = kw::min<int64_t>(c_ + {s.chunk}, {key});",
        "int64_t a_ = kw::min(kw::max(c_, low_), end_), b_ = kw::max(kw::min(end_, high_), a_);",
        *parts.panel.trim(),
        f"if (a_ < b_) a_ = a_ / {s.mr} * {s.mr}, b_ = kw::min<int64_t>(kw::ceil_div(b_, {s.mr}) * {s.mr}, end_);",
        f"if (!{finite.replace('LOW', 'c_').replace('HIGH', 'a_')} || "
        f"!{finite.replace('LOW', 'b_').replace('HIGH', 'end_')}) {{ a_ = c_; b_ = end_; }}",
        "if (a_ < b_) { from_[2 * kept_] = a_; from_[2 * kept_ + 1] = b_; ++kept_; }",
        "}",
        f"if (!kept_) {{ kept_ = 1; from_[0] = 0; from_[1] = kw::min<int64_t>({s.mr}, {key}); }}",
    ]
    return lines


def _pass(parts: _Parts, level: int) -> list[str]:
    """One walk over the chunks: the scores first, the weights' last stage together with the second product."""
    panel = parts.panel
    lines = [*panel.between(level), *panel.begin(level)]
    lines += ["for (int64_t c_ = 0; c_ < kept_; ++c_) {", "const int64_t a_ = from_[2 * c_], b_ = from_[2 * c_ + 1];"]
    if level == 0:
        lines += _scores(parts)
    lines += panel.body(level)
    if level == panel.weights_level:
        lines += _values(parts)
    return [*lines, "}", *panel.end(level)]


def _copied(parts: _Parts, load: Load) -> bool:
    """Whether a chunk of the operand is copied before use: another storage type, or rows that share cache sets."""
    axes = (parts.match.key, parts.match.depth if load is parts.match.k else parts.match.width)
    flat = flat_index(parts.program, load)
    size = 4 if parts.match.dtype == "float32" else 8
    steps = [static(flat.coefficient(a.name)) for a in axes]
    crowded = load is parts.match.k and steps[0] is not None and steps[0] * size % SETS == 0
    return parts.program.tensors[load.tensor].dtype != parts.match.dtype or crowded


def _operand(parts: _Parts, load: Load, side: Axis, copy: str) -> tuple[list[str], str, str, str]:
    """Lines, and where the chunk's operand lies: pointer, stride along the key, stride along the other side."""
    offset, (key, other) = _base(parts, load, (parts.match.key, side))
    name, count = base_name(parts.program, load.tensor), size_text(side.size)
    pointer = f"{name} + {offset} + a_ * {size_text(key)}"
    if not _copied(parts, load):
        return [], pointer, size_text(key), size_text(other)
    line = f"kw::attention::straighten({copy}, {pointer}, b_ - a_, {size_text(key)}, {count}, {size_text(other)});"
    return [line], copy, count, "1"


def _product(parts: _Parts, rows: int, rest: int, unit: bool) -> str:
    n = parts.native
    sizes = f"{rows}, {rest}, {parts.schedule.nv * n}, {parts.tail * n}, {str(unit).lower()}"
    return f"kw::attention::product<{parts.ctype}, {sizes}>"


def _scores(parts: _Parts) -> list[str]:
    """The chunk's raw scores, straight into the panel."""
    match, s = parts.match, parts.schedule
    lines, pointer, step, along = _operand(parts, match.k, match.depth, "keys_")
    keys = static(match.key.size)
    call = _product(parts, s.mr, keys % s.mr if keys is not None else -1, step == "1")
    return [
        *lines,
        f"{call}(b_ - a_, {size_text(match.depth.size)}, {pointer}, {step}, {along}, query_, "
        f"{parts.panel.first} + a_ * {parts.lanes}, {parts.lanes}, false, narrow_);",
    ]


def _values(parts: _Parts) -> list[str]:
    """result_[width][row] += the chunk's weights times its values."""
    match, s = parts.match, parts.schedule
    lines, pointer, along, step = _operand(parts, match.v, match.width, "values_")
    width = static(match.width.size) or 0
    call = _product(parts, s.out, width % s.out, step == "1")
    return [
        *lines,
        f"{call}({width}, b_ - a_, {pointer}, {step}, {along}, {parts.panel.weights} + a_ * {parts.lanes}, result_, "
        f"{parts.lanes}, c_ > 0, narrow_);",
    ]


def _finish(parts: _Parts) -> list[str]:
    """Transpose the block of O back, apply the closing epilogue, store."""
    match, lanes = parts.match, parts.lanes
    width = static(match.width.size) or 0
    rounded = -(-width // W) * W
    row, column = match.row.name, match.width.name
    epilogue, known, scalars = parts.panel.closing()
    lines = [
        "for (int j_ = 0; j_ < vectors_; ++j_) {",
        f"kw::attention::turn_back(tile_, {rounded}, result_ + j_ * {W}, {lanes}, {width});",
        f"const int most_ = static_cast<int>(kw::min<int64_t>({W}, rows_ - j_ * {W}));",
        "for (int r_ = 0; r_ < most_; ++r_) {",
        f"[[maybe_unused]] const int64_t {row} = row0_ + j_ * {W} + r_;",
        f"const {parts.ctype}* const sum_ = tile_ + r_ * {rounded};",
        *scalars,
    ]
    program = replace(parts.program, tensors={**parts.program.tensors, **parts.panel.locals})
    for whole in (True, False):
        count = None if whole else str(width % W)
        if count == "0" or (whole and width < W):
            continue
        printer = Printer(program, lane=column, count=count, acc="acc_", known=known)
        value = printer.temp(epilogue)
        printer.store(match.result.store, value, value.dtype)
        start = f"for (int64_t {column} = 0; {column} + {W} <= {width}; {column} += {W}) {{"
        lines += [start if whole else f"{{ const int64_t {column} = {width // W * W};"]
        lines += [f"const auto acc_ = kw::load(sum_ + {column});", *printer.lines, "}"]
    return [*lines, "}", "}"]


def _tensors(program: Program, match: Attention) -> tuple[tuple[str, ...], set[str]]:
    """Memory that the kernel touches (inputs first), and what of it it writes."""
    inside = {base_name(program, n) for n in (*match.panels, *match.rows)}
    written = [base_name(program, n) for n in (match.result.store.tensor, *match.kept)]
    exprs = [match.scores, match.q, match.k, match.v, match.result.epilogue]
    for stage in match.stages:
        exprs += [stage.value, getattr(stage, "epilogue", stage.value)]
    read = [base_name(program, n.tensor) for e in exprs for n in e.walk() if isinstance(n, Load)]
    names = dict.fromkeys([*(n for n in read if n not in inside and n not in written), *written])
    return tuple(names), set(written)


__all__ = ["AttentionSchedule", "emit_attention", "schedules"]
