"""What a distilled set must beat: as many real images, chosen somehow, and images distilled from labels."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ....errors import ZooInvalid
from ..._system import Track, plainly
from ...common._ridge import ridge_solve
from ._distill import DistilledSet


def herding(features: Tensor, count: int) -> Tensor:
    """Indices [count] of the rows of ``features`` [n, p] whose mean follows the mean of all (Welling, 2009).

    >>> herding(torch.tensor([[0.0], [5.0], [10.0]]), 1)
    tensor([2])
    """
    if not 1 <= count <= len(features):
        raise ZooInvalid(f"count is {count}; it must be from 1 to the {len(features)} rows there are.")
    weight = mean = features.mean(0)
    free = torch.ones(len(features), dtype=torch.bool)
    chosen = []
    for _ in range(count):
        index = int((features @ weight).masked_fill(~free, -math.inf).argmax())
        chosen.append(index)
        free[index] = False
        weight = weight + mean - features[index]
    return torch.tensor(chosen)


def real_pairs(x: Tensor, teacher: Callable[[Tensor], Tensor], indices: Tensor) -> DistilledSet:
    """The images ``x[indices]`` with the teacher's vectors: a distilled set of which nothing was learned."""
    with torch.no_grad():
        return DistilledSet(x[indices].clone(), teacher(x[indices]).clone())


def relu_ntk(x: Tensor, z: Tensor) -> Tensor:
    """The tangent kernel [n, m] of an infinitely wide network of one hidden ReLU layer, of rows [n, d] and [m, d]."""
    sizes = x.norm(dim=1)[:, None] * z.norm(dim=1)[None, :]
    cosine = (x @ z.T / sizes.clamp_min(1e-12)).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = torch.acos(cosine)
    return sizes * (2 * cosine * (math.pi - angle) + torch.sin(angle)) / math.pi


class KernelInducingPoints:
    """Distillation from labels by a fixed kernel (arXiv 2011.00050): the baseline that never sees a teacher.

    Learns ``n_synthetic`` images and their label vectors so that kernel ridge regression on them predicts the centred
    one-hot labels of real batches.
    """

    def __init__(
        self,
        n_synthetic: int,
        kernel: Callable[[Tensor, Tensor], Tensor] = relu_ntk,
        *,
        lr: float = 1e-2,
        reg_scale: float = 1e-6,
        batch: int = 256,
        seed: int = 0,
    ) -> None:
        self.n_synthetic, self.kernel, self.lr = n_synthetic, kernel, lr
        self.reg_scale, self.batch, self.seed = reg_scale, batch, seed

    def fit(self, x: Tensor, labels: Tensor, n_steps: int, *, track: Track = plainly) -> DistilledSet:
        """The set after ``n_steps`` of Adam on images ``x`` [n, ...] and ``labels`` [n] of 0..C-1."""
        generator = torch.Generator().manual_seed(self.seed)
        wanted = functional.one_hot(labels).to(x.dtype)
        wanted = wanted - 1 / wanted.shape[1]
        first = torch.randperm(len(x), generator=generator)[: self.n_synthetic]
        images, targets = x[first].clone().requires_grad_(), wanted[first].clone().requires_grad_()
        optimiser = torch.optim.Adam([images, targets], lr=self.lr)
        for _ in track(range(n_steps), "labels"):
            part = torch.randint(len(x), (self.batch,), generator=generator)
            flat = images.flatten(1)
            gram = self.kernel(flat, flat)
            solution = ridge_solve(gram, targets, self.reg_scale * gram.detach().trace())
            loss = functional.mse_loss(self.kernel(x[part].flatten(1), flat) @ solution, wanted[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return DistilledSet(images.detach(), targets.detach())


__all__ = ["KernelInducingPoints", "herding", "real_pairs", "relu_ntk"]
