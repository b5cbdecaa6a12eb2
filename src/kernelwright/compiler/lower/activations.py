"""Activation functions and their derivatives, as torch defines them."""

from __future__ import annotations

import math
from typing import Any

from ..program import Expr
from ._builder import require
from ._driver import Lowering, lowers
from ._lazy import Lazy, compare, const, op, where
from .pointwise import elementwise


def _zero(x: Expr) -> Expr:
    return const(0, x.dtype)


def _like(x: Expr, value: float) -> Expr:
    return const(value, x.dtype)


def relu(x: Expr) -> Expr:
    return op("maximum", x, _zero(x))


def clipped(x: Expr, lo: float, hi: float) -> Expr:
    return op("minimum", op("maximum", x, _like(x, lo)), _like(x, hi))


def gelu_expr(x: Expr, approximate: str) -> Expr:
    if approximate == "tanh":
        cube = op("mul", op("square", x), x)
        inner = op("mul", op("add", x, op("mul", cube, _like(x, 0.044715))), _like(x, math.sqrt(2 / math.pi)))
        return op("mul", op("mul", x, _like(x, 0.5)), op("add", op("tanh", inner), _like(x, 1)))
    erf = op("erf", op("mul", x, _like(x, math.sqrt(0.5))))
    return op("mul", op("mul", x, _like(x, 0.5)), op("add", erf, _like(x, 1)))


def softplus_expr(x: Expr, beta: float = 1.0, threshold: float = 20.0) -> Expr:
    scaled = x if beta == 1 else op("mul", x, _like(x, beta))
    soft = op("log1p", op("exp", scaled))
    soft = soft if beta == 1 else op("div", soft, _like(x, beta))
    return where(compare("gt", scaled, _like(x, threshold)), x, soft)


def log_sigmoid_expr(x: Expr) -> Expr:
    low = op("minimum", x, _zero(x))
    return op("sub", low, op("log1p", op("exp", op("neg", op("abs", x)))))


@lowers("relu")
def relu_(low: Lowering, self: Lazy) -> Lazy:
    return elementwise(low, relu, self)


@lowers("gelu")
def gelu(low: Lowering, self: Lazy, approximate: str = "none") -> Lazy:
    return elementwise(low, lambda x: gelu_expr(x, approximate), self)


@lowers("silu")
def silu(low: Lowering, self: Lazy) -> Lazy:
    return elementwise(low, lambda x: op("mul", x, op("sigmoid", x)), self)


@lowers("mish")
def mish(low: Lowering, self: Lazy) -> Lazy:
    return elementwise(low, lambda x: op("mul", x, op("tanh", softplus_expr(x))), self)


@lowers("softplus")
def softplus(low: Lowering, self: Lazy, beta: float = 1, threshold: float = 20) -> Lazy:
    return elementwise(low, lambda x: softplus_expr(x, beta, threshold), self)


