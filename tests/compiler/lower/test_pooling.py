"""Pools of every kind of window."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ..oracle import check
from .values import INF, rand


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pooling(dims: int) -> None:
    largest, average = getattr(F, f"max_pool{dims}d"), getattr(F, f"avg_pool{dims}d")
    adaptive, adaptive_largest = getattr(F, f"adaptive_avg_pool{dims}d"), getattr(F, f"adaptive_max_pool{dims}d")

    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        return [
            largest(x, 3, 2, 1), largest(x, 3, 2, ceil_mode=True), largest(x, 2, 1, dilation=2), average(x, 3, 2, 1),
            average(x, 3, 2, 1, ceil_mode=True), average(x, 3, 2, 1, count_include_pad=False), average(x, 2),
            average(x, 2, ceil_mode=True, count_include_pad=False), adaptive(x, 1), adaptive(x, 4),
            adaptive_largest(x, 1), adaptive_largest(x, 4),
        ]  # fmt: skip

    check(fn, rand(2, 3, *(9, 8, 7)[:dims]))


@pytest.mark.parametrize(("sizes", "outs"), [((7,), (3,)), ((9, 8), (4, 4)), ((5, 7), (7, 3)), ((6, 5, 4), (4, 5, 3))])
def test_adaptive_pooling_of_uneven_windows(sizes: tuple[int, ...], outs: tuple[int, ...]) -> None:
    x = rand(2, 3, *sizes)
    x[0, 1], x[1, 2].view(-1)[3] = -INF, float("nan")
    dims = len(sizes)
    average, largest = getattr(F, f"adaptive_avg_pool{dims}d"), getattr(F, f"adaptive_max_pool{dims}d")
    check(lambda x: [average(x, outs), largest(x, outs), average(x[0], outs)], x)
    check(lambda x: average(x, outs), x.transpose(0, 1))


def test_pooling_positions_and_divisors() -> None:
    def fn(x: torch.Tensor) -> list[Any]:
        both = F.max_pool2d(x, 3, 2, 1, return_indices=True)
        return [
            *both,
            F.avg_pool2d(x, 2, divisor_override=3),
            F.adaptive_avg_pool2d(x, (3, 4)),
            F.lp_pool2d(x.abs(), 2, 2),
        ]

    check(fn, rand(2, 3, 9, 8))
