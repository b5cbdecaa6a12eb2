"""Reductions and scans."""

from __future__ import annotations

import math
from typing import Any

from ..program import Expr, Index, Iota, Op, Size
from ._builder import Epilogue, require
from ._driver import Lowering, lowers
from ._lazy import (
    Indices,
    Lazy,
    cast,
    compare,
    compute,
    const,
    expand,
    numel,
    op,
    pointwise,
    same,
    size_value,
    view,
    where,
)
from .views import wrap


def normal_dims(dim: Any, rank: int) -> tuple[int, ...]:
    """A dim argument as sorted dims; None and [] mean all."""
    if dim is None or dim == []:
        return tuple(range(rank))
    dims = [dim] if isinstance(dim, int) else dim
    return tuple(sorted({wrap(d, rank) for d in dims})) if rank else ()


def reduced(
    low: Lowering, value: Lazy, dims: tuple[int, ...], op_name: str, dtype: str, within: str | None = None,
    finish: Epilogue | None = None,
) -> Lazy:  # fmt: skip
    """Reduce dims away. ``within`` is the dtype of the accumulator's values."""
    kept = tuple(k for k in range(value.rank) if k not in dims)
    kind = compute(within or dtype)

    def at(index: Indices, rindex: Indices) -> Expr:
        full: list[Index] = [Index()] * value.rank
        for k, i in zip(kept, index, strict=True):
            full[k] = i
        for k, i in zip(dims, rindex, strict=True):
            full[k] = i
        return cast(value.at(tuple(full)), kind)

    return low.reduce(
        tuple(value.shape[k] for k in kept), tuple(value.shape[k] for k in dims), op_name, at, dtype, finish
    )


def keep(value: Lazy, shape: tuple[Size, ...], dims: tuple[int, ...], low: Lowering) -> Lazy:
    """Put the reduced dims back with size 1."""
    return low.reshape(value, tuple(1 if k in dims else s for k, s in enumerate(shape)))


def spread(value: Lazy, shape: tuple[Size, ...], dims: tuple[int, ...]) -> Lazy:
    """Repeat a reduced value along the dims it was reduced over."""
    kept = tuple(k for k in range(len(shape)) if k not in dims)
    return view(value, shape, lambda i: tuple(i[k] for k in kept))


def count(shape: tuple[Size, ...], dims: tuple[int, ...]) -> Size:
    return numel(tuple(shape[k] for k in dims))


def mean_of(low: Lowering, value: Lazy, dims: tuple[int, ...], dtype: str) -> Lazy:
    n = size_value(count(value.shape, dims), compute(dtype))
    return reduced(low, value, dims, "sum", dtype, finish=lambda acc, _: op("div", acc, n))


def centred_squares(low: Lowering, value: Lazy, dims: tuple[int, ...], dtype: str) -> tuple[Lazy, Lazy]:
    """The mean, and the sum of squared distances from it (two passes: E[x²] - E[x]² would cancel)."""
    mean = mean_of(low, value, dims, dtype)
    kind = compute(dtype)
    apart = pointwise(
        value.shape,
        dtype,
        lambda x, m: op("square", op("sub", cast(x, kind), m)),
        value,
        spread(mean, value.shape, dims),
    )
    return mean, reduced(low, apart, dims, "sum", dtype)


def _result(low: Lowering, value: Lazy, source: Lazy, dims: tuple[int, ...], keepdim: bool) -> Lazy:
    return keep(value, source.shape, dims, low) if keepdim else value


_SIMPLE = {"sum": "sum", "prod": "prod", "amax": "max", "amin": "min"}


@lowers("sum", "prod", "amax", "amin", "nansum")
def simple(low: Lowering, self: Lazy, dim: Any = None, keepdim: bool = False) -> Lazy:
    name = low.node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    require(name in _SIMPLE, name)
    dims = normal_dims(dim, self.rank)
    if name in ("amax", "amin") and self.dtype == "bool":
        return _result(low, reduced(low, self, dims, {"amax": "any", "amin": "all"}[name], "bool"), self, dims, keepdim)
    return _result(low, reduced(low, self, dims, _SIMPLE[name], low.dtype), self, dims, keepdim)


@lowers("mean")
def mean(low: Lowering, self: Lazy, dim: Any = None, keepdim: bool = False) -> Lazy:
    dims = normal_dims(dim, self.rank)
    return _result(low, mean_of(low, self, dims, low.dtype), self, dims, keepdim)


