"""The reductions: log densities, how many points make them up, and how far the nearest one is, for many bandwidths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ....errors import ZooInvalid
from ....ops import LazyMatrix, pairs

_NEVER = -1e30  # an exponent that adds nothing, and yet no infinity to spoil a sum of exponents


@dataclass(frozen=True)
class MultiBandwidth:
    """One row for each bandwidth, ``[H, m]``; ``nearest`` ``[m]`` is the squared distance to the nearest point.

    ``log_density`` is the log of the estimate. ``participation`` is 1 / sum w² and ``entropy`` - sum w log w, of the
    weights w that the points have in it: from 1 and 0 (one point is all) to n and log n.
    """

    log_density: Tensor
    participation: Tensor
    entropy: Tensor
    nearest: Tensor


def multi_bandwidth_kde(
    x: Tensor, y: Tensor, bandwidths: Sequence[float], *, leave_one_out: bool = False
) -> MultiBandwidth:
    """Gaussian density estimates at ``x`` ``[m, d]`` from the points ``y`` ``[n, d]``, with unit Gaussians times h.

    ``leave_one_out``: row i of ``x`` is row i of ``y``, and has no part in its own estimate. The n × m matrix is never
    held. float32 or float64, as ``x`` and ``y``. Raises :class:`ZooInvalid`.

    >>> out = multi_bandwidth_kde(torch.zeros(1, 2), torch.zeros(3, 2), [1.0])
    >>> round(float(out.log_density[0, 0]), 4), round(float(out.participation[0, 0]), 4)
    (-1.8379, 3.0)
    """
    if not len(bandwidths) or not all(0 < h < math.inf for h in bandwidths):
        raise ZooInvalid(f"bandwidths are {list(bandwidths)}; there must be some, each above 0.")
    if leave_one_out and (x.shape != y.shape or len(y) < 2):
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise ZooInvalid(f"x and y have the shapes {shapes}; to leave one out they must be the same 2 rows or more.")
    if not len(y):
        raise ZooInvalid("y has no rows; an estimate needs points.")
    centre = y.mean(0)  # distances of points far from 0 would lose their digits
    p = pairs(x - centre, y - centre)
    others: LazyMatrix | float = 0.0
    if leave_one_out:
        index = torch.arange(len(y), dtype=y.dtype, device=y.device)
        others = (1.0 - (p.left(index) - p.right(index)).abs()).clamp(0.0, 1.0) * _NEVER
    distance = p.sqdist
    rows = []
    for h in bandwidths:
        exponent = distance * torch.tensor(-0.5 / h**2, dtype=x.dtype) + others
        log_sum = exponent.logsumexp()
        log_squares = (exponent * 2.0).logsumexp()
        log_weight = exponent - p.left(log_sum)
        rows.append((log_sum, (2 * log_sum - log_squares).exp(), -(log_weight.exp() * log_weight).sum()))
    points = len(y) - leave_one_out
    norm = [math.log(points) + 0.5 * y.shape[1] * math.log(2 * math.pi * h * h) for h in bandwidths]
    logs, parts, entropies = (torch.stack(column) for column in zip(*rows, strict=True))
    nearest = (distance - others if leave_one_out else distance).min()
    return MultiBandwidth(logs - torch.tensor(norm, dtype=x.dtype)[:, None], parts, entropies, nearest)


def density_sums(x: Tensor, y: Tensor, precisions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What all bandwidths need, as plain formulas: log sums and log sums of squares ``[H, m]``, nearest ``[m]``.

    ``precisions`` ``[H]`` are 1 / h². Holds all H × m × n exponents: a task for the engine, not for large data.
    """
    distance = (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)
    exponent = -0.5 * precisions[:, None, None] * distance
    return exponent.logsumexp(2), (2 * exponent).logsumexp(2), distance.amin(1)


def log_kernel_sum(x: Tensor, y: Tensor) -> Tensor:
    """log sum_i exp(-|x_j - y_i|² / 2) ``[m]``, as a plain formula."""
    return (x @ y.T - 0.5 * x.square().sum(1)[:, None] - 0.5 * y.square().sum(1)).logsumexp(1)


def partition_draws(bandwidths: Sequence[float], points: int, dim: int, draws: int, seed: int = 0) -> Tensor:
    """Z / E Z for fresh standard Gaussian data each time, float64 ``[H, draws]``, at a point with |x|² = ``dim``.

    Only squared distances are drawn: a shifted normal's square plus a chi-square of the other dimensions.
    """
    generator = torch.Generator().manual_seed(seed)
    lam = torch.tensor([h**-2 for h in bandwidths], dtype=torch.float64)[:, None]
    expected = -0.5 * dim * (torch.log1p(lam[:, 0]) + lam[:, 0] / (1 + lam[:, 0])) + math.log(points)
    rows = []
    for _ in range(draws):
        along = torch.randn(points, generator=generator) - dim**0.5
        across = torch._standard_gamma(torch.full((points,), (dim - 1) / 2), generator)
        rows.append((-0.5 * lam * (along.square() + 2 * across).double()).logsumexp(1) - expected)
    return torch.stack(rows, 1).exp()


__all__ = ["MultiBandwidth", "density_sums", "log_kernel_sum", "multi_bandwidth_kde", "partition_draws"]
