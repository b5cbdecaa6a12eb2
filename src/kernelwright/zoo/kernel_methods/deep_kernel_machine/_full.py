"""The full deep kernel machine: the Gram matrix of all training points in every layer, P^3 a layer and step.

L(G_1..G_L) = sum_c log N(y_c; 0, K(G_L) + s^2 I) - sum_l nu KL(N(0, G_l) || N(0, K(G_{l-1})))    (arXiv 2108.13097)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ._kernels import KERNELS, GramBlocks, cholesky, input_blocks, kernel_blocks, with_bias
from ._layers import propagate, triangle, whitened_kl


@dataclass(frozen=True)
class Terms:
    """The objective's parts: the log-likelihood, and nu KL of every layer; ``grams`` G_1..G_L ``[P, P]``."""

    likelihood: Tensor
    penalties: tuple[Tensor, ...]
    grams: tuple[Tensor, ...]

    @property
    def objective(self) -> Tensor:
        return self.likelihood - sum(self.penalties)


def dkm_terms(
    g0: Tensor, raws: list[Tensor], y: Tensor, nu: float, noise: float, kernel: str, *, start: bool = True,
    jitter: float = 1e-8,
) -> Terms:  # fmt: skip
    """The objective at whitened parameters ``raws`` (each ``[P, P]``; zeros are the NNGP), ``y [P, outputs]``.

    ``g0 [P, P]``: the inputs' Gram. ``start`` applies the kernel to it once before the first layer, which it needs
    where it has not full rank. ``noise`` is the variance s^2.
    """
    k = _kernel(kernel, g0) if start else g0
    grams, penalties = [], []
    for raw in raws:
        scaled = cholesky(k, jitter) @ triangle(raw)
        grams.append(scaled @ scaled.t())
        penalties.append(nu * whitened_kl(raw))
        k = _kernel(kernel, grams[-1])
    return Terms(_log_likelihood(k, y, noise, jitter), tuple(penalties), tuple(grams))


def _kernel(name: str, g: Tensor) -> Tensor:
    diagonal = g.diagonal()
    return KERNELS[name](g, diagonal, diagonal)


def _log_likelihood(k: Tensor, y: Tensor, noise: float, jitter: float) -> Tensor:
    lower = cholesky(k + noise * torch.eye(len(k), dtype=k.dtype), jitter)
    white = torch.linalg.solve_triangular(lower, y, upper=False)
    count = y.shape[1]
    return -white.square().sum() / 2 - count * (lower.diagonal().log().sum() + len(k) * math.log(2 * math.pi) / 2)


def optimise(
    g0: Tensor, y: Tensor, depth: int, nu: float, noise: float, kernel: str, max_iter: int, *, start: bool = True,
    jitter: float = 1e-8,
) -> tuple[list[Tensor], int]:  # fmt: skip
    """Whitened parameters ``depth`` times ``[P, P]`` at a maximum of the objective, and how many steps it took.

    By L-BFGS from the NNGP, where they are zero.
    """
    raws = [torch.zeros_like(g0).requires_grad_() for _ in range(depth)]
    if not raws or math.isinf(nu):
        return [raw.detach() for raw in raws], 0
    steps = torch.optim.LBFGS(
        raws, max_iter=max_iter, history_size=20, line_search_fn="strong_wolfe", tolerance_grad=1e-10,
        tolerance_change=1e-14,
    )  # fmt: skip

    def closure() -> float:
        steps.zero_grad()
        loss = -dkm_terms(g0, raws, y, nu, noise, kernel, start=start, jitter=jitter).objective / len(g0)
        loss.backward()
        return float(loss.detach())

    steps.step(closure)
    return [raw.detach() for raw in raws], int(steps.state[raws[0]]["n_iter"])