@lowers("elu")
def elu(low: Lowering, self: Lazy, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Lazy:
    def combine(x: Expr) -> Expr:
        inner = x if input_scale == 1 else op("mul", x, _like(x, input_scale))
        down = op("mul", op("expm1", inner), _like(x, alpha * scale))
        up = x if scale == 1 else op("mul", x, _like(x, scale))
        return where(compare("gt", x, _zero(x)), up, down)

    return elementwise(low, combine, self)


@lowers("selu")
def selu(low: Lowering, self: Lazy) -> Lazy:
    return elu(low, self, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@lowers("celu")
def celu(low: Lowering, self: Lazy, alpha: float = 1) -> Lazy:
    return elu(low, self, alpha, 1, 1 / alpha)


@lowers("hardtanh", "relu6")
def hardtanh(low: Lowering, self: Lazy, min_val: float = -1, max_val: float = 1) -> Lazy:
    if "relu6" in str(low.node.target):
        min_val, max_val = 0, 6
    return elementwise(low, lambda x: clipped(x, min_val, max_val), self)


def _hard_gate(x: Expr) -> Expr:
    return op("mul", clipped(op("add", x, _like(x, 3)), 0, 6), _like(x, 1 / 6))


@lowers("hardsigmoid")
def hardsigmoid(low: Lowering, self: Lazy) -> Lazy:
    return elementwise(low, _hard_gate, self)


@lowers("hardswish")
def hardswish(low: Lowering, self: Lazy) -> Lazy:
    return elementwise(low, lambda x: op("mul", x, _hard_gate(x)), self)


@lowers("leaky_relu")
def leaky_relu(low: Lowering, self: Lazy, negative_slope: float = 0.01) -> Lazy:
    def combine(x: Expr) -> Expr:
        return where(compare("gt", x, _zero(x)), x, op("mul", x, _like(x, negative_slope)))

    return elementwise(low, combine, self)


@lowers("prelu", "_prelu_kernel")
def prelu(low: Lowering, self: Lazy, weight: Lazy) -> Lazy:
    if weight.rank == 1 and self.rank > 1:
        weight = low.reshape(weight, (weight.shape[0],) + (1,) * (self.rank - 2))
    return elementwise(low, lambda x, w: where(compare("gt", x, _zero(x)), x, op("mul", x, w)), self, weight)


@lowers("log_sigmoid_forward")
def log_sigmoid_forward(low: Lowering, self: Lazy) -> tuple[Lazy, Lazy]:
    from ._lazy import cast, constant, pointwise

    require(all(n.args[1] == 0 for n in low.node.users), "the buffer of log_sigmoid")
    shape, dtype = low.val_of(0)
    return pointwise(shape, dtype, lambda x: cast(log_sigmoid_expr(x), dtype), self), constant(0.0, dtype, (0,))


@lowers("rrelu_with_noise", "rrelu_with_noise_functional")
def rrelu(
    low: Lowering, self: Lazy, lower: float = 0.125, upper: float = 1 / 3, training: bool = False, **_: Any
) -> Any:
    require(not training, "random numbers")
    from ._lazy import cast, pointwise

    many = isinstance(low.val, tuple | list)
    shape, dtype = low.val_of(0) if many else (low.shape, low.dtype)

    def combine(x: Expr) -> Expr:
        return cast(where(compare("gt", x, _zero(x)), x, op("mul", x, _like(x, (lower + upper) / 2))), dtype)

    out = pointwise(shape, dtype, combine, self)
    require(not many or all(n.args[1] == 0 for n in low.node.users), "the noise")
    return (out, None) if many else out


@lowers("threshold")
def threshold(low: Lowering, self: Lazy, threshold: float, value: float) -> Lazy:
    def combine(x: Expr) -> Expr:
        return where(compare("le", x, _like(x, threshold)), _like(x, value), x)

    return elementwise(low, combine, self)


@lowers("glu")
def glu(low: Lowering, self: Lazy, dim: int = -1) -> Lazy:
    from .views import sliced, wrap

    dim = wrap(dim, self.rank)
    half = low.shape[dim]
    a, b = sliced(self, dim, 0, half), sliced(self, dim, half, half)
    return elementwise(low, lambda x, y: op("mul", x, op("sigmoid", y)), a, b)


# ── derivatives (AOTAutograd's backward graphs) ──


@lowers("threshold_backward")
def threshold_backward(low: Lowering, grad_output: Lazy, self: Lazy, threshold: Any) -> Lazy:
    def combine(g: Expr, x: Expr) -> Expr:
        return where(compare("le", x, _like(x, threshold)), _zero(g), g)

    return elementwise(low, combine, grad_output, self)


@lowers("sigmoid_backward")
def sigmoid_backward(low: Lowering, grad_output: Lazy, output: Lazy) -> Lazy:
    def combine(g: Expr, y: Expr) -> Expr:
        return op("mul", g, op("mul", y, op("sub", _like(y, 1), y)))

    return elementwise(low, combine, grad_output, output)


@lowers("tanh_backward")
def tanh_backward(low: Lowering, grad_output: Lazy, output: Lazy) -> Lazy:
    def combine(g: Expr, y: Expr) -> Expr:
        return op("mul", g, op("sub", _like(y, 1), op("square", y)))

    return elementwise(low, combine, grad_output, output)


@lowers("silu_backward")
def silu_backward(low: Lowering, grad_output: Lazy, self: Lazy) -> Lazy:
    def combine(g: Expr, x: Expr) -> Expr:
        s = op("sigmoid", x)
        one = _like(x, 1)
        return op("mul", g, op("mul", s, op("add", one, op("mul", x, op("sub", one, s)))))

    return elementwise(low, combine, grad_output, self)


@lowers("gelu_backward")
def gelu_backward(low: Lowering, grad_output: Lazy, self: Lazy, approximate: str = "none") -> Lazy:
    def exact(g: Expr, x: Expr) -> Expr:
        half, one = _like(x, 0.5), _like(x, 1)
        cdf = op("mul", half, op("add", one, op("erf", op("mul", x, _like(x, math.sqrt(0.5))))))
        density = op("mul", op("exp", op("mul", op("square", x), _like(x, -0.5))), _like(x, 1 / math.sqrt(2 * math.pi)))
        return op("mul", g, op("add", cdf, op("mul", x, density)))

    def by_tanh(g: Expr, x: Expr) -> Expr:
        half, one, k = _like(x, 0.5), _like(x, 1), math.sqrt(2 / math.pi)
        square = op("square", x)
        inner = op("mul", op("add", x, op("mul", op("mul", square, x), _like(x, 0.044715))), _like(x, k))
        t = op("tanh", inner)
        slope = op("mul", op("add", one, op("mul", square, _like(x, 3 * 0.044715))), _like(x, k))
        left = op("mul", half, op("add", one, t))
        right = op("mul", op("mul", op("mul", half, x), op("sub", one, op("square", t))), slope)
        return op("mul", g, op("add", left, right))

    return elementwise(low, by_tanh if approximate == "tanh" else exact, grad_output, self)


@lowers("leaky_relu_backward")
def leaky_relu_backward(
    low: Lowering, grad_output: Lazy, self: Lazy, negative_slope: float, self_is_result: bool
) -> Lazy:
    def combine(g: Expr, x: Expr) -> Expr:
        return where(compare("gt", x, _zero(x)), g, op("mul", g, _like(x, negative_slope)))

    return elementwise(low, combine, grad_output, self)


@lowers("hardtanh_backward")
def hardtanh_backward(low: Lowering, grad_output: Lazy, self: Lazy, min_val: float, max_val: float) -> Lazy:
    def combine(g: Expr, x: Expr) -> Expr:
        outside = op("or", compare("le", x, _like(x, min_val)), compare("ge", x, _like(x, max_val)))
        return where(outside, _zero(g), g)

    return elementwise(low, combine, grad_output, self)


@lowers("elu_backward")
def elu_backward(
    low: Lowering, grad_output: Lazy, alpha: float, scale: float, input_scale: float, is_result: bool,
    self_or_result: Lazy,
) -> Lazy:  # fmt: skip
    def combine(g: Expr, x: Expr) -> Expr:
        if is_result:
            slope = op("mul", op("add", x, _like(x, alpha * scale)), _like(x, input_scale))
        else:
            slope = op("mul", op("exp", op("mul", x, _like(x, input_scale))), _like(x, alpha * scale * input_scale))
        return op("mul", g, where(compare("le", x, _zero(x)), slope, _like(x, scale)))

    return elementwise(low, combine, grad_output, self_or_result)
