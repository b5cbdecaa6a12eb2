"""Kernel density estimates with n = exp(alpha d) points in d dimensions as a random energy model (arXiv 2408.05807).

Z = sum_i exp(-lam |x - y_i|² / 2), lam = 1 / h², is a partition function at a typical point x of Gaussian data whose
covariance has the given spectrum; phi(lam) = (1/d) log E exp(-lam |x - y|² / 2). Everything follows from phi.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ....errors import ZooInvalid


@dataclass(frozen=True)
class Thresholds:
    """Bandwidths at which the law of the estimate changes, for one alpha and one spectrum.

    Above ``h_clt`` it is Gaussian, between ``h_g`` and ``h_clt`` heavy-tailed but near its mean, below ``h_g`` it hangs
    on the nearest points. ``h_opt`` has the least Kullback-Leibler divergence, ``kl_min`` (over d); ``r_c`` is the
    squared distance over d to the nearest point.
    """

    h_g: float
    h_clt: float
    h_opt: float
    r_c: float
    kl_min: float


class _Model:
    """phi and its derivative for a spectrum (one eigenvalue for each dimension; None: all ones)."""

    def __init__(self, spectrum: ArrayLike | None) -> None:
        values = np.ones(1) if spectrum is None else np.asarray(spectrum, np.float64).ravel()
        if not len(values) or not np.isfinite(values).all() or (values < 0).any() or not values.any():
            raise ZooInvalid("spectrum must hold eigenvalues of a covariance: finite, none below 0, not all 0.")
        self.values = values

    def phi(self, lam: float) -> float:
        u = lam * self.values
        return float(-0.5 * np.mean(np.log1p(u) + u / (1 + u)))

    def distance(self, lam: float) -> float:
        """-2 phi': the squared distance over d of the points that make Z up."""
        s = self.values
        return float(np.mean(s / (1 + lam * s) + s / (1 + lam * s) ** 2))

    def entropy(self, lam: float, alpha: float) -> float:
        """(1/d) log of how many points make Z up; decreasing in lam."""
        return alpha + self.phi(lam) + 0.5 * lam * self.distance(lam)

    @property
    def log_scale(self) -> float:
        """The mean logarithm of the spectrum: -inf where an eigenvalue is 0, for then there is no density."""
        with np.errstate(divide="ignore"):
            return float(np.mean(np.log(self.values)))

    def condensation(self, alpha: float) -> float:
        """The lam at which the entropy is 0."""
        if not (alpha > 0 and math.isfinite(alpha)):
            raise ZooInvalid(f"alpha is {alpha}; log(n) / d must be finite and above 0.")
        low = high = 1 / float(np.mean(self.values))
        while self.entropy(low, alpha) < 0:
            low /= 4
        while self.entropy(high, alpha) > 0:
            if high > 1e150:
                raise ZooInvalid(f"alpha is {alpha}, more than a spectrum with so many zeros can ever condense at.")
            high *= 4
        for _ in range(80):  # halves the logarithm of the bracket to nothing
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self.entropy(middle, alpha) > 0 else (low, middle)
        return math.sqrt(low * high)


def kde_thresholds(alpha: float, spectrum: ArrayLike | None = None) -> Thresholds:
    """The thresholds of a Gaussian kernel for ``alpha`` = log(n) / d, on Gaussian data with this covariance spectrum.

    Raises :class:`ZooInvalid`.

    >>> t = kde_thresholds(0.1)
    >>> round(t.h_g, 4), round(t.h_clt, 4), round(t.h_opt, 4)
    (1.3708, 1.9386, 1.0386)
    """
    model = _Model(spectrum)
    lam = model.condensation(alpha)
    nearest = model.distance(lam)
    kl_min = alpha + 0.5 * math.log(nearest) - 0.5 * model.log_scale
    return Thresholds(lam**-0.5, (2 / lam) ** 0.5, nearest**0.5, nearest, kl_min)


def kde_kl_theory(h: float, alpha: float, spectrum: ArrayLike | None = None) -> float:
    """The Kullback-Leibler divergence of the estimate with bandwidth ``h`` from the truth, over d, as d grows."""
    if not h > 0:
        raise ZooInvalid(f"h is {h}; a bandwidth is above 0.")
    model, limit = _Model(spectrum), kde_thresholds(alpha, spectrum)
    true = -0.5 * math.log(2 * math.pi * math.e) - 0.5 * model.log_scale
    free = alpha + model.phi(h**-2) if h > limit.h_g else -0.5 * limit.r_c / h**2
    return true + alpha + 0.5 * math.log(2 * math.pi * h**2) - free


def stable_index(h: float, alpha: float, spectrum: ArrayLike | None = None) -> float:
    """The index of the stable law of the fluctuations: (h / h_g)², and 2, a Gaussian, from h_clt on.

    >>> round(stable_index(1.3708, 0.1), 3)
    1.0
    """
    if not h > 0:
        raise ZooInvalid(f"h is {h}; a bandwidth is above 0.")
    return min((h / kde_thresholds(alpha, spectrum).h_g) ** 2, 2.0)


__all__ = ["Thresholds", "kde_kl_theory", "kde_thresholds", "stable_index"]