class DKMRegressor(RegressorMixin, BaseEstimator):
    """A deep kernel machine over all training rows, for up to about a thousand of them.

    ``depth`` Gram layers; ``kernel`` "arccos", "rbf" or "linear"; ``nu`` holds Gram matrices to the kernels below
    (inf: the NNGP, a Gaussian process with the deep kernel); ``noise``: variance of the targets' noise after they are
    scaled to variance 1. Inputs are scaled to mean 0 and deviation 1, and get a column of
    ones.

    Attributes: ``grams_`` (G_1..G_L), ``objective_``, ``start_objective_`` (of the NNGP), ``elbo_terms_`` (a dict).

    >>> x = np.linspace(-2, 2, 40)[:, None]
    >>> model = DKMRegressor(depth=1, kernel="rbf").fit(x, np.sin(2 * x[:, 0]))
    >>> bool(model.score(x, np.sin(2 * x[:, 0])) > 0.9)
    True
    """

    def __init__(
        self, depth: int = 2, kernel: str = "arccos", *, nu: float = 1.0, noise: float = 0.1, max_iter: int = 50
    ) -> None:
        self.depth = depth
        self.kernel = kernel
        self.nu = nu
        self.noise = noise
        self.max_iter = max_iter

    def fit(self, X: object, y: object) -> DKMRegressor:
        """Find the Gram matrices of ``X [n, d]`` for the targets ``y [n]``."""
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel={self.kernel!r} is not one of {', '.join(KERNELS)}.")
        for name in ("nu", "noise"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be positive.")
        rows, targets = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self._shift, self._scale = rows.mean(0), _spread(rows)
        self._target_shift, self._target_scale = float(targets.mean()), float(_spread(targets[:, None])[0])
        self._x = with_bias((rows - self._shift) / self._scale)
        self._y = torch.from_numpy((targets - self._target_shift) / self._target_scale)[:, None]
        g0 = input_blocks(self._x, self._x).ii
        raws, steps = optimise(g0, self._y, self.depth, self.nu, self.noise, self.kernel, self.max_iter)
        self._raws, self.n_iter_ = raws, max(steps, 1)
        finite = self.nu if math.isfinite(self.nu) else 0.0  # the penalty of the NNGP is 0
        terms = dkm_terms(g0, raws, self._y, finite, self.noise, self.kernel)
        start = dkm_terms(g0, [torch.zeros_like(r) for r in raws], self._y, finite, self.noise, self.kernel)
        self.grams_ = [gram.numpy() for gram in terms.grams]
        self.objective_, self.start_objective_ = float(terms.objective), float(start.objective)
        self.elbo_terms_ = {"likelihood": float(terms.likelihood), "penalties": [float(p) for p in terms.penalties]}
        return self

    def predict(
        self, X: object, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means ``[q]``, and with ``return_std`` the deviations ``[q]`` of new targets, noise included."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        x = with_bias((rows - self._shift) / self._scale)
        k = self._top(input_blocks(self._x, x))
        lower = cholesky(k.ii + self.noise * torch.eye(len(k.ii), dtype=k.ii.dtype), 1e-8)
        solved = torch.linalg.solve_triangular(lower, k.ti.t(), upper=False)
        mean = (solved.t() @ torch.linalg.solve_triangular(lower, self._y, upper=False))[:, 0].numpy()
        mean = self._target_shift + self._target_scale * mean
        if not return_std:
            return mean
        variance = (k.t - solved.square().sum(0)).clamp(min=0) + self.noise
        return mean, self._target_scale * variance.sqrt().numpy()

    def _top(self, blocks: GramBlocks) -> GramBlocks:
        k = kernel_blocks(self.kernel, blocks)
        for raw in self._raws:
            k = kernel_blocks(self.kernel, propagate(k, raw, 1e-8))
        return k


def _spread(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviations of columns, 1 for those that do not vary."""
    deviation = rows.std(0)
    return np.where(deviation > 0, deviation, 1.0)


__all__ = ["DKMRegressor", "Terms", "dkm_terms", "optimise"]
