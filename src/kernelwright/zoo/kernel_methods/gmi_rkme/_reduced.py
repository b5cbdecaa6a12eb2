"""Reduced kernel mean embeddings: few weighted points that stand for many, as a scikit-learn estimator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from ....ops import gaussian

Floats = NDArray[np.float64]

_STEPS = 10  # gradient steps between two solves for the weights
_HALVINGS = 30  # of a step that does not descend


def rbf(a: Tensor, b: Tensor, gamma: float) -> Tensor:
    """exp(-gamma |a_i - b_j|^2) for ``a [..., n, d]``, ``b [..., m, d]``: ``[..., n, m]``."""
    square = a.square().sum(-1)[..., :, None] + b.square().sum(-1)[..., None, :] - 2 * a @ b.transpose(-1, -2)
    return (-gamma * square.clamp(min=0)).exp()


def point_gradient(z: Tensor, x: Tensor, beta: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Gradient ``[m, d]`` of |sum_n weight_n k(x_n) - sum_i beta_i k(z_i)|^2 in the points ``z [m, d]``.

    -4 gamma beta_i [sum_j beta_j k(z_i, z_j)(z_i - z_j) - sum_n weight_n k(z_i, x_n)(z_i - x_n)]. The self term counts
    twice, as finite differences confirm; the code that introduced the method counts it once.
    """
    own = _pulls(z, z, beta, gamma)
    data = _pulls(z, x, weight, gamma)
    return -4 * gamma * beta[:, None] * (own - data)


