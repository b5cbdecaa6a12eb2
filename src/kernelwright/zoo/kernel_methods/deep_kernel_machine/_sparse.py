"""Deep kernel machines over learned inducing points as scikit-learn estimators: cost linear in the number of rows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from ._full import _spread
from ._kernels import KERNELS, with_bias
from ._layers import SparseDKM, dkm_regulariser

Floats = NDArray[np.float64]
_PREDICTION_SAMPLES = 256
_ROWS = 2048  # a batch where nothing is learned


class _Sparse(BaseEstimator, ABC):
    """What both share: scaling, the training loop, batches of predictions."""

    def __init__(
        self,
        n_inducing: int = 128,
        *,
        depth: int = 2,
        kernel: str = "arccos",
        nu: float = 1.0,
        epochs: int = 100,
        batch_size: int = 256,
        lr: float = 0.02,
        random_state: Any = None,
    ) -> None:
        self.n_inducing = n_inducing
        self.depth = depth
        self.kernel = kernel
        self.nu = nu
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state

    def _train(self, rows: Floats, targets: Tensor, outputs: int) -> None:
        """Maximise the mean expected log-likelihood of batches + regularisers / rows, by Adam with two decays."""
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel={self.kernel!r} is not one of {', '.join(KERNELS)}.")
        if self.n_inducing < 1 or self.epochs < 1 or self.batch_size < 1:
            raise ValueError("n_inducing, epochs and batch_size must be at least 1.")
        self._shift, self._scale = rows.mean(0), _spread(rows)
        x = with_bias((rows - self._shift) / self._scale)
        rng = torch.Generator().manual_seed(int(check_random_state(self.random_state).randint(2**31 - 1)))
        chosen = torch.randperm(len(x), generator=rng)[: self.n_inducing]
        self.module_ = SparseDKM(x[chosen], outputs, self.depth, self.kernel, self.nu)
        self._noise = nn.Parameter(torch.tensor(math.log(0.1), dtype=x.dtype))
        steps = torch.optim.Adam([*self.module_.parameters(), self._noise], lr=self.lr)
        decays = torch.optim.lr_scheduler.MultiStepLR(steps, [self.epochs // 2 + 1, self.epochs * 3 // 4 + 1], 0.1)
        self.elbo_curve_ = []
        for _ in range(self.epochs):
            total = 0.0
            for batch in torch.randperm(len(x), generator=rng).split(self.batch_size):
                mean, variance = self.module_(x[batch])
                likelihood = self._expected(mean, variance, targets[batch], rng)
                elbo = likelihood.mean() + dkm_regulariser(self.module_) / len(x)
                steps.zero_grad()
                (-elbo).backward()
                steps.step()
                total += float(elbo.detach()) * len(batch) / len(x)
            decays.step()
            self.elbo_curve_.append(total)

    @abstractmethod
    def _expected(self, mean: Tensor, variance: Tensor, targets: Tensor, rng: torch.Generator) -> Tensor:
        """The expected log-likelihood of each row under the function's mean and variance."""

    def _outputs(self, X: object) -> tuple[Tensor, Tensor]:
        """Means ``[q, outputs]`` and variances ``[q]`` of the functions, without gradients."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            parts = [self.module_(block) for block in with_bias((rows - self._shift) / self._scale).split(_ROWS)]
        return torch.cat([mean for mean, _ in parts]), torch.cat([variance for _, variance in parts])


class SparseDKMRegressor(RegressorMixin, _Sparse):
    """Sparse deep kernel machine with a Gaussian likelihood, whose noise is learned.

    ``n_inducing`` learned inputs, ``depth`` Gram layers of strength ``nu`` (inf: the sparse NNGP), ``kernel`` "arccos",
    "rbf" or "linear", Adam for ``epochs`` over batches of ``batch_size`` at rate ``lr``. Inputs and targets are scaled.

    Attributes: ``module_`` (the torch module), ``elbo_curve_`` per row and epoch, ``noise_`` (variance, of targets as
    given).
    """

    def fit(self, X: object, y: object) -> SparseDKMRegressor:
        """Train on ``X [n, d]`` and the targets ``y [n]``."""
        rows, targets = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self._target_shift, self._target_scale = float(targets.mean()), float(_spread(targets[:, None])[0])
        self._train(rows, torch.from_numpy((targets - self._target_shift) / self._target_scale), 1)
        self.noise_ = float(self._noise.detach().exp()) * self._target_scale**2
        return self

    def predict(self, X: object, return_std: bool = False) -> Floats | tuple[Floats, Floats]:
        """Means ``[q]``, and with ``return_std`` the deviations ``[q]`` of new targets, noise included."""
        mean, variance = self._outputs(X)
        found = self._target_shift + self._target_scale * mean[:, 0].numpy()
        return (found, np.sqrt(self._target_scale**2 * variance.numpy() + self.noise_)) if return_std else found

    def _expected(self, mean: Tensor, variance: Tensor, targets: Tensor, rng: torch.Generator) -> Tensor:
        return expected_gaussian(mean[:, 0], variance, targets, self._noise)


class SparseDKMClassifier(ClassifierMixin, _Sparse):
    """Sparse deep kernel machine with a softmax likelihood, by Monte Carlo.

    Parameters as :class:`SparseDKMRegressor`. Attributes: ``classes_``, ``module_``, ``elbo_curve_``.
    """

    def fit(self, X: object, y: object) -> SparseDKMClassifier:
        """Train on ``X [n, d]`` and the labels ``y [n]``."""
        rows, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y must have at least two classes; it has one class.")
        self._train(rows, torch.from_numpy(codes), len(self.classes_))
        return self

    def predict_proba(self, X: object) -> Floats:
        """Class probabilities ``[q, classes]``, averaged over the functions' distribution."""
        mean, variance = self._outputs(X)
        draws = torch.randn(
            _PREDICTION_SAMPLES, 1, mean.shape[1], dtype=mean.dtype, generator=torch.Generator().manual_seed(0)
        )  # the same for every row, so that a row's answer does not depend on the others
        return (mean + variance.sqrt()[:, None] * draws).softmax(-1).mean(0).numpy()

    def predict(self, X: object) -> np.ndarray:
        """The most probable class of every row: ``[q]``."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def _expected(self, mean: Tensor, variance: Tensor, targets: Tensor, rng: torch.Generator) -> Tensor:
        draws = torch.randn(16, *mean.shape, dtype=mean.dtype, generator=rng)
        return mc_log_likelihood(mean, variance, draws, targets)


def expected_gaussian(mean: Tensor, variance: Tensor, targets: Tensor, log_noise: Tensor) -> Tensor:
    """E log N(target; f, noise) over f ~ N(mean, variance), all ``[B]``: ``[B]``."""
    squares = (targets - mean).square() + variance
    return -(squares * (-log_noise).exp() + log_noise + math.log(2 * math.pi)) / 2


def mc_log_likelihood(mean: Tensor, variance: Tensor, draws: Tensor, targets: Tensor) -> Tensor:
    """E log softmax(f)[target] over draws of f: ``mean [B, C]``, ``variance [B]``, ``draws [S, B, C]``: ``[B]``."""
    f = mean + variance.sqrt()[:, None] * draws
    picked = f.gather(-1, targets.expand(len(draws), -1)[..., None])[..., 0]
    return (picked - f.logsumexp(-1)).mean(0)


__all__ = ["SparseDKMClassifier", "SparseDKMRegressor", "expected_gaussian", "mc_log_likelihood"]
