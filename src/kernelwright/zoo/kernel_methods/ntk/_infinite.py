"""Infinitely wide networks, composed like stax layers: each layer maps the kernels of its inputs to its own.

The covariance of a rectifier layer depends on the angle between two inputs, and an arc cosine loses half of its digits
for nearly parallel and nearly opposite inputs. So no cosine is carried here, but the two *gaps* to parallel and to
opposite, each accurate to its own size: ``gap = r - S`` and ``total = r + S`` with ``r = sqrt(S(x,x) S(z,z))``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ....errors import ZooInvalid
from ._network import NTKLinear

_NEAR = 1e-2  # pairs with 1 - |cosine| below this are computed again from differences
_CHUNK = 1 << 20  # numbers that such a second look may hold at once


@dataclass(frozen=True)
class Kernel:
    """What an infinite network knows of pairs of inputs at one layer.

    ``left`` [n, 1] and ``right`` [1, m] are the variances of single inputs, ``gap`` and ``total`` [n, m] are
    ``r - S`` and ``r + S``, ``ntk`` [n, m] is the tangent kernel so far.
    """

    left: Tensor
    right: Tensor
    gap: Tensor
    total: Tensor
    ntk: Tensor

    @property
    def nngp(self) -> Tensor:
        """The covariance S [n, m] of the infinitely wide network at its random start."""
        return (self.total - self.gap) / 2

    @property
    def root(self) -> Tensor:
        """``sqrt(S(x,x) S(z,z))`` [n, m]."""
        return _sqrt(self.left) * _sqrt(self.right)


def plain_inputs(x: Tensor, z: Tensor, scale: float) -> Kernel:
    """The inputs' own covariance ``scale <x, z>`` by one matrix product; parallel pairs as rounding leaves them."""
    left, right = scale * (x * x).sum(1)[:, None], scale * (z * z).sum(1)[None, :]
    root, inner = _sqrt(left) * _sqrt(right), scale * (x @ z.T)
    return Kernel(left, right, (root - inner).clamp_min(0), (root + inner).clamp_min(0), torch.zeros_like(inner))


def inputs(x: Tensor, z: Tensor, scale: float) -> Kernel:
    """Like :func:`plain_inputs`, with nearly parallel and nearly opposite pairs computed again from differences."""
    kernel = plain_inputs(x, z, scale)
    root = kernel.root
    gap = _from_differences(kernel.gap, root, x, z, -1.0)
    total = _from_differences(kernel.total, root, x, z, 1.0)
    return Kernel(kernel.left, kernel.right, gap, total, kernel.ntk)


def diagonal_inputs(x: Tensor, scale: float) -> Kernel:
    """Each input with itself: all fields are [n, 1]."""
    left = scale * (x * x).sum(1, keepdim=True)
    return Kernel(left, left, torch.zeros_like(left), 2 * left, torch.zeros_like(left))


def _from_differences(gap: Tensor, root: Tensor, x: Tensor, z: Tensor, sign: float) -> Tensor:
    """``r ∓ S`` as ``r |x/|x| ± z/|z||² / 2`` wherever it is small beside r: no two large numbers cancel."""
    i, j = (gap < _NEAR * root).nonzero(as_tuple=True)
    if len(i) == 0:
        return gap
    unit_x, unit_z = _unit(x), _unit(z)
    step = max(1, _CHUNK // max(1, x.shape[1]))
    near = [(unit_x[a] + sign * unit_z[b]).square().sum(1) for a, b in zip(i.split(step), j.split(step), strict=True)]
    return gap.index_put((i, j), root[i, j] * torch.cat(near) / 2)


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)


def _sqrt(x: Tensor) -> Tensor:
    """The square root whose gradient at zero is zero: a kernel's ridge on the diagonal has no slope to either side."""
    if not x.requires_grad:
        return x.sqrt()
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0 * x)


@dataclass(frozen=True)
class Dense:
    """A fully connected layer of infinite width in the NTK parametrisation: ``w W h / sqrt(n) + b_std b``.

    Equations (section 4 of the paper, there with ``w_std = 1``): S <- w² S + b², Theta <- w² Theta + S.
    """

    w_std: float = 1.0
    b_std: float = 0.1

    def __call__(self, kernel: Kernel) -> Kernel:
        w, b = self.w_std**2, self.b_std**2
        left, right = w * kernel.left + b, w * kernel.right + b
        gap, total = w * kernel.gap, w * kernel.total
        if b > 0:  # what biases add to r beyond what they add to S, without the difference of two large numbers
            one, other = _sqrt(kernel.left), _sqrt(kernel.right)
            spread, bound = (one - other) ** 2, (_sqrt(left) * _sqrt(right) + b) + w * one * other
            gap = torch.addcdiv(gap, spread, bound, value=w * b)
            total = torch.addcdiv(total + 2 * b, spread, bound, value=w * b)
        return Kernel(left, right, gap, total, torch.add((total - gap) / 2, kernel.ntk, alpha=w))

    def module(self, fan_in: int, fan_out: int) -> nn.Module:
        """The same layer at finite width."""
        return NTKLinear(fan_in, fan_out, w_std=self.w_std, b_std=self.b_std)