def _pulls(z: Tensor, x: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """sum_n weight_n k(z_i, x_n) (z_i - x_n), without holding the matrix of k: ``[m, d]``."""
    sums = _lazy(z, x, gamma) @ torch.cat([weight[:, None], weight[:, None] * x], 1)
    return sums[:, :1] * z - sums[:, 1:]


def _lazy(a: Tensor, b: Tensor, gamma: float) -> Any:
    return gaussian(a, b, bandwidth=1 / math.sqrt(2 * gamma))


def optimal_weights(gram: Tensor, target: Tensor, nonneg: bool, sum_to_one: bool) -> Tensor:
    """argmin over beta of beta' K beta - 2 target' beta, exactly: ``gram [m, m]``, ``target [m]``.

    Non-negative weights by active sets (Lawson, Hanson). Weights on the simplex are the least-norm point of the hull of
    B = L' - L^-1 c 1', which the same solver finds: argmin |B beta|^2 + (1' beta - 1)^2 is a multiple of it.
    """
    from scipy.optimize import nnls

    size = len(gram)
    lower = torch.linalg.cholesky(gram + 1e-10 * size * torch.eye(size, dtype=gram.dtype))
    wanted = torch.linalg.solve_triangular(lower, target[:, None], upper=False)
    if sum_to_one and nonneg:
        system = torch.cat([lower.t() - wanted, torch.ones(1, size, dtype=gram.dtype)])
        beta = torch.from_numpy(nnls(system.numpy(), np.append(np.zeros(size), 1.0))[0])
        return beta / beta.sum()
    if nonneg:
        return torch.from_numpy(nnls(lower.t().numpy(), wanted[:, 0].numpy())[0])
    beta = torch.cholesky_solve(target[:, None], lower)[:, 0]
    if sum_to_one:
        ones = torch.cholesky_solve(torch.ones_like(target)[:, None], lower)[:, 0]
        beta = beta + (1 - beta.sum()) / ones.sum() * ones
    return beta


def median_gamma(x: Floats, rows: int = 500) -> float:
    """1 / the median squared distance of at most ``rows`` rows, evenly taken; 1 where they all agree."""
    from scipy.spatial.distance import pdist

    some = x[np.linspace(0, len(x) - 1, min(rows, len(x))).astype(int)]
    distances = pdist(some, "sqeuclidean")
    middle = float(np.median(distances)) if len(distances) else 0.0
    return 1 / middle if middle > 0 else 1.0


class ReducedKernelMeanEmbedding(BaseEstimator):
    """``n_points`` weighted points whose kernel mean is nearest to that of the data, k = exp(-gamma |a - b|^2).

    Centroids first (k-means), then ``n_iter`` rounds: the best weights in closed form, and descent in the points.
    ``gamma``: a number or "median" (1 / median squared distance). ``nonneg``, ``sum_to_one``: constraints on the
    weights; without the first they may be negative, and :meth:`herd` refuses.

    Attributes: ``points_ [m, d]``, ``weights_ [m]``, ``gamma_``, ``mmd2_`` its squared distance to the data's.

    >>> x = np.random.default_rng(0).normal(size=(300, 2))
    >>> few = ReducedKernelMeanEmbedding(n_points=10, random_state=0).fit(x)
    >>> few.points_.shape, bool(few.mmd2_ < 1e-3)
    ((10, 2), True)
    """

    def __init__(
        self,
        n_points: int = 100,
        *,
        gamma: float | str = "median",
        nonneg: bool = True,
        sum_to_one: bool = False,
        n_iter: int = 3,
        random_state: Any = None,
    ) -> None:
        self.n_points = n_points
        self.gamma = gamma
        self.nonneg = nonneg
        self.sum_to_one = sum_to_one
        self.n_iter = n_iter
        self.random_state = random_state

    def fit(self, X: object, y: object = None, sample_weight: object = None) -> ReducedKernelMeanEmbedding:
        """Reduce ``X [n, d]``, weighted by ``sample_weight [n]`` (equal by default; they are made to sum to 1)."""
        rows = validate_data(self, X, dtype=np.float64)
        if self.n_points < 1:
            raise ValueError(f"n_points={self.n_points!r} must be at least 1.")
        share = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        if not share.sum() > 0:
            raise ValueError("sample_weight must have a positive sum.")
        rows, share = rows[share > 0], share[share > 0]
        self.gamma_ = median_gamma(rows) if isinstance(self.gamma, str) else float(self.gamma)
        x, weight = torch.from_numpy(rows.copy()), torch.from_numpy(share / share.sum())
        z = self._centroids(rows, share)
        beta = self._weights(z, x, weight)
        for _ in range(self.n_iter if len(z) < len(x) else 0):
            z = self._descend(z, x, beta, weight)
            beta = self._weights(z, x, weight)
        self.points_, self.weights_ = z.numpy(), beta.numpy()
        constant = float(weight @ (_lazy(x, x, self.gamma_) @ weight[:, None])[:, 0])
        self.mmd2_ = max(0.0, constant + float(self._objective(z, x, beta, weight)))
        return self

    def distance(self, X: object) -> Floats:
        """|sum_i beta_i k(z_i, .) - k(x, .)|^2 in the kernel's space for every row: ``[q]`` (equation 2)."""
        check_is_fitted(self)
        x = torch.from_numpy(np.array(validate_data(self, X, dtype=np.float64, reset=False)))
        z, beta = torch.from_numpy(self.points_), torch.from_numpy(self.weights_)
        own = beta @ rbf(z, z, self.gamma_) @ beta
        return (own - 2 * rbf(x, z, self.gamma_) @ beta + 1).clamp(min=0).numpy()

    def mmd2(self, other: ReducedKernelMeanEmbedding) -> float:
        """The squared distance to another embedding, in the space of this one's kernel."""
        check_is_fitted(self)
        z = torch.from_numpy(np.concatenate([self.points_, other.points_]))
        beta = torch.from_numpy(np.concatenate([self.weights_, -other.weights_]))
        return max(0.0, float(beta @ rbf(z, z, self.gamma_) @ beta))

    def herd(self, n: int) -> Floats:
        """``n`` of the points, repeated as their weights ask for, greedily nearest in mean (kernel herding)."""
        check_is_fitted(self)
        if (self.weights_ < 0).any():
            raise ValueError("herd needs weights that are not negative; fit with nonneg=True.")
        z, beta = torch.from_numpy(self.points_), torch.from_numpy(self.weights_ / self.weights_.sum())
        gram = rbf(z, z, self.gamma_)
        wanted, taken, chosen = gram @ beta, torch.zeros(len(z), dtype=torch.float64), []
        for count in range(n):
            best = int((wanted - taken / (count + 1)).argmax())
            chosen.append(best)
            taken += gram[best]
        return self.points_[chosen]

    def _centroids(self, rows: Floats, share: Floats) -> Tensor:
        from sklearn.cluster import KMeans

        distinct = np.unique(rows, axis=0)
        if len(distinct) <= self.n_points:
            return torch.from_numpy(distinct)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        means = KMeans(self.n_points, n_init=1, random_state=seed).fit(rows, sample_weight=share)
        return torch.from_numpy(means.cluster_centers_.astype(np.float64))

    def _weights(self, z: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        target = (_lazy(z, x, self.gamma_) @ weight[:, None])[:, 0]
        return optimal_weights(rbf(z, z, self.gamma_), target, self.nonneg, self.sum_to_one)

    def _objective(self, z: Tensor, x: Tensor, beta: Tensor, weight: Tensor) -> Tensor:
        """The squared distance to the data's embedding, less what does not depend on points and weights."""
        return beta @ rbf(z, z, self.gamma_) @ beta - 2 * beta @ (_lazy(z, x, self.gamma_) @ weight[:, None])[:, 0]

    def _descend(self, z: Tensor, x: Tensor, beta: Tensor, weight: Tensor) -> Tensor:
        """A few gradient steps, each halved until it descends."""
        value, step = self._objective(z, x, beta, weight), 1 / (self.gamma_ * float(beta.square().max()) + 1e-300)
        for _ in range(_STEPS):
            slope = point_gradient(z, x, beta, weight, self.gamma_)
            for _ in range(_HALVINGS):
                trial = z - step * slope
                reached = self._objective(trial, x, beta, weight)
                if reached < value:
                    z, value, step = trial, reached, 2 * step
                    break
                step /= 2
            else:
                return z
        return z


__all__ = ["ReducedKernelMeanEmbedding", "median_gamma", "optimal_weights", "point_gradient", "rbf"]
