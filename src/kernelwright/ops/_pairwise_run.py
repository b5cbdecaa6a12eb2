"""Which way a reduction over pairs is computed."""

from __future__ import annotations

import torch

from ..kernels.pairwise import Node, Reduction, blocked, linearise

Tensor = torch.Tensor


def run(reduction: Reduction, tensors: tuple[Tensor, ...], v: Tensor | None, shape: tuple[int, int]) -> Tensor:
    """The reduction, as :func:`kernelwright.kernels.pairwise.blocked` says it."""
    with torch.no_grad():
        return blocked(reduction, tensors, v, shape)


def best(root: Node, shape: tuple[int, int], k: int, largest: bool) -> Tensor:
    """The columns ``[n, k]`` of the largest or smallest elements of each row, the best first."""
    program, tensors = linearise(root)
    return run(Reduction(program, "largest" if largest else "smallest", k), tensors, None, shape)
