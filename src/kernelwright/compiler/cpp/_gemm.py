"""Prints a contraction as a call of the blocked product of ``kw/gemm.h``: offset tables, packers, padding, finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..contraction import Contraction, product
from ..program import Axis, Program, Reduce, Size
from ._code import KernelCode
from ._finish import ending, finish_code
from ._indices import size_text, static
from ._kernel import kernel_code
from ._operand import Operand, operand, table_text
from ._schedule import GemmSchedule, total

LOCAL_COLUMNS = 1024  # columns per image from which padding image by image pays
SHARED_BYTES = 64 << 20  # most memory for a shared packed A
SERIAL_PRODUCTS = 1 << 20  # fewer multiply-adds than this are not worth a second thread


@dataclass(frozen=True)
class Plan:
    """A contraction with its operands placed and its batch chosen."""

    parts: Contraction
    a: Operand
    b: Operand
    schedule: GemmSchedule
    shared: bool

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (*self.parts.batch, *self.parts.m, *self.parts.n, *self.parts.k)

    @property
    def lanes(self) -> int:
        return 16 if self.parts.dtype == "float32" else 8

    @property
    def ctype(self) -> str:
        return "float" if self.parts.dtype == "float32" else "double"


def emit_gemm(program: Program, reduce: Reduce, parts: Contraction, name: str, schedule: GemmSchedule) -> KernelCode:
    """A blocked product (strategies "gemm" and "split-k")."""
    plan = place(program, parts, schedule)
    groups = {"batch": plan.parts.batch, "m": plan.parts.m, "n": plan.parts.n}
    width = schedule.nv * plan.lanes
    lines = [
        *_types(plan),
        *_buffers(plan),
        *_padding(plan),
        *_packer(plan, plan.a, plan.parts.m, "a"),
        *_packer(plan, plan.b, plan.parts.n, "b"),
        *finish_code(ending(program, reduce, groups), plan.parts.dtype, str(width)),
        *_drive(plan),
    ]
    return kernel_code(program, reduce, name, lines, scratch_bytes(plan))


def place(program: Program, parts: Contraction, schedule: GemmSchedule) -> Plan:
    """Decide what is a batch, which operand is padded when, and whether A is packed once for all."""
    moved = _image_batch(parts)
    axes = (*moved.batch, *moved.m, *moved.n, *moved.k)
    local = moved is not parts and schedule.strategy == "gemm"
    if not local:
        moved = parts
    b = operand(program, moved.b, axes, moved.batch, "b", parts.dtype, local)
    if b.padding is None and local:
        moved, local = parts, False
        b = operand(program, moved.b, axes, moved.batch, "b", parts.dtype, local)
    a = operand(program, moved.a, axes, moved.batch, "a", parts.dtype, False)
    in_a = moved.a.axes()
    shared = schedule.strategy == "gemm" and not any(x.name in in_a for x in moved.batch if x.size != 1)
    plan = Plan(moved, a, b, schedule, shared)
    size = static(_packed_elements(plan))
    return replace(plan, shared=shared and (size is None or size * 4 <= SHARED_BYTES))


def _image_batch(parts: Contraction) -> Contraction:
    """Let the outermost column axis (the images of a batch) become a batch axis where each image is large."""
    if len(parts.n) < 2 or not parts.windowed:
        return parts
    rest, first = static(total(parts.n[1:])), static(parts.n[0].size)
    if rest is None or rest < LOCAL_COLUMNS or first is None or first < 4:
        return parts
    mixed = any(parts.n[0].name in i.axes() and len(i.axes()) > 1 for load in (parts.a, parts.b) for i in load.index)
    return parts if mixed else replace(parts, batch=(*parts.batch, parts.n[0]), n=parts.n[1:])


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _types(plan: Plan) -> list[str]:
    s, n, m = plan.schedule, static(total(plan.parts.n)), static(total(plan.parts.m))
    rest = m % s.mr if m is not None and m % s.mr else s.mr
    half = n is None or 0 < n % (s.nv * plan.lanes) <= plan.lanes
    sizes = ", ".join(size_text(total(g)) for g in (plan.parts.batch, plan.parts.m, plan.parts.n, plan.parts.k))
    k = static(total(plan.parts.k))
    kc = (
        str(s.kc)
        if k is not None
        else f"kw::max<int64_t>(1, kw::min<int64_t>({s.kc}, {size_text(total(plan.parts.k))}))"
    )
    return [
        f"typedef kw::gemm::Tile<{plan.ctype}, {s.mr}, {s.nv}, {rest}, {str(half).lower()}> Tile;",
        f"const kw::gemm::Shape shape_{{{sizes}, {kc}, {s.nc}, {s.mc}}};",
        "const int64_t work_ = shape_.batch * shape_.m * shape_.n * shape_.k;",
        f"const int threads_ = work_ < {SERIAL_PRODUCTS} ? 1 : kw::min({s.threads}, kw::max_threads());",
    ]


def _buffers(plan: Plan) -> list[str]:
    """Where padded copies lie in the scratch memory; the product's own buffers come last."""
    lines, offset = [], "scratch"
    for role, op in (("a", plan.a), ("b", plan.b)):
        if op.padding is None:
            continue
        copies = plan.schedule.threads if op.padding.local else 1
        lines.append(f"auto* const {role}_copy_ = reinterpret_cast<{op.ctype}*>({offset});")
        lines.append(f"char* const after_{role}_ = {offset} + {size_text(_padded_bytes(plan, op))};")
        offset = f"after_{role}_"
        assert copies >= 1
    return [*lines, f"char* const rest_ = {offset};"]


