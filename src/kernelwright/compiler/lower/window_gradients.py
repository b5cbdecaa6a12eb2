"""Derivatives of pooling and upsampling as gathers: every input sums over the few windows that cover it.

PyTorch scatters, window by window. A gather needs no zeroed memory, every result is written once by one thread, and
without overlap it is a pointwise value that fuses into whatever comes next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from ..program import Expr, Index, Iota, Op, Size, Value
from ._builder import require
from ._driver import Lowering, lowers
from ._lazy import Indices, Lazy, cast, compare, compute, const, floor_div, linear, numel, op, where
from .pooling import _each, _elements, _extent, _overhang

INLINE_TAPS = 4  # windows over one input that are added up where they are read; more become a reduction
INT32 = 1 << 31

Term = Callable[[Indices, Indices], Expr]


def _summed(low: Lowering, shape: tuple[Size, ...], taps: Sequence[int], term: Term, dtype: str) -> Lazy:
    """The sum of ``term(index, tap)``: one value where the taps are few, else a reduction."""
    if math.prod(taps) > INLINE_TAPS:
        return low.reduce(shape, tuple(taps), "sum", term, dtype)

    def at(index: Indices) -> Expr:
        terms = [term(index, tuple(Index.const(t) for t in tap)) for tap in product(*(range(n) for n in taps))]
        total = terms[0]
        for each in terms[1:]:
            total = op("add", total, each)
        return total

    return Lazy(shape, dtype, at)


class _Cover:
    """The windows that may cover an input: ``(i + pad) // step - tap`` along every dim."""

    def __init__(self, low: Lowering, grad: Lazy, shape: tuple[Size, ...], kernel: Sequence[int],
                 steps: Sequence[int], pads: Sequence[int]) -> None:  # fmt: skip
        self.kernel, self.steps, self.pads = kernel, steps, pads
        self.lead = len(shape) - len(kernel)
        self.sizes, self.outs = shape[self.lead :], grad.shape[self.lead :]
        self.taps = [-(-k // s) for k, s in zip(kernel, steps, strict=True)]
        self.edges = frozenset(d + self.lead for d in range(len(kernel)) if self._leaves(d))
        self.low = low

    def _leaves(self, dim: int) -> bool:
        """Whether some tap asks for a window before the first or after the last."""
        size, out, step, pad = self.sizes[dim], self.outs[dim], self.steps[dim], self.pads[dim]
        if pad // step - (self.taps[dim] - 1) < 0 or not isinstance(size, int) or not isinstance(out, int):
            return True
        return (size - 1 + pad) // step > out - 1

    def readable(self, value: Lazy, fill: int) -> Lazy:
        """The value, with ``fill`` for windows that do not exist."""
        if self.edges:
            return self.low.with_fill(value, fill, self.edges)
        return value if value.free else self.low.realise(value)

    def window(self, index: Indices, taps: Indices) -> Indices:
        places = zip(index[self.lead :], self.steps, self.pads, taps, strict=True)
        return (*index[: self.lead], *(floor_div(i + p, s) - t for i, s, p, t in places))

    def covered(self, index: Indices, window: Indices) -> Expr | None:
        """Whether the window reaches as far as the input; None where it always does."""
        found: Expr | None = None
        for d, (k, s, p) in enumerate(zip(self.kernel, self.steps, self.pads, strict=True)):
            if k % s:
                place = Iota(index[self.lead + d] + p - window[self.lead + d] * s, "int64")
                inside = compare("lt", place, const(k, "int64"))
                found = inside if found is None else Op("and", (found, inside), "bool")
        return found


@lowers("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward")
def max_pool_backward(
    low: Lowering, grad_output: Lazy, self: Lazy, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool, indices: Lazy,
) -> Lazy:  # fmt: skip
    n = int(low.node.target._schema.name.split("max_pool")[1][0])  # type: ignore[union-attr]
    kernel = _each(kernel_size, n)
    steps, pads = _each(stride, n, kernel), _each(padding, n)
    require(all(g == 1 for g in _each(dilation, n)), "dilated windows")
    cover = _Cover(low, grad_output, low.shape, kernel, steps, pads)
    grad, places, kind = cover.readable(grad_output, 0), cover.readable(indices, -1), compute(low.dtype)
    plane = numel(cover.sizes)
    own = "int32" if isinstance(plane, int) and plane < INT32 else "int64"

    def term(index: Indices, taps: Indices) -> Expr:
        window = cover.window(index, taps)
        here = Iota(linear(index[cover.lead :], cover.sizes), own)
        chosen = compare("eq", cast(places.at(window), own), here)
        return where(chosen, cast(grad.at(window), kind), const(0, kind))

    return _summed(low, low.shape, cover.taps, term, low.dtype)


@lowers("avg_pool2d_backward", "avg_pool3d_backward")
def avg_pool_backward(
    low: Lowering, grad_output: Lazy, self: Lazy, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> Lazy:  # fmt: skip
    n = int(low.node.target._schema.name.split("avg_pool")[1][0])  # type: ignore[union-attr]
    kernel = _each(kernel_size, n)
    steps, pads = _each(stride, n, kernel), _each(padding, n)
    cover, kind = _Cover(low, grad_output, low.shape, kernel, steps, pads), compute(low.dtype)
    require(kind.startswith("float"), "integers")
    grad = cover.readable(grad_output, 0)
    count = _window_count(cover, count_include_pad, divisor_override)

    def term(index: Indices, taps: Indices) -> Expr:
        window = cover.window(index, taps)
        value = cast(grad.at(window), kind)
        if isinstance(count, int):
            value = op("mul", value, const(1.0 / count, kind))
        else:
            value = op("div", value, cast(count(window[cover.lead :]), kind))
        inside = cover.covered(index, window)
        return value if inside is None else where(inside, value, const(0, kind))

    return _summed(low, low.shape, cover.taps, term, low.dtype)


def _window_count(cover: _Cover, padded: bool, override: int | None) -> int | Callable[[Indices], Expr]:
    """By how many elements a window divides: the same for all, or a function of the window."""
    if override:
        return override
    sizes = [s + 2 * p for s, p in zip(cover.sizes, cover.pads, strict=True)] if padded else list(cover.sizes)
    margin = list(cover.pads) if padded else [0] * len(cover.pads)
    left = [p - m for p, m in zip(cover.pads, margin, strict=True)]
    if not _overhang(sizes, cover.outs, cover.kernel, cover.steps, left, [1] * len(left)):
        return math.prod(cover.kernel)

    def count(window: Indices) -> Expr:
        total: Expr = const(1, "int64")
        for i, k, s, p, m, size in zip(window, cover.kernel, cover.steps, cover.pads, margin, cover.sizes, strict=True):
            # A window that does not exist has no elements; its gradient is 0, which nothing may turn into a NaN.
            total = op("mul", total, op("maximum", _extent(i, k, s, p, m, size), const(1, "int64")))
        return total

    return count


@lowers("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward")
def adaptive_avg_pool_backward(low: Lowering, grad_output: Lazy, self: Lazy) -> Lazy:
    """Input ``x`` lies in the windows from ``x * out // in`` to ``((x + 1) * out - 1) // in``."""
    lead = self.rank - (2 if "2d" in str(low.node.target) else 3)
    sizes, outs, kind = self.shape[lead:], grad_output.shape[lead:], compute(low.dtype)
    require(all(isinstance(s, int) for s in (*sizes, *outs)), "a size that varies")
    grad = grad_output if grad_output.free else low.realise(grad_output)
    pairs = [(int(a), int(b)) for a, b in zip(sizes, outs, strict=True)]
    taps = [max(((x + 1) * b - 1) // a - x * b // a + 1 for x in range(a)) if a % b else 1 for a, b in pairs]
    even = math.prod(a // b for a, b in pairs) if all(a % b == 0 for a, b in pairs) else None

    def term(index: Indices, tap: Indices) -> Expr:
        window, inside = _adaptive_window(index[lead:], tap, pairs)
        value = cast(grad.at((*index[:lead], *window)), kind)
        if even is not None:
            return op("mul", value, const(1.0 / even, kind))
        value = op("div", value, cast(_elements(window, sizes, outs), kind))
        return value if inside is None else where(inside, value, const(0, kind))

    return _summed(low, low.shape, taps, term, low.dtype)


def _adaptive_window(index: Indices, tap: Indices, pairs: Sequence[tuple[int, int]]) -> tuple[Indices, Expr | None]:
    """The window of a tap, or the last one that covers the input; and whether it is one of a tap's own."""
    window: list[Index] = []
    inside: Expr | None = None
    for i, t, (a, b) in zip(index, tap, pairs, strict=True):
        if a % b == 0:
            window.append(floor_div(i, a // b))
            continue
        own, last = Iota(floor_div(i * b, a) + t, "int64"), Iota(floor_div(i * b + (b - 1), a), "int64")
        window.append(Index.of(Value(op("minimum", own, last))))
        fits = compare("le", own, last)
        inside = fits if inside is None else Op("and", (inside, fits), "bool")
    return tuple(window), inside


@lowers("upsample_nearest1d_backward", "upsample_nearest2d_backward", "upsample_nearest3d_backward")
def upsample_nearest_backward(
    low: Lowering, grad_output: Lazy, output_size: Any, input_size: Any, scales: float | None = None,
    scales_d: float | None = None, scales_h: float | None = None, scales_w: float | None = None,
) -> Lazy:  # fmt: skip
    """An input that was repeated sums over its copies."""
    n = len(low.shape) - 2
    given = {1: [scales], 2: [scales_h, scales_w], 3: [scales_d, scales_h, scales_w]}[n]
    factors: list[int] = []
    for size, out, scale in zip(low.shape[2:], grad_output.shape[2:], given, strict=True):
        require(isinstance(size, int) and isinstance(out, int) and out % size == 0, "a size that is no multiple")
        factors.append(int(out) // int(size))
        require(not scale or scale == factors[-1], "a scale of its own")
    grad, kind = grad_output if grad_output.free else low.realise(grad_output), compute(low.dtype)

    def copy(index: Indices, tap: Indices) -> Expr:
        places = (i * k + t for i, k, t in zip(index[2:], factors, tap, strict=True))
        return cast(grad.at((*index[:2], *places)), kind)

    return low.reduce(low.shape, tuple(factors), "sum", copy, low.dtype)
