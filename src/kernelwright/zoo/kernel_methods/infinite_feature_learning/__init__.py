"""Networks of infinite width that learn features: parametrisations, maximal updates, and limits that can be trained.

Yang and Hu 2021, "Feature Learning in Infinite-Width Neural Networks" (Tensor Programs IV).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..._system import HotOperation, System
from ._cbow import Word2VecCBOW, drawn_corpus
from ._example import distances, example, movements, trained
from ._linear import FiniteLinear1LP, InfGP1LP, InfiniteLinear1LP, InfNTK1LP
from ._parametrisation import (
    ABC,
    ParametrisedMLP,
    Verdict,
    Widths,
    apply_mup,
    coordinate_check,
    mup_param_groups,
    slope,
    widths_of,
)


def inf_kernel_forward(x: Tensor, rows: Tensor, coefficients: Tensor) -> Tensor:
    """The forward pass of the tangent-kernel learner for unit inputs: [n, d], [m, d], [m, o] -> [n, o]."""
    q = (x @ rows.T).clamp(-1, 1)
    angle = torch.acos(-q)
    return (((1 - q * q).sqrt() + 2 * angle * q) / (2 * math.pi)) @ coefficients


def cbow_update(h: Tensor, targets: Tensor, labels: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """One centre's update: h [n], target rows [k, n] -> their new values, and what the window's rows receive."""
    g = (labels - torch.sigmoid(targets @ h)) * rate
    return targets + g[:, None] * h, g @ targets


def _kernel_arguments() -> tuple[Tensor, ...]:
    x, rows = torch.randn(160, 64), torch.randn(1024, 64)
    return x / x.norm(dim=1, keepdim=True), rows / rows.norm(dim=1, keepdim=True), torch.randn(1024, 5)


def _cbow_arguments() -> tuple[Tensor, ...]:
    labels = torch.zeros(26)
    labels[0] = 1
    return torch.randn(1024), torch.randn(26, 1024), labels, torch.tensor(0.05)


SYSTEM = System(
    name="infinite-feature-learning",
    title="Feature Learning in Infinite-Width Neural Networks",
    source="arXiv 2011.14522",
    claim="Under maximal updates a network of infinite width learns features, and some such networks can be trained.",
    operations=(
        HotOperation("inf-kernel-forward", inf_kernel_forward, _kernel_arguments),
        HotOperation("cbow-update", cbow_update, _cbow_arguments),
    ),
    example=example,
)

__all__ = [
    "ABC",
    "SYSTEM",
    "FiniteLinear1LP",
    "InfGP1LP",
    "InfNTK1LP",
    "InfiniteLinear1LP",
    "ParametrisedMLP",
    "Verdict",
    "Widths",
    "Word2VecCBOW",
    "apply_mup",
    "coordinate_check",
    "distances",
    "drawn_corpus",
    "example",
    "movements",
    "mup_param_groups",
    "slope",
    "trained",
    "widths_of",
]
