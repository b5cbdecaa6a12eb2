"""Kernels that are functions of a Gram matrix alone, on the three blocks that inducing points and test points need."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....errors import ZooInvalid


@dataclass(frozen=True)
class GramBlocks:
    """Of P inducing (or training) points i and B others t: ``ii [P, P]``, ``ti [B, P]``, and the diagonal ``t [B]``."""

    ii: Tensor
    ti: Tensor
    t: Tensor


class _ArcCosine(torch.autograd.Function):
    """(sin a + (pi - a) cos a) / pi of cos a; its slope 1 - a / pi is finite where those of its parts are not."""

    @staticmethod
    def forward(ctx: Any, cosine: Tensor) -> Tensor:
        cosine = cosine.clamp(-1, 1)
        ctx.save_for_backward(cosine)
        angle = cosine.acos()
        return (angle.sin() + (math.pi - angle) * cosine) / math.pi

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (cosine,) = ctx.saved_tensors
        return slopes[0] * (1 - cosine.acos() / math.pi)


def arccos_from_gram(g: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The ReLU kernel sqrt(g_aa g_bb) (sin t + (pi - t) cos t) / pi: ``g [n, m]``, diagonals ``[n]`` and ``[m]``."""
    norms = (left[:, None] * right[None, :]).sqrt()
    return norms * _ArcCosine.apply(g / norms.clamp(min=torch.finfo(norms.dtype).tiny))  # rows of zeros stay zero


def rbf_from_gram(g: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """exp(-(g_aa - 2 g_ab + g_bb) / 2): ``g [n, m]``, diagonals ``[n]`` and ``[m]``."""
    return (g - (left[:, None] + right[None, :]) / 2).exp()


def linear_from_gram(g: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The Gram matrix itself."""
    return g


KERNELS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "arccos": arccos_from_gram,
    "linear": linear_from_gram,
    "rbf": rbf_from_gram,
}


def kernel_blocks(name: str, blocks: GramBlocks) -> GramBlocks:
    """The kernel's blocks from the Gram's. Raises ``ZooInvalid``."""
    if name not in KERNELS:
        raise ZooInvalid(f"kernel is {name!r}; it must be one of {', '.join(KERNELS)}.")
    kernel, diagonal = KERNELS[name], blocks.ii.diagonal()
    own = torch.ones_like(blocks.t) if name == "rbf" else blocks.t  # k(x, x) of all three
    return GramBlocks(kernel(blocks.ii, diagonal, diagonal), kernel(blocks.ti, blocks.t, diagonal), own)


def input_blocks(inducing: Tensor, x: Tensor) -> GramBlocks:
    """Gram blocks of features ``[P, d]`` and ``[B, d]``, divided by d."""
    d = inducing.shape[1]
    return GramBlocks(inducing @ inducing.t() / d, x @ inducing.t() / d, x.square().sum(1) / d)


def with_bias(x: NDArray[np.float64]) -> Tensor:
    """Rows ``[n, d]`` with a column of ones, so that no row is zero: ``[n, d + 1]``."""
    return torch.from_numpy(np.append(x, np.ones((len(x), 1)), axis=1))


def cholesky(k: Tensor, jitter: float) -> Tensor:
    """The lower factor of ``k`` plus ``jitter`` times its mean diagonal."""
    scale = jitter * k.diagonal().mean()
    return torch.linalg.cholesky(k + scale * torch.eye(len(k), dtype=k.dtype, device=k.device))


__all__ = [
    "KERNELS",
    "GramBlocks",
    "arccos_from_gram",
    "cholesky",
    "input_blocks",
    "kernel_blocks",
    "linear_from_gram",
    "rbf_from_gram",
    "with_bias",
]
