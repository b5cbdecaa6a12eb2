"""Values that the tests of lowering are run on."""

from __future__ import annotations

import torch

INF = float("inf")


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(*shape)


def above(*shape: int) -> torch.Tensor:
    """Away from zero, where logarithms and divisions are no test of rounding."""
    return torch.rand(*shape) + 0.5