def _padding(plan: Plan) -> list[str]:
    """Global copies are made at once; local ones by ``enter_``."""
    lines: list[str] = []
    enter: list[str] = []
    for role, op in (("a", plan.a), ("b", plan.b)):
        if op.padding is None:
            continue
        pad = op.padding
        call, source = f"kw::gemm::pad<{len(pad.extent)}>", f"{op.name} + {_index(pad.base)}"
        arrays = [
            f"const int64_t {role}_extent_[] = {{{_list(pad.extent)}}}, {role}_size_[] = {{{_list(pad.size)}}}, "
            f"{role}_stride_[] = {{{_list(pad.stride)}}};"
        ]
        starts = ", ".join(_index(i) for i in pad.start)
        start = f"const int64_t {role}_start_[] = {{{starts}}};"
        tail = f"{role}_extent_, {role}_start_, {role}_size_, {role}_stride_, {op.ctype}({pad.fill!r})"
        if pad.local:
            lines += arrays
            one = size_text(_local_elements(op))
            enter += [
                *_split_batch(plan.parts.batch),
                start,
                f"{call}({role}_copy_ + thread_ * {one}, {source}, {tail}, 0, {size_text(pad.rows)});",
            ]
        else:
            lines += [
                *arrays,
                start,
                f"kw::parallel_for({size_text(pad.rows)}, threads_ > 1 ? 1 : {size_text(pad.rows)}, "
                f"[&](int64_t from_, int64_t to_) {{ {call}({role}_copy_, {source}, {tail}, from_, to_); }});",
            ]
    return [*lines, "auto enter_ = [&](int thread_, int64_t batch_) {", *enter, "(void)thread_; (void)batch_; };"]


