"""Views: the same elements under another index. None of them computes anything."""

from __future__ import annotations

from typing import Any

from ..program import Index, Size
from ._builder import require
from ._driver import Lowering, lowers, size_of
from ._lazy import Indices, Lazy, Strided, expand, is_one, mod, same, view


def wrap(dim: int, rank: int) -> int:
    return dim + rank if dim < 0 else dim


@lowers("view", "reshape", "_unsafe_view", "_reshape_alias")
def reshape(low: Lowering, self: Lazy, **_: Any) -> Lazy:
    return low.reshape(self, low.shape)


@lowers("squeeze", "unsqueeze", "flatten", "unflatten", "squeeze_copy", "unsqueeze_copy", "atleast_1d", "atleast_2d")
def reshape_dims(low: Lowering, self: Lazy, **_: Any) -> Lazy:
    return low.reshape(self, low.shape)


@lowers("permute", "permute_copy")
def permute(low: Lowering, self: Lazy, dims: list[int]) -> Lazy:
    return permuted(self, tuple(wrap(d, self.rank) for d in dims))


def permuted(value: Lazy, order: tuple[int, ...]) -> Lazy:
    """Dim ``k`` of the result is dim ``order[k]`` of the value."""
    shape = tuple(value.shape[d] for d in order)
    inverse = tuple(order.index(d) for d in range(len(order)))

    def restride(s: Strided) -> Strided:
        return Strided(s.base, tuple(s.strides[d] for d in order), s.offset)

    return view(value, shape, lambda i: tuple(i[k] for k in inverse), restride)


@lowers("transpose")
def transpose(low: Lowering, self: Lazy, dim0: int, dim1: int) -> Lazy:
    if self.rank == 0:
        return self
    return transposed(self, dim0, dim1)


def transposed(value: Lazy, dim0: int, dim1: int) -> Lazy:
    order = list(range(value.rank))
    a, b = wrap(dim0, value.rank), wrap(dim1, value.rank)
    order[a], order[b] = order[b], order[a]
    return permuted(value, tuple(order))


@lowers("t", "numpy_T")
def t(low: Lowering, self: Lazy) -> Lazy:
    return permuted(self, tuple(reversed(range(self.rank))))


@lowers("movedim")
def movedim(low: Lowering, self: Lazy, source: Any, destination: Any) -> Lazy:
    sources = [wrap(d, self.rank) for d in ([source] if isinstance(source, int) else source)]
    targets = [wrap(d, self.rank) for d in ([destination] if isinstance(destination, int) else destination)]
    order = [d for d in range(self.rank) if d not in sources]
    for target, source_dim in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source_dim)
    return permuted(self, tuple(order))


@lowers("expand", "broadcast_to", "expand_as", "expand_copy")
def expand_(low: Lowering, self: Lazy, **_: Any) -> Lazy:
    return low.broadcast(self, low.shape)


@lowers("select")
def select(low: Lowering, self: Lazy, dim: int, index: Any) -> Lazy:
    dim = wrap(dim, self.rank)
    at = size_of(index)
    if isinstance(at, int) and at < 0:
        at = self.shape[dim] + at
    return selected(self, dim, at)


def selected(value: Lazy, dim: int, at: Size) -> Lazy:
    """One slice of a dim, without the dim."""

    def restride(s: Strided) -> Strided:
        strides = s.strides[:dim] + s.strides[dim + 1 :]
        return Strided(s.base, strides, s.offset + at * s.strides[dim])

    shape = value.shape[:dim] + value.shape[dim + 1 :]
    return view(value, shape, lambda i: (*i[:dim], Index.const(at), *i[dim:]), restride)


@lowers("slice", "narrow")
def slice_(low: Lowering, self: Lazy, dim: int = 0, start: Any = None, step: Any = 1, **_: Any) -> Lazy:
    dim = wrap(dim, self.rank)
    require(isinstance(step, int), "a symbolic step")
    begin = size_of(start) if start is not None else 0
    if isinstance(begin, int) and begin < 0:
        begin = begin + self.shape[dim]
        if isinstance(begin, int):
            begin = max(begin, 0)
    return sliced(self, dim, begin, low.shape[dim], step)


def sliced(value: Lazy, dim: int, start: Size, size: Size, step: int = 1) -> Lazy:
    """Elements ``start, start + step, ...`` of a dim."""
    if same(start, 0) and step == 1 and same(size, value.shape[dim]):
        return value

    def restride(s: Strided) -> Strided:
        strides = (*s.strides[:dim], s.strides[dim] * step, *s.strides[dim + 1 :])
        return Strided(s.base, strides, s.offset + start * s.strides[dim])

    shape = (*value.shape[:dim], size, *value.shape[dim + 1 :])
    return view(value, shape, lambda i: (*i[:dim], i[dim] * step + start, *i[dim + 1 :]), restride)


@lowers("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk", "split_with_sizes_copy")
def split(low: Lowering, self: Lazy, dim: int = 0, **_: Any) -> list[Lazy]:
    dim = wrap(dim, self.rank)
    pieces: list[Lazy] = []
    start: Size = 0
    for position in range(len(low.val)):
        size = low.val_of(position)[0][dim]
        pieces.append(sliced(self, dim, start, size))
        start = start + size
    return pieces


