"""Pointwise operations, activations, casts and choices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..oracle import check
from .values import above, rand

ACTIVATIONS = (
    "relu", "gelu", "silu", "mish", "softplus", "elu", "selu", "celu", "hardtanh", "hardsigmoid", "hardswish",
    "logsigmoid", "leaky_relu", "softsign", "tanhshrink", "hardshrink", "softshrink", "relu6", "sigmoid", "tanh",
)  # fmt: skip


UNARY = (
    "abs", "neg", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh",
    "atanh", "erf", "erfc", "lgamma", "sign", "reciprocal", "floor", "ceil", "trunc", "round", "log2", "log10", "log1p",
    "expm1", "exp2", "square", "frac", "logit",
)  # fmt: skip


BINARY = (
    "add", "sub", "mul", "div", "pow", "fmod", "remainder", "minimum", "maximum", "atan2", "eq", "lt", "ge", "fmin",
    "fmax", "copysign",
)  # fmt: skip


def test_activations() -> None:
    check(lambda x: [getattr(F, name)(x) for name in ACTIVATIONS], rand(4, 7))


def test_activations_with_parameters() -> None:
    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        return [
            F.gelu(x, approximate="tanh"), F.threshold(x, 0.1, 20.0), F.glu(x, 1), F.elu(x, 0.7), F.softplus(x, 2, 1),
            F.leaky_relu(x, 0.3), F.hardtanh(x, -0.3, 0.4), F.rrelu(x), F.celu(x, 1.3),
        ]  # fmt: skip

    check(fn, rand(3, 8))
    check(nn.PReLU(5), rand(2, 5, 3))


def test_unary() -> None:
    check(lambda x: [getattr(torch, name)(x) for name in UNARY], torch.rand(4, 5) * 0.8 + 0.1)


def test_binary_broadcasts() -> None:
    check(lambda x, y: [getattr(torch, name)(x, y) for name in BINARY], above(4, 1, 5), above(3, 5))


def test_scalars_and_powers() -> None:
    check(lambda x: [2 - x, x * 3, x / 4, x / 3, 1 / x, x**2, x**3, x**0.5, x**-1, x**2.5, 2**x, -x // 1], above(3, 5))


def test_integers() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        return [
            x // y, x % y, x & y, x | y, x ^ y, ~x, x << 1, x >> 1, x / y, torch.div(x, y, rounding_mode="trunc"), -x,
            abs(x), x.sum(1), x.cumsum(0), x.prod(1), x.amax(), x.float() * 0.5, x > y, x @ x.t(), x.clamp(-3, 3),
        ]  # fmt: skip

    check(fn, torch.randint(-20, 20, (5, 6)), torch.randint(1, 7, (6,)))


def test_booleans() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        a, b = x > 0, y > 0
        return [a & b, a | b, ~a, a ^ b, torch.logical_not(x), a.float() * 2, a + b, a.sum(), a.any(1), a.all(), a * b]

    check(fn, rand(3, 4), rand(3, 4))


def test_choices_and_casts() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        return [
            torch.where(x > 0, x, y * 2), torch.where(x > 0, 1.0, x), x.masked_fill(x > 0, -1e9), x.to(torch.int64),
            x.clamp(-0.5, 0.5) + x.clamp(min=0) + x.clamp(max=y), torch.lerp(x, y, 0.3), (x > 0).int(), x.int().float(),
            torch.addcmul(x, y, x, value=0.5) + torch.addcdiv(x, y, x.abs() + 1, value=2),
        ]  # fmt: skip

    check(fn, rand(3, 4) * 3, rand(4))


def test_special_values() -> None:
    x = torch.tensor([1.0, float("nan"), float("inf"), -float("inf"), 0.0])
    check(lambda x: [x.isnan(), x.isinf(), x.isfinite(), torch.nan_to_num(x, 0.0, 1.0, -1.0), F.relu(x), x.amax()], x)
