"""Differentially private kernel and distance sums: built once from private data, asked for ever (arXiv 2403.08917).

    from kernelwright.zoo.kernel_methods.dp_kde import DPKernelDensity

    density = DPKernelDensity("gaussian", bandwidth=0.5, epsilon=1.0).fit(private_rows)
    density.kernel_sum(queries)      # free: only fit spends the budget
    density.ledger_                  # what was released, with which sensitivity and noise

The accounting is stated in ``_base`` and every line of it is tested. Only an abstract, reviews and follow-ups of the
paper were at hand; the algorithms follow their statements. Ours on top, at the same privacy: tables instead of buckets,
consistent counts, paired features, discrete noise, and the (epsilon, delta) variant by analytic Gaussian noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..._system import HotOperation, System, Track
from ._classifier import DPSimilarityClassifier
from ._distance_sum import DPDistanceSum
from ._features import (
    gaussian_sums,
    kernel_sums,
    rff_answers,
    rff_phase_answers,
    rff_phase_sums,
    rff_sums,
)
from ._kernel_density import DPKernelDensity
from ._privacy import Mechanism, PrivacyLedger
from ._tree import table_answers

if TYPE_CHECKING:
    from ..._system import Result


def _drawn(*shapes: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def _positions() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, 1024, generator=generator), torch.rand(4096, 64, generator=generator) * 1023


def _run_example(track: Track) -> Result:
    from ._example import run

    return run(track)


SYSTEM = System(
    name="dp-kde",
    title="Efficiently Computing Similarities to Private Datasets",
    source="arXiv 2403.08917",
    claim="One small private structure answers unlimited kernel and distance sums; the best of our forms beat the "
    "paper's bucket rule and a flat histogram at equal epsilon, and classify at an accuracy near the non-private one.",
    operations=(
        HotOperation("rff_sums", rff_sums, lambda: _drawn((8192, 64), (64, 512))),
        HotOperation("rff_answers", rff_answers, lambda: _drawn((4096, 64), (64, 512), (1024,))),
        HotOperation("gaussian_sums", gaussian_sums, lambda: _drawn((4096, 16), (1024, 16))),
        HotOperation("table_answers", table_answers, _positions),
    ),
    example=_run_example,
)

__all__ = [
    "SYSTEM",
    "DPDistanceSum",
    "DPKernelDensity",
    "DPSimilarityClassifier",
    "Mechanism",
    "PrivacyLedger",
    "gaussian_sums",
    "kernel_sums",
    "rff_answers",
    "rff_phase_answers",
    "rff_phase_sums",
    "rff_sums",
    "table_answers",
]
