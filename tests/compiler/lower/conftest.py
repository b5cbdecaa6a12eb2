"""Lowered and fused programs compute what PyTorch computes, and nothing that should be lowered stays an ATen call.

Many operations share one test where each is one output: tracing costs more than the comparison.
"""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
