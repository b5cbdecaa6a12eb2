"""The builder: tensors and statements of the program being made, and how a lazy value gets into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from ...errors import Unsupported
from ..program import (
    Acc,
    Axis,
    Expr,
    Extern,
    Index,
    Iota,
    Load,
    Map,
    Op,
    Reduce,
    Scan,
    Size,
    Statement,
    Store,
    Tensor,
    contiguous,
)
from ..sizes import dims_by_size
from ._lazy import Indices, Lazy, Strided, cast, compute, is_one, of_tensor, same, same_shape, view

Epilogue = Callable[[Expr, Indices], Expr]


class Builder:
    """Collects tensors and statements; every method that returns a Lazy returns one backed by memory."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.statements: list[Statement] = []
        self._axes = 0
        self._temps = 0
        self._aliases: dict[tuple[str, tuple[Size, ...], tuple[Size, ...]], str] = {}

    # ── names ──

    def axis(self, size: Size) -> Axis:
        self._axes += 1
        return Axis(f"a{self._axes}", size)

    def axes(self, shape: tuple[Size, ...]) -> tuple[tuple[Axis, ...], Indices]:
        """Axes for a shape and the index they form; sizes of 1 need no axis."""
        axes: list[Axis] = []
        index: list[Index] = []
        for size in shape:
            if is_one(size):
                index.append(Index())
            else:
                axes.append(self.axis(size))
                index.append(Index.axis(axes[-1].name))
        return tuple(axes), tuple(index)

    def tensor(self, shape: tuple[Size, ...], dtype: str, strides: tuple[Size, ...] | None = None) -> Lazy:
        """A new temporary."""
        self._temps += 1
        name = f"t{self._temps}"
        self.tensors[name] = Tensor(name, shape, dtype, strides or contiguous(shape), "temp")
        return self.lazy(name)

    def lazy(self, name: str) -> Lazy:
        t = self.tensors[name]
        return of_tensor(name, t.shape, t.dtype, t.strides)

    def mark(self) -> tuple[int, dict[str, Tensor]]:
        return len(self.statements), dict(self.tensors)

    def rollback(self, mark: tuple[int, dict[str, Tensor]]) -> None:
        """Forget what a lowering began before it gave up."""
        del self.statements[mark[0] :]
        self.tensors = mark[1]
        self._aliases = {k: v for k, v in self._aliases.items() if v in self.tensors}

    # ── memory ──

    def name_of(self, value: Lazy) -> str | None:
        """The tensor that this value is, element for element, if it is one."""
        if value.strided is None or value.strided.offset != 0:
            return None
        base = self.tensors[value.strided.base]
        if not same_shape(base.shape, value.shape):
            return None
        pairs = zip(base.strides, value.strided.strides, base.shape, strict=True)
        return base.name if all(same(a, b) or is_one(s) for a, b, s in pairs) else None

    def realise(self, value: Lazy) -> Lazy:
        """The value in memory, whatever the layout."""
        return value if self.name_of(value) else self.store(value, self.tensor(value.shape, value.dtype))

    def realise_contiguous(self, value: Lazy) -> Lazy:
        name = self.name_of(value)
        if name and self.is_contiguous(self.tensors[name]):
            return value
        return self.store(value, self.tensor(value.shape, value.dtype))

    @staticmethod
    def is_contiguous(tensor: Tensor) -> bool:
        pairs = zip(tensor.shape, tensor.strides, contiguous(tensor.shape), strict=True)
        return all(is_one(size) or same(a, b) for size, a, b in pairs)

    def store(self, value: Lazy, target: Lazy, at: Callable[[Indices], Indices] | None = None) -> Lazy:
        """A Map that writes the value into the target (at a transformed index if given)."""
        name = self.name_of(target)
        assert name is not None
        axes, index = self.axes(value.shape)
        expr = cast(value.at(index), target.dtype)
        self.statements.append(Map(axes, expr, Store(name, at(index) if at else index)))
        return target

    def alias(self, base: str, shape: tuple[Size, ...], strides: tuple[Size, ...]) -> Lazy:
        """The same memory under another shape."""
        root = self.tensors[base].alias or base
        key = (root, shape, strides)
        if key not in self._aliases:
            tensor = self.tensors[root]
            if same_shape(tensor.shape, shape) and tensor.strides == strides:
                return self.lazy(root)
            self._temps += 1
            name = f"t{self._temps}"
            self.tensors[name] = Tensor(name, shape, tensor.dtype, strides, "temp", alias=root)
            self._aliases[key] = name
        return self.lazy(self._aliases[key])

    # ── statements ──

    def reduce(
        self,
        shape: tuple[Size, ...],
        rshape: tuple[Size, ...],
        op: str,
        value: Callable[[Indices, Indices], Expr],
        dtype: str,
        epilogue: Epilogue | None = None,
    ) -> Lazy:
        """``out[i] = epilogue(combine over r of value(i, r), i)``."""
        out = self.tensor(shape, dtype)
        self.reduce_into(out, shape, rshape, op, value, epilogue)
        return out

    def reduce_into(
        self,
        out: Lazy,
        shape: tuple[Size, ...],
        rshape: tuple[Size, ...],
        op: str,
        value: Callable[[Indices, Indices], Expr],
        epilogue: Epilogue | None = None,
        at: Callable[[Indices], Indices] | None = None,
    ) -> None:
        name = self.name_of(out)
        assert name is not None
        axes, index = self.axes(shape)
        raxes, rindex = self.axes(rshape)
        expr = value(index, rindex)
        acc: Expr = Acc("int64" if op.startswith("arg") else expr.dtype)
        final = cast(epilogue(acc, index) if epilogue else acc, out.dtype)
        self.statements.append(Reduce(axes, raxes, op, expr, Store(name, at(index) if at else index), final))

    def scan(self, value: Lazy, dim: int, op: str, dtype: str) -> Lazy:
        out = self.tensor(value.shape, dtype)
        axes, scan = [], self.axis(value.shape[dim])
        index: list[Index] = []
        for k, size in enumerate(value.shape):
            if k == dim:
                index.append(Index.axis(scan.name))
            elif is_one(size):
                index.append(Index())
            else:
                axes.append(self.axis(size))
                index.append(Index.axis(axes[-1].name))
        at = tuple(Index() if is_one(s) else i for i, s in zip(index, value.shape, strict=True))
        expr = cast(value.at(at), dtype)
        name = self.name_of(out)
        assert name is not None
        self.statements.append(Scan(tuple(axes), scan, op, expr, Store(name, at)))
        return out

    def extern(self, statement: Extern) -> None:
        self.statements.append(statement)

    # ── operands ──

    def operand(self, value: Lazy, padded: frozenset[int] = frozenset()) -> Lazy:
        """A contraction's operand: one affine load, possibly converted; along ``padded`` dims of whole tensor dims."""
        axes, index = self.axes(value.shape)
        expr = value.at(index)
        while isinstance(expr, Op) and expr.name == "cast" and expr.dtype.startswith("float"):
            expr = expr.args[0]
        if not isinstance(expr, Load) or not expr.dtype.startswith("float"):
            return self.realise(value)
        if not all(i.is_affine for i in expr.index):
            return self.realise(value)
        if padded and not self._whole(expr, tuple(axes), index, padded):
            return self.realise(value)
        return value

    def _whole(self, load: Load, axes: tuple[Axis, ...], index: Indices, padded: frozenset[int]) -> bool:
        """Whether each padded dim runs over exactly one whole dim of the loaded tensor."""
        if load.fill is not None:
            return False
        shape = self.tensors[load.tensor].shape
        for dim in padded:
            own = index[dim]
            if not own.terms:  # size 1: an index of its own dim must exist, which reading at 0 does not show
                return False
            name = own.terms[0][0]
            size = next(a.size for a in axes if a.name == name)
            uses = [k for k, i in enumerate(load.index) if name in i.axes()]
            if len(uses) != 1 or load.index[uses[0]] != own or not same(shape[uses[0]], size):
                return False
        return True

    def with_fill(self, value: Lazy, fill: float | int, dims: frozenset[int]) -> Lazy:
        """The value, with ``fill`` wherever an index along ``dims`` leaves it."""
        name = self.name_of(value)
        source = value if name else self.operand(value, dims)
        name = self.name_of(source)
        if name is None:  # a whole permutation of a tensor

            def permuted(index: Indices) -> Expr:
                expr = source.at(index)
                return expr.map(lambda n: replace(n, fill=fill) if isinstance(n, Load) else None)

            return Lazy(source.shape, source.dtype, permuted)
        tensor, kind = name, compute(source.dtype)
        # Unlike an ordinary read, dimensions of size 1 keep their index: it may leave the tensor.
        return Lazy(source.shape, source.dtype, lambda index: Load(tensor, index, kind, fill))

    # ── reshapes ──

    def reshape(self, value: Lazy, shape: tuple[Size, ...]) -> Lazy:
        """The same elements in row-major order; free for memory that allows it, never a division in an index."""
        return self._free_reshape(value, shape) or self._reshape_memory(self.realise_contiguous(value), shape)

    def _free_reshape(self, value: Lazy, shape: tuple[Size, ...]) -> Lazy | None:
        if same_shape(value.shape, shape):
            return value
        if value.combine and not value.kids:
            return replace(value, shape=shape)
        units = _units(value.shape, shape)
        if units is not None:
            return view(value, shape, *units)
        if value.strided:
            strides = view_strides(value.shape, value.strided.strides, shape)
            if strides is None:
                return None
            return self._strided_view(value, shape, replace(value.strided, strides=strides))
        split = splits(value.shape, shape)
        if split is not None:
            return view(value, shape, split)
        if value.kids and value.combine:
            kids = [self._free_reshape(k, shape) for k in value.kids]
            if all(k is not None for k in kids):
                full = tuple(k for k in kids if k is not None)
                combine = value.combine
                return Lazy(
                    shape, value.dtype, lambda i: combine(tuple(k.at(i) for k in full)), None, full, combine, value.free
                )
        return None

    def _reshape_memory(self, value: Lazy, shape: tuple[Size, ...]) -> Lazy:
        assert value.strided is not None
        return self.alias(value.strided.base, shape, contiguous(shape))

    def _strided_view(self, value: Lazy, shape: tuple[Size, ...], strided: Strided) -> Lazy:
        """Read memory under new strides: through an alias, or by index where only splits are needed."""
        base = self.tensors[strided.base]
        root = self.tensors[base.alias] if base.alias else base
        if (
            strided.offset == 0
            and same_shape(root.shape, shape)
            and _same_strides(shape, root.strides, strided.strides)
        ):
            return self.lazy(root.name)
        live = tuple(k for k, s in enumerate(strided.strides) if s != 0 and not is_one(shape[k]))
        if strided.offset == 0:
            dims = tuple(range(len(shape))) if all(s != 0 for s in strided.strides) else live
            source = self.alias(base.name, tuple(shape[k] for k in dims), tuple(strided.strides[k] for k in dims))
            return Lazy(
                shape, value.dtype, lambda i: source.at(tuple(i[k] for k in dims)), replace(strided, base=base.name),
                free=True,
            )  # fmt: skip
        split = splits(value.shape, shape)
        if split is not None:
            return view(value, shape, split, lambda _: strided)
        flat = self.flat(base.name)
        strides, offset = strided.strides, strided.offset

        def fn(index: Indices) -> Expr:
            position = Index.const(offset)
            for k in live:
                position = position + index[k] * strides[k]
            return flat.at((position,))

        return Lazy(shape, value.dtype, fn, strided, free=True)

    def flat(self, name: str) -> Lazy:
        """All memory of a tensor as one dimension."""
        tensor = self.tensors[name]
        extent: Size = 1
        for size, stride in zip(tensor.shape, tensor.strides, strict=True):
            extent = extent + (size - 1) * stride
        return self.alias(name, (extent,), (1,))


