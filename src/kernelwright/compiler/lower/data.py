"""Data movement: concatenation, padding, gathers, scattered slices."""

from __future__ import annotations

from typing import Any

from ..program import Expr, Index, Iota, Op, Size, Value
from ._builder import require
from ._driver import Lowering, lowers, size_of
from ._lazy import Indices, Lazy, cast, compare, const, numel, op, pointwise, same, view, where
from .views import sliced, wrap


@lowers("cat", "concat", "concatenate")
def cat(low: Lowering, tensors: list[Lazy], dim: int = 0) -> Lazy:
    """One Map per part, each storing its slice of the result."""
    parts = [t for t in tensors if not (t.rank == 1 and same(t.shape[0], 0) and len(low.shape) != 1)]
    dim = wrap(dim, len(low.shape))
    if len(parts) == 1:
        dtype = low.dtype  # of this node: the value is read when another is lowered
        return pointwise(low.shape, dtype, lambda a: cast(a, dtype), parts[0])
    out = low.tensor(low.shape, low.dtype)
    start: Size = 0
    for part in parts:
        _store_slice(low, part, out, dim, start)
        start = start + part.shape[dim]
    return out


def _store_slice(low: Lowering, part: Lazy, out: Lazy, dim: int, start: Size) -> None:
    if any(same(s, 0) for s in part.shape):
        return
    low.store(part, out, lambda i: (*i[:dim], i[dim] + start, *i[dim + 1 :]))


@lowers("stack")
def stack(low: Lowering, tensors: list[Lazy], dim: int = 0) -> Lazy:
    dim = wrap(dim, len(low.shape))
    parts = [low.reshape(t, (*t.shape[:dim], 1, *t.shape[dim:])) for t in tensors]
    out = low.tensor(low.shape, low.dtype)
    for k, part in enumerate(parts):
        _store_slice(low, part, out, dim, k)
    return out


# ── padding ──


