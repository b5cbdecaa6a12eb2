"""Support vector machines on the fidelity kernel, as scikit-learn estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ._kernel import FidelityKernel
from ._states import Entanglement, PairPhase, ZZFeatureMap


class _KernelClassifier(ClassifierMixin, BaseEstimator):
    """What both classifiers share: the parameters of the kernel, and how it is made of them."""

    reps: int
    entanglement: Entanglement
    phi: PairPhase
    shots: int | None
    enforce_psd: bool
    random_state: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # standardised features are no angles, and 2 of them give 16 dimensions
        return tags

    def _kernel(self) -> FidelityKernel:
        feature_map = ZZFeatureMap(self.n_features_in_, self.reps, self.entanglement, self.phi)
        return FidelityKernel(feature_map, self.shots, self.enforce_psd, self.random_state)

    def _validated(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        return X, y


class QSVC(_KernelClassifier):
    """A support vector machine on the fidelity kernel (arXiv 1804.11326, eq. 6); many classes one against one.

    Features are angles in (0, 2 pi]: put ``MinMaxScaler((0, 2 * pi))`` before it. Only support vectors are evaluated
    at prediction, |SV| |S| entries. ``C`` is the margin's penalty; the other parameters are those of
    :class:`ZZFeatureMap` and :class:`FidelityKernel`.

    >>> QSVC(C=10).fit([[0.1, 1.0], [3.0, 2.0]], [0, 1]).predict([[3.0, 2.0]]).tolist()
    [1]
    """

    def __init__(
        self,
        C: float = 1.0,
        reps: int = 2,
        entanglement: Entanglement = "full",
        phi: PairPhase = "pi-minus",
        shots: int | None = None,
        enforce_psd: bool = True,
        random_state: Any = None,
    ) -> None:
        self.C = C
        self.reps = reps
        self.entanglement = entanglement
        self.phi = phi
        self.shots = shots
        self.enforce_psd = enforce_psd
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> QSVC:
        """Train on angles X [N, n] and labels y [N]."""
        X, y = self._validated(X, y)
        self.svc_ = SVC(C=self.C, kernel="precomputed").fit(self._kernel()(X), y)
        self.classes_ = self.svc_.classes_
        self.support_ = self.svc_.support_
        self.support_vectors_ = X[self.support_]
        return self

    def _gram(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        gram = np.zeros((len(X), self.svc_.shape_fit_[0]))
        gram[:, self.support_] = self._kernel()(X, self.support_vectors_)
        return gram

    def decision_function(self, X: Any) -> np.ndarray:
        """Signed distances [N] for two classes, one against the rest [N, classes] for more."""
        gram = self._gram(X)
        return self.svc_.decision_function(gram)

    def predict(self, X: Any) -> np.ndarray:
        """Labels [N]."""
        gram = self._gram(X)
        return self.svc_.predict(gram)


class PegasosQSVC(_KernelClassifier):
    """The same for two classes by ``n_steps`` of stochastic subgradient descent: only the rows that are drawn count.

    Step t draws a point i; where (y_i C / t) sum_j alpha_j y_j (K_ij + 1) < 1, alpha_i grows by one (Shalev-Shwartz
    et al. 2011, Fig. 3; the +1 stands for the bias).

    >>> PegasosQSVC(random_state=0).fit([[0.1, 1.0], [3.0, 2.0]], [0, 1]).predict([[3.0, 2.0]]).tolist()
    [1]
    """

    def __init__(
        self,
        C: float = 10.0,
        n_steps: int = 2000,
        reps: int = 2,
        entanglement: Entanglement = "full",
        phi: PairPhase = "pi-minus",
        shots: int | None = None,
        enforce_psd: bool = True,
        random_state: Any = None,
    ) -> None:
        self.C = C
        self.n_steps = n_steps
        self.reps = reps
        self.entanglement = entanglement
        self.phi = phi
        self.shots = shots
        self.enforce_psd = enforce_psd
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: Any, y: Any) -> PegasosQSVC:
        """Train on angles X [N, n] and labels y [N] of two classes."""
        X, y = self._validated(X, y)
        self.classes_, signs = two_classes(y)
        gram = self._kernel()(X) + 1.0
        alpha = np.zeros(len(X))
        for step, i in enumerate(check_random_state(self.random_state).randint(len(X), size=self.n_steps), 1):
            if signs[i] * self.C / step * (gram[i] @ (alpha * signs)) < 1:
                alpha[i] += 1
        self.support_ = np.flatnonzero(alpha)
        self.support_vectors_ = X[self.support_]
        self.dual_coef_ = (self.C / self.n_steps) * (alpha * signs)[self.support_]
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Signed distances [N], positive for ``classes_[1]``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return (self._kernel()(X, self.support_vectors_) + 1.0) @ self.dual_coef_

    def predict(self, X: Any) -> np.ndarray:
        """Labels [N]."""
        positive = self.decision_function(X) > 0
        return self.classes_[positive.astype(int)]


def two_classes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two classes and labels as ±1; a ``ValueError``, as scikit-learn wants it, where there are not two."""
    classes, index = np.unique(y, return_inverse=True)
    if len(classes) == 1:
        raise ValueError("Classifier can't train when only one class is present.")
    if len(classes) > 2:
        raise ValueError(
            f"Only binary classification is supported. The type of the target is multiclass: {len(classes)}."
        )
    return classes, 2 * index - 1


__all__ = ["QSVC", "PegasosQSVC", "two_classes"]
