"""Lazy values: a shape, a dtype and a function from an index to a scalar expression.

Views, broadcasts and pointwise chains only compose functions; nothing is computed until something needs memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..program import Const, Expr, FloorDiv, Index, Iota, Load, Mod, Op, Size, Value, contiguous
from ..sizes import exact_quotient, is_one, numel, same, same_shape

Indices = tuple[Index, ...]

_HALF = ("bfloat16", "float16")


@dataclass(frozen=True)
class Strided:
    """The value is memory: element ``i`` lies at ``sum(i * strides) + offset`` of the tensor ``base``."""

    base: str
    strides: tuple[Size, ...]
    offset: Size = 0


@dataclass(frozen=True)
class Lazy:
    """A value that may not be in memory yet. ``dtype`` is torch's; half types have float32 expressions.

    ``kids``/``combine``: how a pointwise value is made of others of the same shape, so that a reshape can move to its
    operands. ``free``: costs nothing to evaluate again (a view of memory, a constant, an index).
    """

    shape: tuple[Size, ...]
    dtype: str
    fn: Callable[[Indices], Expr]
    strided: Strided | None = None
    kids: tuple[Lazy, ...] = ()
    combine: Callable[[tuple[Expr, ...]], Expr] | None = None
    free: bool = False

    def at(self, index: Indices) -> Expr:
        return self.fn(index)

    @property
    def rank(self) -> int:
        return len(self.shape)


def compute(dtype: str) -> str:
    """The dtype values of this storage dtype are computed in."""
    return "float32" if dtype in _HALF else dtype


def const(value: float | int | bool, dtype: str) -> Const:
    """A literal of the dtype's Python type."""
    dtype = compute(dtype)
    if dtype == "bool":
        return Const(bool(value), dtype)
    return Const(float(value) if dtype.startswith("float") else int(value), dtype)


def cast(expr: Expr, dtype: str) -> Expr:
    """Convert a value; constants fold (a float that no integer can hold stays a cast)."""
    dtype = compute(dtype)
    if expr.dtype == dtype:
        return expr
    if isinstance(expr, Const) and (dtype.startswith("float") or dtype == "bool" or abs(expr.value) < 2**31):
        return const(expr.value, dtype)
    return Op("cast", (expr,), dtype)


def size_value(size: Size, dtype: str) -> Expr:
    """A size as a value."""
    if isinstance(size, int):
        return const(size, dtype)
    return cast(Iota(Index.const(size), "int64"), dtype)


def op(name: str, *args: Expr, dtype: str | None = None) -> Op:
    """An operation whose result has the dtype of its first argument unless given."""
    return Op(name, args, compute(dtype) if dtype else args[0].dtype)


def compare(name: str, a: Expr, b: Expr) -> Op:
    return Op(name, (a, b), "bool")


def where(condition: Expr, a: Expr, b: Expr) -> Op:
    return Op("where", (condition, a, b), a.dtype)


def constant(value: float | int | bool, dtype: str, shape: tuple[Size, ...] = ()) -> Lazy:
    expr = const(value, dtype)
    return Lazy(shape, dtype, lambda index: expr, combine=lambda _: expr, free=True)


def of_tensor(name: str, shape: tuple[Size, ...], dtype: str, strides: tuple[Size, ...]) -> Lazy:
    """A tensor in memory. Dimensions of size 1 are always read at 0, so that equal reads look equal."""
    kind = compute(dtype)

    def fn(index: Indices) -> Expr:
        return Load(name, tuple(Index() if is_one(s) else i for i, s in zip(index, shape, strict=True)), kind)

    return Lazy(shape, dtype, fn, strided=Strided(name, strides), free=True)


def pointwise(shape: tuple[Size, ...], dtype: str, combine: Callable[..., Expr], *kids: Lazy) -> Lazy:
    """``combine`` of values that already have the full shape."""
    return Lazy(
        shape,
        dtype,
        lambda index: combine(*(k.at(index) for k in kids)),
        kids=kids,
        combine=lambda exprs: combine(*exprs),
        free=all(k.free and k.strided is None for k in kids) and len(kids) < 2,
    )


