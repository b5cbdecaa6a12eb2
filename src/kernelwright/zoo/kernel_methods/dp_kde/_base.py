"""The privacy accounting of this package's estimators, and what they share: the budget, the ledger, checked arrays.

Privacy accounting, for all three
---------------------------------
``adjacency="replace-one"`` (neighbours differ in one row's values; the number of rows is public) or ``"add-remove"``
(neighbours differ by one row; the number of rows is private and released with the rest). ``noise="discrete"`` and
``"laplace"`` give (epsilon, 0)-privacy, ``"gaussian"`` (epsilon, delta). What ``fit`` computes is private as a whole;
every answer is free afterwards. ``ledger_`` names the mechanisms with their sensitivities and scales;
``epsilon_spent_`` and ``delta_spent_`` are their sums. Hyper-parameters, bounds, encoders and scaling must not be
chosen by looking at the private rows: the estimators clip, they never measure a range. Sensitivities in l1 to a row
that comes or goes, and to a replaced row in brackets:

=================================  ===============================================================
random features, I frequencies     sqrt(2) I (1 + 1/10): a tenth for the count  [2 sqrt(2) I]
trees, d coordinates, m leaves     d (log2(m) + 1)  [2 d log2(m), the root being public]
moments, d coordinates, radius r   (sqrt(d) + 2) r  [(2 sqrt(d) + 1) r]
moments of rows of length r        (sqrt(d) + 2) r  [2 sqrt(d) r]
=================================  ===============================================================
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from ._noise import Floats, generators
from ._privacy import Adjacency, Budget, Noise


class Private(BaseEstimator):
    """What all share: the budget, the ledger, checked arrays."""

    epsilon: float
    delta: float
    noise: Noise
    adjacency: Adjacency
    random_state: object

    def _begin(self, X: object) -> tuple[Floats, np.random.Generator, Budget]:
        x = validate_data(self, X, dtype=np.float64)
        public, secret = generators(self.random_state)
        return x, public, Budget(self.epsilon, self.delta, self.noise, self.adjacency, secret)

    def _queries(self, Y: object) -> Floats:
        check_is_fitted(self)
        return validate_data(self, Y, dtype=np.float64, reset=False)

    def _finish(self, budget: Budget) -> None:
        self.ledger_ = budget.ledger
        self.epsilon_spent_, self.delta_spent_ = self.ledger_.epsilon, self.ledger_.delta


__all__ = ["Private"]