@lowers("any", "all")
def any_all(low: Lowering, self: Lazy, dim: Any = None, keepdim: bool = False) -> Lazy:
    name = low.node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    require(low.dtype == "bool", "uint8 results")
    dims = normal_dims(dim, self.rank)
    truth = pointwise(self.shape, "bool", lambda a: cast(a, "bool"), self)
    return _result(low, reduced(low, truth, dims, name, "bool"), self, dims, keepdim)


@lowers("max", "min")
def extremum(low: Lowering, self: Lazy, dim: int | None = None, keepdim: bool = False, other: Any = None) -> Any:
    name = low.node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    if isinstance(other, Lazy):
        from .pointwise import elementwise

        return elementwise(low, lambda a, b: op(name + "imum", a, b), self, other)
    require(self.dtype != "bool", "bool")
    if dim is None:
        return reduced(low, self, tuple(range(self.rank)), name, low.dtype)
    dims = normal_dims(dim, self.rank)
    source = self if self.free else low.realise(self)
    best = _result(low, reduced(low, source, dims, name, self.dtype), self, dims, keepdim)
    return best, _result(low, reduced(low, source, dims, "arg" + name, "int64", within=self.dtype), self, dims, keepdim)


@lowers("argmax", "argmin")
def arg_extremum(low: Lowering, self: Lazy, dim: int | None = None, keepdim: bool = False) -> Lazy:
    name = low.node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    require(self.dtype != "bool", "bool")
    dims = normal_dims(dim, self.rank)
    return _result(low, reduced(low, self, dims, name, "int64", within=self.dtype), self, dims, keepdim)


# ── moments ──


@lowers("var", "std", "var_mean", "std_mean")
def moments(
    low: Lowering, self: Lazy, dim: Any = None, keepdim: bool = False, correction: Any = None, unbiased: bool = True
) -> Any:
    name = low.node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    dims = normal_dims(dim, self.rank)
    degrees = correction if correction is not None else int(unbiased)
    source = self if self.free else low.realise(self)
    centre = mean_of(low, source, dims, self.dtype)
    kind = compute(self.dtype)
    n = count(self.shape, dims)
    rest = const(max(n - degrees, 0), kind) if isinstance(n, int) else size_value(n - degrees, kind)
    apart = pointwise(
        source.shape, self.dtype, lambda x, m: op("square", op("sub", x, m)), source, spread(centre, source.shape, dims)
    )

    def finish(acc: Expr, _: Indices) -> Expr:
        variance = op("div", acc, rest)
        return op("sqrt", variance) if name.startswith("std") else variance

    width = _result(low, reduced(low, apart, dims, "sum", self.dtype, finish=finish), self, dims, keepdim)
    return (width, _result(low, centre, self, dims, keepdim)) if name.endswith("mean") else width


@lowers("linalg_vector_norm", "norm")
def vector_norm(low: Lowering, self: Lazy, ord: Any = 2, p: Any = None, dim: Any = None, keepdim: bool = False) -> Lazy:
    order = float(p if p is not None else ord)
    dims = normal_dims(dim, self.rank)
    kind, out = compute(low.dtype), low.dtype
    name, each, finish = distance(order, kind)
    value = pointwise(self.shape, out, lambda a: each(cast(a, kind)), self)
    return _result(low, reduced(low, value, dims, name, out, finish=finish), self, dims, keepdim)


def distance(order: float, kind: str) -> tuple[str, Any, Epilogue | None]:
    """How a p-norm is made: the reduction, what is reduced of each element, and the end."""
    if math.isinf(order):
        return ("max" if order > 0 else "min"), lambda a: op("abs", a), None
    if order == 0:
        return "sum", lambda a: cast(compare("ne", a, const(0, kind)), kind), None
    if order == 1:
        return "sum", lambda a: op("abs", a), None
    if order == 2:
        return "sum", lambda a: op("square", a), lambda acc, _: op("sqrt", acc)
    p, inverse = const(order, kind), const(1 / order, kind)
    return "sum", lambda a: op("pow", op("abs", a), p), lambda acc, _: op("pow", acc, inverse)


@lowers("logsumexp")
def logsumexp(low: Lowering, self: Lazy, dim: Any, keepdim: bool = False) -> Lazy:
    dims = normal_dims(dim, self.rank)
    return _result(low, log_sum_exp(low, self, dims, low.dtype), self, dims, keepdim)


def log_sum_exp(low: Lowering, value: Lazy, dims: tuple[int, ...], dtype: str) -> Lazy:
    source = value if value.free else low.realise(value)
    kind = compute(dtype)

    def finite(acc: Expr, _: Indices) -> Expr:  # subtracting an infinite maximum would make NaN
        return where(compare("eq", op("abs", acc), const(math.inf, kind)), const(0, kind), acc)

    top = reduced(low, source, dims, "max", dtype, finish=finite)
    powers = pointwise(
        source.shape,
        dtype,
        lambda x, m: op("exp", op("sub", cast(x, kind), m)),
        source,
        spread(top, source.shape, dims),
    )
    return reduced(low, powers, dims, "sum", dtype, finish=lambda acc, i: op("add", op("log", acc), top.at(i)))


