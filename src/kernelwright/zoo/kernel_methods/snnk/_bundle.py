"""Bundling: a stack of layers becomes one matrix behind fixed features, and that matrix has a closed form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from ....errors import ZooInvalid
from ._features import DualFeatures
from ._layers import Features, make_features

_NAMES = {nn.ReLU: "relu", nn.Tanh: "tanh"}
_BLOCK = 4096  # rows whose features are held at a time


class BundledNet(nn.Module):
    """Phi_L(... Phi_1(x)) V^T + b with V [out, features] trainable, everything before it fixed."""

    def __init__(self, features: Iterable[Features], weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.features(x), self.weight, self.bias)


def bundle(model: nn.Sequential, num_features: int, generator: torch.Generator | None = None) -> BundledNet:
    """A stack Linear, activation, ..., Linear as one matrix (arXiv 2310.13225, section 3.3).

    With y = A Phi_1(x) for the first layer, A = Psi_1(W_1, b_1), the next one's W_2 y = (W_2 A) Phi_1(x): so W_2 A
    takes W_2's place on inputs Phi_1(x), and W_1 is gone. The last layer joins the matrix. Activations are ReLU
    (features of the arc-cosine kernel, not the function itself) and Tanh. Raises ``ZooInvalid``.

    >>> bundle(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)), 32)(torch.zeros(3, 8)).shape
    torch.Size([3, 2])
    """
    layers = list(model)
    linear = [layer for layer in layers[::2] if isinstance(layer, nn.Linear)]
    kinds = [type(layer) for layer in layers[1::2]]
    if len(layers) < 3 or len(linear) != len(kinds) + 1:
        raise ZooInvalid("The model is not Linear, activation, ..., Linear with at least one activation.")
    if any(kind not in _NAMES for kind in kinds):
        raise ZooInvalid(f"The activations are {', '.join(k.__name__ for k in kinds)}; they must be ReLU or Tanh.")
    made: list[Features] = []
    joined: torch.Tensor | None = None
    with torch.no_grad():
        for one, kind in zip(linear, kinds, strict=False):
            weight = one.weight if joined is None else one.weight @ joined
            size, has_bias = weight.shape[1], one.bias is not None
            features = make_features(size, num_features, _NAMES[kind], bias=has_bias, generator=generator)
            made.append(features.to(weight))
            joined = features.weight_map(weight, one.bias)
        assert joined is not None
        last = linear[-1]
        bias = None if last.bias is None else last.bias.detach().clone()
        return BundledNet(made, last.weight @ joined, bias)


def gram_solve(features: Iterable[tuple[torch.Tensor, torch.Tensor]], ridge: float) -> torch.Tensor:
    """V [out, m] that minimises |F V^T - Y|² + ridge |V|² from blocks (F [n, m], Y [n, out]), which are not kept."""
    gram, moment = torch.zeros(()), torch.zeros(())
    for block, targets in features:
        gram, moment = gram + block.mT @ block, moment + block.mT @ targets
    gram.diagonal().add_(ridge)
    return torch.cholesky_solve(moment, torch.linalg.cholesky(gram)).mT


class ArcCosineFeatures(TransformerMixin, BaseEstimator):
    """max(G x, 0) / sqrt(m): features [N, n_components] whose dot products estimate the arc-cosine kernel.

    >>> ArcCosineFeatures(8, random_state=0).fit_transform(np.ones((3, 2))).shape
    (3, 8)
    """

    def __init__(self, n_components: int = 100, orthogonal: bool = True, random_state: Any = None) -> None:
        self.n_components = n_components
        self.orthogonal = orthogonal
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> ArcCosineFeatures:
        """Draw the directions for X's number of columns."""
        X = validate_data(self, X)
        generator = _generator(self.random_state)
        features = DualFeatures(X.shape[1], self.n_components, orthogonal=self.orthogonal, generator=generator)
        self.features_ = features.double()
        self._n_features_out = self.n_components
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features of X [N, d]: [N, n_components]."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return self.features_.input_map(torch.tensor(X)).numpy()


class _Bundled(BaseEstimator):
    """A fully bundled net of ``layers`` layers: fixed features, and one matrix found by least squares."""

    def __init__(
        self,
        num_features: int = 512,
        layers: int = 1,
        ridge: float = 1e-3,
        orthogonal: bool = True,
        random_state: Any = None,
    ) -> None:
        self.num_features = num_features
        self.layers = layers
        self.ridge = ridge
        self.orthogonal = orthogonal
        self.random_state = random_state

    def _fit(self, X: np.ndarray, targets: np.ndarray) -> None:
        generator = _generator(self.random_state)
        x, y = torch.tensor(X, dtype=torch.float64), torch.tensor(targets, dtype=torch.float64)
        self.shift_, self.width_ = x.mean(0), x.std(0, unbiased=False).square().mean().sqrt().clamp_min(1e-12)
        sizes = [x.shape[1]] + [self.num_features] * (self.layers - 1)
        stack = [
            make_features(size, self.num_features, "relu", bias=True, orthogonal=self.orthogonal, generator=generator)
            for size in sizes
        ]
        self.offset_ = y.mean(0)
        empty = torch.zeros(y.shape[1], self.num_features)
        self.net_ = BundledNet(stack, empty, self.offset_).double().requires_grad_(False)
        scaled = self._scaled(x)
        first = self.net_.features(scaled[:_BLOCK])
        blocks = (
            (self.net_.features(rows), labels - self.offset_)
            for rows, labels in zip(scaled.split(_BLOCK), y.split(_BLOCK), strict=True)
        )
        # The ridge counts in units of the features' mean square, so that it means the same for every number of them.
        self.net_.weight.copy_(gram_solve(blocks, self.ridge * float(first.square().mean()) * len(x)))

    def _scaled(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.shift_) / (self.width_ * x.shape[1] ** 0.5)

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return torch.cat([self.net_(part) for part in self._scaled(torch.tensor(X)).split(_BLOCK)]).numpy()


class BundledRegressor(RegressorMixin, _Bundled):
    """Least squares on bundled ReLU features: V = Y^T F (F^T F + r I)^-1, no gradient steps (section 3.3).

    Inputs are centred and divided by one number, their typical length. ``ridge`` is r for each point, in units of the
    features' mean square.

    >>> BundledRegressor(64, random_state=0).fit(np.eye(4), np.arange(4.0)).predict(np.eye(4)).shape
    (4,)
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> BundledRegressor:
        """Solve for features X [N, d] and values y [N] or [N, out]."""
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True)
        self.single_ = y.ndim == 1
        self._fit(X, y.reshape(len(y), -1))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Values [N] or [N, out]."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self.single_ else outputs


class BundledClassifier(ClassifierMixin, _Bundled):
    """The same on one-hot targets; the class of the largest output.

    >>> BundledClassifier(64, random_state=0).fit(np.eye(2), [0, 1]).predict(np.eye(2)).tolist()
    [0, 1]
    """

    def fit(self, X: Any, y: Any) -> BundledClassifier:
        """Solve for features X [N, d] and labels y [N]."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        self._fit(X, np.eye(len(self.classes_))[index])
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Outputs [N, classes]; for two classes their difference [N]."""
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict(self, X: Any) -> np.ndarray:
        """Labels [N]."""
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(1)]


def _generator(random_state: Any) -> torch.Generator:
    return torch.Generator().manual_seed(int(check_random_state(random_state).randint(2**31 - 1)))


__all__ = [
    "ArcCosineFeatures",
    "BundledClassifier",
    "BundledNet",
    "BundledRegressor",
    "bundle",
    "gram_solve",
]
