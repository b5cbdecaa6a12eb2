"""The second method: a circuit behind the feature map whose angles are trained, a linear classifier in 4^n features."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ....errors import ZooInvalid
from ._classifiers import two_classes
from ._states import ZZFeatureMap

Cost = Callable[[torch.Tensor], torch.Tensor]
_EXACT_SHARPNESS = 200  # shots that the cost supposes where probabilities are exact
_GROUP = 4  # qubits whose rotations of one layer become one matrix


def rotations(angles: torch.Tensor) -> torch.Tensor:
    """exp(i z Z / 2) exp(i y Y / 2) for angles [..., 2] = (z, y): complex [..., 2, 2]."""
    z, y = angles.unbind(-1)
    cosine, sine = torch.cos(y / 2), torch.sin(y / 2)
    turn = torch.stack([torch.stack([cosine, sine], -1), torch.stack([-sine, cosine], -1)], -2)
    phase = torch.polar(torch.ones_like(z), z / 2)
    return turn * torch.stack([phase, phase.conj()], -1).unsqueeze(-1)


def circuit(angles: torch.Tensor, states: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    """W(theta) on complex states [N, 2^n] for angles [..., depth + 1, n, 2]: rotations, then (CZ, rotations)^depth.

    Leading axes of ``angles`` are circuits of their own: the result is [..., N, 2^n]. ``signs`` [2^n] is the product
    of all controlled-Z gates. A layer is applied as one product for each group of qubits, lowest bits first, and
    every product turns its bits to the top.
    """
    gates = rotations(angles)
    lead, qubits = angles.shape[:-3], angles.shape[-2]
    out = states.expand(*lead, *states.shape)
    shape = out.shape
    for layer in range(angles.shape[-3]):
        if layer:
            out = out * signs
        for end in range(qubits, 0, -_GROUP):
            group = _kronecker(gates[..., layer, max(0, end - _GROUP) : end, :, :])
            split = out.reshape(*lead, -1, group.shape[-1]) @ group.mT
            out = split.reshape(*shape[:-1], -1, group.shape[-1]).mT.reshape(shape)
    return out


def _kronecker(gates: torch.Tensor) -> torch.Tensor:
    """The tensor product of gates [..., k, 2, 2], the first for the highest bit: [..., 2^k, 2^k]."""
    product = gates[..., 0, :, :]
    for gate in gates.unbind(-3)[1:]:
        size = 2 * product.shape[-1]
        product = (product[..., :, None, :, None] * gate[..., None, :, None, :]).reshape(*gate.shape[:-2], size, size)
    return product


def expectation(angles: torch.Tensor, states: torch.Tensor, feature_map: ZZFeatureMap) -> torch.Tensor:
    """<Phi|W^dagger Z...Z W|Phi> in [-1, 1] of complex states [N, 2^n]: [..., N], differentiable in ``angles``."""
    table = feature_map.table(states.real)
    ones = (1 - table[: feature_map.n_qubits]) / 2
    signs = torch.ones_like(table[0])
    for i, j in feature_map.pairs:
        signs = signs * (1 - 2 * ones[i] * ones[j])
    return circuit(angles, states, signs).abs().square() @ table[: feature_map.n_qubits].prod(0)


def shifted_gradient(angles: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """d value / d angles by the parameter-shift rule, 2 evaluations an angle: what hardware can measure.

    ``value`` maps angles to a number that is linear in an expectation; the result has the shape of ``angles``.
    """
    gradient = torch.empty_like(angles)
    for index in range(angles.numel()):
        shift = torch.zeros_like(angles).view(-1)
        shift[index] = math.pi / 2
        shift = shift.view_as(angles)
        gradient.view(-1)[index] = (value(angles + shift) - value(angles - shift)) / 2
    return gradient


def spsa(cost: Cost, start: torch.Tensor, steps: int, rate: float, generator: np.random.RandomState) -> torch.Tensor:
    """Simultaneous perturbation: two evaluations a step, gains a/(k + A)^0.602 and c/k^0.101 (Spall 1998)."""
    point, stability, width = start, 0.1 * steps, 0.2
    for k in range(1, steps + 1):
        sign = torch.as_tensor(2 * generator.randint(2, size=tuple(point.shape)) - 1, dtype=point.dtype)
        size = width / k**0.101
        slope = (cost(point + size * sign) - cost(point - size * sign)) / (2 * size)
        point = point - rate * ((1 + stability) / (k + stability)) ** 0.602 * slope[:, None] * sign
    return point


def adam(cost: Cost, start: torch.Tensor, steps: int, rate: float) -> torch.Tensor:
    """Exact gradients through the simulation, for costs without shots."""
    point = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([point], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        cost(point).sum().backward()
        optimizer.step()
    return point.detach()


class VariationalClassifier(ClassifierMixin, BaseEstimator):
    """p_y(x) = (1 + y <Phi|W^dagger Z...Z W|Phi>) / 2, decided with a bias b (arXiv 1804.11326, eqs. 3-5).

    W has ``depth`` layers of controlled-Z gates between depth + 1 layers of rotations: 2 n (depth + 1) angles. The
    cost is the mean of sigmoid(sqrt(R) (1/2 - p_y - y b / 2) / sqrt(2 p_y (1 - p_y))), about the chance that R shots
    decide wrongly; b enters with the sign that the decision rule p_y > p_-y - y b implies. ``shots`` None takes exact
    probabilities. ``restarts`` circuits are trained side by side and the one of least cost is kept. ``optimizer`` is
    "spsa", as on hardware, or "adam", which differentiates the simulation and needs ``shots=None``.

    >>> model = VariationalClassifier(depth=1, n_steps=20, random_state=0)
    >>> model.fit([[0.1, 1.0], [3.0, 2.0]], [0, 1]).predict([[3.0, 2.0]]).shape
    (1,)
    """

    def __init__(
        self,
        depth: int = 4,
        optimizer: Literal["spsa", "adam"] = "spsa",
        shots: int | None = None,
        n_steps: int = 250,
        learning_rate: float | None = None,
        restarts: int = 8,
        reps: int = 2,
        random_state: Any = None,
    ) -> None:
        self.depth = depth
        self.optimizer = optimizer
        self.shots = shots
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.restarts = restarts
        self.reps = reps
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.poor_score = True  # standardised features are no angles
        return tags

    def _check(self) -> None:
        if self.optimizer not in ("spsa", "adam"):
            raise ZooInvalid(f"optimizer is {self.optimizer!r}; it is 'spsa' or 'adam'.")
        if self.optimizer == "adam" and self.shots is not None:
            raise ZooInvalid(f"shots is {self.shots} with optimizer 'adam'; measured probabilities need 'spsa'.")
        if self.depth < 0 or self.restarts < 1:
            raise ZooInvalid(f"depth is {self.depth} and restarts {self.restarts}; they are at least 0 and 1.")

    def fit(self, X: Any, y: Any) -> VariationalClassifier:
        """Train on angles X [N, n] and labels y [N] of two classes."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self._check()
        self.classes_, signs = two_classes(y)
        generator = check_random_state(self.random_state)
        self.feature_map_ = ZZFeatureMap(X.shape[1], self.reps)
        labels = torch.as_tensor(signs)
        states = self.feature_map_.states(X)
        count = 2 * self.feature_map_.n_qubits * (self.depth + 1)

        def cost(point: torch.Tensor) -> torch.Tensor:
            return self._cost(self._probability(point, states, generator), point[:, -1:], labels)

        start = torch.as_tensor(
            generator.uniform(-math.pi, math.pi, (self.restarts, count + 1)), dtype=states.real.dtype
        )
        start[:, -1] = 0
        if self.optimizer == "adam":
            found = adam(cost, start, self.n_steps, self.learning_rate or 0.1)
        else:
            found = spsa(cost, start, self.n_steps, self.learning_rate or 0.3, generator)
        with torch.no_grad():
            costs = cost(found)
        best = found[costs.argmin()]
        self.cost_, self.bias_ = float(costs.min()), float(best[-1].clamp(-1, 1))
        self.angles_ = best[:-1].reshape(self.depth + 1, self.feature_map_.n_qubits, 2)
        return self

    def _probability(
        self, points: torch.Tensor, states: torch.Tensor, generator: np.random.RandomState
    ) -> torch.Tensor:
        """p_+ [restarts, N] at angles and bias [restarts, count + 1], exact or as a frequency of shots."""
        angles = points[:, :-1].reshape(len(points), self.depth + 1, self.feature_map_.n_qubits, 2)
        p = ((1 + expectation(angles, states, self.feature_map_)) / 2).clamp(0, 1)
        if self.shots is None:
            return p
        return torch.as_tensor(generator.binomial(self.shots, p.numpy()) / self.shots, dtype=p.dtype)

    def _cost(self, p: torch.Tensor, bias: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        shots = self.shots or _EXACT_SHARPNESS
        right = torch.where(labels > 0, p, 1 - p).clamp(0.5 / shots, 1 - 0.5 / shots)
        lacking = 0.5 - right - labels * bias.clamp(-1, 1) / 2
        return torch.sigmoid(math.sqrt(shots) * lacking / (2 * right * (1 - right)).sqrt()).mean(-1)

    def decision_function(self, X: Any) -> np.ndarray:
        """<Z...Z> + b [N], positive for ``classes_[1]``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        states = self.feature_map_.states(X)
        point = torch.cat([self.angles_.reshape(-1), self.angles_.new_tensor([self.bias_])]).to(states.real.dtype)[None]
        p = self._probability(point, states, check_random_state(self.random_state))
        return (2 * p[0] - 1 + self.bias_).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Labels [N]."""
        positive = self.decision_function(X) > 0
        return self.classes_[positive.astype(int)]


__all__ = ["VariationalClassifier", "adam", "circuit", "expectation", "rotations", "shifted_gradient", "spsa"]
