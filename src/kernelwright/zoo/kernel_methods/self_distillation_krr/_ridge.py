"""The estimator: kernel ridge regression that teaches itself, every round from one eigendecomposition."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ....ops import gaussian
from ._filter import dual_filter, optimal_mix

_Array = np.ndarray[Any, Any]


class SelfDistilledKernelRidge(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Kernel ridge regression refitted ``n_steps`` times on mix * targets + (1 - mix) * its own last predictions.

    The first round is ordinary ridge regression. With ``mix`` 0 every round shrinks small eigenvalues further, down to
    nothing; above 0 the rounds converge to ridge regression with alpha / mix, which ``n_steps=inf`` gives at once.

    Parameters
    ----------
    kernel : "rbf", "linear", "poly", "laplacian", "precomputed" or what else ``pairwise_kernels`` knows; gamma, degree
        and coef0 as in :class:`sklearn.kernel_ridge.KernelRidge`.
    alpha : the ridge, above 0.
    mix : weight of the true targets from round 2 on; "optimal" finds each round's in closed form on
        ``validation_fraction`` of the rows, then fits on all of them.
    clip_mix : whether optimal mixes are kept in [0, 1].
    n_steps : rounds, or ``inf``.
    centre : subtract the mean of the targets first, so that rounds shrink towards it instead of 0.

    Attributes
    ----------
    shrinkage_ : B_τ of each round, ``[n_steps, n]`` (``[1, n]`` for ``inf``), eigenvalues ascending.
    mix_ : the mix of each round. effective_dof_ : the trace of B_τ of each round.
    dual_coef_ : ``[n]`` or ``[n, t]`` of the last round. eigenvalues_ : ``[n]``.

    >>> x = np.linspace(0, 1, 8)[:, None]
    >>> model = SelfDistilledKernelRidge(gamma=10.0, alpha=0.1, mix=0.5, n_steps=3).fit(x, np.sin(x[:, 0]))
    >>> len(list(model.staged_predict(x)))
    3
    """

    def __init__(
        self,
        kernel: str = "rbf",
        *,
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
        alpha: float = 1.0,
        mix: float | str = 0.25,
        clip_mix: bool = True,
        n_steps: float = 5,
        validation_fraction: float = 0.2,
        centre: bool = False,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.alpha = alpha
        self.mix = mix
        self.clip_mix = clip_mix
        self.n_steps = n_steps
        self.validation_fraction = validation_fraction
        self.centre = centre
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> SelfDistilledKernelRidge:
        """Decompose the Gram matrix of ``X`` ``[n, d]`` once and filter the targets ``[n]`` or ``[n, t]``."""
        self._check()
        X, y = validate_data(self, X, y, accept_sparse=False, multi_output=True, y_numeric=True, dtype=np.float64)
        self.X_fit_ = X
        gram = self._gram(X, X)
        targets = torch.tensor(np.asarray(y, np.float64)).reshape(len(X), -1)
        steps = 1 if self.n_steps == math.inf else int(self.n_steps)
        mixes = self._find_mixes(gram, targets, steps) if self.mix == "optimal" else [float(self.mix)] * steps
        self.offset_ = targets.mean(0) if self.centre else torch.zeros(targets.shape[1], dtype=torch.float64)
        values, vectors = _decompose(gram)
        filters = dual_filter(values, self.alpha, float(self.mix) if self.n_steps == math.inf else mixes, self.n_steps)
        rotated = vectors.T @ (targets - self.offset_)
        self._duals = torch.stack([vectors @ (row[:, None] * rotated) for row in filters])  # [steps, n, t]
        self._flat = y.ndim == 1
        self.eigenvalues_ = values.numpy()
        self.shrinkage_ = (values * filters).numpy()
        self.effective_dof_ = self.shrinkage_.sum(1)
        self.mix_ = np.asarray(mixes)
        self.dual_coef_ = self._shape(self._duals[-1])
        return self

    def predict(self, X: Any) -> _Array:
        """The last round's predictions at ``X`` ``[m, d]``: ``[m]`` or ``[m, t]``."""
        check_is_fitted(self)
        return self._shape(self._apply(X, self._duals[-1]) + self.offset_)

    def staged_predict(self, X: Any) -> Iterator[_Array]:
        """The predictions of every round in turn, from one pass over the pairs of ``X`` and the training points."""
        check_is_fitted(self)
        steps, count, outputs = self._duals.shape
        everything = self._apply(X, self._duals.movedim(0, 1).reshape(count, steps * outputs))
        for values in everything.reshape(-1, steps, outputs).unbind(1):
            yield self._shape(values + self.offset_)

    def limit_estimator(self) -> KernelRidge:
        """What infinitely many rounds come to, without ``centre``: an unfitted KernelRidge with alpha / mix."""
        if self.mix == "optimal" or not float(self.mix) > 0:
            raise ValueError(f"mix is {self.mix!r}; only rounds of one mix above 0 have such a limit.")
        options = {"kernel": self.kernel, "gamma": self.gamma, "degree": self.degree, "coef0": self.coef0}
        return KernelRidge(alpha=self.alpha / float(self.mix), **options)

    def _check(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"alpha is {self.alpha}; it must be above 0.")
        if self.mix != "optimal" and (isinstance(self.mix, str) or not 0 <= self.mix <= 1):
            raise ValueError(f"mix is {self.mix!r}; it must be 'optimal' or in [0, 1].")
        if self.n_steps != math.inf and (self.n_steps < 1 or self.n_steps != int(self.n_steps)):
            raise ValueError(f"n_steps is {self.n_steps}; it must be a whole number above 0, or inf.")
        if self.n_steps == math.inf and self.mix == "optimal":
            raise ValueError("mix is 'optimal' and n_steps infinite; give a number of rounds.")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction is {self.validation_fraction}; it must lie between 0 and 1.")

    def _find_mixes(self, gram: torch.Tensor, targets: torch.Tensor, steps: int) -> list[float]:
        """Every round's best mix on rows that were held out, given those before it."""
        count = len(targets)
        if count < 2:
            raise ValueError(f"n_samples is {count}; mix='optimal' needs at least 2, to hold some out.")
        order = torch.from_numpy(check_random_state(self.random_state).permutation(count))
        held = order[: min(max(round(self.validation_fraction * count), 1), count - 1)]
        rest = order[len(held) :]
        shift = targets[rest].mean(0) if self.centre else torch.zeros(targets.shape[1], dtype=torch.float64)
        values, vectors = _decompose(gram[rest][:, rest])
        return greedy_mixes(
            gram[held][:, rest] @ vectors, values, vectors.T @ (targets[rest] - shift), targets[held] - shift,
            self.alpha, steps, self.clip_mix,
        )  # fmt: skip

    def _gram(self, left: _Array, right: _Array) -> torch.Tensor:
        if self.kernel == "rbf":
            return gaussian(*self._scaled(left, right)).dense()
        return torch.from_numpy(np.asarray(self._other(left, right), np.float64))

    def _apply(self, X: Any, weights: torch.Tensor) -> torch.Tensor:
        """K(X, training points) @ weights ``[n, r]``; the Gaussian's matrix is never held."""
        X = validate_data(self, X, accept_sparse=False, reset=False, dtype=np.float64)
        if self.kernel == "rbf":
            return gaussian(*self._scaled(X, self.X_fit_)) @ weights
        return torch.from_numpy(np.asarray(self._other(X, self.X_fit_), np.float64)) @ weights

    def _scaled(self, left: _Array, right: _Array) -> tuple[torch.Tensor, torch.Tensor, float]:
        gamma = 1 / left.shape[1] if self.gamma is None else self.gamma
        if not gamma > 0:
            raise ValueError(f"gamma is {gamma}; it must be above 0.")
        return torch.tensor(left), torch.tensor(right), (2 * gamma) ** -0.5

    def _other(self, left: _Array, right: _Array) -> _Array:
        if self.kernel == "precomputed":
            return left
        options = {"gamma": self.gamma, "degree": self.degree, "coef0": self.coef0}
        return pairwise_kernels(left, right, metric=self.kernel, filter_params=True, **options)

    def _shape(self, values: torch.Tensor) -> _Array:
        return (values[:, 0] if self._flat else values).numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags


def greedy_mixes(
    projected: torch.Tensor,
    values: torch.Tensor,
    rotated: torch.Tensor,
    reference: torch.Tensor,
    ridge: float,
    steps: int,
    clip: bool = True,
) -> list[float]:
    """The best mix of every round on reference targets ``[m, t]``, given the mixes before it; 1 for the first.

    ``projected`` = K_* V ``[m, n]``, eigenvalues ``values`` ``[n]``, ``rotated`` = V^T y ``[n, t]``.
    """
    inverse = 1 / (values + ridge)
    first = projected @ (inverse[:, None] * rotated)
    kept, mixes = values * inverse, [1.0]
    for _ in range(steps - 1):
        distilled = projected @ ((inverse * kept)[:, None] * rotated)
        mixes.append(optimal_mix(reference, first, distilled, clip))
        kept = values * inverse * ((1 - mixes[-1]) * kept + mixes[-1])
    return mixes


def _decompose(gram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues, ascending, without the negative ones that rounding makes; eigenvectors."""
    values, vectors = torch.linalg.eigh(gram)
    return values.clamp(min=0), vectors


__all__ = ["SelfDistilledKernelRidge", "greedy_mixes"]
