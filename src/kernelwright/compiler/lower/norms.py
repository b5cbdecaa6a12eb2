"""Normalisations: a mean, a centred sum of squares, then one pointwise pass."""

from __future__ import annotations

from typing import Any

from ..program import Expr, Size
from ._builder import require
from ._driver import Lowering, lowers
from ._lazy import Lazy, cast, compute, const, constant, op, pointwise, size_value
from .reductions import centred_squares, count, keep, reduced, spread


def _moments(low: Lowering, x: Lazy, dims: tuple[int, ...], eps: float) -> tuple[Lazy, Lazy, Lazy]:
    """Mean, variance (biased) and 1/sqrt(variance + eps), each without the dims, in the dtype of computation."""
    kind = compute(x.dtype)
    mean, squares = centred_squares(low, x, dims, kind)
    n = size_value(count(x.shape, dims), kind)
    variance = pointwise(squares.shape, kind, lambda s: op("div", s, n), squares)
    inverse = pointwise(
        squares.shape, kind, lambda s: op("rsqrt", op("add", op("div", s, n), const(eps, kind))), squares
    )
    return mean, variance, low.realise(inverse)


def _affine(
    low: Lowering, x: Lazy, mean: Lazy, inverse: Lazy, weight: Lazy | None, bias: Lazy | None, dtype: str
) -> Lazy:
    """(x - mean) * inverse * weight + bias, everything already of x's shape."""
    kind = compute(dtype)
    kids = [v for v in (x, mean, inverse, weight, bias) if v is not None]

    def combine(*exprs: Expr) -> Expr:
        values = [cast(e, kind) for e in exprs]
        result = op("mul", op("sub", values[0], values[1]), values[2])
        rest = values[3:]
        if weight is not None:
            result = op("mul", result, rest.pop(0))
        return op("add", result, rest[0]) if rest else result

    return pointwise(x.shape, dtype, combine, *kids)


def _along(low: Lowering, value: Lazy | None, shape: tuple[Size, ...], dim: int) -> Lazy | None:
    """A vector along one dim."""
    if value is None:
        return None
    return spread(value, shape, tuple(k for k in range(len(shape)) if k != dim))


@lowers("native_layer_norm")
def layer_norm(
    low: Lowering, input: Lazy, normalized_shape: Any, weight: Lazy | None, bias: Lazy | None, eps: float
) -> tuple[Lazy, Lazy, Lazy]:
    x = input if input.free else low.realise(input)
    lead = x.rank - len(normalized_shape)
    dims = tuple(range(lead, x.rank))
    mean, _, inverse = _moments(low, x, dims, eps)
    w = low.broadcast(weight, x.shape) if weight is not None else None
    b = low.broadcast(bias, x.shape) if bias is not None else None
    out = _affine(low, x, spread(mean, x.shape, dims), spread(inverse, x.shape, dims), w, b, x.dtype)
    return out, keep(mean, x.shape, dims, low), keep(inverse, x.shape, dims, low)


@lowers("_fused_rms_norm", "rms_norm")
def rms_norm(low: Lowering, input: Lazy, normalized_shape: Any, weight: Lazy | None, eps: float | None) -> Any:
    x = input if input.free else low.realise(input)
    kind = compute(x.dtype)
    small = eps if eps is not None else {"float64": 2.220446049250313e-16}.get(x.dtype, 1.1920928955078125e-07)
    lead = x.rank - len(normalized_shape)
    dims = tuple(range(lead, x.rank))
    n = size_value(count(x.shape, dims), kind)
    squares = pointwise(x.shape, kind, lambda a: op("square", cast(a, kind)), x)
    inverse = reduced(
        low, squares, dims, "sum", kind,
        finish=lambda acc, _: op("rsqrt", op("add", op("div", acc, n), const(small, kind))),
    )  # fmt: skip
    kids = [x, spread(inverse, x.shape, dims)]
    if weight is not None:
        kids.append(low.broadcast(weight, x.shape))

    def combine(a: Expr, i: Expr, w: Expr | None = None) -> Expr:
        scaled = op("mul", cast(a, kind), i)
        return op("mul", scaled, cast(w, kind)) if w is not None else scaled

    out = pointwise(x.shape, x.dtype, combine, *kids)
    many = isinstance(low.val, tuple | list)
    return (out, keep(inverse, x.shape, dims, low)) if many else out


