"""Training in function space: what an infinitely wide network predicts at any time, in closed form.

Gradient flow on ``1/(2N) sum (f - y)²`` moves ``f`` by ``-(1/N) Theta(., X) (f(X) - y)`` (section 5 of the paper), so
each principal component of the kernel is learnt at its own rate: early stopping is a spectral filter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """A training kernel ``U diag(values) Uᵀ`` [n, n], in float64; ``alpha`` is added to all values."""

    values: Tensor
    vectors: Tensor
    alpha: float = 0.0

    @classmethod
    def of(cls, gram: Tensor, alpha: float = 0.0) -> Spectrum:
        """Decompose a Gram matrix; what rounding made negative becomes zero."""
        values, vectors = torch.linalg.eigh(gram.double())
        return cls(values.clamp_min(0), vectors, alpha)

    def filter(self, times: Tensor, learning_rate: float | None = None) -> Tensor:
        """``(1 - decay) / value`` [t, n] at times [t]: the part of 1/value that training has reached.

        With ``learning_rate`` times count steps of gradient descent and decay is ``(1 - rate value / n)^steps``,
        without it is ``exp(-time value / n)``. Values that rounding cannot tell from zero are not inverted.
        """
        shifted = self.values + self.alpha
        rates = shifted / max(1, len(shifted))
        known = shifted > len(shifted) * torch.finfo(shifted.dtype).eps * shifted.max()
        safe = torch.where(known, shifted, 1.0)
        return torch.where(known, learnt(rates, times[:, None], learning_rate) / safe, 0.0)


def learnt(rates: Tensor, times: Tensor, learning_rate: float | None = None) -> Tensor:
    """The learnt part ``1 - exp(-times rates)``, or ``1 - (1 - learning_rate rates)^times`` for discrete steps."""
    if learning_rate is None:
        return torch.where(rates > 0, -torch.expm1(-times * rates), 0.0)
    factor = 1 - learning_rate * rates
    at_last = torch.where(factor.abs() < 1, 0.0, torch.where(factor == 1, 1.0, math.nan))
    return 1 - torch.where(times.isinf(), at_last, factor**times)


def spectral_filter_apply(vectors: Tensor, filters: Tensor, residual: Tensor) -> Tensor:
    """``U (filter o (Uᵀ r))`` for many times at once: [n, n], [t, n], [n, o] -> [t, n, o]."""
    return vectors @ (filters[:, :, None] * (vectors.T @ residual))


def empirical_ntk_dense(h1: Tensor, d1: Tensor, h2: Tensor, d2: Tensor) -> Tensor:
    """A two-layer network's kernel from layer inputs h [n, in] and derivatives d [n, out], in NTK scaling."""
    first = (h1 @ h1.T / h1.shape[1] + 0.01) * (d1 @ d1.T)
    return first + (h2 @ h2.T / h2.shape[1] + 0.01) * (d2 @ d2.T)


__all__ = ["Spectrum", "empirical_ntk_dense", "learnt", "spectral_filter_apply"]