def expand(value: Lazy, shape: tuple[Size, ...]) -> Lazy:
    """Broadcast to a shape (numpy's rules)."""
    if same_shape(value.shape, shape):
        return value
    lead = len(shape) - value.rank
    fixed = tuple(is_one(s) for s in value.shape)

    def fn(index: Indices) -> Expr:
        return value.at(tuple(Index() if one else i for i, one in zip(index[lead:], fixed, strict=True)))

    strided = None
    if value.strided:
        strides = tuple(0 if one else s for s, one in zip(value.strided.strides, fixed, strict=True))
        strided = replace(value.strided, strides=(0,) * lead + strides)
    kids = tuple(expand(k, shape) for k in value.kids)
    if not value.kids and value.combine:  # a constant
        return replace(value, shape=shape)
    return Lazy(shape, value.dtype, fn, strided, kids, value.combine, value.free)


def view(
    value: Lazy,
    shape: tuple[Size, ...],
    fn: Callable[[Indices], Indices],
    restride: Callable[[Strided], Strided] | None = None,
) -> Lazy:
    """The same elements under another index: ``fn`` maps a new index to an old one, ``restride`` says it in strides."""
    if not value.kids and value.combine:
        return replace(value, shape=shape)
    kids: tuple[Lazy, ...] = ()
    combine = None
    if value.kids:  # views move to the operands, so that later reshapes see memory
        kids, combine = tuple(view(k, shape, fn, restride) for k in value.kids), value.combine
    strided = restride(value.strided) if restride and value.strided else None
    return Lazy(shape, value.dtype, lambda index: value.at(fn(index)), strided, kids, combine, value.free)


# ── indices ──────────────────────────────────────────────────────────────────────────────────────────────────────


def floor_div(index: Index, divisor: Size) -> Index:
    """``index // divisor`` with the terms that divide evenly taken out."""
    if is_one(divisor):
        return index
    whole, rest = _divide(index, divisor)
    if not rest.terms and rest.offset == 0:
        return whole
    return whole + Index.of(FloorDiv(rest, divisor))


def mod(index: Index, modulus: Size) -> Index:
    if is_one(modulus):
        return Index()
    _, rest = _divide(index, modulus)
    if not rest.terms and rest.offset == 0:
        return Index()
    return Index.of(Mod(rest, modulus))


def _divide(index: Index, divisor: Size) -> tuple[Index, Index]:
    """index = whole * divisor + rest, moving every coefficient that is a multiple of the divisor into whole."""
    whole, rest = Index(), Index()
    for term, coefficient in index.terms:
        quotient = exact_quotient(coefficient, divisor)
        piece = Index(((term, 1),))
        if quotient is None:
            rest = rest + piece * coefficient
        else:
            whole = whole + piece * quotient
    quotient = exact_quotient(index.offset, divisor)
    return (whole, rest + index.offset) if quotient is None else (whole + quotient, rest)


def linear(index: Indices, shape: tuple[Size, ...]) -> Index:
    """The row-major position of an index."""
    position = Index()
    for i, stride in zip(index, contiguous(shape), strict=True):
        position = position + i * stride
    return position


def unravel(position: Index, shape: tuple[Size, ...]) -> Indices:
    """The row-major index of a position inside the shape."""
    index: list[Index] = []
    for k, stride in enumerate(contiguous(shape)):
        part = floor_div(position, stride)
        index.append(part if k == 0 else mod(part, shape[k]))
    return tuple(Index() if is_one(s) else i for i, s in zip(index, shape, strict=True))


def has_gather(expr: Expr) -> bool:
    """Whether some index of the expression is itself a value."""
    return any(
        isinstance(term, Value) for n in expr.walk() if isinstance(n, Load | Iota)
        for i in (n.index if isinstance(n, Load) else (n.index,)) for term, _ in i.terms
    )  # fmt: skip


__all__ = ["exact_quotient", "is_one", "numel", "same", "same_shape"]