@lowers("unbind")
def unbind(low: Lowering, self: Lazy, dim: int = 0) -> list[Lazy]:
    dim = wrap(dim, self.rank)
    return [selected(self, dim, k) for k in range(len(low.val))]


@lowers("flip")
def flip(low: Lowering, self: Lazy, dims: list[int]) -> Lazy:
    turned = {wrap(d, self.rank) for d in dims}
    sizes = self.shape

    def fn(index: Indices) -> Indices:
        return tuple(
            i * -1 + (sizes[k] - 1) if k in turned and not is_one(sizes[k]) else i for k, i in enumerate(index)
        )

    return view(self, self.shape, fn)


@lowers("as_strided")
def as_strided(low: Lowering, self: Lazy, size: Any, stride: list[Any], storage_offset: Any = None) -> Lazy:
    # The strides speak of the storage, which is known only for memory that starts where its storage starts.
    name = low.name_of(self)
    require(name is not None, "as_strided of a computed value")
    assert name is not None
    tensor = low.tensors[name]
    require(tensor.role != "input" and low.is_contiguous(tensor), "as_strided of a view")
    offset = size_of(storage_offset) if storage_offset is not None else 0
    flat = low.reshape(self, (_numel(self.shape),))
    steps = tuple(size_of(s) for s in stride)

    def fn(index: Indices) -> Indices:
        position = Index.const(offset)
        for i, step in zip(index, steps, strict=True):
            position = position + i * step
        return (position,)

    return view(flat, low.shape, fn)


def _numel(shape: tuple[Size, ...]) -> Size:
    total: Size = 1
    for size in shape:
        total = total * size
    return total


@lowers("diagonal")
def diagonal(low: Lowering, self: Lazy, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Lazy:
    a, b = wrap(dim1, self.rank), wrap(dim2, self.rank)
    rest = [d for d in range(self.rank) if d not in (a, b)]

    def fn(index: Indices) -> Indices:
        result = [Index()] * self.rank
        for d, i in zip(rest, index, strict=False):
            result[d] = i
        result[a] = index[-1] + max(-offset, 0)
        result[b] = index[-1] + max(offset, 0)
        return tuple(result)

    def restride(s: Strided) -> Strided:
        start = s.offset + max(-offset, 0) * s.strides[a] + max(offset, 0) * s.strides[b]
        return Strided(s.base, (*(s.strides[d] for d in rest), s.strides[a] + s.strides[b]), start)

    return view(self, low.shape, fn, restride)


@lowers("unfold")
def unfold(low: Lowering, self: Lazy, dimension: int, size: int, step: int) -> Lazy:
    dim = wrap(dimension, self.rank)

    def restride(s: Strided) -> Strided:
        strides = (*s.strides[:dim], s.strides[dim] * step, *s.strides[dim + 1 :], s.strides[dim])
        return Strided(s.base, strides, s.offset)

    return view(self, low.shape, lambda i: (*i[:dim], i[dim] * step + i[-1], *i[dim + 1 : -1]), restride)


@lowers("repeat", "tile")
def repeat(low: Lowering, self: Lazy, repeats: Any = None, dims: Any = None) -> Lazy:
    lead = len(low.shape) - self.rank
    value = low.realise(self) if not self.free and low.is_heavy(self) else self
    sizes, shape = self.shape, low.shape

    def fn(index: Indices) -> Indices:
        return tuple(
            i if same(s, n) else (Index() if is_one(s) else mod(i, s))
            for i, s, n in zip(index[lead:], sizes, shape[lead:], strict=True)
        )

    return view(value, shape, fn) if value.rank == len(shape) else Lazy(shape, self.dtype, lambda i: value.at(fn(i)))


@lowers("roll")
def roll(low: Lowering, self: Lazy, shifts: Any, dims: Any = ()) -> Lazy:
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    along = [dims] if isinstance(dims, int) else list(dims)
    if not along:
        flat = low.reshape(self, (_numel(self.shape),))
        return low.reshape(_rolled(flat, moves[:1], [0]), self.shape)
    return _rolled(self, moves, [wrap(d, self.rank) for d in along])


def _rolled(value: Lazy, shifts: list[int], dims: list[int]) -> Lazy:
    def fn(index: Indices) -> Indices:
        result = list(index)
        for shift, dim in zip(shifts, dims, strict=True):
            result[dim] = mod(result[dim] - shift, value.shape[dim])
        return tuple(result)

    return view(value, value.shape, fn)


@lowers("pixel_shuffle")
def pixel_shuffle(low: Lowering, self: Lazy, upscale_factor: int) -> Lazy:
    r, lead, (h, w) = upscale_factor, self.shape[:-3], self.shape[-2:]
    n = len(lead)
    inner = low.reshape(self, (*lead, low.shape[-3], r, r, h, w))
    return low.reshape(permuted(inner, (*range(n), n, n + 3, n + 1, n + 4, n + 2)), low.shape)


@lowers("pixel_unshuffle")
def pixel_unshuffle(low: Lowering, self: Lazy, downscale_factor: int) -> Lazy:
    r, lead = downscale_factor, self.shape[:-3]
    n = len(lead)
    inner = low.reshape(self, (*lead, self.shape[-3], low.shape[-2], r, low.shape[-1], r))
    return low.reshape(permuted(inner, (*range(n), n, n + 2, n + 4, n + 1, n + 3)), low.shape)


__all__ = ["expand", "permuted", "selected", "sliced", "transposed", "wrap"]
