"""Kernel sums over private rows as a scikit-learn estimator; its privacy accounting is that of ``_base``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ._base import Private
from ._features import KERNELS, Sketch
from ._noise import Floats
from ._privacy import Adjacency, Noise, Sensitivity

_COUNT_SHARE = 0.1  # add-remove: the count is released beside the features, weighted by this share of their sensitivity


class DPKernelDensity(Private):
    """Private answers to sum_x k((x - y) / bandwidth) for any number of queries y.

    The released vector is the sum over rows of ``n_features`` random Fourier features (Wagner, Naamad, Mishra, ICML
    2023; arXiv 2403.08917, section on kernels). See the module for the privacy accounting.

    Parameters: ``kernel``: "gaussian" exp(-|u|^2/2), "exponential" exp(-|u|_2), "laplacian" exp(-|u|_1), "cauchy"
    1/(1+|u|^2), "inverse-l2" 1/(1+|u|_2) or "inverse-l1" 1/(1+|u|_1). ``n_features``: how many frequencies, or "auto":
    where the error of the features and that of Laplace noise balance. ``form``: "phase" as in the paper, "pair" for
    cosines and sines at the same sensitivity. ``projection_dim``: project rows by a random Gaussian matrix first; this
    saves time where columns are thousands, and biases the sums.

    Attributes: ``sums_`` the released features, ``count_`` the number of rows (noisy under "add-remove"),
    ``sensitivity_`` (l1, l2), ``ledger_``, ``epsilon_spent_``, ``delta_spent_``, ``n_features_``, ``n_features_in_``.

    >>> x = np.random.default_rng(0).normal(size=(5000, 2))
    >>> density = DPKernelDensity(epsilon=1.0, random_state=0).fit(x)
    >>> bool(abs(density.kernel_sum([[0.0, 0.0]])[0] / 5000 - 0.5) < 0.1)
    True
    """

    def __init__(
        self,
        kernel: str = "gaussian",
        *,
        bandwidth: float = 1.0,
        epsilon: float = 1.0,
        delta: float = 0.0,
        noise: Noise = "discrete",
        adjacency: Adjacency = "replace-one",
        n_features: int | str = "auto",
        form: str = "pair",
        projection_dim: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.epsilon = epsilon
        self.delta = delta
        self.noise = noise
        self.adjacency = adjacency
        self.n_features = n_features
        self.form = form
        self.projection_dim = projection_dim
        self.random_state = random_state

    def fit(self, X: object, y: object = None) -> DPKernelDensity:
        """Release the features of the private rows ``X [n, d]``; ``y`` is ignored."""
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel={self.kernel!r} is not one of {', '.join(KERNELS)}.")
        if self.form not in ("pair", "phase"):
            raise ValueError(f"form={self.form!r} is neither 'pair' nor 'phase'.")
        if not self.bandwidth > 0:
            raise ValueError(f"bandwidth={self.bandwidth!r} must be positive.")
        x, public, budget = self._begin(X)
        d = x.shape[1]
        self._projection = None
        if self.projection_dim is not None:
            d = self.projection_dim
            self._projection = public.standard_normal((x.shape[1], d)) / math.sqrt(d)
        self.n_features_ = self._balanced(len(x)) if self.n_features == "auto" else int(self.n_features)
        self._sketch = Sketch.draw(public, self.kernel, d, self.n_features_, self.bandwidth, self.form)
        vector, self.sensitivity_ = self._statistic(x)
        noised = budget.release(f"{self.kernel} features", vector, self.sensitivity_)
        self.sums_ = noised[: vector.size - (self.adjacency == "add-remove")]
        self.count_ = float(len(x))
        if self.adjacency == "add-remove":
            self.count_ = max(1.0, float(noised[-1]) / self._count_weight())
        self._finish(budget)
        return self

    def kernel_sum(self, Y: object) -> Floats:
        """The private estimate of sum_x k((x - y) / bandwidth) at ``Y [q, d]``: ``[q]``. It may be negative."""
        y = self._embed(self._queries(Y))
        return self._sketch.answers(y, torch.from_numpy(self.sums_)).numpy()

    def score_samples(self, Y: object) -> Floats:
        """Logarithms ``[q]`` of the average similarity to the private rows, floored at 1e-12.

        This is the kernel density up to the kernel's constant, which answers the same comparisons.
        """
        return np.log(np.maximum(self.kernel_sum(Y) / self.count_, 1e-12))

    def _statistic(self, x: Floats) -> tuple[Floats, Sensitivity]:
        """The vector that noise goes onto, and how far one row moves it."""
        sums = self._sketch.sums(self._embed(x))
        bound = self._sketch.sensitivity(self.adjacency)
        if self.adjacency == "replace-one":
            return sums, bound
        weight = self._count_weight()
        return np.append(sums, weight * len(x)), Sensitivity(bound.l1 + weight, math.hypot(bound.l2, weight))

    def _count_weight(self) -> float:
        bound = self._sketch.sensitivity("add-remove")
        return _COUNT_SHARE * (bound.l2 if self.noise == "gaussian" else bound.l1)

    def _embed(self, x: Floats) -> torch.Tensor:
        x = x if self._projection is None else x @ self._projection
        return torch.from_numpy(np.require(x, requirements="W"))

    def _balanced(self, n: int) -> int:
        """Frequencies I at which sqrt(1/I) of the features is about 4 sqrt(I) / (epsilon n) of the noise.

        Gaussian noise does not grow with I, so there the most is best. Under "add-remove" n is private, and so no
        choice may depend on it: 256.
        """
        if math.isinf(self.epsilon) or self.noise == "gaussian":
            return 4096
        return 256 if self.adjacency == "add-remove" else min(max(round(0.09 * self.epsilon * n), 16), 4096)


__all__ = ["DPKernelDensity"]
