"""A lazy value is read when a later node is lowered, and must keep to its own node's dtype all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from kernelwright.compiler import emit, prepare
from kernelwright.targets import load


def joined(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x], 1) > 0.5


def copied(x: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x).copy_(x) > 0.5


def added_up(x: torch.Tensor) -> torch.Tensor:
    return torch.cumsum(x[0, 0, 0, 0] * 0.25, 0) > 0.5


def pooled(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(torch.cat([x], 1), 2)


@pytest.mark.parametrize("fn", [joined, copied, added_up, pooled])
def test_a_value_keeps_its_dtype(fn: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 4, 4)
    x[0, 0, 0, 0] = 0.9
    found = emit(prepare(fn, (x,)))
    torch.testing.assert_close(load(found, fn, {})(x), fn(x))
