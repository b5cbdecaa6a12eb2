"""Regression with these kernels: estimators, and curves of teachers learnt by students."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ....errors import ZooInvalid
from ._kernel import Kind, hierarchical_ntk


class _Hierarchical(BaseEstimator):
    """Kernel ridge regression with the hierarchical kernel: what the estimators share."""

    def __init__(
        self,
        filter_sizes: Sequence[int] = (1,),
        alpha: float = 0.0,
        kind: Kind = "ntk",
        normalize: bool = False,
        dims: int = 1,
    ) -> None:
        self.filter_sizes = filter_sizes
        self.alpha = alpha
        self.kind = kind
        self.normalize = normalize
        self.dims = dims

    def _kernel(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        options: dict[str, Any] = {"kind": self.kind, "normalize": self.normalize, "dims": self.dims}
        return hierarchical_ntk(x, z, filter_sizes=self.filter_sizes, **options)

    def _tensor(self, x: NDArray[Any]) -> Tensor:
        points = torch.from_numpy(np.array(x, dtype=np.float64))
        if self.dims == 1:
            return points
        side = round(points.shape[1] ** 0.5)
        if side * side != points.shape[1]:
            raise ValueError(f"dims=2 needs square images; {points.shape[1]} features are none.")
        return points.reshape(-1, side, side)

    def _train(self, x: NDArray[Any], targets: NDArray[Any]) -> None:
        self.X_fit_ = self._tensor(x)
        gram = self._kernel(self.X_fit_)
        # A jitter relative to the trace: the Gram matrix of repeated rows is singular.
        gram.diagonal().add_(self.alpha + 1e-12 * gram.diagonal().mean())
        factor, info = torch.linalg.cholesky_ex(gram)
        y = torch.from_numpy(np.asarray(targets, dtype=np.float64).copy())
        solution = torch.cholesky_solve(y, factor) if int(info) == 0 else torch.linalg.pinv(gram, hermitian=True) @ y
        self.dual_coef_ = solution.numpy()

    def _outputs(self, X: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self)
        x = self._tensor(validate_data(self, X, reset=False))
        outputs: NDArray[Any] = self._kernel(x, self.X_fit_).numpy() @ self.dual_coef_
        return outputs


class HierarchicalNTKRegressor(RegressorMixin, _Hierarchical):
    """Ridge regression (``alpha``; 0 interpolates) with the kernel of a deep CNN of infinite width.

    Parameters as for :func:`hierarchical_ntk`; with ``dims=2`` rows are square images, flattened.

    >>> HierarchicalNTKRegressor((2,)).fit([[0.0, 1.0], [1.0, 0.0]], [1.0, 3.0]).predict([[1.0, 0.0]]).round(6).tolist()
    [3.0]
    """

    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Fit to X [n, d] and y [n]."""
        x, y = validate_data(self, X, y, y_numeric=True)
        self._train(x, y[:, None])
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predictions [points]."""
        return self._outputs(X)[:, 0]


class HierarchicalNTKClassifier(ClassifierMixin, _Hierarchical):
    """Classification by regression on one-hot labels less 1/k: parameters as for :class:`HierarchicalNTKRegressor`.

    >>> HierarchicalNTKClassifier((2,)).fit([[0.0, 1.0], [1.0, 0.0]], ["a", "b"]).predict([[1.0, 0.1]]).tolist()
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
        """Outputs [points, k], or their difference [points] for two classes."""
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class of the largest output."""
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(1)]


def sample_patches(count: int, size: int, patch: int, generator: torch.Generator | None = None) -> Tensor:
    """Inputs [count, size] in float64, each patch uniform on its unit sphere.

    >>> sample_patches(3, 8, 2).reshape(3, 4, 2).norm(dim=2).allclose(torch.ones(3, 4).double())
    True
    """
    if patch < 1 or size % patch:
        raise ZooInvalid(f"patch is {patch}, which does not divide the size {size}.")
    x = torch.randn(count, size // patch, patch, generator=generator, dtype=torch.float64)
    return (x / x.norm(dim=2, keepdim=True)).flatten(1)


Kernel = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TeacherStudent:
    """A Gaussian random field with the kernel of the ``teacher`` learnt by ridgeless regression with the ``student``'s.

    Both map inputs [n, size] to their Gram matrix [n, n]; ``patch`` is the first filter size of both.
    """

    teacher: Kernel
    student: Kernel
    size: int
    patch: int

    @classmethod
    def of(cls, teacher: Sequence[int], student: Sequence[int], size: int) -> TeacherStudent:
        """Tangent kernels of two lists of filter sizes, which share the first one. Raises ``ZooInvalid``."""
        if teacher[0] != student[0]:
            raise ZooInvalid(f"The first filters are {teacher[0]} and {student[0]}; teacher and student share it.")
        kernels = [lambda x, s=sizes: hierarchical_ntk(x, filter_sizes=s) for sizes in (teacher, student)]
        return cls(kernels[0], kernels[1], size, student[0])

    def curve(self, ns: Sequence[int], n_test: int = 512, n_fields: int = 128, seed: int = 0) -> dict[int, float]:
        """Test errors over the field's variance, by number of samples; one factorisation serves all of them."""
        generator = torch.Generator().manual_seed(seed)
        n = max(ns)
        x = sample_patches(n + n_test, self.size, self.patch, generator)
        covariance = self.teacher(x)
        # The expected variance of a field around its own mean; that of a few fields would vary by a fifth.
        variance = covariance.diagonal().mean() - covariance.mean()
        y = _cholesky(covariance) @ torch.randn(len(x), n_fields, generator=generator, dtype=x.dtype)
        gram = self.student(x)
        factor = _cholesky(gram[:n, :n])
        # With K = L Lᵀ the first k rows of L⁻¹ y are those of the problem with k samples.
        whitened = torch.linalg.solve_triangular(factor, torch.cat([y[:n], gram[:n, n:]], 1), upper=False)
        fields, tests = whitened[:, :n_fields], whitened[:, n_fields:]
        return {k: float((tests[:k].T @ fields[:k] - y[n:]).square().mean() / variance) for k in ns}


def _cholesky(gram: Tensor) -> Tensor:
    jittered = gram.clone()
    jittered.diagonal().add_(1e-12 * gram.diagonal().mean())
    return torch.linalg.cholesky(jittered)


__all__ = [
    "HierarchicalNTKClassifier",
    "HierarchicalNTKRegressor",
    "TeacherStudent",
    "sample_patches",
]
