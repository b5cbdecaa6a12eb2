"""Derivatives of norms and softmax as AOTAutograd's backward graphs call them."""

from __future__ import annotations

from typing import Any

from ..program import Expr
from ._driver import Lowering, lowers
from ._lazy import Lazy, cast, compute, op, pointwise, size_value
from .reductions import count, reduced, spread
from .views import wrap


def _kept(low: Lowering, value: Lazy) -> Lazy:
    return value if value.free else low.realise(value)


@lowers("_softmax_backward_data")
def softmax_backward(low: Lowering, grad_output: Lazy, output: Lazy, dim: int, input_dtype: Any) -> Lazy:
    g, y = _kept(low, grad_output), _kept(low, output)
    dims, kind = (wrap(dim, y.rank),), compute(low.dtype)
    product = pointwise(y.shape, kind, lambda a, b: op("mul", cast(a, kind), cast(b, kind)), g, y)
    total = spread(reduced(low, product, dims, "sum", kind), y.shape, dims)

    def combine(a: Expr, b: Expr, s: Expr) -> Expr:
        return op("mul", cast(b, kind), op("sub", cast(a, kind), s))

    return pointwise(y.shape, low.dtype, combine, g, y, total)


@lowers("_log_softmax_backward_data")
def log_softmax_backward(low: Lowering, grad_output: Lazy, output: Lazy, dim: int, input_dtype: Any) -> Lazy:
    g, y = _kept(low, grad_output), _kept(low, output)
    dims, kind = (wrap(dim, y.rank),), compute(low.dtype)
    total = spread(reduced(low, g, dims, "sum", kind), y.shape, dims)

    def combine(a: Expr, b: Expr, s: Expr) -> Expr:
        return op("sub", cast(a, kind), op("mul", op("exp", cast(b, kind)), s))

    return pointwise(y.shape, low.dtype, combine, g, y, total)


@lowers("native_layer_norm_backward")
def layer_norm_backward(
    low: Lowering, grad_out: Lazy, input: Lazy, normalized_shape: Any, mean: Lazy, rstd: Lazy, weight: Lazy | None,
    bias: Lazy | None, output_mask: list[bool],
) -> tuple[Lazy | None, Lazy | None, Lazy | None]:  # fmt: skip
    """With x̂ = (x - mean) * rstd and g = grad * weight: dx = rstd * (g - mean(g) - x̂ * mean(g * x̂))."""
    x, upstream, kind = _kept(low, input), _kept(low, grad_out), compute(input.dtype)
    lead = x.rank - len(normalized_shape)
    inner, outer = tuple(range(lead, x.rank)), tuple(range(lead))
    m, r = low.broadcast(mean, x.shape), low.broadcast(rstd, x.shape)

    def normal(a: Expr, b: Expr, c: Expr) -> Expr:
        return op("mul", op("sub", cast(a, kind), cast(b, kind)), cast(c, kind))

    hat = pointwise(x.shape, kind, normal, x, m, r)
    product = pointwise(x.shape, kind, lambda h, g: op("mul", h, cast(g, kind)), hat, upstream)
    to_input = _input_gradient(low, x, upstream, hat, r, weight, inner) if output_mask[0] else None
    to_weight = reduced(low, product, outer, "sum", x.dtype) if output_mask[1] else None
    to_bias = reduced(low, upstream, outer, "sum", x.dtype) if output_mask[2] else None
    return to_input, to_weight, to_bias


def _input_gradient(
    low: Lowering, x: Lazy, upstream: Lazy, hat: Lazy, r: Lazy, weight: Lazy | None, inner: tuple[int, ...]
) -> Lazy:
    kind = compute(x.dtype)
    g = pointwise(x.shape, kind, lambda a: cast(a, kind), upstream)
    if weight is not None:
        wide = low.broadcast(weight, x.shape)
        g = pointwise(x.shape, kind, lambda a, w: op("mul", cast(a, kind), cast(w, kind)), upstream, wide)
    n = size_value(count(x.shape, inner), kind)
    mean_g = reduced(low, g, inner, "sum", kind, finish=lambda acc, _: op("div", acc, n))
    both = pointwise(x.shape, kind, lambda a, h: op("mul", a, h), g, hat)
    mean_gh = reduced(low, both, inner, "sum", kind, finish=lambda acc, _: op("div", acc, n))

    def combine(a: Expr, h: Expr, p: Expr, q: Expr, c: Expr) -> Expr:
        return op("mul", cast(c, kind), op("sub", op("sub", a, p), op("mul", h, q)))

    return pointwise(
        x.shape, x.dtype, combine, g, hat, spread(mean_g, x.shape, inner), spread(mean_gh, x.shape, inner), r
    )