def _pairs(padding: Any, rank: int) -> list[tuple[Size, Size]]:
    """torch's padding list (last dim first) as (before, after) per dim."""
    sizes = [size_of(p) for p in padding]
    pairs: list[tuple[Size, Size]] = [(0, 0)] * rank
    for k in range(len(sizes) // 2):
        pairs[rank - 1 - k] = (sizes[2 * k], sizes[2 * k + 1])
    return pairs


@lowers("constant_pad_nd")
def constant_pad_nd(low: Lowering, self: Lazy, pad: Any, value: Any = 0) -> Lazy:
    pairs = _pairs(pad, self.rank)
    require(all(isinstance(p, int) for pair in pairs for p in pair), "a padding that varies")
    # Negative padding cuts; what is cut away lies beyond every index, so that reading the whole value is right.
    before = [int(b) for b, _ in pairs]
    dims = frozenset(k for k, (b, a) in enumerate(pairs) if int(b) > 0 or int(a) > 0)
    source = low.with_fill(self, value if low.dtype != "bool" else bool(value), dims) if dims else self
    if not any(before) and not dims:
        return sliced_to(self, low.shape)
    return view(source, low.shape, lambda i: tuple(x - b for x, b in zip(i, before, strict=True)))


def sliced_to(value: Lazy, shape: tuple[Size, ...]) -> Lazy:
    """The first elements along every dim."""
    for dim, size in enumerate(shape):
        value = sliced(value, dim, 0, size)
    return value


def _integer(value: Index) -> Expr:
    return Iota(value, "int64")


def _clamped(value: Expr, size: Size) -> Expr:
    top = _integer(Index.const(size - 1)) if not isinstance(size, int) else const(size - 1, "int64")
    return op("minimum", op("maximum", value, const(0, "int64")), top)


def _pad_by(low: Lowering, self: Lazy, padding: Any, place: Any) -> Lazy:
    pairs = _pairs(padding, self.rank)
    source = self if self.free else low.realise(self)

    def fn(index: Indices) -> Indices:
        result = []
        for i, (before, after), size in zip(index, pairs, self.shape, strict=True):
            untouched = same(before, 0) and same(after, 0)
            result.append(i if untouched else Index.of(Value(place(_integer(i - before), size))))
        return tuple(result)

    return view(source, low.shape, fn)


@lowers("replication_pad1d", "replication_pad2d", "replication_pad3d")
def replication_pad(low: Lowering, self: Lazy, padding: Any) -> Lazy:
    return _pad_by(low, self, padding, _clamped)


@lowers("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def reflection_pad(low: Lowering, self: Lazy, padding: Any) -> Lazy:
    def place(i: Expr, size: Size) -> Expr:
        last = const(size - 1, "int64") if isinstance(size, int) else _integer(Index.const(size - 1))
        return op("sub", last, op("abs", op("sub", last, op("abs", i))))

    return _pad_by(low, self, padding, place)


# ── gathers ──


def _wrapped(index: Expr, size: Size) -> Index:
    """An index value as an index; negative ones count from the end."""
    index = cast(index, "int64")
    whole = const(size, "int64") if isinstance(size, int) else _integer(Index.const(size))
    return Index.of(Value(where(compare("lt", index, const(0, "int64")), op("add", index, whole), index)))


def _direct(index: Expr) -> Index:
    return Index.of(Value(cast(index, "int64")))


def _readable(low: Lowering, value: Lazy) -> Lazy:
    return value if value.free else low.realise(value)


FEW = 16  # a value computed alone costs about as much as a vector of them


def _source(low: Lowering, value: Lazy) -> Lazy:
    """What is gathered from: in memory, unless so little of it is read that computing just that is cheaper."""
    taken, held = numel(low.shape), numel(value.shape)
    few = isinstance(taken, int) and isinstance(held, int) and taken * FEW <= held
    return value if few and value.kids and not value.strided else _readable(low, value)


@lowers("embedding")
def embedding(low: Lowering, weight: Lazy, indices: Lazy, padding_idx: int = -1, **_: Any) -> Lazy:
    table, rows = _source(low, weight), _readable(low, indices)
    return Lazy(low.shape, low.dtype, lambda i: table.at((_direct(rows.at(i[:-1])), i[-1])))


@lowers("index_select")
def index_select(low: Lowering, self: Lazy, dim: int, index: Lazy) -> Lazy:
    require(self.rank > 0 and index.rank == 1, "a scalar")
    dim = wrap(dim, self.rank)
    source, rows = _source(low, self), _readable(low, index)
    return Lazy(low.shape, low.dtype, lambda i: source.at((*i[:dim], _direct(rows.at((i[dim],))), *i[dim + 1 :])))


@lowers("gather")
def gather(low: Lowering, self: Lazy, dim: int, index: Lazy, sparse_grad: bool = False) -> Lazy:
    require(self.rank > 0, "a scalar")
    dim = wrap(dim, self.rank)
    source, places = _source(low, self), _readable(low, index)
    return Lazy(low.shape, low.dtype, lambda i: source.at((*i[:dim], _direct(places.at(i)), *i[dim + 1 :])))


@lowers("index", "_unsafe_index")
def index_(low: Lowering, self: Lazy, indices: list[Lazy | None]) -> Lazy:
    given = [k for k, v in enumerate(indices) if v is not None]
    require(all(v is None or v.dtype != "bool" for v in indices), "a boolean mask")
    require(all(v is None or v.dtype in ("int64", "int32") for v in indices), "an index dtype")
    source = _source(low, self)
    tensors = [_readable(low, v) for v in indices if v is not None]
    rank = max(v.rank for v in tensors)
    together = given == list(range(given[0], given[0] + len(given)))
    lead = given[0] if together else 0
    shape = low.shape[lead : lead + rank]
    wide = [low.broadcast(v, shape) for v in tensors]

    def at(index: Indices) -> Expr:
        middle, rest = index[lead : lead + rank], list(index[:lead] + index[lead + rank :])
        place: list[Index] = []
        for k in range(source.rank):
            if k in given:
                place.append(_wrapped(wide[given.index(k)].at(middle), source.shape[k]))
            else:
                place.append(rest.pop(0))
        return source.at(tuple(place))

    return Lazy(low.shape, low.dtype, at)


MOST_BOUNDARIES = 64  # more are searched faster than counted


@lowers("bucketize", "searchsorted")
def bucketize(
    low: Lowering, self: Lazy | None = None, boundaries: Lazy | None = None, out_int32: bool = False,
    right: bool = False, sorted_sequence: Lazy | None = None, side: str | None = None, sorter: Lazy | None = None,
) -> Lazy:  # fmt: skip
    """The number of boundaries below each value, counted: no branch depends on data. A NaN lies above all."""
    edges = boundaries if boundaries is not None else sorted_sequence
    require(isinstance(self, Lazy) and isinstance(edges, Lazy) and edges.rank == 1 and sorter is None, "a variant")
    assert edges is not None
    assert self is not None
    count = edges.shape[0]
    require(isinstance(count, int) and 0 < count <= MOST_BOUNDARIES, "many boundaries")
    require(self.dtype == edges.dtype and self.dtype != "bool", "mixed dtypes")
    values, sorted_edges = _readable(low, self), _readable(low, edges)
    reaches = "gt" if right or side == "right" else "ge"

    def passed(index: Indices, tap: Indices) -> Expr:
        beyond = Op("not", (compare(reaches, sorted_edges.at(tap), values.at(index)),), "bool")
        return cast(beyond, "int32")

    return low.reduce(low.shape, (count,), "sum", passed, low.dtype)


# ── scattered slices ──


@lowers("slice_scatter")
def slice_scatter(
    low: Lowering, self: Lazy, src: Lazy, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1
) -> Lazy:
    dim = wrap(dim, self.rank)
    size = self.shape[dim]
    require(isinstance(step, int), "a symbolic step")
    begin = size_of(start) if start is not None else 0
    begin = max(begin + size, 0) if isinstance(begin, int) and isinstance(size, int) and begin < 0 else begin
    return _scatter(low, self, src, dim, begin, step)


@lowers("select_scatter")
def select_scatter(low: Lowering, self: Lazy, src: Lazy, dim: int, index: Any) -> Lazy:
    dim = wrap(dim, self.rank)
    at = size_of(index)
    at = self.shape[dim] + at if isinstance(at, int) and at < 0 else at
    column = low.reshape(src, (*self.shape[:dim], 1, *self.shape[dim + 1 :]))
    return _scatter(low, self, column, dim, at, 1)


def _scatter(low: Lowering, base: Lazy, src: Lazy, dim: int, begin: Size, step: int) -> Lazy:
    """A copy of the base with a slice overwritten: two Maps into one tensor."""
    shape = (*base.shape[:dim], src.shape[dim], *base.shape[dim + 1 :])
    part = low.broadcast(src, shape)
    out = low.tensor(base.shape, base.dtype)
    if not (same(part.shape[dim], base.shape[dim]) and step == 1):
        low.store(base, out)
    low.store(part, out, lambda i: (*i[:dim], i[dim] * step + begin, *i[dim + 1 :]))
    return out


@lowers("scatter")
def scatter(low: Lowering, self: Lazy, dim: int, index: Lazy, value: Any = None, src: Any = None) -> Lazy:
    """One place per row gets a value: a comparison with the place, no write to a computed address."""
    require(src is None and isinstance(value, int | float) and self.rank > 0, "a scatter of a tensor")
    dim = wrap(dim, self.rank)
    rest = [k for k in range(self.rank) if k != dim]
    require(same(index.shape[dim], 1) and all(same(index.shape[k], self.shape[k]) for k in rest), "many places per row")
    wide = low.broadcast(index, self.shape)
    here = Lazy(self.shape, "int64", lambda i: _integer(i[dim]), free=True)

    def choose(place: Expr, own: Expr, old: Expr) -> Expr:
        return where(compare("eq", cast(place, "int64"), own), const(value, low.dtype), old)

    return pointwise(low.shape, low.dtype, choose, wide, here, self)


@lowers("diagonal_scatter")
def diagonal_scatter(low: Lowering, self: Lazy, src: Lazy, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Lazy:
    require(self.rank == 2 and offset == 0 and {wrap(dim1, 2), wrap(dim2, 2)} == {0, 1}, "another diagonal")
    out = low.tensor(self.shape, self.dtype)
    low.store(self, out)
    low.store(src, out, lambda i: (i[0], i[0]))
    return out