def _same_strides(shape: tuple[Size, ...], a: tuple[Size, ...], b: tuple[Size, ...]) -> bool:
    return all(is_one(s) or same(x, y) for s, x, y in zip(shape, a, b, strict=True))


def _units(
    old: tuple[Size, ...], new: tuple[Size, ...]
) -> tuple[Callable[[Indices], Indices], Callable[[Strided], Strided]] | None:
    """A reshape that only adds or drops dims of size 1, as an index map and as a map of strides."""
    wide_old = [k for k, s in enumerate(old) if not is_one(s)]
    wide_new = [k for k, s in enumerate(new) if not is_one(s)]
    if not same_shape(tuple(old[k] for k in wide_old), tuple(new[k] for k in wide_new)):
        return None
    back = dict(zip(wide_old, wide_new, strict=True))
    forth = dict(zip(wide_new, wide_old, strict=True))

    def fn(index: Indices) -> Indices:
        return tuple(index[back[k]] if k in back else Index() for k in range(len(old)))

    def restride(s: Strided) -> Strided:
        strides = tuple(s.strides[forth[k]] if k in forth else 1 for k in range(len(new)))
        return replace(s, strides=strides)

    return fn, restride


def splits(old: tuple[Size, ...], new: tuple[Size, ...]) -> Callable[[Indices], Indices] | None:
    """The index map of a reshape that only splits dims and adds or drops dims of size 1; None for any other."""
    if any(same(s, 0) for s in (*old, *new)):
        return None
    pairs = dims_by_size(old, new)
    if pairs is None or any(len(a) > 1 for a, _ in pairs):
        return None

    def fn(index: Indices) -> Indices:
        result = [Index()] * len(old)
        for a, b in pairs:
            if a:
                total = Index()
                for k, stride in zip(b, contiguous(tuple(new[k] for k in b)), strict=True):
                    total = total + index[k] * stride
                result[a[0]] = total
        return tuple(result)

    return fn


def view_strides(old: tuple[Size, ...], strides: tuple[Size, ...], new: tuple[Size, ...]) -> tuple[Size, ...] | None:
    """Strides of the reshaped memory, or None if it needs a copy."""
    if any(same(s, 0) for s in (*old, *new)):
        return None
    pairs = dims_by_size(old, new)
    if pairs is None:
        return None
    result: list[Size] = [1] * len(new)
    for a, b in pairs:
        if not a or not b:
            continue
        for p, q in pairwise(a):
            if not is_one(old[q]) and not same(strides[p], strides[q] * old[q]):
                return None
        inner = strides[a[-1]]
        for k, step in zip(b, contiguous(tuple(new[k] for k in b)), strict=True):
            result[k] = step * inner
    return tuple(result)


def require(condition: bool, what: str) -> None:
    """Give up on a variant of an operation; it becomes an ATen call."""
    if not condition:
        raise Unsupported(what)


__all__ = ["Builder", "Epilogue", "Iota", "require"]
