"""Optimisation features: what a candidate does to be fast, by name, and what each was worth so far.

Features are credited by a Bayesian linear model of the logarithm of a candidate's time, with an effect for each feature
and one for each pair. It is written as a Gaussian process: two candidates are as alike as they have features in common.
The gain that it expects of a set says what to try next, and when to stop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Features = frozenset[str]

FEATURES: dict[str, str] = {
    "tiling": "work on blocks that stay in registers and in the nearest caches, and use each loaded value often",
    "vectorisation": "fill the vector registers in every inner loop, with unit stride and several accumulators",
    "fusion": "make one pass over memory: compute what depends on a value while it is there",
    "layout": "copy operands once into the order in which the inner loop reads them, aligned",
    "unrolling": "unroll the inner loop so that independent operations hide each other's latency",
    "parallel axis": "share out another axis, or two axes together, so that all threads are busy until the end",
    "algebra": "rewrite the formula so that it takes fewer or cheaper operations, with no loss of accuracy",
    "precision": "compute in the narrowest format that keeps the result within rounding error, accumulate wider",
}

_PAIRS = 0.5  # variance of the effect of a pair, relative to that of a single feature
_BASE = 10.0  # the same of what a candidate without any feature takes
_LEAST = 0.05  # spread of the logarithm of times before any two differ


class Credit:
    """What features do to the time of candidates; ``luck`` is the share of its variance that they do not explain."""

    def __init__(self, luck: float = 0.01) -> None:
        self._luck = luck
        self._seen: list[Features] = []
        self._costs: list[float] = []

    def learn(self, features: Features, cost: float) -> None:
        """A candidate with these features took ``cost``."""
        self._seen.append(features)
        self._costs.append(math.log(cost))

    def worth(self, feature: str) -> float:
        """By which factor a feature alone has made candidates faster, as far as is known; 1.0 for an unknown one."""
        if not self._seen:
            return 1.0
        effect = np.array([float(feature in features) for features in self._seen])
        return math.exp(-(self._scale**2) * float(effect @ np.linalg.solve(self._likeness, self._centred)))

    def gains(self, best: float, choices: Sequence[Features]) -> list[float]:
        """The improvement on the time ``best`` that may be expected of each choice, as a share of it."""
        if not self._seen:
            return [self._scale] * len(choices)
        across = self._scale**2 * _alike(choices, self._seen)
        own = self._scale**2 * np.array([_kernel(len(choice)) for choice in choices])
        mean = np.mean(self._costs) + across @ np.linalg.solve(self._likeness, self._centred)
        spread = self._noise + own - np.einsum("ij,ji->i", across, np.linalg.solve(self._likeness, across.T))
        sigma = np.sqrt(np.maximum(spread, 1e-12))
        return [_expected(float(lead), float(s)) for lead, s in zip(math.log(best) - mean, sigma, strict=True)]

    @property
    def _centred(self) -> np.ndarray:
        return np.array(self._costs) - np.mean(self._costs)

    @property
    def _scale(self) -> float:
        """Spread of a single feature's effect, so that all of them together explain the times that were seen."""
        size = float(np.mean([_kernel(len(f)) - _BASE for f in self._seen])) if self._seen else 1.0
        spread = max(float(np.std(self._costs)) if len(self._costs) > 1 else 0.0, _LEAST)
        return spread / math.sqrt(max(size, 1.0))

    @property
    def _likeness(self) -> np.ndarray:
        alike = self._scale**2 * _alike(self._seen, self._seen)
        return alike + self._noise * np.eye(len(self._seen))

    @property
    def _noise(self) -> float:
        return self._luck * max(float(np.var(self._costs)), _LEAST**2)


def _kernel(common: Any) -> Any:
    return _BASE + common + _PAIRS * common * (common - 1) / 2


def _alike(rows: Sequence[Features], columns: Sequence[Features]) -> np.ndarray:
    """How much the effects of two sets have in common, for each pair of sets."""
    number = {feature: k for k, feature in enumerate(sorted(frozenset().union(*rows, *columns)))}

    def indicators(sets: Sequence[Features]) -> np.ndarray:
        found = np.zeros((len(sets), len(number)))
        for row, features in enumerate(sets):
            found[row, [number[feature] for feature in features]] = 1.0
        return found

    return _kernel(indicators(rows) @ indicators(columns).T)


def _expected(lead: float, sigma: float) -> float:
    """Expected improvement where the predicted lead has this spread."""
    z = lead / sigma
    return lead * 0.5 * math.erfc(-z / math.sqrt(2)) + sigma * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
