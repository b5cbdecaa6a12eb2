"""Recognises contractions: sums of products of two loads, whatever their layout, and says which axis plays which part.

A matrix product, an einsum, a convolution and both of its gradients are the same statement with other indices. The
parts are those of a matrix product C[m,n] = sum_k A[m,k] B[k,n], repeated over batch axes; ``B`` is the operand that
owns the axis along which the result is contiguous, so that its axis becomes the vector axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sympy

from .program import FLOATS, Axis, Index, Load, Op, Program, Reduce, Size, Statement, Tensor

_VALUES = ("float32", "float64")


@dataclass(frozen=True)
class Contraction:
    """Axes by part, outermost first. ``a`` is read along m and k, ``b`` along n and k; both may vary along batch."""

    a: Load
    b: Load
    batch: tuple[Axis, ...]
    m: tuple[Axis, ...]
    n: tuple[Axis, ...]
    k: tuple[Axis, ...]
    dtype: str  # of the products and the sum: float32 or float64

    @property
    def windowed(self) -> bool:
        """Whether an operand's index adds a result axis to a summed one: a convolution."""
        summed = {axis.name for axis in self.k}
        return any(
            len(index.axes() & summed) > 0 and len(index.axes() - summed) > 0
            for load in (self.a, self.b)
            for index in load.index
        )


def is_contraction(program: Program, statement: Statement) -> bool:
    """Whether :func:`classify` accepts the statement."""
    if not isinstance(statement, Reduce) or statement.op != "sum" or not statement.raxes:
        return False
    value = statement.value
    if not isinstance(value, Op) or value.name != "mul" or value.dtype not in _VALUES:
        return False
    if not free_axes(statement):
        return False  # a sum of squares, or of products of what lies side by side: an ordinary reduction
    return all(isinstance(arg, Load) and _readable(program, arg, value.dtype) for arg in value.args)


def free_axes(product_sum: Reduce) -> bool:
    """Does a result axis move along one factor alone? Without one, nothing that is read is read again."""
    value = product_sum.value
    assert isinstance(value, Op)
    left, right = (arg.axes() for arg in value.args)
    return any(axis.size != 1 and (axis.name in left) != (axis.name in right) for axis in product_sum.axes)


def classify(program: Program, reduce: Reduce) -> Contraction:
    """Split the axes by part. The statement must satisfy :func:`is_contraction`."""
    value = reduce.value
    assert isinstance(value, Op)
    a, b = value.args
    assert isinstance(a, Load)
    assert isinstance(b, Load)
    in_a, in_b = a.axes(), b.axes()
    only_a = [x for x in reduce.axes if x.name in in_a and x.name not in in_b]
    only_b = [x for x in reduce.axes if x.name in in_b and x.name not in in_a]
    batch = [x for x in reduce.axes if (x.name in in_a) == (x.name in in_b)]
    place = _place(program, reduce)
    contiguous_a = _vector_rank(only_a, place) > _vector_rank(only_b, place) and not _few(only_a, only_b)
    if contiguous_a or _few(only_b, only_a):
        a, b, only_a, only_b = b, a, only_b, only_a
    larger = b if _elements(program.tensors[b.tensor]) >= _elements(program.tensors[a.tensor]) else a
    steps = flat_index(program, larger)
    return Contraction(
        a=a,
        b=b,
        batch=_ordered(batch, place),
        m=_ordered(only_a, place),
        n=_ordered(only_b, place),
        k=_ordered(reduce.raxes, steps),
        dtype=value.dtype,
    )


def flat_index(program: Program, load: Load) -> Index:
    """The element offset a load reads (meaningless where it is padded)."""
    total = Index.const(0)
    for index, stride in zip(load.index, program.tensors[load.tensor].strides, strict=True):
        total = total + index * stride
    return total


def product(sizes: Iterable[Size]) -> Size:
    """The product of sizes."""
    result: Size = 1
    for size in sizes:
        result = result * size
    return result


def span(index: Index, axes: dict[str, Size]) -> tuple[Size, Size]:
    """The least and the greatest value of an affine index (symbols count as positive)."""
    low: Size = index.offset
    high: Size = index.offset
    for term, coefficient in index.terms:
        assert isinstance(term, str)
        reach = coefficient * (axes[term] - 1)
        if _negative(coefficient):
            low = low + reach
        else:
            high = high + reach
    return low, high


def padded_dims(program: Program, load: Load, axes: dict[str, Size]) -> tuple[int, ...]:
    """The dimensions in which a load may leave its tensor."""
    if load.fill is None:
        return ()
    shape = program.tensors[load.tensor].shape
    found = []
    for dim, index in enumerate(load.index):
        low, high = span(index, axes)
        if not (_known(low >= 0) and _known(high - shape[dim] < 0)):
            found.append(dim)
    return tuple(found)


def _readable(program: Program, load: Load, dtype: str) -> bool:
    stored = program.tensors[load.tensor].dtype
    if stored not in FLOATS or load.dtype != dtype or (dtype == "float32" and stored == "float64"):
        return False
    return all(index.is_affine for index in load.index)


def _place(program: Program, reduce: Reduce) -> Index:
    total = Index.const(0)
    for index, stride in zip(reduce.store.index, program.tensors[reduce.store.tensor].strides, strict=True):
        total = total + index * stride
    return total


def _vector_rank(axes: list[Axis], place: Index) -> tuple[int, float]:
    """Greater for the group that should be the vector axis: the one the result is contiguous along."""
    steps = [abs(_number(place.coefficient(x.name))) for x in axes if x.size != 1]
    if not steps:
        return (0, 0)
    return (1, -min(s for s in steps))


def _few(axes: list[Axis], others: list[Axis]) -> bool:
    """Too few vector elements to fill a vector, where the other group has plenty."""
    count, rest = _number(product(x.size for x in axes)), _number(product(x.size for x in others))
    return count <= 4 and rest >= 16 * count


def _ordered(axes: Iterable[Axis], steps: Index) -> tuple[Axis, ...]:
    return tuple(sorted(axes, key=lambda x: -abs(_number(steps.coefficient(x.name)))))


def _number(size: Size) -> float:
    """A size as a number to compare by; symbols count as large."""
    if isinstance(size, int):
        return size
    return float(size.subs(dict.fromkeys(size.free_symbols, 1021)))


def _elements(tensor: Tensor) -> float:
    return _number(product(tensor.shape))


def _negative(size: Size) -> bool:
    return size < 0 if isinstance(size, int) else bool(size.is_negative) or _number(size) < 0


def _known(condition: object) -> bool:
    return condition is True or condition is sympy.true
