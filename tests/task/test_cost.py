"""Costs by hand against costs counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kernelwright.task import Cost, cost

R = torch.randn


@pytest.mark.parametrize(
    ("function", "inputs", "flops", "size"),
    [
        (torch.matmul, (R(64, 128), R(128, 32)), 2 * 64 * 128 * 32, 4 * (64 * 128 + 128 * 32 + 64 * 32)),
        (torch.bmm, (R(4, 8, 16), R(4, 16, 2)), 2 * 4 * 8 * 16 * 2, 4 * (4 * 8 * 16 + 4 * 16 * 2 + 4 * 8 * 2)),
        (torch.mv, (R(100, 50), R(50)), 2 * 100 * 50, 4 * (5000 + 50 + 100)),
        (lambda x: torch.relu(x) * 2, (R(1000),), 2000, 8000),
        (lambda x, y: x + y, (R(10, 100), R(100)), 1000, 4 * (1000 + 100 + 1000)),
        (torch.sum, (R(1000),), 1000, 4004),
        (lambda x: x.softmax(-1), (R(10, 100),), 5000, 8000),
        (lambda x, unused: x.t() + 1, (R(10, 20), R(10**6)), 200, 1600),
        (lambda x: x + 1, (R(100, 1).expand(100, 50),), 5000, 4 * (100 + 5000)),
        (F.scaled_dot_product_attention, (R(2, 4, 10, 16),) * 3, 2 * 2 * 2 * 4 * 10 * 10 * 16, 4 * 2 * 1280),
        (lambda x: F.max_pool2d(x, 2), (R(2, 4, 8, 8),), 512, 4 * (512 + 128)),
        (lambda x: x, (R(10),), 0, 0),
    ],
)
def test_functions(function: Callable[..., Any], inputs: tuple[torch.Tensor, ...], flops: int, size: int) -> None:
    assert cost(function, inputs) == Cost(flops=float(flops), bytes=float(size))


def test_convolution_with_parameters() -> None:
    outputs = 2 * 8 * 16 * 16
    counted = cost(nn.Conv2d(3, 8, 3, padding=1), (R(2, 3, 16, 16),))
    assert counted == Cost(2 * outputs * 27, 4 * (2 * 3 * 256 + 8 * 27 + 8 + outputs))


def test_embedding_reads_only_its_rows() -> None:
    counted = cost(nn.Embedding(10_000, 16), (torch.randint(0, 10, (5,)),))
    assert counted == Cost(0, 5 * 8 + 2 * 5 * 16 * 4)


def test_recurrence() -> None:
    counted = cost(nn.LSTM(16, 32, batch_first=True), (R(2, 10, 16),))
    assert counted.flops == 2 * 2 * 10 * 4 * 32 * (16 + 32)


def test_nothing_is_computed_or_changed() -> None:
    module = nn.BatchNorm1d(3)
    module.hidden = torch.zeros(2)
    x = R(4, 3)
    before, after = x.clone(), module.running_mean.clone()
    cost(module, (x,))
    assert torch.equal(x, before)
    assert torch.equal(module.running_mean, after)
    assert type(module.hidden) is torch.Tensor
    huge = cost(lambda a: a @ a, (torch.empty(2**20, 2**20, device="meta"),))
    assert huge.flops == 2 * 2.0**60
