"""Prints which steps of a blocked product a register tile needs, from what the program says about zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..contraction import Contraction
from ..program import Axis, Index
from ..zeros import Zeros
from ._indices import size_text, static
from ._operand import Operand
from ._schedule import total


@dataclass(frozen=True)
class _Extent:
    """An axis of the result, as the inclusive ends of its values in a tile."""

    low: str
    high: str


def usable(zeros: Zeros, parts: Contraction, operands: Sequence[Operand]) -> bool:
    """Whether every bound can be told from the rows and columns of a tile."""
    if not zeros or any(op.padding is not None for op in operands):
        return False
    known = {axis.name for axis in (_inner(parts.m), _inner(parts.n)) if axis is not None}
    bounds = (*zeros.k_lows, *zeros.k_highs, *zeros.n_lows, *zeros.n_highs)
    if not all(i.is_affine and i.axes() <= known for i in bounds):
        return False
    return all(static(c) is not None for i in bounds for _, c in i.terms)


def _inner(axes: Sequence[Axis]) -> Axis | None:
    return next((x for x in reversed(axes) if x.size != 1), None)


def limits_code(zeros: Zeros, parts: Contraction, a: Operand, b: Operand) -> list[str]:
    """The lambda ``steps_of_(m, m_last, n, n_last)`` that the drivers of ``kw/gemm.h`` call for each tile."""
    extents: dict[str, _Extent] = {}
    lines = [
        f"const bool finite_ = {' && '.join(_finite(op) for role, op in (('a', a), ('b', b)) if role in zeros.finite)};"
        if zeros.finite
        else "constexpr bool finite_ = true;",
        "auto steps_of_ = [&](int64_t m_, int64_t m_last_, int64_t n_, int64_t n_last_) {",
    ]
    for role, axes in (("m", parts.m), ("n", parts.n)):
        axis = _inner(axes)
        if axis is None:
            continue
        extents[axis.name] = _Extent(f"{role}_from_", f"{role}_to_")
        lines.append(f"int64_t {role}_from_ = {role}_, {role}_to_ = {role}_last_;")
        if len([x for x in axes if x.size != 1]) > 1:
            size = size_text(axis.size)
            lines.append(f"{role}_from_ %= {size}; {role}_to_ = {role}_from_ + {role}_last_ - {role}_;")
            lines.append(f"if ({role}_to_ >= {size}) {role}_from_ = 0, {role}_to_ = {size} - 1;")
    depth = size_text(total(parts.k))
    lines += [f"int64_t low_ = 0, high_ = {depth};", "if (finite_) {"]
    lines += [f"low_ = kw::max<int64_t>(low_, {_end(i, extents, False)});" for i in zeros.k_lows]
    lines += [f"high_ = kw::min<int64_t>(high_, {_end(i, extents, True)});" for i in zeros.k_highs]
    lines.append("}")
    lines += [f"if (n_to_ < {_end(i, extents, False)}) high_ = 0;" for i in zeros.n_lows]
    lines += [f"if (n_from_ >= {_end(i, extents, True)}) high_ = 0;" for i in zeros.n_highs]
    return [*lines, "return kw::gemm::Steps{low_, high_};", "};"]


def _end(index: Index, extents: dict[str, _Extent], greatest: bool) -> str:
    """The least or greatest value of an index in a tile."""
    text = size_text(index.offset)
    for term, coefficient in index.terms:
        extent, step = extents[str(term)], static(coefficient) or 0
        text += f" + {step} * {extent.high if (step > 0) == greatest else extent.low}"
    return text


def _finite(op: Operand) -> str:
    return f"kw::gemm::finite({op.name}, {size_text(op.elements)}, threads_)"


def rows_differ(zeros: Zeros, parts: Contraction) -> bool:
    """Whether some rows have more to do than others; else columns are what differs, if anything."""
    axis = _inner(parts.m)
    bounds = (*zeros.k_lows, *zeros.k_highs, *zeros.n_lows, *zeros.n_highs)
    return axis is not None and any(axis.name in i.axes() for i in bounds)


__all__ = ["limits_code", "rows_differ", "usable"]
