"""Prints products with few rows (``kw/matvec.h``): the large operand is streamed once at memory bandwidth."""

from __future__ import annotations

from ..contraction import Contraction, product
from ..program import Program, Reduce, Size
from ._code import KernelCode
from ._finish import ending, finish_code
from ._indices import size_text, static
from ._kernel import kernel_code
from ._operand import Operand, operand, table, table_text
from ._schedule import GemmSchedule, total

MOST_ROWS = 4  # of which every vector of B is used at once
MOST_DOTS = 24  # rows up to which sums of rows of B beat packing them
LEAST_DEPTH = 128  # steps that pay for adding up the lanes of many rows
WIDEST = 4096  # results of one block: they stay in the nearest cache, and rows of B are read in long stretches
STEPS = 256  # k steps whose offsets are tabulated at once; the stretches of kw::matvec::dots


def matvec_schedules(program: Program, parts: Contraction, threads: int) -> list[GemmSchedule]:
    """Schedules if the product has few rows and its large operand is contiguous along n or k, else none."""
    rows, k, n = static(total(parts.m)), static(total(parts.k)), static(total(parts.n))
    if rows is None or rows > MOST_DOTS or parts.dtype != "float32":
        return []
    a, b = _operands(program, parts)
    if a.padding is not None or b.padding is not None:
        return []
    batch = static(total(parts.batch)) or 1
    along_k = table(b.index, parts.k) == ((total(parts.k), 1),)
    if rows > MOST_ROWS and (not along_k or a.ctype == b.ctype == "kw::bf16" or (k is not None and k < LEAST_DEPTH)):
        return []
    if along_k and (n is None or n * batch >= 4 * threads):
        return [GemmSchedule("dot", rows, 1, 0, 0, 64 if n is None or n >= 64 * threads else 16, threads)]
    if table(b.index, parts.n) == ((total(parts.n), 1),):
        widest = WIDEST // max(1, rows) // 16 * 16
        share = widest if n is None or batch >= threads else -(-n // threads)
        width = max(64, min(widest, -(-share // 16) * 16))
        if n is None or n * batch >= 64 * threads or (k is not None and k < 4096):
            whole = max(64, min(widest, -(-(n or widest) // 16) * 16))  # for fewer threads than expected
            return [GemmSchedule("axpy", rows, 1, 0, STEPS, each, threads) for each in dict.fromkeys((width, whole))]
    return []


def emit_matvec(program: Program, reduce: Reduce, parts: Contraction, name: str, schedule: GemmSchedule) -> KernelCode:
    """Strategies "dot" (rows of B along k) and "axpy" (rows of B along n)."""
    a, b = _operands(program, parts)
    end = ending(program, reduce, {"batch": parts.batch, "m": parts.m, "n": parts.n})
    k, n, m = (size_text(total(g)) for g in (parts.k, parts.n, parts.m))
    width, single = schedule.nc, _single(schedule)
    each = size_text(_thread_elements(parts, schedule))
    lines = [
        f"const int64_t k_size_ = {k}, n_size_ = {n}, blocks_ = kw::ceil_div(n_size_, {width});",
        f"const int64_t units_ = {size_text(total(parts.batch))} * blocks_;",
        f"const int threads_ = units_ * {width} * k_size_ < {1 << 17} ? 1 : "
        f"int(kw::min<int64_t>(kw::min({schedule.threads}, kw::max_threads()), kw::max<int64_t>(1, units_)));",
        *(
            table_text(f"{role}_{part}_", op.index, axes)
            for role, op, free in (("a", a, parts.m), ("b", b, parts.n))
            for part, axes in (("batch", parts.batch), ("free", free), ("k", parts.k))
        ),
        *finish_code(end, "float32", str(width)),
        "kw::parallel(threads_, [&](int thread_, int count_) {",
        f"float* const a_ = reinterpret_cast<float*>(scratch) + thread_ * {each};",
        f"float* const tile_ = a_ + {size_text(_rows_elements(parts, schedule))};",
        "int64_t entered_ = -1;",
        "for (int64_t unit_ = units_ * thread_ / count_; unit_ < units_ * (thread_ + 1) / count_; ++unit_) {",
        f"const int64_t batch_ = unit_ / blocks_, n_ = unit_ % blocks_ * {width};",
        f"const int columns_ = int(kw::min<int64_t>({width}, n_size_ - n_));",
        "int64_t b_base_;",
        "b_batch_.table(batch_, 1, &b_base_);",
        f"const auto* const from_ = {b.name} + b_base_ + {size_text(b.index.offset)};",
        "if (batch_ != entered_) {",
        "entered_ = batch_;",
        f"int64_t a_base_, rows_[{schedule.mr}], steps_[{STEPS}];",
        "a_batch_.table(batch_, 1, &a_base_);",
        f"a_free_.table(0, {m}, rows_);",
        f"for (int64_t k_ = 0; k_ < k_size_; k_ += {STEPS}) {{",
        f"const int64_t kc_ = kw::min<int64_t>({STEPS}, k_size_ - k_);",
        "a_k_.table(k_, kc_, steps_);",
        f"for (int i_ = 0; i_ < {schedule.mr}; ++i_) {{",
        f"float* const to_ = a_ + {'i_ * k_size_ + k_' if single else f'k_ * {schedule.mr} + i_ * {STEPS}'};",
        "int64_t j_ = 0;",
        f"for (; j_ < kc_; ++j_) to_[j_] = "
        f"kw::get({a.name} + a_base_ + {size_text(a.index.offset)} + rows_[i_] + steps_[j_]);",
        *([] if single else ["for (; j_ % 16; ++j_) to_[j_] = 0;"]),
        "}",
        "}",
        "}",
        *_body(schedule),
        f"finish_(batch_, tile_, 0, {m}, n_, columns_);",
        "}",
        "});",
    ]
    code = kernel_code(program, reduce, name, lines, _thread_elements(parts, schedule) * 4 * schedule.threads + 64)
    return KernelCode(code.name, f"#include <kw/matvec.h>\n{code.source}", code.tensors, code.symbols, code.scratch)


def _body(schedule: GemmSchedule) -> list[str]:
    if schedule.strategy == "dot":
        return [
            f"int64_t columns_at_[{schedule.nc}];",
            "b_free_.table(n_, columns_, columns_at_);",
            f"kw::matvec::{'dot' if _single(schedule) else 'dots'}<{schedule.mr}>(tile_, {schedule.nc}, a_, "
            f"{'k_size_, ' if _single(schedule) else ''}from_, columns_at_, columns_, k_size_);",
        ]
    return [
        f"int64_t steps_[{STEPS}], first_;",
        "b_free_.table(n_, 1, &first_);",
        f"for (int64_t k_ = 0; k_ < k_size_ || k_ == 0; k_ += {STEPS}) {{",
        f"const int64_t kc_ = kw::min<int64_t>({STEPS}, k_size_ - k_);",
        "b_k_.table(k_, kc_, steps_);",
        f"kw::matvec::axpy<{schedule.mr}>(tile_, {schedule.nc}, a_ + k_, k_size_, from_ + first_, steps_, columns_, "
        "kc_, k_ > 0);",
        "}",
    ]


def _operands(program: Program, parts: Contraction) -> tuple[Operand, Operand]:
    axes = (*parts.batch, *parts.m, *parts.n, *parts.k)
    a = operand(program, parts.a, axes, parts.batch, "a", parts.dtype, False)
    return a, operand(program, parts.b, axes, parts.batch, "b", parts.dtype, False)


def _rows_elements(parts: Contraction, schedule: GemmSchedule) -> Size:
    """The dense rows of A, in whole cache lines."""
    if not _single(schedule):
        steps = static(total(parts.k))
        return schedule.mr * (total(parts.k) + STEPS if steps is None else -(-steps // STEPS) * STEPS)
    size = product((schedule.mr, total(parts.k)))
    value = static(size)
    return size * 16 if value is None else -(-value // 16) * 16 + 16


def _single(schedule: GemmSchedule) -> bool:
    """Rows few enough for one register tile; else A is kept in stretches of ``STEPS`` of all rows."""
    return schedule.mr <= MOST_ROWS


def _thread_elements(parts: Contraction, schedule: GemmSchedule) -> Size:
    return _rows_elements(parts, schedule) + schedule.mr * schedule.nc + 16
