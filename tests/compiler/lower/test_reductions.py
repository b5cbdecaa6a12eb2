"""Reductions, scans and what is made of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from ..oracle import check
from .values import INF, rand


def test_reductions() -> None:
    def fn(x: torch.Tensor) -> list[Any]:
        names = ("sum", "mean", "prod", "amax", "amin", "argmax", "argmin")
        along = [getattr(torch, name)(x, 1) for name in names]
        kept = [getattr(torch, name)(x, -1, keepdim=True) for name in names]
        whole = [getattr(torch, name)(x) for name in (*names, "max", "min", "var", "std")]
        return [along, kept, whole, x.sum((0, 2)) + x.mean((0, 2)), tuple(x.max(1)), x.min(0, keepdim=True).values]

    check(fn, rand(3, 5, 2))


def test_moments_and_norms() -> None:
    def fn(x: torch.Tensor) -> list[Any]:
        return [
            x.var((0, 2)), x.std(1, unbiased=False), torch.var_mean(x, 1, keepdim=True), torch.std_mean(x), x.norm(),
            x.norm(1, 1), x.norm(float("inf"), 1), torch.linalg.vector_norm(x, 3, 1), torch.linalg.vector_norm(x, 0, 1),
            torch.logsumexp(x, (1,), keepdim=True) - x, torch.count_nonzero(x > 0, 1), F.normalize(x, dim=1),
            F.cosine_similarity(x, x + 1), F.pairwise_distance(x, x * 2), torch.cdist(x, x * 2),
        ]  # fmt: skip

    check(fn, rand(3, 5, 2))


def test_logsumexp_of_infinities() -> None:
    check(lambda x: torch.logsumexp(x, 1), torch.tensor([[-float("inf")] * 2, [float("inf"), 1.0], [1.0, 2.0]]))


def test_softmax() -> None:
    check(lambda x: [F.softmax(x, 1), F.log_softmax(x, 0), F.softmin(x, -1)], rand(3, 5, 4))


def test_scans() -> None:
    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        shifted = torch.cat([torch.zeros(3, 1, dtype=x.dtype), x.cumsum(1)[:, :-1]], 1)
        return [
            x.cumsum(1),
            x.cumprod(0),
            torch.logcumsumexp(x, 1),
            x.cummax(1).values,
            shifted,
            (x * (x > 0)).cumsum(1),
        ]

    check(fn, rand(3, 5))


def test_empty_reductions() -> None:
    check(lambda x: [x.sum(0), x.prod(0), x.mean(0), x * 2, (x > 0).any(0)], torch.empty(0, 4))


def test_positions_of_running_extrema() -> None:
    x = torch.randint(-3, 3, (3, 9, 4)).float()
    x[1, 4:6, 2], x[2, 0, 1] = float("nan"), -INF
    check(lambda x: [*torch.cummax(x, 1), *torch.cummin(x, -1), *torch.cummax(x.transpose(0, 2), 0)], x)
    check(lambda x: [*torch.cummax(x, 0), *torch.cummin(x, 1)], torch.randint(-3, 3, (5, 6)))
    check(lambda x: torch.cummax(x, 1), rand(3, 1))
