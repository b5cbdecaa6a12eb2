"""Kernel ridge regression's one step, with a gradient that uses the factor again instead of solving anew."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...errors import ZooInvalid


class _RidgeSolve(torch.autograd.Function):
    """x = (K + rI)^{-1} y. With v = (K + rI)^{-1} dL/dx: dL/dy = v, dL/dK = -v xᵀ, dL/dr = -<v, x>."""

    @staticmethod
    def forward(ctx: Any, gram: Tensor, targets: Tensor, ridge: Tensor) -> Tensor:
        factor = _factor(gram, ridge)
        solution = torch.cholesky_solve(targets.to(factor.dtype), factor)
        ctx.save_for_backward(factor, solution)
        ctx.ridge = ridge.shape
        return solution.to(targets.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        factor, solution = ctx.saved_tensors
        back = torch.cholesky_solve(gradient.to(factor.dtype), factor)
        of_gram = -(back @ solution.mT).to(gradient.dtype) if ctx.needs_input_grad[0] else None
        of_ridge = None
        if ctx.needs_input_grad[2]:
            of_ridge = -(back * solution).sum((-2, -1)).sum_to_size(ctx.ridge).to(gradient.dtype)
        return of_gram, back.to(gradient.dtype), of_ridge


def _factor(gram: Tensor, ridge: Tensor) -> Tensor:
    """The lower Cholesky factor of K + rI; in float64 where float32 finds it not positive."""
    for dtype in (gram.dtype, torch.float64):
        system = gram.to(dtype, copy=True)
        system.diagonal(dim1=-2, dim2=-1).add_(ridge.to(dtype)[..., None])
        factor, info = torch.linalg.cholesky_ex(system)
        if not bool((info != 0).any()):
            return factor
    raise ZooInvalid(
        f"The Gram matrix of shape {tuple(gram.shape)} plus its ridge is not positive definite even in float64: "
        "a larger ridge, and finite features, would make it so."
    )


def ridge_solve(gram: Tensor, targets: Tensor, ridge: Tensor | float) -> Tensor:
    """(K + ridge·I)^{-1} Y by one Cholesky factor, which the backward pass uses again.

    ``gram`` [..., n, n] is symmetric (its lower triangle is read), ``targets`` [..., n, c], ``ridge`` a number or
    [...] for a batch; the result is [..., n, c] in the dtype of ``targets``. Gradients flow to all three, once. A
    float32 system that is not positive to its precision is factored in float64. Raises ``ZooInvalid`` where that
    fails too, and for shapes that do not fit.

    >>> ridge_solve(torch.eye(2), torch.ones(2, 1), 1.0).flatten().tolist()
    [0.5, 0.5]
    """
    if gram.ndim < 2 or gram.shape[-1] != gram.shape[-2] or targets.shape[:-1] != gram.shape[:-1]:
        raise ZooInvalid(
            f"A Gram matrix [..., n, n] and targets [..., n, c] are needed, not {tuple(gram.shape)} "
            f"and {tuple(targets.shape)}."
        )
    solution = _RidgeSolve.apply(gram, targets, torch.as_tensor(ridge, dtype=gram.dtype, device=gram.device))
    assert isinstance(solution, Tensor)
    return solution


__all__ = ["ridge_solve"]
