"""scikit-learn estimators on the tangent kernel: what an infinitely wide network learns, without a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ._dynamics import Spectrum, spectral_filter_apply
from ._gram import InfiniteNetwork, mlp

Activation = str | Callable[[Tensor], Tensor]


class _Trained(BaseEstimator):
    """The part that regression and classification share: a network's training in function space."""

    def __init__(
        self,
        depth: int = 3,
        activation: Activation = "relu",
        b_std: float = 0.1,
        alpha: float = 0.0,
        t: float = math.inf,
        learning_rate: float | None = None,
    ) -> None:
        self.depth = depth
        self.activation = activation
        self.b_std = b_std
        self.alpha = alpha
        self.t = t
        self.learning_rate = learning_rate

    def _train(self, x: NDArray[Any], targets: NDArray[Any]) -> None:
        self.X_fit_ = torch.from_numpy(np.array(x, dtype=np.float64))
        self._network = mlp(self.depth, self.activation, b_std=self.b_std)
        self._spectrum = Spectrum.of(self._network.ntk(self.X_fit_), self.alpha)
        self._targets = torch.from_numpy(np.array(targets, dtype=np.float64))
        self.eigenvalues_ = self._spectrum.values.numpy()[::-1] / len(x)
        self.dual_coef_ = self._coefficients([self.t])[0].numpy()

    def _coefficients(self, times: list[float]) -> Tensor:
        """[t, n, o]: what multiplies the kernel at these times."""
        filters = self._spectrum.filter(torch.tensor(times, dtype=torch.float64), self.learning_rate)
        return spectral_filter_apply(self._spectrum.vectors, filters, self._targets)

    def _points(self, X: ArrayLike) -> Tensor:
        check_is_fitted(self)
        return torch.from_numpy(np.array(validate_data(self, X, reset=False), dtype=np.float64))

    def _mean_at(self, X: ArrayLike, times: list[float]) -> NDArray[Any]:
        """[t, points, o]."""
        return (self._network.ntk(self._points(X), self.X_fit_) @ self._coefficients(times)).numpy()

    def _std(self, X: ArrayLike) -> NDArray[Any]:
        """The deviation [points] over random starts of an infinitely wide network trained for the time ``t``."""
        x = self._points(X)
        cross_nngp, cross_ntk = self._network.both(x, self.X_fit_)
        filters = self._spectrum.filter(torch.tensor([self.t], dtype=torch.float64), self.learning_rate)[0]
        a = (cross_ntk @ self._spectrum.vectors) * filters @ self._spectrum.vectors.T
        prior = self._network.diagonal(x)[0]
        variance = prior + ((a @ self._network.nngp(self.X_fit_) - 2 * cross_nngp) * a).sum(1)
        return variance.clamp_min(0).sqrt().numpy()


class NTKRegressor(RegressorMixin, _Trained):
    """Regression with a network of infinite width, trained for the time ``t`` (section 5 of the paper).

    ``depth`` weight matrices, ``activation`` "relu", "erf" or a function, ``b_std`` the paper's beta. ``alpha`` is
    added to the kernel's eigenvalues. ``t`` is the time of gradient flow on 1/(2N) squared error, or the number of
    steps where a ``learning_rate`` is given. Attributes: ``dual_coef_``, ``eigenvalues_`` (of kernel / N, largest
    first). Predictions are means over random starts.

    >>> NTKRegressor(depth=2).fit([[0.0], [1.0]], [1.0, 3.0]).predict([[1.0]]).round(6).tolist()
    [3.0]
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Fit to X [n, d] and y [n] or [n, o]."""
        x, y = validate_data(self, X, y, multi_output=True, y_numeric=True)
        self._flat = y.ndim == 1
        self._train(x, y.reshape(len(y), -1))
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Means at ``t`` [points] or [points, o]; with ``return_std`` the deviation [points] over starts."""
        mean = self.predict_at(X, self.t)
        return (mean, self._std(X)) if return_std else mean

    def predict_at(self, X: ArrayLike, t: ArrayLike) -> NDArray[Any]:
        """Means at one time, or at several: then times come first. All share the one decomposition made by ``fit``."""
        check_is_fitted(self)
        times = np.asarray(t, dtype=np.float64)
        mean = self._mean_at(X, times.reshape(-1).tolist())
        mean = mean[:, :, 0] if self._flat else mean
        return mean.reshape(times.shape + mean.shape[1:])


class NTKClassifier(ClassifierMixin, _Trained):
    """Classification by regression on one-hot labels less 1/k: parameters as for :class:`NTKRegressor`.

    >>> NTKClassifier(depth=2).fit([[0.0], [1.0]], ["a", "b"]).predict([[0.9]]).tolist()
    ['b']
    """

    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Fit to X [n, d] and labels y [n]."""
        x, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y holds one class only; a classifier needs samples of at least two classes.")
        self._train(x, np.eye(len(self.classes_))[codes] - 1 / len(self.classes_))
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Mean outputs [points, k], or their difference [points] for two classes."""
        check_is_fitted(self)
        mean = self._mean_at(X, [self.t])[0]
        return mean[:, 1] - mean[:, 0] if len(self.classes_) == 2 else mean

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class of the largest output."""
        check_is_fitted(self)
        return self.classes_[self._mean_at(X, [self.t])[0].argmax(1)]


class NTKKernelPCA(TransformerMixin, BaseEstimator):
    """Kernel principal components of the tangent kernel, uncentred: the directions a wide network learns one by one.

    Component i of the error decays as ``exp(-eigenvalues_[i] t)`` (section 5). ``eigenvalues_`` are those of kernel
    / N, largest first; ``eigenvectors_`` [n, components] are unit vectors.

    >>> NTKKernelPCA(n_components=1).fit_transform([[0.0], [1.0], [2.0]]).shape
    (3, 1)
    """

    def __init__(
        self, n_components: int = 2, depth: int = 3, activation: Activation = "relu", b_std: float = 0.1
    ) -> None:
        self.n_components = n_components
        self.depth = depth
        self.activation = activation
        self.b_std = b_std

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Decompose the kernel of X [n, d]."""
        x = validate_data(self, X)
        if not 1 <= self.n_components <= len(x):
            raise ValueError(f"n_components={self.n_components}, but it must be between 1 and n_samples = {len(x)}.")
        self.X_fit_ = torch.from_numpy(np.array(x, dtype=np.float64))
        self._network: InfiniteNetwork = mlp(self.depth, self.activation, b_std=self.b_std)
        spectrum = Spectrum.of(self._network.ntk(self.X_fit_))
        values, vectors = spectrum.values.flip(0), spectrum.vectors.flip(1)[:, : self.n_components]
        # The sign of an eigenvector is anyone's choice; here its largest entry is positive.
        signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        self.eigenvalues_ = (values[: self.n_components] / len(x)).numpy()
        self.eigenvectors_ = (vectors * signs).numpy()
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Projections [points, components] of features onto unit directions in the kernel's space."""
        check_is_fitted(self)
        x = torch.from_numpy(np.array(validate_data(self, X, reset=False), dtype=np.float64))
        lengths = np.sqrt(np.maximum(self.eigenvalues_ * len(self.X_fit_), np.finfo(float).tiny))
        projected: NDArray[Any] = self._network.ntk(x, self.X_fit_).numpy() @ self.eigenvectors_ / lengths
        return projected


__all__ = ["NTKClassifier", "NTKKernelPCA", "NTKRegressor"]