def _packer(plan: Plan, op: Operand, free: Sequence[Axis], role: str) -> list[str]:
    """``pack_a_(thread, batch, panel, k, kc, to)`` / ``pack_b_(thread, batch, k, kc, n, columns, to)``."""
    s = plan.schedule
    width, most = (s.mr, s.mr) if role == "a" else (s.nv * plan.lanes, s.nc)
    base = f"{role}_copy_" if op.padding is not None else op.name
    if op.padding is not None and op.padding.local:
        base = f"{role}_copy_ + thread_ * {size_text(_local_elements(op))}"
    offset = size_text(op.index.offset)
    if role == "a":
        head = (
            "auto pack_a_ = [&](int thread_, int64_t batch_, int64_t panel_, int64_t k_, int64_t kc_, "
            f"{plan.ctype}* to_) {{"
        )
        first = [f"const int64_t from_ = panel_ * {width}, lanes_ = kw::min<int64_t>({width}, shape_.m - from_);"]
        panel = "0"
    else:
        head = (
            "auto pack_b_ = [&](int thread_, int64_t batch_, int64_t k_, int64_t kc_, int64_t from_, int64_t lanes_, "
            f"{plan.ctype}* to_) {{"
        )
        first = []
        panel = f"kc_ * {width}"
    batch = () if op.padding is not None and op.padding.local else plan.parts.batch
    return [
        table_text(f"{role}_batch_", op.index, batch),
        table_text(f"{role}_free_", op.index, free),
        table_text(f"{role}_k_", op.index, plan.parts.k),
        head,
        *first,
        f"int64_t base_, lane_[{most}], step_[{s.kc}];",
        f"{role}_batch_.table({'batch_' if batch else '0'}, 1, &base_);",
        f"{role}_free_.table(from_, lanes_, lane_);",
        f"{role}_k_.table(k_, kc_, step_);",
        f"base_ += {offset};",
        f"const kw::gemm::Source<{op.ctype}> source_{{{base} + base_, -base_, {size_text(op.elements)} - base_}};",
        f"kw::gemm::pack(to_, {width}, {panel}, source_, lane_, lanes_, step_, kc_);",
        "(void)thread_; (void)batch_; };",
    ]


def _drive(plan: Plan) -> list[str]:
    if plan.schedule.strategy == "split-k":
        return ["kw::gemm::product_split_k<Tile>(shape_, threads_, rest_, pack_a_, pack_b_, finish_);"]
    shared = str(plan.shared).lower()
    return [f"kw::gemm::product<Tile, {shared}>(shape_, threads_, rest_, enter_, pack_a_, pack_b_, finish_);"]


def _split_batch(batch: Sequence[Axis]) -> list[str]:
    lines, rest = [], "batch_"
    for axis in reversed(batch):
        lines.append(f"const int64_t {axis.name} = ({rest}) % {size_text(axis.size)};")
        rest = f"({rest}) / {size_text(axis.size)}"
    return lines


def _list(sizes: Sequence[Size]) -> str:
    return ", ".join(size_text(s) for s in sizes)


def _index(index: object) -> str:
    from ..program import Index
    from ._indices import index_text

    assert isinstance(index, Index)
    return index_text(index, lambda atom: str(atom))


# ── scratch ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _local_elements(op: Operand) -> Size:
    assert op.padding is not None
    return _lines(op.padding.elements, 16)


def _padded_bytes(plan: Plan, op: Operand) -> Size:
    assert op.padding is not None
    size = 4 if op.ctype == "float" else 8
    copies = plan.schedule.threads if op.padding.local else 1
    return _lines(_local_elements(op) * copies * size, 64)


def _lines(size: Size, step: int) -> Size:
    value = static(size)
    if value is not None:
        return -(-value // step) * step
    return size * step  # a generous multiple: symbolic sizes have no cheap rounding


def _packed_elements(plan: Plan) -> Size:
    s, m = plan.schedule, static(total(plan.parts.m))
    rows = s.mc if m is None else min(s.mc, -(-m // s.mr) * s.mr)
    return product((rows, total(plan.parts.k)))


def scratch_bytes(plan: Plan) -> Size:
    """Padded copies, then per thread an A panel, a B block and partial tiles, then a shared packed A."""
    s, lanes = plan.schedule, plan.lanes
    m, n, k = (static(total(g)) for g in (plan.parts.m, plan.parts.n, plan.parts.k))
    rows = s.mc if m is None else -(-m // s.mr) * s.mr
    width = s.nv * lanes
    columns = s.nc if n is None else min(s.nc, -(-n // width) * width)
    blocked = k is None or k > s.kc
    partial = rows * columns if s.strategy == "split-k" else min(s.mc, rows) * columns * blocked
    one = -(-s.kc * s.mr // 16) * 16 + s.kc * s.nc + partial + 64
    size: Size = one * s.threads + (_packed_elements(plan) if plan.shared else 0) + 64
    size = size * (4 if lanes == 16 else 8)
    for op in (plan.a, plan.b):
        if op.padding is not None:
            size = size + _padded_bytes(plan, op)
    return size
