"""How many members are needed in fact: ensembles of the limit grown until enough test inputs are exactly right."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from ....errors import ZooInvalid
from ._ensemble import covariance_root
from ._moments import limit_moments

_CHUNK = 32  # members drawn at a time


def all_inputs(k: int) -> Tensor:
    """All 2^k - 1 binary vectors that are not zero, float64 ``[2^k - 1, k]``."""
    if not 1 <= k <= 20:
        raise ZooInvalid(f"k is {k}; all inputs can be listed for k between 1 and 20.")
    return ((torch.arange(1, 2**k)[:, None] >> torch.arange(k)) & 1).double()


def pairs_of_ones(k: int) -> Tensor:
    """All vectors with two ones, float64 ``[k (k - 1) / 2, k]``."""
    spots = torch.tensor(list(combinations(range(k), 2)))
    return torch.zeros(len(spots), k, dtype=torch.float64).scatter_(1, spots, 1.0)


def measured_size(k: int, *, share: float = 0.9, tests: int = 1000, kernel: str = "ntk", seed: int = 0) -> int:
    """The first number of members at which ``share`` of ``tests`` random inputs with two ones are right in every bit.

    Members are drawn from the infinite-width limit and averaged as they come, as in the paper's experiment.
    """
    if k < 3 or not 0 < share <= 1:
        raise ZooInvalid(f"k is {k} and share {share}; k must be at least 3 and share in (0, 1].")
    generator = torch.Generator().manual_seed(seed)
    x = pairs_of_ones(k)
    goes = torch.randperm(k, generator=generator)
    targets = torch.eye(k, dtype=torch.float64)[goes]
    mean, covariance = limit_moments(torch.eye(k, dtype=torch.float64), targets, x / 2**0.5, kernel)
    root, right = covariance_root(covariance), x @ targets > 0.5
    weight = torch.bincount(torch.randint(len(x), (tests,), generator=generator), minlength=len(x)).double() / tests
    total, members = torch.zeros_like(mean), 0
    while True:
        noise = torch.randn(len(x), _CHUNK * k, generator=generator, dtype=torch.float64)
        drawn = (root @ noise).reshape(len(x), _CHUNK, k).cumsum(1)
        counts = torch.arange(members + 1, members + _CHUNK + 1)[:, None]
        average = mean[:, None] + (total[:, None] + drawn) / counts
        exact = ((average > 0) == right[:, None]).all(2).double()  # [inputs, members]
        enough = (weight @ exact >= share).nonzero()
        if len(enough):
            return members + 1 + int(enough[0])
        total, members = total + drawn[:, -1], members + _CHUNK


__all__ = ["all_inputs", "measured_size", "pairs_of_ones"]