@dataclass(frozen=True)
class Relu:
    """``max(h, 0)``: E[s s] = r (sin t + (pi - t) cos t) / 2 pi, E[s' s'] = (pi - t) / 2 pi at the angle t."""

    def __call__(self, kernel: Kernel) -> Kernel:
        near, far = _sqrt(kernel.gap), _sqrt(kernel.total)
        half = torch.atan2(near, far)  # half the angle: relatively accurate at zero, absolutely at a right angle
        # sin t - t cos t with r sin t = near * far and r cos t = S, so no further sine or cosine is needed.
        bend = torch.addcmul(near * far, half, kernel.total - kernel.gap, value=-1)
        gap = torch.add(kernel.gap, bend, alpha=-1 / math.pi).clamp_min(0) / 2
        left, right = kernel.left / 2, kernel.right / 2
        total = (2 * _sqrt(left)) * _sqrt(right) - gap
        return Kernel(left, right, gap, total, kernel.ntk * torch.rsub(half, 0.5 * math.pi) / math.pi)

    def module(self) -> nn.Module:
        """The same at finite width."""
        return nn.ReLU()


@dataclass(frozen=True)
class Erf:
    """The error function (Williams 1997): arc sines of ``2 S / sqrt((1 + 2 S(x,x)) (1 + 2 S(z,z)))``."""

    def __call__(self, kernel: Kernel) -> Kernel:
        bound = (1 + 2 * kernel.left) * (1 + 2 * kernel.right)
        inner = 2 * kernel.nngp
        nngp = torch.asin((inner / bound.sqrt()).clamp(-1, 1)) * (2 / math.pi)
        slope = (4 / math.pi) / (bound - inner**2).sqrt()
        return _with(kernel, self._variance(kernel.left), self._variance(kernel.right), nngp, slope)

    @staticmethod
    def _variance(q: Tensor) -> Tensor:
        return torch.asin(2 * q / (1 + 2 * q)) * (2 / math.pi)

    def module(self) -> nn.Module:
        """The same at finite width."""
        return Pointwise(torch.erf)


@dataclass(frozen=True)
class Elementwise:
    """Any activation by its Hermite series: E[s s] = sum_k a_k(x) a_k(z) c^k, E[s' s'] = its derivative in S.

    ``a_k(x) = E[s(sqrt(S(x,x)) u) h_k(u)]`` by Gauss-Hermite quadrature. ``degree`` is the last power kept: smooth
    functions need a dozen, a kink needs hundreds.
    """

    function: Callable[[Tensor], Tensor]
    degree: int = 32

    def __call__(self, kernel: Kernel) -> Kernel:
        a, b = self._series(kernel.left), self._series(kernel.right)
        root = kernel.root.clamp_min(torch.finfo(kernel.gap.dtype).tiny)
        cosine = (kernel.nngp / root).clamp(-1, 1)
        nngp, slope = torch.zeros_like(cosine), torch.zeros_like(cosine)
        for k in range(self.degree, -1, -1):  # Horner's scheme for the series and its derivative at once
            slope = slope * cosine + nngp
            nngp = nngp * cosine + a[k] * b[k]
        return _with(kernel, (a * a).sum(0), (b * b).sum(0), nngp, slope / root)

    def _series(self, variance: Tensor) -> Tensor:
        """Coefficients [degree + 1, *variance.shape]."""
        nodes, basis = hermite(self.degree, variance.dtype)
        values = self.function(_sqrt(variance)[..., None] * nodes.to(variance.device))
        return torch.einsum("...q,kq->k...", values, basis.to(variance.device))

    def module(self) -> nn.Module:
        """The same at finite width."""
        return Pointwise(self.function)


def _with(kernel: Kernel, left: Tensor, right: Tensor, nngp: Tensor, slope: Tensor) -> Kernel:
    root = _sqrt(left) * _sqrt(right)
    return Kernel(left, right, (root - nngp).clamp_min(0), (root + nngp).clamp_min(0), kernel.ntk * slope)


def hermite(degree: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Nodes [q] of a Gaussian and normalised Hermite polynomials times their weights [degree + 1, q]."""
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(min(2 * degree + 32, 180))
    rows = [np.ones_like(nodes), nodes]
    for k in range(1, degree):
        rows.append((nodes * rows[k] - math.sqrt(k) * rows[k - 1]) / math.sqrt(k + 1))
    basis = np.stack(rows[: degree + 1]) * (weights / weights.sum())
    return torch.from_numpy(nodes).to(dtype), torch.from_numpy(basis).to(dtype)


class Pointwise(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


Activation = Relu | Erf | Elementwise
Layer = Dense | Activation
ACTIVATIONS: dict[str, Activation] = {"relu": Relu(), "erf": Erf()}


def activation_of(activation: str | Callable[[Tensor], Tensor] | Activation) -> Activation:
    """The layer of a name ("relu", "erf") or of a function of one tensor."""
    if isinstance(activation, Relu | Erf | Elementwise):
        return activation
    if callable(activation):
        return Elementwise(activation)
    if activation not in ACTIVATIONS:
        raise ZooInvalid(f"activation is {activation!r}; give {' or '.join(map(repr, ACTIVATIONS))}, or a function.")
    return ACTIVATIONS[activation]


__all__ = [
    "Activation",
    "Dense",
    "Elementwise",
    "Erf",
    "Kernel",
    "Layer",
    "Relu",
    "activation_of",
    "diagonal_inputs",
    "hermite",
    "inputs",
    "plain_inputs",
]
