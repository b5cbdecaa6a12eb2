"""Distance sums over private rows as a scikit-learn estimator; its privacy accounting is that of ``_base``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ._base import Private
from ._noise import Floats
from ._privacy import Adjacency, Budget, Noise, Sensitivity
from ._tree import (
    bucket_answers,
    consistent_leaves,
    distance_table,
    dyadic_counts,
    leaf_indices,
    prefix_counts,
    table_answers,
    tree_sensitivity,
)

_EMBEDDED_RANGE = 4.0  # l2: Gaussian projections are clipped to so many deviations; it concerns 6e-5 of them
_NORMALISED_COUNT = 2.0  # add-remove: weight of the count beside the sum of rows that all have length 1
_METRICS = ("l1", "l2", "lpp", "sqeuclidean")


class DPDistanceSum(Private):
    """Private answers to sum_x of a distance between x and y, for any number of queries y (arXiv 2403.08917).

    Parameters: ``metric``: "l1" |x-y|_1; "lpp" sum of |x_j - y_j|^p; "l2" |x-y|_2, through ``embedding_dim`` random
    projections and l1; "sqeuclidean" |x-y|_2^2, from noisy first and second moments. "l1" and "lpp" clip every
    coordinate to ``bounds`` (low, high), "l2" and "sqeuclidean" scale rows down to length ``radius`` (``normalise``:
    exactly to it, for "sqeuclidean", which then needs no noisy sum of squares); both are public,
    and so is ``leaves``, the resolution of a coordinate (a power of two). ``query``: "table" (one look-up a coordinate,
    from consistent counts) or "buckets" (the paper's rule, relative error ``alpha``). Queries are clipped like rows.
    See the module for the privacy accounting.

    Attributes: ``count_``, ``sensitivity_`` (l1, l2), ``ledger_``, ``epsilon_spent_``, ``delta_spent_``; ``tables_
    [d, leaves]`` for tables, ``moments_`` for "sqeuclidean".

    >>> x = np.linspace(0, 1, 1001)[:, None]
    >>> sums = DPDistanceSum("l1", epsilon=5.0, random_state=0).fit(x).distance_sum([[0.5]])
    >>> bool(abs(sums[0] - 250.25) < 25)
    True
    """

    def __init__(
        self,
        metric: str = "l1",
        *,
        p: float = 1.0,
        epsilon: float = 1.0,
        delta: float = 0.0,
        noise: Noise = "discrete",
        adjacency: Adjacency = "replace-one",
        bounds: tuple[float, float] = (0.0, 1.0),
        radius: float = 1.0,
        normalise: bool = False,
        leaves: int = 1024,
        query: str = "table",
        alpha: float = 0.1,
        embedding_dim: int = 32,
        random_state: Any = None,
    ) -> None:
        self.metric = metric
        self.p = p
        self.epsilon = epsilon
        self.delta = delta
        self.noise = noise
        self.adjacency = adjacency
        self.bounds = bounds
        self.radius = radius
        self.normalise = normalise
        self.leaves = leaves
        self.query = query
        self.alpha = alpha
        self.embedding_dim = embedding_dim
        self.random_state = random_state

    def fit(self, X: object, y: object = None) -> DPDistanceSum:
        """Release the counts or moments of the private rows ``X [n, d]``; ``y`` is ignored."""
        self._check()
        x, public, budget = self._begin(X)
        if self.metric == "l2":
            self._embedding = public.standard_normal((x.shape[1], self.embedding_dim))
        if self.metric == "sqeuclidean":
            vector, self.sensitivity_ = self._moments(x)
            self.moments_ = budget.release("moments", vector, self.sensitivity_)
            self.count_ = float(len(x))
            if self.adjacency == "add-remove":
                self.count_ = max(1.0, float(self.moments_[-1]) / self._count_weight())
        else:
            self._fit_trees(self._coordinates(x), budget)
        self._finish(budget)
        return self

    def distance_sum(self, Y: object) -> Floats:
        """The private estimate of the sum of distances from the private rows to ``Y [q, d]``: ``[q]``."""
        y = self._queries(Y)
        if self.metric == "sqeuclidean":
            y, d = _clipped(y, self.radius, self.normalise), y.shape[1]
            squares = self.count_ * self.radius**2 if self.normalise else self.radius * self.moments_[d]
            return self.count_ * np.square(y).sum(1) - 2 * y @ self.moments_[:d] + squares
        low, high = self._range()
        positions = (np.clip(self._coordinates(y), low, high) - low) / self._spacing
        if self.query == "table":
            sums = table_answers(torch.from_numpy(self.tables_), torch.from_numpy(positions)).numpy()
        else:
            sums = bucket_answers(self._prefix, positions, self._spacing, self.alpha, self._power())
        return sums * (math.sqrt(math.pi / 2) / self.embedding_dim if self.metric == "l2" else 1.0)

    def _check(self) -> None:
        if self.metric not in _METRICS:
            raise ValueError(f"metric={self.metric!r} is not one of {', '.join(_METRICS)}.")
        if self.query not in ("table", "buckets"):
            raise ValueError(f"query={self.query!r} is neither 'table' nor 'buckets'.")
        if self.leaves < 2 or self.leaves & (self.leaves - 1):
            raise ValueError(f"leaves={self.leaves!r} must be a power of two, at least 2.")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds={self.bounds!r} must be (low, high) with low < high.")
        for name in ("p", "radius", "alpha", "embedding_dim"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be positive.")

    def _fit_trees(self, x: Floats, budget: Budget) -> None:
        low, high = self._range()
        self._spacing = (high - low) / (self.leaves - 1)
        public_count = self.adjacency == "replace-one"
        levels = dyadic_counts(leaf_indices(x, low, high, self.leaves), self.leaves)
        private = levels[1:] if public_count else levels
        self.sensitivity_ = tree_sensitivity(x.shape[1], self.leaves, self.adjacency)
        noised = budget.release("tree counts", np.concatenate(private, 1), self.sensitivity_, integral=True)
        cuts = np.cumsum([level.shape[1] for level in private])[:-1]
        levels = (levels[:1] if public_count else []) + np.split(noised, cuts, axis=1)
        self.count_ = float(len(x)) if public_count else max(1.0, float(levels[0].mean()))
        if self.query == "table":
            leaves = consistent_leaves(levels, exact_root=public_count)
            self.tables_ = distance_table(leaves, self._spacing, self._power())
        else:
            self._prefix = prefix_counts(levels)

    def _moments(self, x: Floats) -> tuple[Floats, Sensitivity]:
        """(sum x, sum |x|^2 / r unless that is n r, a weight times n where n is private), and how far a row moves it.

        In l1 and l2 a row of length r adds at most sqrt(d) r and r to the first part, r to the second; replaced, at
        most 2 sqrt(d) r, 2 r and r.
        """
        x, r, root = _clipped(x, self.radius, self.normalise), self.radius, math.sqrt(x.shape[1])
        twice = 1 + (self.adjacency == "replace-one")
        parts, l1, l2 = [x.sum(0)], twice * root * r, (twice * r) ** 2
        if not self.normalise:
            parts, l1, l2 = [*parts, [np.square(x).sum() / r]], l1 + r, l2 + r**2
        if self.adjacency == "add-remove":
            weight = self._count_weight()
            parts, l1, l2 = [*parts, [weight * len(x)]], l1 + weight, l2 + weight**2
        return np.concatenate(parts), Sensitivity(l1, math.sqrt(l2))

    def _count_weight(self) -> float:
        """How exactly the count is told, against the rest; the weights cost noise everywhere else."""
        return self.radius * (_NORMALISED_COUNT if self.normalise else 1.0)

    def _coordinates(self, x: Floats) -> Floats:
        """The coordinates that trees are built over."""
        return _clipped(x, self.radius) @ self._embedding if self.metric == "l2" else x

    def _range(self) -> tuple[float, float]:
        reach = _EMBEDDED_RANGE * self.radius
        return (-reach, reach) if self.metric == "l2" else self.bounds

    def _power(self) -> float:
        return self.p if self.metric == "lpp" else 1.0


def _clipped(x: Floats, radius: float, exactly: bool = False) -> Floats:
    """Rows longer than ``radius`` scaled down to it; ``exactly`` scales all rows to it, but those of zeros."""
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    factors = radius / np.maximum(lengths, np.finfo(np.float64).tiny)
    return x * np.where(lengths > 0, factors if exactly else np.minimum(1.0, factors), 0.0)


__all__ = ["DPDistanceSum"]
