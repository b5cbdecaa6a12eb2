"""What is spent and on what: the adjacency of datasets, sensitivities, the one way to release a vector, the ledger.

A mechanism M is (epsilon, delta)-private when P(M(X) in A) <= e^epsilon P(M(X') in A) + delta for all neighbouring
datasets X, X' and all sets A. Neighbours differ by one row: replaced by another ("replace-one", the number of rows is
public) or added or removed ("add-remove", the number of rows is itself private). Every structure of this package is one
vector, linear in the rows, released once; all answers are computed from the released vector and cost nothing more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ._noise import Floats, discrete_laplace, gaussian_sigma, laplace

Adjacency = Literal["replace-one", "add-remove"]
Noise = Literal["discrete", "laplace", "gaussian"]

_STEPS = 1024  # discrete noise: how many steps of its grid one entry's share of the sensitivity is at least


@dataclass(frozen=True)
class Sensitivity:
    """How far one row can move a vector: the largest l1 and l2 distance between the vectors of two neighbours."""

    l1: float
    l2: float


@dataclass(frozen=True)
class Mechanism:
    """One release: ``scale`` is the Laplace scale or the Gaussian's standard deviation of each of ``size`` entries."""

    name: str
    noise: Noise
    adjacency: Adjacency
    epsilon: float
    delta: float
    sensitivity: float  # in the norm that the noise goes by: l1 for Laplace, l2 for Gaussian
    scale: float
    size: int


@dataclass(frozen=True)
class PrivacyLedger:
    """Mechanisms on the same rows one after the other: their epsilons and deltas add (basic composition)."""

    mechanisms: tuple[Mechanism, ...] = ()

    @property
    def epsilon(self) -> float:
        return sum(m.epsilon for m in self.mechanisms)

    @property
    def delta(self) -> float:
        return sum(m.delta for m in self.mechanisms)


def parallel(ledgers: list[PrivacyLedger], touched: int) -> tuple[float, float]:
    """(epsilon, delta) of ledgers over disjoint parts of the rows, where one change touches ``touched`` parts."""
    epsilons = sorted((ledger.epsilon for ledger in ledgers), reverse=True)
    deltas = sorted((ledger.delta for ledger in ledgers), reverse=True)
    return sum(epsilons[:touched]), sum(deltas[:touched])


@dataclass
class Budget:
    """Adds noise to vectors and writes down what it cost. ``epsilon`` inf adds none: for experiments, not private."""

    epsilon: float
    delta: float
    noise: Noise
    adjacency: Adjacency
    rng: np.random.Generator
    spent: list[Mechanism] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ValueError(f"epsilon={self.epsilon!r} must be positive; inf means no noise and no privacy.")
        if self.noise not in ("discrete", "laplace", "gaussian"):
            raise ValueError(f"noise={self.noise!r} is not one of 'discrete', 'laplace', 'gaussian'.")
        if self.adjacency not in ("replace-one", "add-remove"):
            raise ValueError(f"adjacency={self.adjacency!r} is neither 'replace-one' nor 'add-remove'.")
        if self.noise == "gaussian" and not 0 < self.delta < 1:
            raise ValueError(f"delta={self.delta!r} must lie within (0, 1) for noise='gaussian'.")
        if self.noise != "gaussian" and self.delta != 0:
            raise ValueError(f"delta={self.delta!r} must be 0 for noise={self.noise!r}, which is purely private.")

    def release(self, name: str, values: Floats, sensitivity: Sensitivity, *, integral: bool = False) -> Floats:
        """``values`` with noise on every entry. ``integral`` says that neighbours' values are whole numbers."""
        values = np.asarray(values, np.float64)
        if math.isinf(self.epsilon):
            noised, norm, scale = values, sensitivity.l1, 0.0
        elif self.noise == "gaussian":
            norm, scale = sensitivity.l2, gaussian_sigma(self.epsilon, self.delta, sensitivity.l2)
            noised = values + self.rng.normal(0.0, scale, values.shape)
        elif self.noise == "laplace":
            norm, scale = sensitivity.l1, sensitivity.l1 / self.epsilon
            noised = values + laplace(self.rng, scale, values.shape)
        else:
            norm = sensitivity.l1
            noised, scale = self._on_grid(values, norm, integral)
        spent = Mechanism(name, self.noise, self.adjacency, self.epsilon, self.delta, norm, scale, values.size)
        self.spent.append(spent)
        return noised

    def _on_grid(self, values: Floats, l1: float, integral: bool) -> tuple[Floats, float]:
        """Values rounded to a public grid, plus discrete Laplace noise in units of it; and the noise's scale.

        Rounding can move each entry's change up by one step, which the sensitivity in steps allows for.
        """
        grid = 1.0 if integral else 2.0 ** math.floor(math.log2(l1 / (_STEPS * values.size)))
        steps = math.ceil(l1 / grid) + (0 if integral else values.size)
        noise = discrete_laplace(self.rng, steps, self.epsilon, values.size).reshape(values.shape)
        return np.asarray((np.rint(values / grid) + noise) * grid, np.float64), steps * grid / self.epsilon

    @property
    def ledger(self) -> PrivacyLedger:
        return PrivacyLedger(tuple(self.spent))


__all__ = ["Adjacency", "Budget", "Mechanism", "Noise", "PrivacyLedger", "Sensitivity", "parallel"]
