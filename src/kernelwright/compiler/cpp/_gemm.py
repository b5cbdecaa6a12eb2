"""Prints a contraction as a call of the blocked product of ``kw/gemm.h``: offset tables, packers, padding, finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..contraction import Contraction, product
from ..program import Axis, Program, Reduce, Size
from ..zeros import Zeros, known_zeros
from ._bounded import limits_code, rows_differ, usable
from ._code import KernelCode
from ._finish import ending, finish_code
from ._indices import size_text, static
from ._kernel import kernel_code
from ._operand import Operand, axes_text, operand, table
from ._schedule import SERIAL_PRODUCTS, GemmSchedule, total

LOCAL_COLUMNS = 1024  # columns per image from which padding image by image pays
SHARED_BYTES = 64 << 20  # most memory for a shared packed A
_SIZES = {"float": 4, "double": 8}  # bytes of what products are made of
ROW_COLUMNS = 128  # columns up to which rows of A are read where they lie


@dataclass(frozen=True)
class Plan:
    """A contraction with its operands placed and its batch chosen."""

    parts: Contraction
    a: Operand
    b: Operand
    schedule: GemmSchedule
    shared: bool
    rows: bool = False  # A is read where it lies
    zeros: Zeros = field(default_factory=Zeros)  # steps and results that no tile needs

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (*self.parts.batch, *self.parts.m, *self.parts.n, *self.parts.k)

    @property
    def lanes(self) -> int:
        return 16 if self.parts.dtype == "float32" else 8

    @property
    def ctype(self) -> str:
        return "float" if self.parts.dtype == "float32" else "double"

    @property
    def pairs(self) -> bool:
        """Whether both operands are bfloat16 in memory, so that a machine may multiply them in pairs."""
        return self.a.ctype == self.b.ctype == "kw::bf16" and not self.zeros

    @property
    def runs(self) -> int:
        """In how many runs of memory sixteen columns of B may lie, if it is to be packed in passing; else 0."""
        if self.schedule.strategy != "gemm" or self.b.ctype != "float" or self.lanes != 16 or self.zeros:
            return 0
        rows = table(self.b.index, self.parts.n)
        size = static(rows[-1][0])
        if rows[-1][1] != 1 or (len(rows) > 1 and (size is None or size < 5)):
            return 0
        return 1 if size is None or len(rows) == 1 else 1 + -(-15 // size)


def emit_gemm(program: Program, reduce: Reduce, parts: Contraction, name: str, schedule: GemmSchedule) -> KernelCode:
    """A blocked product (strategies "gemm" and "split-k")."""
    plan = _bounded(program, reduce, place(program, parts, schedule))
    groups = {"batch": plan.parts.batch, "m": plan.parts.m, "n": plan.parts.n}
    width = schedule.nv * plan.lanes
    lines = [
        *_types(plan),
        *_buffers(plan),
        *_padding(plan),
        _operand(plan, plan.a, plan.parts.m, "a"),
        _operand(plan, plan.b, plan.parts.n, "b"),
        *finish_code(ending(program, reduce, groups), plan.parts.dtype, str(width), blocked=True),
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
    narrow = all(program.tensors[load.tensor].dtype == "bfloat16" for load in (moved.a, moved.b))
    b = operand(program, moved.b, axes, moved.batch, "b", parts.dtype, local, narrow=narrow)
    if b.padding is None and local:
        moved, local = parts, False
        b = operand(program, moved.b, axes, moved.batch, "b", parts.dtype, local, narrow=narrow)
    a = operand(program, moved.a, axes, moved.batch, "a", parts.dtype, False, narrow=narrow)
    in_a = moved.a.axes()
    shared = schedule.strategy == "gemm" and not any(x.name in in_a for x in moved.batch if x.size != 1)
    plan = Plan(moved, a, b, schedule, shared)
    size = static(_packed_elements(plan))
    return replace(plan, shared=shared and (size is None or size * 4 <= SHARED_BYTES), rows=_reads_rows(plan))


def _bounded(program: Program, reduce: Reduce, plan: Plan) -> Plan:
    """Let tiles skip what the program says is zero."""
    if plan.schedule.strategy != "gemm":
        return plan
    zeros = known_zeros(program, reduce, plan.parts)
    return replace(plan, zeros=zeros, rows=False) if usable(zeros, plan.parts, (plan.a, plan.b)) else plan


def _reads_rows(plan: Plan) -> bool:
    """Whether A is contiguous along k and needed for too few columns to pay for its packing."""
    if plan.schedule.strategy != "gemm" or plan.a.ctype != "float" or plan.a.padding is not None or plan.lanes != 16:
        return False
    free, depth = table(plan.a.index, plan.parts.m), table(plan.a.index, plan.parts.k)
    if len(free) != 1 or len(depth) != 1 or depth[0][1] != 1:
        return False
    columns, stride = static(product((total(plan.parts.n), *_repeats(plan)))), static(free[0][1])
    return columns is not None and columns <= ROW_COLUMNS and stride is not None and stride % 512 != 0


def _repeats(plan: Plan) -> list[Size]:
    """Batch axes along which A stays the same."""
    return [x.size for x in plan.parts.batch if plan.a.index.coefficient(x.name) == 0]


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
    s, n = plan.schedule, static(total(plan.parts.n))
    width = s.nv * plan.lanes
    half = n is None or (0 < n % width <= plan.lanes and n <= 16 * width)
    depth = size_text(total(plan.parts.k))
    sizes = ", ".join(size_text(total(g)) for g in (plan.parts.batch, plan.parts.m, plan.parts.n))
    flags = ", ".join(str(x).lower() for x in (half, plan.runs, plan.rows, plan.pairs))
    fixed = static(total(plan.parts.k)) is not None
    kc = str(s.kc) if fixed else f"kw::max<int64_t>(1, kw::min<int64_t>({s.kc}, steps_))"
    return [
        f"typedef kw::gemm::Tile<{plan.ctype}, {s.mr}, {s.nv}, {s.kc}, {s.nc}, {flags}> Tile;",
        f"const int64_t depth_ = {depth}, steps_ = kw::ceil_div(depth_, Tile::EACH);",
        f"const kw::gemm::Shape shape_{{{sizes}, steps_, depth_, {kc}, {s.nc}, {s.mc}}};",
        "const int64_t work_ = shape_.batch * shape_.m * shape_.n * depth_;",
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
        fill = f"{op.ctype}({pad.fill!r})" if op.ctype in _SIZES else f"{op.ctype}{{0}}"
        starts = ", ".join(_index(i) for i in pad.start)
        start = f"const int64_t {role}_start_[] = {{{starts}}};"
        tail = f"{role}_extent_, {role}_start_, {role}_size_, {role}_stride_, {fill}"
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


def _operand(plan: Plan, op: Operand, free: Sequence[Axis], role: str) -> str:
    """The definition of ``a_`` or ``b_``, a ``kw::gemm::Operand``."""
    local = op.padding is not None and op.padding.local
    pointer = op.name if op.padding is None else f"{role}_copy_"
    copy = size_text(_local_elements(op)) if local else "0"
    groups = (() if local else plan.parts.batch, free, plan.parts.k)
    axes = ", ".join(axes_text(op.index, group) for group in groups)
    ranks = ", ".join(str(len(table(op.index, group))) for group in groups)
    along = str(_along(table(op.index, free), table(op.index, plan.parts.k))).lower()
    numbers = f"{copy}, {size_text(op.index.offset)}, {size_text(op.elements)}"
    return f"const kw::gemm::Operand<{op.ctype}, {along}, {ranks}> {role}_{{{pointer}, {numbers}, {axes}}};"


def _along(free: tuple[tuple[Size, Size], ...], depth: tuple[tuple[Size, Size], ...]) -> bool:
    """Whether an operand is to be packed along its steps, which are contiguous."""
    size = static(depth[-1][0])
    return depth[-1][1] == 1 and free[-1][1] != 1 and (size is None or size >= 8 or len(depth) == 1)


def _drive(plan: Plan) -> list[str]:
    if plan.schedule.strategy == "split-k":
        return ["kw::gemm::product_split_k<Tile>(shape_, threads_, rest_, a_, b_, finish_);"]
    shared = str(plan.shared).lower()
    if not plan.zeros:
        return [f"kw::gemm::product<Tile, {shared}>(shape_, threads_, rest_, enter_, a_, b_, finish_);"]
    uneven = str(not rows_differ(plan.zeros, plan.parts)).lower()
    call = f"kw::gemm::product<Tile, {shared}, {uneven}>(shape_, threads_, rest_, enter_, a_, b_, finish_, steps_of_);"
    return [*limits_code(plan.zeros, plan.parts, plan.a, plan.b), call]


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
    size = _SIZES.get(op.ctype, 2)
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