@lowers("native_group_norm")
def group_norm(
    low: Lowering, input: Lazy, weight: Lazy | None, bias: Lazy | None, N: Any, C: Any, HxW: Any, group: int, eps: float
) -> tuple[Lazy, Lazy, Lazy]:
    x = low.realise_contiguous(input)
    channels = x.shape[1]
    require(isinstance(channels, int), "a varying number of channels")
    per_group = channels // group
    grouped = low.reshape(x, (x.shape[0], group, per_group, *x.shape[2:]))
    dims = tuple(range(2, grouped.rank))
    mean, _, inverse = _moments(low, grouped, dims, eps)
    w, b = (
        low.reshape(v, (1, group, per_group) + (1,) * (x.rank - 2)) if v is not None else None for v in (weight, bias)
    )
    full = [low.broadcast(v, grouped.shape) if v is not None else None for v in (w, b)]
    out = _affine(
        low, grouped, spread(mean, grouped.shape, dims), spread(inverse, grouped.shape, dims), full[0], full[1], x.dtype
    )
    return low.reshape(out, x.shape), mean, inverse


@lowers("instance_norm")
def instance_norm(
    low: Lowering, input: Lazy, weight: Lazy | None, bias: Lazy | None, running_mean: Lazy | None,
    running_var: Lazy | None, use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Lazy:  # fmt: skip
    require(use_input_stats and running_mean is None, "running statistics of an instance norm")
    x = input if input.free else low.realise(input)
    dims = tuple(range(2, x.rank))
    mean, _, inverse = _moments(low, x, dims, eps)
    w, b = _along(low, weight, x.shape, 1), _along(low, bias, x.shape, 1)
    return _affine(low, x, spread(mean, x.shape, dims), spread(inverse, x.shape, dims), w, b, x.dtype)


# ── batch norm ──


def _batch_norm(
    low: Lowering, x: Lazy, weight: Lazy | None, bias: Lazy | None, mean: Lazy | None, var: Lazy | None,
    training: bool, momentum: float, eps: float,
) -> tuple[Lazy, Lazy, Lazy, Lazy | None, Lazy | None]:  # fmt: skip
    """Output, saved mean, saved 1/std, new running mean, new running variance."""
    kind = compute(x.dtype)
    dims = (0, *range(2, x.rank))
    w, b = _along(low, weight, x.shape, 1), _along(low, bias, x.shape, 1)
    if not training:
        require(mean is not None and var is not None, "no running statistics")
        assert mean is not None
        assert var is not None
        inverse = pointwise(var.shape, kind, lambda v: op("rsqrt", op("add", cast(v, kind), const(eps, kind))), var)
        inverse = low.realise(inverse)
        out = _affine(low, x, spread(mean, x.shape, dims), spread(inverse, x.shape, dims), w, b, x.dtype)
        empty = constant(0.0, kind, (0,))
        return out, empty, empty, mean, var
    x = x if x.free else low.realise(x)
    centre, variance, inverse = _moments(low, x, dims, eps)
    out = _affine(low, x, spread(centre, x.shape, dims), spread(inverse, x.shape, dims), w, b, x.dtype)
    new_mean = _blend(mean, centre, momentum, None) if mean is not None else None
    new_var = _blend(var, variance, momentum, count(x.shape, dims)) if var is not None else None
    return out, centre, inverse, new_mean, new_var


def _blend(old: Lazy, new: Lazy, momentum: float, n: Size | None) -> Lazy:
    """A running statistic moved towards the new one; a variance is first made unbiased (n / (n - 1))."""
    kind = compute(old.dtype)

    def combine(a: Expr, b: Expr) -> Expr:
        b = cast(b, kind)
        if n is not None:
            b = op("mul", b, op("div", size_value(n, kind), size_value(n - 1, kind)))
        return op("add", op("mul", cast(a, kind), const(1 - momentum, kind)), op("mul", b, const(momentum, kind)))

    return pointwise(old.shape, old.dtype, combine, old, new)


@lowers(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_functional",
    "_native_batch_norm_legit_no_training",
)
def batch_norm(
    low: Lowering, input: Lazy, weight: Lazy | None, bias: Lazy | None, eps: float, momentum: float,
    running_mean: Lazy | None = None, running_var: Lazy | None = None, training: bool = False,
) -> tuple[Any, ...]:  # fmt: skip
    name = low.node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    # The in-place variants may only be asked for their statistics where they do not change any.
    require(not (training and name == "native_batch_norm" and running_mean is not None), "statistics written in place")
    out, mean, inverse, new_mean, new_var = _batch_norm(
        low, input, weight, bias, running_mean, running_var, training, momentum, eps
    )
    if name == "_native_batch_norm_legit_functional":
        return out, mean, inverse, new_mean, new_var
    return out, mean, inverse
