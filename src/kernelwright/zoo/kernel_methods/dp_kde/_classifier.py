"""Classification by private average similarities; its privacy accounting is that of ``_base``."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from ._base import Private
from ._distance_sum import DPDistanceSum
from ._features import KERNELS
from ._kernel_density import DPKernelDensity
from ._noise import Floats, generators
from ._privacy import Adjacency, Noise, parallel


class DPSimilarityClassifier(ClassifierMixin, Private):
    """The class whose private rows are most alike on average: argmax_c (1/n_c) sum_{x of class c} s(x, y).

    One private structure for every class (arXiv 2403.08917, section on classification). ``similarity``: a kernel of
    :class:`DPKernelDensity`, or "sqeuclidean" (rows normalised to length 1) or "l1" of :class:`DPDistanceSum`, both
    negative; other parameters are passed on. The set of classes counts as public; class sizes do not and are released
    with noise. Every structure is calibrated to rows that come or go: under "add-remove" one change touches one class,
    so each gets the whole budget; a replaced row may change its class and touch two, so each gets half.

    Attributes: ``classes_``, ``structures_`` (one fitted estimator a class), ``epsilon_spent_``, ``delta_spent_``.

    >>> x = np.repeat([[0.0, 1.0], [1.0, 0.0]], 500, axis=0)
    >>> model = DPSimilarityClassifier(epsilon=1.0, random_state=0).fit(x, np.repeat(["up", "right"], 500))
    >>> model.predict([[0.1, 0.9]])
    array(['up'], dtype='<U5')
    """

    def __init__(
        self,
        similarity: str = "sqeuclidean",
        *,
        epsilon: float = 1.0,
        delta: float = 0.0,
        noise: Noise = "discrete",
        adjacency: Adjacency = "replace-one",
        bandwidth: float = 1.0,
        n_features: int | str = "auto",
        bounds: tuple[float, float] = (0.0, 1.0),
        leaves: int = 256,
        random_state: Any = None,
    ) -> None:
        self.similarity = similarity
        self.epsilon = epsilon
        self.delta = delta
        self.noise = noise
        self.adjacency = adjacency
        self.bandwidth = bandwidth
        self.n_features = n_features
        self.bounds = bounds
        self.leaves = leaves
        self.random_state = random_state

    def fit(self, X: object, y: object) -> DPSimilarityClassifier:
        """Release one structure for each class of the private rows ``X [n, d]`` with labels ``y [n]``."""
        x, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise ValueError("y must have at least two classes; it has one class.")
        _, secret = generators(self.random_state)
        touched = 2 if self.adjacency == "replace-one" else 1
        self.structures_ = []
        for label in self.classes_:
            structure = self._structure(touched, None if self.random_state is None else int(secret.integers(2**62)))
            self.structures_.append(structure.fit(x[labels == label]))
        ledgers = [structure.ledger_ for structure in self.structures_]
        self.epsilon_spent_, self.delta_spent_ = parallel(ledgers, touched)
        return self

    def decision_function(self, X: object) -> Floats:
        """Average similarities ``[q, classes]``; for two classes the second's lead ``[q]``, as scikit-learn has it."""
        x = self._queries(X)
        scores = np.stack([_average(structure, x) for structure in self.structures_], 1)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: object) -> np.ndarray:
        """The most similar class of every row: ``[q]``."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # on the few rows of scikit-learn's checks, noise may win
        return tags

    def _structure(self, touched: int, seed: int | None) -> DPKernelDensity | DPDistanceSum:
        shared: dict[str, Any] = {
            "epsilon": self.epsilon / touched,
            "delta": self.delta / touched,
            "noise": self.noise,
            "adjacency": "add-remove",
            "random_state": seed,
        }
        if self.similarity in KERNELS:
            return DPKernelDensity(self.similarity, bandwidth=self.bandwidth, n_features=self.n_features, **shared)
        if self.similarity in ("sqeuclidean", "l1"):
            return DPDistanceSum(self.similarity, bounds=self.bounds, normalise=True, leaves=self.leaves, **shared)
        raise ValueError(f"similarity={self.similarity!r} is not sqeuclidean, l1 or one of {', '.join(KERNELS)}.")


def _average(structure: DPKernelDensity | DPDistanceSum, x: Floats) -> Floats:
    if isinstance(structure, DPKernelDensity):
        return structure.kernel_sum(x) / structure.count_
    return -structure.distance_sum(x) / structure.count_


__all__ = ["DPSimilarityClassifier"]
