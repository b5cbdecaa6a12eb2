"""The estimator: a kernel density whose bandwidth is meant for many dimensions, and that says which regime it is in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ._sums import multi_bandwidth_kde
from ._theory import kde_thresholds

_Array = np.ndarray[Any, Any]
_ROUNDS = 2  # of the search for the best left-out likelihood, each on a finer grid


@dataclass(frozen=True)
class RegimeReport:
    """Where a bandwidth stands on some points: thresholds for Gaussian data with the fitted covariance, and the facts.

    ``participation`` and ``entropy`` are medians over the points; ``regime`` is "gaussian", "stable" or "condensed".
    """

    h: float
    h_g: float
    h_clt: float
    h_opt: float
    participation: float
    entropy: float
    regime: str


class HighDimKernelDensity(DensityMixin, BaseEstimator):
    """A Gaussian kernel density estimate for data whose dimension is no longer small beside log n.

    Parameters
    ----------
    bandwidth : a number, what the unit Gaussian is scaled by; "kl", the bandwidth that is best for Gaussian data with
        the covariance of ``X`` (it needs no search); or "loo", the one with the highest leave-one-out likelihood.
    n_bandwidths : how many are tried in each of the two rounds of "loo".

    Attributes
    ----------
    bandwidth_ : the number in use. spectrum_ : eigenvalues of the covariance, ascending.
    loo_curve_ : with "loo", the bandwidths of the first round and their mean log-likelihoods, ``[2, n_bandwidths]``.

    >>> x = np.random.RandomState(0).randn(200, 20)
    >>> model = HighDimKernelDensity().fit(x)
    >>> model.diagnose(x[:50] + 0.01).regime
    'condensed'
    """

    def __init__(self, bandwidth: float | str = "kl", *, n_bandwidths: int = 32) -> None:
        self.bandwidth = bandwidth
        self.n_bandwidths = n_bandwidths

    def fit(self, X: Any, y: Any = None) -> HighDimKernelDensity:
        """Keep the points ``[n, d]``, n at least 2, and settle the bandwidth."""
        if isinstance(self.bandwidth, str) and self.bandwidth not in ("kl", "loo"):
            raise ValueError(f"bandwidth is {self.bandwidth!r}; it must be 'kl', 'loo' or a number above 0.")
        if not isinstance(self.bandwidth, str) and not 0 < self.bandwidth < math.inf:
            raise ValueError(f"bandwidth is {self.bandwidth}; it must be 'kl', 'loo' or a number above 0.")
        if self.n_bandwidths < 3:
            raise ValueError(f"n_bandwidths is {self.n_bandwidths}; it must be at least 3.")
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self.X_fit_ = torch.tensor(X)
        self.spectrum_ = np.linalg.eigvalsh(np.atleast_2d(np.cov(X.T))).clip(min=0)
        if not self.spectrum_.any():
            raise ValueError("All rows of X are the same; a density needs points that differ.")
        # What rounding leaves of directions that never change is none of the spectrum.
        self.spectrum_[self.spectrum_ < 1e-12 * self.spectrum_.max()] = 0
        if self.bandwidth == "kl":
            self.bandwidth_ = kde_thresholds(*self._model()).h_opt
        else:
            self.bandwidth_ = self._search() if self.bandwidth == "loo" else float(self.bandwidth)
        return self

    def score_samples(self, X: Any) -> _Array:
        """The log density at each row of ``X`` ``[m, d]``: ``[m]``."""
        return self._sums(X).log_density[0].numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """The sum of the log densities."""
        return float(self.score_samples(X).sum())

    def diagnose(self, X: Any) -> RegimeReport:
        """Which regime the bandwidth is in, and how many points make the estimates up, at fresh points ``[m, d]``."""
        sums = self._sums(X)
        limits = kde_thresholds(*self._model())
        at = (self.bandwidth_ > limits.h_g) + (self.bandwidth_ > limits.h_clt)
        return RegimeReport(
            self.bandwidth_, limits.h_g, limits.h_clt, limits.h_opt, float(sums.participation.median()),
            float(sums.entropy.median()), ("condensed", "stable", "gaussian")[at],
        )  # fmt: skip

    def _sums(self, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return multi_bandwidth_kde(torch.tensor(X), self.X_fit_, [self.bandwidth_])

    def _model(self) -> tuple[float, _Array]:
        """alpha and the spectrum of the directions in which there is anything."""
        spectrum = self.spectrum_[self.spectrum_ > 0]
        return math.log(len(self.X_fit_)) / len(spectrum), spectrum

    def _search(self) -> float:
        """The bandwidth whose left-out likelihood is best: on a grid, then between the neighbours of its best."""
        widest = float(self.spectrum_.mean()) ** 0.5
        low, high = widest / 50, widest * 3
        for turn in range(_ROUNDS):
            grid = np.geomspace(low, high, self.n_bandwidths)
            sums = multi_bandwidth_kde(self.X_fit_, self.X_fit_, grid.tolist(), leave_one_out=True)
            likelihood = sums.log_density.mean(1).numpy()
            if turn == 0:
                self.loo_curve_ = np.stack([grid, likelihood])
            best = int(likelihood.argmax())
            low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
        return float(grid[best])


__all__ = ["HighDimKernelDensity", "RegimeReport"]
