"""Self-distillation in the eigenbasis of the kernel: a scalar recursion per eigenvalue, so no round is ever refitted.

With K = V D V^T and A = D (D + ridge)^(-1), round τ predicts V B_τ V^T y at the training points, where B_0 = I and
B_τ = A ((1 - mix) B_(τ-1) + mix) (arXiv 2102.13088).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ....errors import ZooInvalid


def distillation_filter(eigenvalues: Tensor, ridge: float, mix: float | Sequence[float], steps: float) -> Tensor:
    """B_1 .. B_steps as rows ``[steps, n]``, from eigenvalues ``[n]`` of K; ``steps`` inf gives the limit ``[1, n]``.

    ``mix`` is the weight of the true targets, one number or one for each round (the first one's plays no part). The
    limit is mix D / (mix D + ridge), ridge regression with ridge / mix; it is zero for a mix of 0. Raises
    :class:`ZooInvalid`.

    >>> distillation_filter(torch.tensor([1.0, 0.0]), 1.0, 0.0, 2)
    tensor([[0.5000, 0.0000],
            [0.2500, 0.0000]])
    """
    return eigenvalues * dual_filter(eigenvalues, ridge, mix, steps)


def dual_filter(eigenvalues: Tensor, ridge: float, mix: float | Sequence[float], steps: float) -> Tensor:
    """C_τ = B_τ / D, which makes dual coefficients V C_τ V^T y; never divides by D, whose tail is only rounding."""
    if not ridge > 0:
        raise ZooInvalid(f"ridge is {ridge}; it must be above 0.")
    if steps == math.inf:
        if not isinstance(mix, int | float):
            raise ZooInvalid("mix is a sequence and steps infinite; a limit has one mix for all rounds.")
        return (mix / (mix * eigenvalues + ridge))[None]
    mixes = [float(mix)] * int(steps) if isinstance(mix, int | float) else [float(m) for m in mix]
    if steps < 1 or steps != int(steps) or len(mixes) != steps:
        raise ZooInvalid(f"steps is {steps} and mix has {len(mixes)} values; steps must be whole, one mix for each.")
    rows = []
    kept = torch.ones_like(eigenvalues)
    for weight in mixes:
        rows.append(((1 - weight) * kept + weight) / (eigenvalues + ridge))
        kept = eigenvalues * rows[-1]
    return torch.stack(rows)


def optimal_mix(targets: Tensor, first: Tensor, distilled: Tensor, clip: bool = True) -> float:
    """The mix for which mix ``first`` + (1 - mix) ``distilled`` is nearest to ``targets``; all ``[n]`` or ``[n, t]``.

    ``first`` are predictions of the first round and ``distilled`` those of this round at mix 0, both away from the
    training points. Unclipped, the best mix can lie outside [0, 1]. 1 where the two predictions agree everywhere.

    >>> optimal_mix(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0.0]))
    0.5
    """
    if not targets.shape == first.shape == distilled.shape:
        shapes = f"{tuple(targets.shape)}, {tuple(first.shape)} and {tuple(distilled.shape)}"
        raise ZooInvalid(f"targets, first and distilled have the shapes {shapes}; they must have one.")
    apart = (first - distilled).double()
    length = float(apart.square().sum())
    if length == 0:
        return 1.0
    best = float(((targets - distilled).double() * apart).sum()) / length
    return min(max(best, 0.0), 1.0) if clip else best


def distillation_path(projected: Tensor, eigenvalues: Tensor, rotated: Tensor, ridges: Tensor, mixes: Tensor) -> Tensor:
    """Predictions ``[5, L, A, m]`` of five rounds for all L ridges and A mixes at once, from one eigendecomposition.

    ``projected`` = K_* V ``[m, n]``, ``eigenvalues`` ``[n]``, ``rotated`` = V^T y ``[n]``: every prediction is
    K_* V C_τ V^T y, so all of them are one product. Another number of rounds: :func:`spectral_path`.
    """
    return spectral_path(projected, eigenvalues, rotated, ridges, mixes, 5)


def spectral_path(
    projected: Tensor, eigenvalues: Tensor, rotated: Tensor, ridges: Tensor, mixes: Tensor, steps: int
) -> Tensor:
    """:func:`distillation_path` with ``steps`` rounds: ``[steps, L, A, m]``."""
    inverse = 1 / (eigenvalues + ridges[:, None])[:, None]  # [L, 1, n]
    weight = mixes[:, None]  # [A, 1]
    kept = torch.ones_like(inverse)
    rows = []
    for _ in range(steps):
        dual = inverse * ((1 - weight) * kept + weight)  # [L, A, n]
        rows.append(dual * rotated)
        kept = dual * eigenvalues
    return torch.stack(rows) @ projected.T


__all__ = ["distillation_filter", "distillation_path", "dual_filter", "optimal_mix", "spectral_path"]
