"""The learner: an average of networks, or of draws from their infinite-width limit, thresholded at zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ....errors import ZooInvalid
from ._moments import limit_moments
from ._networks import Scales, answers, rate, train_members


class PermutationEnsemble:
    """Learns a permutation of bits from the unit vectors and applies it to any binary vector that is not zero.

    Parameters
    ----------
    n_members, width : how many networks, and how many hidden units each has ("gd").
    parametrization : "ntk", or "standard", whose wide networks train in effect their last layer alone and which needs
        several times fewer members; the published code uses it, the published theory is about the other.
    solver : "gd" trains networks by gradient descent; "gp-limit" draws the average of infinitely wide ones.
    sigma_w : scale of both layers' weights.
    max_steps, tol : when training ends; it warns where ``tol`` was not reached.

    ``fit`` takes a permutation, or inputs and targets. Rows are normalised, as in the paper. A bit is 1 where the
    average exceeds 10 ``tol``, which leaves room for what training leaves of the zeros that it was shown.

    >>> model = PermutationEnsemble(2000, solver="gp-limit").fit([2, 0, 1])
    >>> model.predict(torch.tensor([[1, 1, 0]])).tolist()
    [[1, 0, 1]]
    """

    def __init__(
        self,
        n_members: int = 100,
        width: int = 2048,
        *,
        parametrization: str = "ntk",
        solver: str = "gd",
        sigma_w: float = 1.0,
        max_steps: int = 10_000,
        tol: float = 1e-5,
        seed: int = 0,
    ) -> None:
        if parametrization not in ("ntk", "standard"):
            raise ZooInvalid(f"parametrization is {parametrization!r}; it must be 'ntk' or 'standard'.")
        if solver not in ("gd", "gp-limit"):
            raise ZooInvalid(f"solver is {solver!r}; it must be 'gd' or 'gp-limit'.")
        if n_members < 1 or width < 1 or max_steps < 1:
            raise ZooInvalid(f"n_members, width, max_steps are {n_members}, {width}, {max_steps}; right is 1 or more.")
        if not (sigma_w > 0 and tol > 0):
            raise ZooInvalid(f"sigma_w and tol are {sigma_w} and {tol}; they must be above 0.")
        self.n_members, self.width, self.parametrization, self.solver = n_members, width, parametrization, solver
        self.sigma_w, self.max_steps, self.tol, self.seed = sigma_w, max_steps, tol, seed

    def fit(self, inputs: Tensor | Sequence[int], targets: Tensor | None = None) -> PermutationEnsemble:
        """Learn a permutation, whose entry i says where bit i goes, or targets ``[n, m]`` of inputs ``[n, k]``."""
        if targets is None:
            inputs, targets = _unit_vectors(inputs)
        self.x_ = _directions(torch.as_tensor(inputs))
        self.y_ = torch.as_tensor(targets).double()
        if self.y_.ndim != 2 or len(self.y_) != len(self.x_):
            raise ZooInvalid(f"targets have the shape {tuple(self.y_.shape)}; [{len(self.x_)}, m] is right.")
        self.blocks_: list[Any] = []  # trained weights, or (members, seed) of draws
        return self.partial_fit_members(self.n_members)

    def partial_fit_members(self, m: int) -> PermutationEnsemble:
        """Add ``m`` members to those there are."""
        if m < 1:
            raise ZooInvalid(f"m is {m}; at least one member can be added.")
        if not hasattr(self, "blocks_"):
            raise ZooInvalid("Members can be added after fit, which says what they learn.")
        seed = self.seed + 7919 * len(self.blocks_)
        if self.solver == "gp-limit":
            self.blocks_.append((m, seed))
            return self
        step = rate(self.parametrization, self.width, self.sigma_w, self.x_)
        generator = torch.Generator().manual_seed(seed)
        self.blocks_ += train_members(
            self.x_.float(), self.y_.float(), m, self.width, self._scales(), step, self.max_steps, self.tol, generator
        )
        return self

    def decision_function(self, x: Tensor) -> Tensor:
        """The members' average ``[t, m]`` in float64, at rows ``[t, k]``.

        In the limit, answers of one call are drawn together, as one ensemble gives them; the next call with other rows
        is another ensemble, with the same rows the same.
        """
        points = _directions(torch.as_tensor(x))
        if self.solver == "gd":
            return answers(self.blocks_, points.float(), self._scales()).double().mean(0)
        kernel = "ntk" if self.parametrization == "ntk" else "nngp"
        mean, covariance = limit_moments(self.x_, self.y_, points, kernel)
        root = self.sigma_w**2 * covariance_root(covariance)
        total, members = torch.zeros_like(mean), 0
        for count, seed in self.blocks_:
            noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            total += count**0.5 * (root @ noise)
            members += count
        return mean + total / members

    def predict(self, x: Tensor) -> Tensor:
        """Bits int64 ``[t, m]``."""
        return (self.decision_function(x) > 10 * self.tol).long()

    def score(self, x: Tensor, targets: Tensor) -> float:
        """The share of rows with every bit right."""
        return float((self.predict(x) == torch.as_tensor(targets)).all(1).double().mean())

    def _scales(self) -> Scales:
        return Scales.of(self.parametrization, self.width, self.x_.shape[1], self.sigma_w)


def covariance_root(covariance: Tensor) -> Tensor:
    """R with R R^T the covariance; where that is 0, as at training points, rounding must not make it a deviation."""
    values, vectors = torch.linalg.eigh(covariance)
    floor = 1e-12 * float(values.abs().max())
    return vectors * torch.where(values > floor, values, torch.zeros_like(values)).sqrt()


def _unit_vectors(permutation: Tensor | Sequence[int]) -> tuple[Tensor, Tensor]:
    goes = torch.as_tensor(permutation)
    k = goes.numel()
    if goes.ndim != 1 or goes.is_floating_point() or not torch.equal(goes.sort().values, torch.arange(k)):
        raise ZooInvalid(f"permutation is {goes.tolist()}; it must hold each of 0 to k - 1 once.")
    if k < 2:
        raise ZooInvalid("permutation has fewer than 2 bits; there is nothing to learn.")
    return torch.eye(k, dtype=torch.float64), torch.eye(k, dtype=torch.float64)[goes]


def _directions(x: Tensor) -> Tensor:
    """Rows of length 1, float64."""
    rows = x.double()
    if rows.ndim != 2 or not torch.isfinite(rows).all():
        raise ZooInvalid(f"inputs have the shape {tuple(rows.shape)}; finite rows [n, k] are right.")
    norms = rows.norm(dim=1, keepdim=True)
    if not (norms > 0).all():
        raise ZooInvalid("inputs hold a zero row, on which no permutation can be told from another.")
    return rows / norms


__all__ = ["PermutationEnsemble", "covariance_root"]
