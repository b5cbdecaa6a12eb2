"""What infinitely wide two-layer networks answer after training on unit vectors alone (arXiv 2502.16763).

Networks have no biases, ReLU units and outputs f(x) = sigma_w² W2 relu(W1 x / sqrt(k)) / sqrt(width). With t the angle
of two unit vectors, kappa(t) / k is their prior's covariance (NNGP) and tau(t) / k their tangent kernel (NTK).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ....errors import ZooInvalid

KERNELS = ("ntk", "nngp")


def two_layer_ntk(x: Tensor, z: Tensor) -> Tensor:
    """The tangent kernel ``[n, m]`` of rows ``[n, k]`` and ``[m, k]``: |x||z| (kappa(t) + cos t (π - t) / 2π) / k.

    >>> two_layer_ntk(torch.eye(2), torch.eye(2)).diag()
    tensor([0.5000, 0.5000])
    """
    scale, cosine, angle = _angles(x, z)
    return scale * (_kappa(cosine, angle) + cosine * (math.pi - angle) / (2 * math.pi))


def two_layer_nngp(x: Tensor, z: Tensor) -> Tensor:
    """The prior's covariance ``[n, m]``: |x||z| kappa(t) / k with kappa(t) = (sin t + (π - t) cos t) / 2π."""
    scale, cosine, angle = _angles(x, z)
    return scale * _kappa(cosine, angle)


def _angles(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if x.ndim != 2 or z.ndim != 2 or x.shape[1] != z.shape[1]:
        raise ZooInvalid(f"x and z have the shapes {tuple(x.shape)} and {tuple(z.shape)}; they must be [n, k], [m, k].")
    # One root of the product, so that the cosine of a binary vector with itself is exactly 1.
    norms = (x.square().sum(1)[:, None] * z.square().sum(1)).sqrt()
    if not (norms > 0).all():
        raise ZooInvalid("x or z holds a zero row, which has no direction.")
    cosine = (x @ z.T / norms).clamp(-1, 1)
    return norms / x.shape[1], cosine, cosine.acos()


def _kappa(cosine: Tensor, angle: Tensor) -> Tensor:
    return ((1 - cosine.square()).sqrt() + (math.pi - angle) * cosine) / (2 * math.pi)


def permutation_moments(k: int, n_ones: int, kernel: str = "ntk") -> tuple[float, float, float]:
    """Mean where the answer has a 0, mean where it has a 1, variance of any output, for an input with ``n_ones`` ones.

    ``kernel`` is "ntk", networks in NTK parametrisation, or "nngp", where in effect the last layer alone is trained, as
    in standard parametrisation of great width.

    >>> tuple(round(v, 5) for v in permutation_moments(30, 2))
    (-0.00427, 0.57101, 0.00214)
    """
    _check_kernel(kernel)
    if k < 2 or not 1 <= n_ones <= k:
        raise ZooInvalid(f"k is {k} and n_ones {n_ones}; k must be at least 2 and n_ones between 1 and k.")
    cosine = n_ones**-0.5
    angle = math.acos(cosine)
    prior = (math.sqrt(1 - cosine**2) + (math.pi - angle) * cosine) / (2 * math.pi)
    apart = 1 / (2 * math.pi)  # of two unit vectors, in both kernels
    tangent = kernel == "ntk"
    reach = prior + cosine * (math.pi - angle) / (2 * math.pi) if tangent else prior
    own = (1.0 if tangent else 0.5) - apart
    total = own + k * apart
    zero = apart * (own - n_ones * (reach - apart)) / (own * total)
    one = (own * reach + (k - n_ones) * apart * (reach - apart)) / (own * total)
    squares = n_ones * one**2 + (k - n_ones) * zero**2
    summed = n_ones * one + (k - n_ones) * zero
    crossed = n_ones * one * prior + (k - n_ones) * zero * apart
    variance = (0.5 + (0.5 - apart) * squares + apart * summed**2 - 2 * crossed) / k
    return zero, one, max(variance, 0.0)


def required_ensemble_size(k: int, n_tests: int, delta: float, n_ones: int = 2, kernel: str = "ntk") -> int:
    """Members after which all bits of ``n_tests`` inputs are right with probability 1 - ``delta``: the paper's bound.

    8 (variance / mean²) ln(2 k n_tests / delta), with the mean of the zeros, which two ones make the smallest.

    >>> required_ensemble_size(30, 1000, 0.1)
    12510
    """
    if n_tests < 1 or not 0 < delta < 1 or n_ones < 2:
        raise ZooInvalid(
            f"n_tests, delta and n_ones are {n_tests}, {delta} and {n_ones}; right are 1 or more, a share, 2 or more."
        )
    zero, _, variance = permutation_moments(k, n_ones, kernel)
    return round(8 * variance / zero**2 * math.log(2 * k * n_tests / delta))


def limit_moments(x: Tensor, y: Tensor, x_test: Tensor, kernel: str = "ntk") -> tuple[Tensor, Tensor]:
    """Means ``[t, m]`` and the one covariance ``[t, t]`` of all outputs at ``x_test`` after training on ``x``, ``y``.

    With A = Θ_*X Θ_XX^(-1): mean A y, covariance K_** + A K_XX A^T - A K_X* - K_*X A^T; for "nngp", where Θ = K, this
    is the posterior of a Gaussian process.
    """
    _check_kernel(kernel)
    tangent = two_layer_ntk if kernel == "ntk" else two_layer_nngp
    answer = torch.linalg.solve(tangent(x, x), tangent(x, x_test)).T
    cross = answer @ two_layer_nngp(x, x_test)
    covariance = two_layer_nngp(x_test, x_test) + answer @ two_layer_nngp(x, x) @ answer.T - cross - cross.T
    return answer @ y, covariance


def _check_kernel(kernel: str) -> None:
    if kernel not in KERNELS:
        raise ZooInvalid(f"kernel is {kernel!r}; it must be one of {', '.join(KERNELS)}.")


__all__ = [
    "limit_moments",
    "permutation_moments",
    "required_ensemble_size",
    "two_layer_nngp",
    "two_layer_ntk",
]
