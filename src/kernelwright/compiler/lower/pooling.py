"""Pooling: a Reduce over windows, padding by the fill of its load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..program import Expr, Index, Iota, Op, Size, Value
from ._builder import Epilogue, require
from ._driver import Lowering, lowers
from ._lazy import (
    Indices,
    Lazy,
    cast,
    compare,
    compute,
    const,
    floor_div,
    is_one,
    numel,
    op,
    size_value,
    where,
)
from .reductions import reduced


def _each(values: Any, n: int, default: Sequence[int] = ()) -> list[int]:
    values = [values] if isinstance(values, int) else list(values)
    values = values or list(default)
    require(all(isinstance(v, int) for v in values), "symbolic parameters")
    return values * n if len(values) == 1 else values


def _overhang(sizes: Sequence[Size], outs: Sequence[Size], kernel: Sequence[int], steps: Sequence[int],
              pads: Sequence[int], gaps: Sequence[int]) -> frozenset[int]:  # fmt: skip
    """The spatial dims in which some window leaves the tensor."""
    dims = set()
    for d, (size, out, k, s, p, g) in enumerate(zip(sizes, outs, kernel, steps, pads, gaps, strict=True)):
        last = (out - 1) * s - p + (k - 1) * g
        fits = (
            last <= size - 1
            if isinstance(size, int) and isinstance(last, int)
            else p == 0 and not _ceils(size, out, k, s, g)
        )
        if p or not fits:
            dims.add(d)
    return frozenset(dims)


def _ceils(size: Size, out: Size, kernel: int, step: int, gap: int) -> bool:
    """Whether a symbolic output size was rounded up."""
    return "CeilDiv" in repr(out) or "CeilToInt" in repr(out) or "-(" in str(out)


def _windows(low: Lowering, x: Lazy, outs: Sequence[Size], kernel: Sequence[int], steps: Sequence[int],
             pads: Sequence[int], gaps: Sequence[int], fill: float | int) -> tuple[Any, int]:  # fmt: skip
    """A function of (index, tap) reading windows of the last dims, and the number of leading dims."""
    lead = x.rank - len(kernel)
    over = _overhang(x.shape[lead:], outs, kernel, steps, pads, gaps)
    dims = frozenset(d + lead for d in over)
    source = (
        low.with_fill(low.realise(x) if not x.free else x, fill, dims) if dims else (x if x.free else low.realise(x))
    )

    def at(index: Indices, taps: Indices) -> Expr:
        place = [i * s - p + k * g for i, s, p, k, g in zip(index[lead:], steps, pads, taps, gaps, strict=True)]
        return source.at((*index[:lead], *place))

    return at, lead


@lowers("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices")
def max_pool(
    low: Lowering, self: Lazy, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:  # fmt: skip
    name = low.node.target._schema.name  # type: ignore[union-attr]
    n = int(name[name.index("pool") + 4])
    kernel = _each(kernel_size, n)
    steps, pads, gaps = _each(stride, n, kernel), _each(padding, n), _each(dilation, n)
    paired = name.endswith("with_indices")
    shape, dtype = low.val_of(0) if paired else (low.shape, low.dtype)
    fill: float | int = -math.inf if compute(dtype).startswith("float") else _lowest(dtype)
    at, lead = _windows(low, self, shape[self.rank - n :], kernel, steps, pads, gaps, fill)
    best = low.reduce(shape, tuple(kernel), "max", at, dtype)
    if not paired:
        return best
    if all(u.args[1] == 0 for u in low.node.users):
        return best, None
    places = low.reduce(
        shape, tuple(kernel), "argmax", at, "int64",
        lambda acc, i: _flat_place(acc, i[lead:], kernel, steps, pads, gaps, self.shape[lead:]),
    )  # fmt: skip
    return best, places


def _lowest(dtype: str) -> int:
    require(dtype in ("int64", "int32", "int16", "int8", "uint8"), f"pooling of {dtype}")
    return 0 if dtype == "uint8" else -(2 ** (int(dtype[3:]) - 1))


def _flat_place(acc: Expr, index: Indices, kernel: Sequence[int], steps: Sequence[int], pads: Sequence[int],
                gaps: Sequence[int], sizes: Sequence[Size]) -> Expr:  # fmt: skip
    """The position in the plane of a winning tap (given as a row-major position in the window)."""
    total: Expr | None = None
    inner = int(numel(tuple(kernel)))
    rest: Expr = acc
    for i, k, s, p, g, size in zip(index, kernel, steps, pads, gaps, sizes, strict=True):
        inner //= k
        tap = op("floordiv", rest, const(inner, "int64")) if inner > 1 else rest
        rest = op("mod", rest, const(inner, "int64")) if inner > 1 else rest
        tap = tap if g == 1 else op("mul", tap, const(g, "int64"))
        place = op("add", Iota(i * s - p, "int64"), tap)
        total = place if total is None else op("add", op("mul", total, size_value(size, "int64")), place)
    assert total is not None
    return total


@lowers("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(
    low: Lowering, self: Lazy, kernel_size: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Lazy:  # fmt: skip
    name = low.node.target._schema.name  # type: ignore[union-attr]
    n = int(name[name.index("pool") + 4])
    kernel = _each(kernel_size, n)
    steps, pads, gaps = _each(stride, n, kernel), _each(padding, n), [1] * n
    lead = self.rank - n
    sizes, outs = self.shape[lead:], low.shape[lead:]
    kind = compute(low.dtype)
    require(kind.startswith("float"), "integers")
    at, _ = _windows(low, self, outs, kernel, steps, pads, gaps, 0.0)
    over = _overhang(sizes, outs, kernel, steps, pads, gaps)
    # With the padding counted, only windows that leave the padded tensor (ceil_mode) have fewer elements.
    margin = pads if count_include_pad else [0] * n
    whole = not over or (count_include_pad and not _overhang(
        [s + 2 * p for s, p in zip(sizes, pads, strict=True)], outs, kernel, steps, [0] * n, gaps))  # fmt: skip

    def finish(acc: Expr, index: Indices) -> Expr:
        if divisor_override:
            return op("div", acc, const(divisor_override, kind))
        if whole:
            return op("mul", acc, const(1.0 / math.prod(kernel), kind))
        total: Expr | None = None
        for i, k, s, p, m, size in zip(index[lead:], kernel, steps, pads, margin, sizes, strict=True):
            extent = _extent(i, k, s, p, m, size)
            total = extent if total is None else op("mul", total, extent)
        assert total is not None
        return op("div", acc, cast(total, kind))

    return low.reduce(low.shape, tuple(kernel), "sum", at, low.dtype, finish)


def _extent(i: Index, kernel: int, step: int, pad: int, margin: int, size: Size) -> Expr:
    """How many elements a window has inside the tensor widened by ``margin``."""
    begin: Expr = Iota(i * step - pad, "int64")
    stop = op("minimum", op("add", begin, const(kernel, "int64")), size_value(size + margin, "int64"))
    return op("sub", stop, op("maximum", begin, const(-margin, "int64")))


@lowers("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(low: Lowering, self: Lazy, output_size: Any) -> tuple[Lazy, None]:
    require(all(u.args[1] == 0 for u in low.node.users), "positions")
    shape, dtype = low.val_of(0)
    lead = self.rank - len(output_size)
    require(compute(dtype).startswith("float"), "integers")
    at, kernel = _adaptive(low, self, lead, shape[lead:])
    if kernel is None:
        return _uneven(low, self, lead, shape[lead:], "max", dtype, None), None
    return low.reduce(shape, kernel, "max", at, dtype), None


@lowers(
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"
)
def adaptive_avg_pool(low: Lowering, self: Lazy, output_size: Any) -> Lazy:
    n = len(_each(output_size, 1))
    lead = self.rank - n
    kind = compute(low.dtype)
    if all(is_one(s) for s in low.shape[lead:]):
        dims = tuple(range(lead, self.rank))
        count = size_value(numel(self.shape[lead:]), kind)
        total = reduced(low, self, dims, "sum", low.dtype, finish=lambda acc, _: op("div", acc, count))
        return low.reshape(total, low.shape)
    at, kernel = _adaptive(low, self, lead, low.shape[lead:])
    if kernel is not None:
        scale = const(1.0 / math.prod(kernel), kind)
        return low.reduce(low.shape, kernel, "sum", at, low.dtype, lambda acc, _: op("mul", acc, scale))
    outs = low.shape[lead:]

    def mean(acc: Expr, index: Indices) -> Expr:
        return op("div", acc, Op("cast", (_elements(index[lead:], self.shape[lead:], outs),), kind))

    return _uneven(low, self, lead, outs, "sum", low.dtype, mean)


def _adaptive(low: Lowering, x: Lazy, lead: int, outs: tuple[Size, ...]) -> tuple[Any, tuple[int, ...] | None]:
    """Windows of equal size when the output divides the input."""
    sizes = x.shape[lead:]
    if not all(isinstance(a, int) and isinstance(b, int) and a % b == 0 for a, b in zip(sizes, outs, strict=True)):
        return None, None
    kernel = tuple(int(a) // int(b) for a, b in zip(sizes, outs, strict=True))
    source = x if x.free else low.realise(x)

    def at(index: Indices, taps: Indices) -> Expr:
        place = [i * k + t for i, k, t in zip(index[lead:], kernel, taps, strict=True)]
        return source.at((*index[:lead], *place))

    return at, kernel


def _uneven(low: Lowering, x: Lazy, lead: int, outs: tuple[Size, ...], name: str, dtype: str,
            finish: Epilogue | None) -> Lazy:  # fmt: skip
    """Windows [floor(i*in/out), ceil((i+1)*in/out)) of any size, one dim after the other: whole rows are combined
    first, so that lanes lie side by side in memory until only the last dim of the small result is left."""
    sizes = x.shape[lead:]
    require(all(isinstance(s, int) for s in (*sizes, *outs)), "a size that varies")
    value = x if x.free else low.realise(x)
    kind = compute(x.dtype)
    changed = [d for d, (a, b) in enumerate(zip(sizes, outs, strict=True)) if a != b] or [len(sizes) - 1]
    for d in changed:
        last = d == changed[-1]
        out = outs[d]
        assert isinstance(out, int)
        value = _combined(low, value, lead + d, out, name, dtype if last else kind, finish if last else None)
    return value


def _combined(low: Lowering, x: Lazy, dim: int, out: int, name: str, dtype: str, finish: Epilogue | None) -> Lazy:
    """Windows along one dim: the widest is read everywhere; what lies beyond a window is left out or read twice."""
    size, kind = int(x.shape[dim]), compute(x.dtype)
    widest = max(-(-((i + 1) * size) // out) - i * size // out for i in range(out))
    even = size % out == 0

    def at(index: Indices, taps: Indices) -> Expr:
        i, (tap,) = index[dim], taps
        if even:
            return cast(x.at((*index[:dim], i * widest + tap, *index[dim + 1 :])), kind)
        begin, stop = _span(i, size, out)
        here, last = Iota(begin + tap, "int64"), Iota(stop - 1, "int64")
        place = op("minimum", here, last)
        value = cast(x.at((*index[:dim], Index.of(Value(place)), *index[dim + 1 :])), kind)
        return value if name == "max" else where(compare("le", here, last), value, const(0.0, kind))

    return low.reduce((*x.shape[:dim], out, *x.shape[dim + 1 :]), (widest,), name, at, dtype, finish)


def _span(i: Index, size: int, out: int) -> tuple[Index, Index]:
    """Where the i-th of ``out`` windows over ``size`` elements begins and ends."""
    return floor_div(i * size, out), floor_div(i * size + (size + out - 1), out)


def _elements(index: Indices, sizes: Sequence[Size], outs: Sequence[Size]) -> Expr:
    """How many elements the window of an output has."""
    total: Expr | None = None
    for i, a, b in zip(index, sizes, outs, strict=True):
        assert isinstance(a, int)
        assert isinstance(b, int)
        begin, stop = _span(i, a, b)
        extent = Iota(stop - begin, "int64")
        total = extent if total is None else op("mul", total, extent)
    assert total is not None
    return total
