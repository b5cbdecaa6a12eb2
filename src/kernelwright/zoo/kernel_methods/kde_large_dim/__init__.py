"""Kernel density estimation where the dimension is as large as log n allows (arXiv 2408.05807).

from kernelwright.zoo.kernel_methods.kde_large_dim import HighDimKernelDensity, kde_thresholds

model = HighDimKernelDensity(bandwidth="loo").fit(x)
model.score_samples(x_new), model.diagnose(x_new).regime
kde_thresholds(alpha=0.1)        # h_g, h_clt, h_opt for n = exp(0.1 d) Gaussian points
"""

from __future__ import annotations

import torch

from ..._system import HotOperation, Result, System, Track
from ._estimator import HighDimKernelDensity, RegimeReport
from ._sums import MultiBandwidth, density_sums, log_kernel_sum, multi_bandwidth_kde, partition_draws
from ._theory import Thresholds, kde_kl_theory, kde_thresholds, stable_index


def _points() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(256, 64, generator=generator), torch.randn(4096, 64, generator=generator)


def _points_and_precisions() -> tuple[torch.Tensor, ...]:
    return (*_points(), torch.linspace(0.3, 3, 8))


def _example(track: Track) -> Result:
    from ._example import run

    return run(track)


SYSTEM = System(
    name="kde-large-dim",
    title="Kernel Density Estimators in Large Dimensions",
    source="arXiv 2408.05807",
    claim="With n = exp(alpha d) points, a density estimate is Gaussian above one bandwidth, heavy-tailed below it and "
    "made of a few nearest points below a second one, where the best bandwidth lies.",
    operations=(
        HotOperation("log_kernel_sum", log_kernel_sum, _points),
        HotOperation("density_sums", density_sums, _points_and_precisions),
    ),
    example=_example,
)

__all__ = [
    "SYSTEM",
    "HighDimKernelDensity",
    "MultiBandwidth",
    "RegimeReport",
    "Thresholds",
    "density_sums",
    "kde_kl_theory",
    "kde_thresholds",
    "log_kernel_sum",
    "multi_bandwidth_kde",
    "partition_draws",
    "stable_index",
]
