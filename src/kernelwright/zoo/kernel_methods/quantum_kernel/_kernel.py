"""The fidelity kernel: exact, in tiles that fit in memory, with gradients, and as so many shots would estimate it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import nn

from ....errors import ZooInvalid
from ._states import ZZFeatureMap, as_points

_TILE = 1 << 27  # bytes that the states of one tile of points may take


def fidelity_gram(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """|<a|b>|² [N, M] of states given as parts, left [2, N, D] and right [2, M, D]: three real products, no complex.

    >>> parts = torch.tensor([[[1.0, 0.0], [0.6, 0.0]], [[0.0, 0.0], [0.0, 0.8]]])
    >>> fidelity_gram(parts, parts)
    tensor([[1.0000, 0.3600],
            [0.3600, 1.0000]])
    """
    (a, b), (c, d) = left, right
    # Gauss: (a - ib)(c + id) = ac + bd + i(ad - bc), with ad - bc = (a - b)(c + d) - ac + bd.
    first, second = a @ c.mT, b @ d.mT
    return (first + second).square() + ((a - b) @ (c + d).mT - first + second).square()


def exact_gram(feature_map: ZZFeatureMap, x: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
    """K [N, M] without gradients: states made tile by tile and never all held; half the work where z is None."""
    z_or_x = x if z is None else z
    rows = max(1, _TILE // ((2 << feature_map.n_qubits) * x.element_size()))
    gram = x.new_empty(len(x), len(z_or_x))
    with torch.no_grad():
        for i in range(0, len(x), rows):
            left = feature_map.parts(x[i : i + rows])
            for j in range(0, len(z_or_x), rows) if z is not None else range(0, i + 1, rows):
                right = left if z is None and i == j else feature_map.parts(z_or_x[j : j + rows])
                tile = fidelity_gram(left, right)
                gram[i : i + rows, j : j + rows] = tile
                if z is None and i != j:
                    gram[j : j + rows, i : i + rows] = tile.mT
        if z is None:
            gram.fill_diagonal_(1.0)
    return gram.clamp_(0.0, 1.0)


def estimate(gram: np.ndarray, shots: int, generator: np.random.RandomState, symmetric: bool) -> np.ndarray:
    """What ``shots`` runs of each circuit would show, Binomial(shots, K) / shots; of one set with its unit diagonal."""
    if not symmetric:
        return generator.binomial(shots, gram) / shots
    upper = np.triu_indices(len(gram), 1)
    noisy = np.eye(len(gram))
    noisy[upper] = generator.binomial(shots, gram[upper]) / shots
    return np.maximum(noisy, noisy.T)


def psd_project(gram: np.ndarray) -> np.ndarray:
    """The nearest positive semidefinite matrix in Frobenius norm: negative eigenvalues set to zero."""
    values, vectors = np.linalg.eigh(gram)
    return (vectors * values.clip(0)) @ vectors.T


@dataclass(frozen=True)
class FidelityKernel:
    """K(x, z) = |<Phi(x)|Phi(z)>|², for ``SVC(kernel=FidelityKernel(...))`` or as a precomputed matrix.

    ``shots`` None is exact; else every entry is the frequency of the all-zero outcome in so many runs of
    U(z)^dagger U(x)|0>, and Gram matrices of one set are made positive semidefinite where ``enforce_psd``.
    ``feature_map`` None stands for :class:`ZZFeatureMap` of as many qubits as there are features. Arrays [N, n] in,
    an array [N, M] out (arXiv 1804.11326, "Quantum kernel estimation").

    >>> FidelityKernel()([[1.0, 2.0], [1.0, 2.0]]).round(6).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """

    feature_map: ZZFeatureMap | None = None
    shots: int | None = None
    enforce_psd: bool = True
    random_state: int | np.random.RandomState | None = None

    def __post_init__(self) -> None:
        if self.shots is not None and self.shots < 1:
            raise ZooInvalid(f"shots is {self.shots}; it is a positive number, or None for the exact kernel.")

    def __call__(self, x: Any, y: Any = None) -> np.ndarray:
        """K [N, M]; where ``y`` is None or is ``x`` itself, the symmetric matrix of one set with unit diagonal."""
        symmetric = y is None or y is x
        points = as_points(x)
        feature_map = self.feature_map or ZZFeatureMap(points.shape[-1])
        gram = exact_gram(feature_map, points, None if symmetric else as_points(y).to(points.dtype)).numpy()
        if self.shots is None:
            return gram
        noisy = estimate(gram, self.shots, check_random_state(self.random_state), symmetric)
        return psd_project(noisy) if symmetric and self.enforce_psd else noisy


class FidelityGram(nn.Module):
    """The exact kernel as a module: ``forward(x, z=None)`` gives K [N, M] with gradients in points and ``scale``.

    ``scale`` [n] multiplies the features before they become angles; training it against
    :func:`kernel_target_alignment` fits the kernel to labels.

    >>> FidelityGram(ZZFeatureMap(2))(torch.rand(3, 2)).shape
    torch.Size([3, 3])
    """

    def __init__(self, feature_map: ZZFeatureMap, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.feature_map = feature_map
        self.scale = nn.Parameter(torch.ones(feature_map.n_qubits, dtype=dtype))

    def forward(self, x: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
        left = self.feature_map.parts(x * self.scale)
        return fidelity_gram(left, left if z is None else self.feature_map.parts(z * self.scale))


def kernel_target_alignment(gram: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """<K, y y^T> / (|K| |y y^T|) of a Gram matrix [N, N] and labels ±1 [N]: 1 where the kernel knows the labels."""
    y = labels.to(gram.dtype)
    return (y @ gram @ y) / (gram.norm() * y.square().sum())


__all__ = [
    "FidelityGram",
    "FidelityKernel",
    "estimate",
    "exact_gram",
    "fidelity_gram",
    "kernel_target_alignment",
    "psd_project",
]
