"""Many independent two-layer networks trained at once, each a slice of two tensors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ._moments import two_layer_nngp, two_layer_ntk

_BLOCK = 1 << 26  # bytes of weights that are trained together


@dataclass(frozen=True)
class Scales:
    """A parametrisation: deviations of both layers' first weights, factors of both layers, and the step's kernel."""

    first: float
    second: float
    into_first: float
    into_second: float

    @staticmethod
    def of(parametrization: str, width: int, k: int, sigma_w: float) -> Scales:
        """Of "ntk": unit weights, factors sigma_w / sqrt(fan-in); of "standard": weights of that deviation alone."""
        inner, outer = sigma_w * k**-0.5, sigma_w * width**-0.5
        return Scales(1.0, 1.0, inner, outer) if parametrization == "ntk" else Scales(inner, outer, 1.0, 1.0)


def rate(parametrization: str, width: int, sigma_w: float, x: Tensor) -> float:
    """1 over the largest eigenvalue of the tangent kernel at the first step: the largest step that surely descends."""
    last = two_layer_nngp(x, x)  # of the last layer's weights
    first = two_layer_ntk(x, x) - last
    if parametrization == "ntk":
        kernel = sigma_w**4 * (last + first)
    else:
        kernel = sigma_w**2 * (width * last + x.shape[1] * first)
    return 1 / float(torch.linalg.eigvalsh(kernel.double())[-1])


def train_members(
    x: Tensor, y: Tensor, members: int, width: int, scales: Scales, step: float, max_steps: int, tol: float,
    generator: torch.Generator,
) -> list[tuple[Tensor, Tensor]]:  # fmt: skip
    """Blocks of trained weights ``[e, width, k]``, ``[e, width, m]``: gradient descent on |f - y|² / 2 to ``tol``."""
    each = width * (x.shape[1] + y.shape[1]) * 4
    size = max(1, _BLOCK // each)
    blocks = []
    for begin in range(0, members, size):
        count = min(size, members - begin)
        first = scales.first * torch.randn(count, width, x.shape[1], generator=generator)
        second = scales.second * torch.randn(count, width, y.shape[1], generator=generator)
        left = float("inf")
        for _ in range(max_steps):
            left = descend(first, second, x, y, scales, step)
            if left < tol:
                break
        else:
            warnings.warn(
                f"Training ended {left:.2g} from the targets, above tol {tol:g}; raise max_steps.", stacklevel=3
            )
        blocks.append((first, second))
    return blocks


def descend(first: Tensor, second: Tensor, x: Tensor, y: Tensor, scales: Scales, step: float) -> float:
    """One step in place; how far the answers before it were from the targets."""
    hidden = (scales.into_first * (first @ x.T)).relu_()  # [e, width, n]
    wrong = scales.into_second * (hidden.mT @ second) - y  # [e, n, m]
    back = scales.into_second * (second @ wrong.mT) * (hidden > 0)
    second.sub_(step * scales.into_second * (hidden @ wrong))
    first.sub_(step * scales.into_first * (back @ x))
    return float(wrong.abs().max())


def answers(blocks: list[tuple[Tensor, Tensor]], x: Tensor, scales: Scales) -> Tensor:
    """Outputs of every member ``[members, t, m]``."""
    rows = [scales.into_second * ((scales.into_first * (first @ x.T)).relu_().mT @ second) for first, second in blocks]
    return torch.cat(rows)


def ensemble_step(first: Tensor, second: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """One step of training on the unit vectors, where the first layer's weights are its answers; both layers anew.

    ``first`` ``[e, width, k]``, ``second`` ``[e, width, m]``, ``targets`` ``[k, m]``; NTK parametrisation, step 1.
    """
    inner, outer = first.shape[2] ** -0.5, first.shape[1] ** -0.5
    hidden = inner * first.relu()
    wrong = outer * (hidden.mT @ second) - targets
    back = outer * (second @ wrong.mT) * (first > 0)
    return first - inner * back, second - outer * (hidden @ wrong)


def exact_answers(average: Tensor, targets: Tensor) -> Tensor:
    """Which rows have every bit right: bool ``[t]``, from averages and 0/1 targets ``[t, m]``."""
    return ((average > 0) == (targets > 0.5)).all(1)


__all__ = ["Scales", "answers", "descend", "ensemble_step", "exact_answers", "rate", "train_members"]
