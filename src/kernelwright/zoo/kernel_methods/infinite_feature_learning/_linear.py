"""One hidden linear layer at infinite width, exactly: a small network of coefficients that ordinary SGD trains.

The rows of U and the columns of V stay in the span of their random start, whose vectors become orthonormal as the
width grows. So the coefficients in that span are all there is to train (section 6 of the paper).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ....errors import ZooInvalid


class InfiniteLinear1LP(nn.Module):
    """``f(x) = V (U x + alpha b)`` of infinite width under maximal updates, trained like any module.

    ``U`` is represented by ``A`` [d + o, d] and ``V`` by ``B`` [o, d + o]; ``sigma_u`` and ``sigma_v`` are the
    deviations of their start (times the root of the width), ``bias_alpha`` multiplies a hidden bias; 0 leaves it out.

    >>> InfiniteLinear1LP(4, 2)(torch.ones(3, 4)).abs().max().item()
    0.0
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        sigma_u: float = 1.0,
        sigma_v: float = 1.0,
        bias_alpha: float = 0.0,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        size = in_features + out_features
        self.A = nn.Parameter(sigma_u * torch.eye(size, in_features, dtype=dtype))
        self.B = nn.Parameter(sigma_v * torch.eye(size, dtype=dtype)[in_features:].clone())
        self.bias = nn.Parameter(torch.zeros(size, dtype=dtype)) if bias_alpha else None
        self.bias_alpha = bias_alpha

    def forward(self, x: Tensor) -> Tensor:
        hidden = x @ self.A.T
        if self.bias is not None:
            hidden = hidden + self.bias_alpha * self.bias
        return hidden @ self.B.T

    @torch.no_grad()
    def sample(self, width: int, generator: torch.Generator | None = None) -> FiniteLinear1LP:
        """A network of that width with the same meaning, random but for its coefficients: ``U = w A / sqrt(n)``."""
        if width < 1:
            raise ZooInvalid(f"width is {width}; a network has at least one hidden unit.")
        omega = torch.randn(width, self.A.shape[0], dtype=self.A.dtype, generator=generator) / math.sqrt(width)
        bias = None if self.bias is None else omega @ self.bias
        return FiniteLinear1LP(omega @ self.A, self.B @ omega.T, bias, self.bias_alpha)


class FiniteLinear1LP(nn.Module):
    """The same at finite width: ``U`` [n, d], ``V`` [o, n]. Its entries shrink as 1/sqrt(n), SGD has the same rate."""

    def __init__(self, u: Tensor, v: Tensor, bias: Tensor | None, bias_alpha: float) -> None:
        super().__init__()
        self.U, self.V = nn.Parameter(u), nn.Parameter(v)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.bias_alpha = bias_alpha

    def forward(self, x: Tensor) -> Tensor:
        hidden = x @ self.U.T
        if self.bias is not None:
            hidden = hidden + self.bias_alpha * self.bias
        return hidden @ self.V.T


class _Kernel1LP:
    """A network of one hidden ReLU layer at infinite width that learns no features: gradient descent on a function.

    Its state are all inputs met so far and what each adds: ``f(x) = sum_j K(x, x_j) c_j``. ``var_w`` and ``var_b`` are
    the variances of the first layer, ``var_2`` weighs what its training adds. ``cap`` keeps that many newest rows
    only, which changes results; without it memory grows with every step.
    """

    tangent = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        var_w: float = 1.0,
        var_b: float = 0.0,
        var_2: float = 1.0,
        cap: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.var_w, self.var_b, self.var_2, self.cap = var_w, var_b, var_2, cap
        self._rows = torch.zeros(0, in_features, dtype=dtype)
        self._coefficients = torch.zeros(0, out_features, dtype=dtype)

    def kernel(self, x: Tensor, z: Tensor) -> Tensor:
        """K [n, m]: arc-cosine of order one, and for the tangent kernel also that of order zero times <x, z>."""
        left = (self.var_w * (x * x).sum(1) + self.var_b).sqrt()[:, None]
        right = (self.var_w * (z * z).sum(1) + self.var_b).sqrt()[None]
        root, inner = left * right, x @ z.T
        q = ((self.var_w * inner + self.var_b) / root.clamp_min(torch.finfo(x.dtype).tiny)).clamp(-1, 1)
        angle = torch.acos(-q)
        value = root * (((1 - q) * (1 + q)).sqrt() + angle * q) / (2 * math.pi)
        return value + self.var_2 * inner * angle / (2 * math.pi) if self.tangent else value

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [n, o]."""
        return self.kernel(x, self._rows) @ self._coefficients

    __call__ = forward

    def step(self, x: Tensor, gradient: Tensor, lr: float, weight_decay: float = 0.0) -> None:
        """One step of SGD: ``gradient`` [n, o] is that of the loss by the outputs at x [n, d]."""
        if len(x) != len(gradient):
            raise ZooInvalid(f"x has {len(x)} rows and gradient {len(gradient)}; there is one gradient for each input.")
        rows = torch.cat([self._rows, x.detach()])
        coefficients = torch.cat([self._coefficients * (1 - lr * weight_decay), -lr * gradient.detach()])
        keep = 0 if self.cap is None else max(0, len(rows) - self.cap)
        self._rows, self._coefficients = rows[keep:], coefficients[keep:]

    def checkpoint(self) -> tuple[Tensor, Tensor]:
        """The state, to be given to :meth:`restore`: an inner loop is rolled back with it. Nothing is copied."""
        return self._rows, self._coefficients

    def restore(self, state: tuple[Tensor, Tensor]) -> None:
        """Back to where :meth:`checkpoint` was."""
        self._rows, self._coefficients = state


class InfNTK1LP(_Kernel1LP):
    __doc__ = _Kernel1LP.__doc__


class InfGP1LP(_Kernel1LP):
    """Like :class:`InfNTK1LP` with the readout alone trained: the network's Gaussian process."""

    tangent = False


__all__ = ["FiniteLinear1LP", "InfGP1LP", "InfNTK1LP", "InfiniteLinear1LP"]
