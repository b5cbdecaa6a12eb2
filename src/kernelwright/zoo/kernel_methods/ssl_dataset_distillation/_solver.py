"""The inner problem in closed form: a linear head on an extractor's features, fitted by kernel ridge regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import ZooInvalid
from ...common._ridge import ridge_solve


@dataclass(frozen=True)
class KernelRidgeSolver:
    """Predictions of the ridge regression whose training set is learned (arXiv 2310.06511, section 3.2).

    ``reg="trace"``: the ridge is ``reg_scale`` times the trace of the Gram matrix, a number that no gradient passes
    through. ``reg="fixed"``: the ridge is ``reg_scale``. ``add_bias`` adds a constant feature 1.

    >>> solver = KernelRidgeSolver(reg="fixed", reg_scale=1e-9)
    >>> solver.predict(torch.tensor([[3.0]]), torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])).item()
    4.0...
    """

    reg: Literal["trace", "fixed"] = "trace"
    reg_scale: float = 1e-6
    add_bias: bool = True

    def __post_init__(self) -> None:
        if self.reg not in ("trace", "fixed") or self.reg_scale < 0:
            raise ZooInvalid(f"reg is 'trace' or 'fixed' and reg_scale at least 0, not {self.reg!r}, {self.reg_scale}.")

    def predict(self, features_t: Tensor, features_s: Tensor, targets_s: Tensor) -> Tensor:
        """K_ts (K_ss + ridge I)^{-1} Y_s [b, d] of features [b, p] and [m, p] and targets [m, d]."""
        if features_t.shape[-1] != features_s.shape[-1] or features_s.shape[:-1] != targets_s.shape[:-1]:
            raise ZooInvalid(
                "Features [b, p] and [m, p] and targets [m, d] are needed, not "
                f"{tuple(features_t.shape)}, {tuple(features_s.shape)} and {tuple(targets_s.shape)}."
            )
        bias = 1.0 if self.add_bias else 0.0
        gram = features_s @ features_s.mT + bias
        ridge = self.reg_scale * gram.detach().trace() if self.reg == "trace" else torch.tensor(self.reg_scale)
        return (features_t @ features_s.mT + bias) @ ridge_solve(gram, targets_s, ridge.to(gram))


def features_of(extractor: nn.Module, x: Tensor) -> Tensor:
    """``extractor.features(x)`` [n, p]: what the head of a pre-trained network stands on."""
    found = getattr(extractor, "features", None)
    if not callable(found):
        raise ZooInvalid(f"{type(extractor).__name__} has no method features(x); extractors need one.")
    features = found(x)
    assert isinstance(features, Tensor)
    return features


def outer_loss(
    extractor: nn.Module, solver: KernelRidgeSolver, x_s: Tensor, y_s: Tensor, x_t: Tensor, y_t: Tensor
) -> Tensor:
    """Mean squared distance of the head fitted to (x_s, y_s) from the teacher's ``y_t`` [b, d] on real ``x_t``.

    The extractor is used in evaluation mode, gets no gradient, and comes back in the mode it was in: gradients are
    those of ``x_s`` and ``y_s`` alone.
    """
    training, wanted = extractor.training, [p.requires_grad for p in extractor.parameters()]
    extractor.eval().requires_grad_(False)
    try:
        with torch.no_grad():
            features_t = features_of(extractor, x_t)
        return functional.mse_loss(solver.predict(features_t, features_of(extractor, x_s), y_s), y_t)
    finally:
        extractor.train(training)
        for parameter, need in zip(extractor.parameters(), wanted, strict=True):
            parameter.requires_grad_(need)


__all__ = ["KernelRidgeSolver", "features_of", "outer_loss"]
