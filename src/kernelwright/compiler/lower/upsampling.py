"""Upsampling: nearest neighbours by index, linear interpolation as a weighted sum of the corners."""

from __future__ import annotations

from itertools import product
from typing import Any

from ..program import Expr, Index, Iota, Op, Size, Value
from ._builder import require
from ._driver import Lowering, lowers
from ._lazy import Indices, Lazy, cast, compute, const, floor_div, is_one, op, view


def _scale(size_in: Size, size_out: Size, given: float | None) -> float:
    require(isinstance(size_in, int) and isinstance(size_out, int), "a size that varies")
    return 1.0 / given if given else int(size_in) / int(size_out)


def _source(low: Lowering, self: Lazy | None, input: Lazy | None) -> Lazy:
    value = self if self is not None else input
    assert value is not None
    return value if value.free else low.realise(value)


def _given(rank: int, scales: Any, scales_d: Any, scales_h: Any, scales_w: Any, factors: Any) -> list[float | None]:
    """The scale factors the caller gave, whichever overload was called."""
    if factors is not None:
        return list(factors)
    return {1: [scales], 2: [scales_h, scales_w], 3: [scales_d, scales_h, scales_w]}[rank]


@lowers("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def upsample_nearest(
    low: Lowering, self: Lazy | None = None, output_size: Any = None, scales: Any = None, scales_d: Any = None,
    scales_h: Any = None, scales_w: Any = None, scale_factors: Any = None, input: Lazy | None = None,
) -> Lazy:  # fmt: skip
    source = _source(low, self, input)
    given = _given(source.rank - 2, scales, scales_d, scales_h, scales_w, scale_factors)
    sizes = source.shape[2:]
    factors = [_scale(a, b, g) for a, b, g in zip(sizes, low.shape[2:], given, strict=True)]

    def fn(index: Indices) -> Indices:
        return (*index[:2], *(_nearest(i, f, s) for i, f, s in zip(index[2:], factors, sizes, strict=True)))

    return view(source, low.shape, fn)


def _nearest(index: Index, factor: float, size: Size) -> Index:
    if is_one(size):
        return Index()
    if factor == 1.0:
        return index
    if (1 / factor).is_integer():
        return floor_div(index, int(1 / factor))
    if factor.is_integer():
        return index * int(factor)
    scaled = op("floor", op("mul", cast(Iota(index, "int64"), "float32"), const(factor, "float32")))
    return Index.of(Value(_at_most(Op("cast", (scaled,), "int64"), size)))


def _at_most(value: Expr, size: Size) -> Expr:
    return op("minimum", value, const(int(size) - 1, "int64"))


# ── linear ──


@lowers("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
def upsample_linear(
    low: Lowering, align_corners: bool, self: Lazy | None = None, output_size: Any = None, scales: Any = None,
    scales_d: Any = None, scales_h: Any = None, scales_w: Any = None, scale_factors: Any = None,
    input: Lazy | None = None,
) -> Lazy:  # fmt: skip
    source = _source(low, self, input)
    kind = compute(low.dtype)
    require(kind.startswith("float"), "integers")
    given = _given(source.rank - 2, scales, scales_d, scales_h, scales_w, scale_factors)
    sizes, outs = source.shape[2:], low.shape[2:]
    steps = [_scale(a, b, g) for a, b, g in zip(sizes, outs, given, strict=True)]
    if align_corners:
        steps = [(int(a) - 1) / (int(b) - 1) if int(b) > 1 else 0.0 for a, b in zip(sizes, outs, strict=True)]

    def at(index: Indices) -> Expr:
        corners = [
            _corners(i, step, int(size), align_corners, kind)
            for i, step, size in zip(index[2:], steps, sizes, strict=True)
        ]
        total: Expr | None = None
        for choice in product((0, 1), repeat=len(corners)):
            value = cast(source.at((*index[:2], *(c[0][k] for c, k in zip(corners, choice, strict=True)))), kind)
            for corner, k in zip(corners, choice, strict=True):
                value = op("mul", value, corner[1][k])
            total = value if total is None else op("add", total, value)
        assert total is not None
        return total

    return Lazy(low.shape, low.dtype, at)


def _corners(
    index: Index, step: float, size: int, align_corners: bool, kind: str
) -> tuple[tuple[Index, Index], tuple[Expr, Expr]]:
    """The two neighbours along one dim and their weights."""
    place: Expr = cast(Iota(index, "int64"), kind)
    if align_corners:
        place = op("mul", place, const(step, kind))
    else:
        middle = op("mul", op("add", place, const(0.5, kind)), const(step, kind))
        place = op("maximum", op("sub", middle, const(0.5, kind)), const(0.0, kind))
    below = _at_most(Op("cast", (op("floor", place),), "int64"), size)
    above = _at_most(op("add", below, const(1, "int64")), size)
    part = op("minimum", op("sub", place, Op("cast", (below,), kind)), const(1.0, kind))
    return (Index.of(Value(below)), Index.of(Value(above))), (op("sub", const(1.0, kind), part), part)
