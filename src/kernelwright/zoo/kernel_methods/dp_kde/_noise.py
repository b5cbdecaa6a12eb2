"""Random noise for differential privacy: textbook Laplace, exact discrete Laplace, analytically calibrated Gaussian.

Floating-point Laplace samples have gaps that depend on the value they are added to, which an attacker can read
(Mironov 2012). The discrete Laplace distribution here is sampled with integers alone, so it has none.
"""

from __future__ import annotations

import math
import secrets

import numpy as np
from numpy.typing import NDArray

_EPSILON_BITS = 20  # discrete noise takes epsilon rounded down to a multiple of 2^-20: never less private than asked

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def generators(random_state: object) -> tuple[np.random.Generator, np.random.Generator]:
    """Two independent streams: one for what is public (frequencies, projections), one for the secret noise.

    ``random_state`` None seeds both from the operating system's secure source, which is what a release needs; an int
    or a ``numpy.random.RandomState`` makes the noise reproducible, for tests and experiments only.
    """
    if random_state is None:
        seed = secrets.randbits(128)
    elif isinstance(random_state, np.random.RandomState):
        seed = int(random_state.randint(2**31 - 1))
    else:
        seed = int(random_state)  # type: ignore[call-overload]
    public, secret = np.random.SeedSequence(seed).spawn(2)
    return np.random.Generator(np.random.Philox(public)), np.random.Generator(np.random.Philox(secret))


def laplace(rng: np.random.Generator, scale: float, shape: tuple[int, ...]) -> Floats:
    """Laplace noise of density exp(-|z|/scale) / (2 scale), in floating point."""
    return rng.laplace(0.0, scale, shape)


def discrete_laplace(rng: np.random.Generator, sensitivity: int, epsilon: float, size: int) -> Integers:
    """``size`` integers with P(k) proportional to exp(-|k| epsilon' / sensitivity), sampled exactly.

    epsilon' is ``epsilon`` rounded down to a multiple of 2^-20. Source: Canonne, Kamath, Steinke, arXiv 2004.00010,
    algorithm 2, for whole arrays. Only integer arithmetic touches the samples.
    """
    numerator = math.floor(epsilon * 2**_EPSILON_BITS)
    if numerator < 1:
        raise ValueError(f"epsilon={epsilon!r} is below 2^-{_EPSILON_BITS}, the least that discrete noise takes.")
    scale = sensitivity << _EPSILON_BITS  # samples at scale `scale`, then divided by `numerator`
    found = np.empty(size, np.int64)
    missing = np.arange(size)
    while missing.size:
        magnitude, good = _half_geometric(rng, scale, missing.size)
        magnitude //= numerator
        negative = rng.integers(0, 2, missing.size).astype(bool)
        good &= ~(negative & (magnitude == 0))  # zero must not be drawn with both signs
        found[missing[good]] = np.where(negative, -magnitude, magnitude)[good]
        missing = missing[~good]
    return found


def _half_geometric(rng: np.random.Generator, scale: int, size: int) -> tuple[Integers, NDArray[np.bool_]]:
    """Integers X >= 0 with P(X) proportional to exp(-X / scale), and which of them were not rejected."""
    remainder = rng.integers(0, scale, size)
    accepted = _bernoulli_exp(rng, remainder, scale)
    whole = np.zeros(size, np.int64)
    going = np.arange(size)
    one = np.ones(1, np.int64)
    while going.size:
        going = going[_bernoulli_exp(rng, np.broadcast_to(one, going.shape), 1)]
        whole[going] += 1
    return remainder + scale * whole, accepted


def _bernoulli_exp(rng: np.random.Generator, numerator: Integers, denominator: int) -> NDArray[np.bool_]:
    """True with probability exp(-numerator / denominator), for numerators within [0, denominator]."""
    steps = np.ones(numerator.shape, np.int64)
    going = np.arange(numerator.size)
    while going.size:
        drawn = rng.integers(0, denominator * steps[going])
        going = going[drawn < numerator[going]]
        steps[going] += 1
    return steps % 2 == 1


def gaussian_delta(sigma: float, epsilon: float, sensitivity: float) -> float:
    """The least delta for which noise N(0, sigma²) on a value of that l2 sensitivity is (epsilon, delta)-private.

    Source: Balle, Wang, arXiv 1805.06530, theorem 8 (exact, also for epsilon > 1).
    """
    from scipy.special import log_ndtr

    ratio = sensitivity / sigma
    left, right = ratio / 2 - epsilon / ratio, -ratio / 2 - epsilon / ratio
    return float(np.exp(log_ndtr(left)) - np.exp(epsilon + log_ndtr(right)))


def gaussian_sigma(epsilon: float, delta: float, sensitivity: float) -> float:
    """The least sigma with ``gaussian_delta(sigma, epsilon, sensitivity) <= delta``, to a relative 1e-12.

    >>> round(gaussian_sigma(1.0, 1e-5, 1.0), 3)
    3.731
    """
    low, high = 1e-6, 1.0
    while gaussian_delta(high, epsilon, 1.0) > delta:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if gaussian_delta(middle, epsilon, 1.0) <= delta else (middle, high)
    return sensitivity * high


__all__ = ["discrete_laplace", "gaussian_delta", "gaussian_sigma", "generators", "laplace"]
