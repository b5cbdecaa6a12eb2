"""Tensors that are made, not read: constants, ranges, masks."""

from __future__ import annotations

from typing import Any

from ..program import Expr, Index, Iota
from ._builder import require
from ._driver import Lowering, lowers, size_of
from ._lazy import Indices, Lazy, cast, compare, compute, const, constant, op, where
from .pointwise import elementwise


@lowers("full", "full_like", "new_full")
def full(low: Lowering, fill_value: Any, size: Any = None, self: Any = None) -> Lazy:
    if isinstance(fill_value, Lazy):
        return low.broadcast(fill_value, low.shape)
    require(isinstance(fill_value, int | float | bool), "a symbolic value")
    return constant(fill_value, low.dtype, low.shape)


@lowers(
    "zeros",
    "zeros_like",
    "new_zeros",
    "empty",
    "empty_like",
    "new_empty",
    "empty_strided",
    "new_empty_strided",
    "empty_permuted",
)
def zeros(low: Lowering, size: Any = None, self: Any = None, stride: Any = None, physical_layout: Any = None) -> Lazy:
    return constant(0, low.dtype, low.shape)


@lowers("ones", "ones_like", "new_ones")
def ones(low: Lowering, size: Any = None, self: Any = None) -> Lazy:
    return constant(1, low.dtype, low.shape)


@lowers("scalar_tensor")
def scalar_tensor(low: Lowering, s: Any) -> Lazy:
    require(isinstance(s, int | float | bool), "a symbolic value")
    return constant(s, low.dtype)


@lowers("arange")
def arange(low: Lowering, end: Any, start: Any = 0, step: Any = 1) -> Lazy:
    dtype = low.dtype
    if all(not isinstance(v, float) for v in (start, step)):
        first, stride = size_of(start), size_of(step)
        return Lazy(low.shape, dtype, lambda i: cast(Iota(i[0] * stride + first, "int64"), dtype), free=True)
    kind = compute(dtype)
    require(isinstance(start, int | float) and isinstance(step, int | float), "a symbolic range")

    def at(index: Indices) -> Expr:
        return op("add", const(start, kind), op("mul", cast(Iota(index[0], "int64"), kind), const(step, kind)))

    return Lazy(low.shape, dtype, at, free=True)


@lowers("iota")
def iota(low: Lowering, length: Any, start: Any, step: Any) -> Lazy:
    return arange(low, None, start, step)


@lowers("eye")
def eye(low: Lowering, n: Any, m: Any = None) -> Lazy:
    kind = compute(low.dtype)

    def at(index: Indices) -> Expr:
        return where(compare("eq", _position(index[0]), _position(index[1])), const(1, kind), const(0, kind))

    return Lazy(low.shape, low.dtype, at, free=True)


def _position(index: Index) -> Iota:
    return Iota(index, "int64")


def triangle(shape: Any, diagonal: int, lower: bool) -> Lazy:
    """The mask of a triangle: column <= row + diagonal (lower) or >= (upper)."""

    def at(index: Indices) -> Expr:
        return compare("le" if lower else "ge", _position(index[-1]), _position(index[-2] + diagonal))

    return Lazy(tuple(shape), "bool", at, free=True)


@lowers("tril", "triu")
def tril_triu(low: Lowering, self: Lazy, diagonal: int = 0) -> Lazy:
    from ._lazy import pointwise

    mask = triangle(self.shape, diagonal, "tril" in str(low.node.target))
    return pointwise(self.shape, self.dtype, lambda m, x: where(m, x, const(0, x.dtype)), mask, self)


@lowers("one_hot")
def one_hot(low: Lowering, self: Lazy, num_classes: int = -1) -> Lazy:
    def at(index: Indices) -> Expr:
        return cast(compare("eq", self.at(index[:-1]), _position(index[-1])), "int64")

    return Lazy(low.shape, "int64", at)


@lowers("diag_embed")
def diag_embed(low: Lowering, self: Lazy, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Lazy:
    rank = len(low.shape)
    require(offset == 0 and dim1 % rank == rank - 2 and dim2 % rank == rank - 1, "an off-diagonal")
    kind = compute(low.dtype)

    def at(index: Indices) -> Expr:
        on = compare("eq", _position(index[-2]), _position(index[-1]))
        return where(on, self.at(index[:-1]), const(0, kind))

    return Lazy(low.shape, low.dtype, at)


@lowers("_local_scalar_dense")
def scalar_of(low: Lowering, self: Lazy) -> Lazy:
    require(False, "a value that decides the flow of control")
    return self


@lowers("fill")
def fill(low: Lowering, self: Lazy, value: Any) -> Lazy:
    return full(low, value)


__all__ = ["elementwise", "triangle"]
