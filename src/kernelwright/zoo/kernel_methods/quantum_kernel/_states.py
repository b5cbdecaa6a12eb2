"""The feature map: data points as states of n qubits, in real arithmetic, for all points at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ....errors import ZooInvalid

Entanglement = Literal["full", "linear", "circular"]
PairPhase = Literal["pi-minus", "product", "none"] | Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_PHASES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "pi-minus": lambda a, b: (math.pi - a) * (math.pi - b),
    "product": lambda a, b: a * b,
    "none": lambda a, b: torch.zeros_like(a),
}
_MOST_QUBITS = 20
_FACTOR = 5  # bits that one small matrix product transforms: 32 numbers fill a cache line or two


def hadamard(bits: int, like: torch.Tensor) -> torch.Tensor:
    """The orthonormal Hadamard matrix of 2^bits rows, in the dtype and on the device of ``like``."""
    one = like.new_tensor([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    matrix = like.new_ones(1, 1)
    for _ in range(bits):
        matrix = torch.kron(matrix, one)
    return matrix


def walsh_hadamard(x: torch.Tensor) -> torch.Tensor:
    """The orthonormal Walsh-Hadamard transform [..., 2^n] along the last axis, in O(n 2^n) work.

    Each pass transforms the lowest bits by one product with a small Hadamard matrix and turns them to the top, so
    that after all passes every bit is transformed and back in its place.

    >>> walsh_hadamard(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    size = x.shape[-1]
    if size < 1 or size & (size - 1):
        raise ZooInvalid(f"The last axis has length {size}; a Walsh-Hadamard transform needs a power of two.")
    left = size.bit_length() - 1
    out = x.reshape(-1, size)
    while left > 0:
        bits = min(left, _FACTOR)
        out = out.reshape(out.shape[0], -1, 1 << bits) @ hadamard(bits, x)
        out = out.transpose(1, 2).reshape(out.shape[0], size)
        left -= bits
    return out.reshape(x.shape)


def zz_feature_states(coefficients: torch.Tensor, table: torch.Tensor, reps: int = 2) -> torch.Tensor:
    """Real and imaginary parts [2, N, 2^n] of (U H)^reps |0> for U = exp(i diag(coefficients @ table)).

    ``coefficients`` [N, n + pairs] are phi_i and phi_ij; ``table`` [n + pairs, 2^n] the eigenvalues ±1 of Z_i and
    Z_i Z_j. The first H only makes all amplitudes equal, so reps - 1 transforms remain.
    """
    phase = coefficients @ table
    cosine, sine = phase.cos(), phase.sin()
    states = torch.stack([cosine, sine]) / math.sqrt(table.shape[1])
    for _ in range(reps - 1):
        real, imaginary = walsh_hadamard(states)
        states = torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine])
    return states


@dataclass(frozen=True)
class ZZFeatureMap:
    """|Phi(x)> = (U_phi(x) H)^reps |0...0> of ``n_qubits`` = number of features (arXiv 1804.11326, page 2 and Fig. 1).

    U_phi(x) = exp(i sum_i x_i Z_i + i sum_ij phi(x_i, x_j) Z_i Z_j) with phi(a, b) = (pi - a)(pi - b) for
    ``phi="pi-minus"``, a b for "product", 0 for "none", or what a callable of two tensors returns. Pairs ij are all
    ("full"), neighbours ("linear"), or neighbours in a ring ("circular"). Features are angles, meant to lie in
    (0, 2 pi]: phi is not periodic. Qubit 0 is the highest bit of an amplitude's index.

    >>> ZZFeatureMap(2).states(torch.rand(5, 2)).shape
    torch.Size([5, 4])
    """

    n_qubits: int
    reps: int = 2
    entanglement: Entanglement = "full"
    phi: PairPhase = "pi-minus"

    def __post_init__(self) -> None:
        if not 1 <= self.n_qubits <= _MOST_QUBITS:
            raise ZooInvalid(f"n_qubits is {self.n_qubits}; exact simulation is for 1 to {_MOST_QUBITS} qubits.")
        if self.reps < 1:
            raise ZooInvalid(f"reps is {self.reps}; a feature map has at least one block.")
        if self.entanglement not in ("full", "linear", "circular"):
            raise ZooInvalid(f"entanglement is {self.entanglement!r}; it is 'full', 'linear' or 'circular'.")
        if not callable(self.phi) and self.phi not in _PHASES:
            raise ZooInvalid(f"phi is {self.phi!r}; it is {', '.join(map(repr, _PHASES))} or a function.")

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The pairs of qubits that interact."""
        if self.entanglement == "full":
            return tuple(itertools.combinations(range(self.n_qubits), 2))
        line = tuple((i, i + 1) for i in range(self.n_qubits - 1))
        ring = ((0, self.n_qubits - 1),) if self.entanglement == "circular" and self.n_qubits > 2 else ()
        return line + ring

    def table(self, like: torch.Tensor) -> torch.Tensor:
        """Eigenvalues ±1 of Z_i, then of Z_i Z_j, at every basis state: [n + pairs, 2^n]."""
        index = torch.arange(1 << self.n_qubits, device=like.device)
        shifts = torch.arange(self.n_qubits - 1, -1, -1, device=like.device)
        z = (1 - 2 * ((index[None, :] >> shifts[:, None]) & 1)).to(like.dtype)
        return torch.cat([z, *(z[i : i + 1] * z[j : j + 1] for i, j in self.pairs)])

    def coefficients(self, x: torch.Tensor) -> torch.Tensor:
        """The phases phi_i = x_i and phi_ij of points x [N, n]: [N, n + pairs]."""
        if x.ndim != 2 or x.shape[1] != self.n_qubits:
            raise ZooInvalid(f"Points have shape {tuple(x.shape)}; the feature map needs [N, {self.n_qubits}].")
        phi = _PHASES[self.phi] if isinstance(self.phi, str) else self.phi
        pairs = self.pairs
        if not pairs:
            return x
        first, second = ([pair[side] for pair in pairs] for side in (0, 1))
        return torch.cat([x, phi(x[:, first], x[:, second])], dim=1)

    def parts(self, x: torch.Tensor) -> torch.Tensor:
        """Real and imaginary parts of the states of x [N, n]: [2, N, 2^n], differentiable in x."""
        return zz_feature_states(self.coefficients(x), self.table(x), self.reps)

    def states(self, x: Any) -> torch.Tensor:
        """The states of x [N, n] (array or tensor) as complex numbers [N, 2^n]; float32 gives complex64."""
        return torch.complex(*self.parts(as_points(x)))

    __call__ = states


def as_points(x: Any) -> torch.Tensor:
    """Arrays and lists as float tensors: float32 stays, everything else becomes float64."""
    points = x if isinstance(x, torch.Tensor) else torch.tensor(np.asarray(x))  # a copy: arrays may be read-only
    return points if points.dtype in (torch.float32, torch.float64) else points.to(torch.float64)


__all__ = ["Entanglement", "PairPhase", "ZZFeatureMap", "as_points", "hadamard", "walsh_hadamard", "zz_feature_states"]