# ── softmax ──


def softmax(low: Lowering, value: Lazy, dim: int, dtype: str) -> Lazy:
    """exp(x - max) / sum: the powers are kept, so that each is computed once."""
    if value.rank == 0:
        return pointwise((), dtype, lambda a: op("div", op("exp", op("sub", a, a)), const(1, a.dtype)), value)
    dims = (wrap(dim, value.rank),)
    source = value if value.free else low.realise(value)
    kind = compute(dtype)
    top = reduced(low, source, dims, "max", dtype)
    powers = pointwise(
        source.shape, kind, lambda x, m: op("exp", op("sub", cast(x, kind), m)), source, spread(top, source.shape, dims)
    )
    powers = low.realise(powers)
    total = reduced(low, powers, dims, "sum", kind)
    return pointwise(source.shape, dtype, lambda e, s: op("div", e, s), powers, spread(total, source.shape, dims))


@lowers("_softmax", "softmax", "_safe_softmax")
def softmax_(low: Lowering, self: Lazy, dim: int, half_to_float: bool = False) -> Lazy:
    require("safe" not in str(low.node.target), "a softmax that is 0 for empty rows")
    return softmax(low, self, dim, low.dtype)


@lowers("_log_softmax", "log_softmax")
def log_softmax(low: Lowering, self: Lazy, dim: int, half_to_float: bool = False) -> Lazy:
    require(self.rank > 0, "a scalar")
    dims = (wrap(dim, self.rank),)
    source = self if self.free else low.realise(self)
    kind, out = compute(low.dtype), low.dtype
    top = reduced(low, source, dims, "max", kind)
    powers = pointwise(
        source.shape, kind, lambda x, m: op("exp", op("sub", cast(x, kind), m)), source, spread(top, source.shape, dims)
    )
    log_total = reduced(low, powers, dims, "sum", kind, finish=lambda acc, _: op("log", acc))
    return pointwise(
        source.shape, out, lambda x, m, s: op("sub", op("sub", cast(x, kind), m), s),
        source, spread(top, source.shape, dims), spread(log_total, source.shape, dims),
    )  # fmt: skip


# ── scans ──

_SCANS = {"cumsum": "sum", "cumprod": "prod", "logcumsumexp": "logsumexp"}


@lowers("cumsum", "cumprod", "logcumsumexp")
def scan(low: Lowering, self: Lazy, dim: int) -> Lazy:
    name = low.node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    if self.rank == 0:
        dtype = low.dtype  # of this node: the value is read when another is lowered
        return pointwise((), dtype, lambda a: cast(a, dtype), self)
    dim = wrap(dim, self.rank)
    require(not same(self.shape[dim], 1), "a single element")
    return low.scan(self, dim, _SCANS[name], low.dtype)


@lowers("cummax", "cummin")
def running_extremum(low: Lowering, self: Lazy, dim: int) -> tuple[Lazy, Lazy | None]:
    require(self.rank > 0 and self.dtype != "bool", "a scalar or bool")
    name = low.node.target._schema.name.removeprefix("aten::cum")  # type: ignore[union-attr]
    dim = wrap(dim, self.rank)
    if all(n.args[1] == 0 for n in low.node.users):
        return low.scan(self, dim, name, self.dtype), None
    # The position is the last one that set or met the extremum: a running maximum of the positions that did.
    source = self if self.free else low.realise(self)
    best = low.scan(source, dim, name, self.dtype)
    size = self.shape[dim]
    kind = "int32" if isinstance(size, int) and size < 1 << 31 else "int64"  # narrow lanes shift in one instruction
    here = Lazy(self.shape, kind, lambda i: Iota(i[dim], kind), free=True)

    def met(value: Expr, extremum: Expr, position: Expr) -> Expr:
        same_value = compare("eq", value, extremum)
        if compute(self.dtype).startswith("float"):
            same_value = op("or", same_value, Op("isnan", (value,), "bool"))
        return where(same_value, position, const(0, kind))

    places = low.scan(pointwise(self.shape, kind, met, source, best, here), dim, "max", kind)
    return best, pointwise(self.shape, "int64", lambda place: cast(place, "int64"), places)


__all__ = ["centred_squares", "distance", "expand", "keep", "log_sum_exp", "mean_of", "reduced", "softmax", "spread"]
