"""Density estimates in many dimensions: the regimes, the laws of fluctuations, digits, and time against scikit-learn.

Run: python benchmarks/zoo/kde_large_dim.py
"""

from __future__ import annotations

import time

import numpy as np
import torch
from record import record
from sklearn.neighbors import KernelDensity

from kernelwright.zoo import Measured
from kernelwright.zoo.common import load
from kernelwright.zoo.kernel_methods.kde_large_dim import SYSTEM, HighDimKernelDensity, multi_bandwidth_kde
from kernelwright.zoo.kernel_methods.kde_large_dim._example import RATIOS, figures, laws, picture, regimes, skewness

DRAWS = 2000


def digits() -> list[Measured]:
    """The likelihood that bandwidths for few dimensions lose on 8 × 8 digits, and how many points make it up."""
    points = load("digits", dtype=torch.float64).train_x
    model = HighDimKernelDensity("loo").fit(points.numpy())
    scott = float(points.std(0).mean()) * len(points) ** (-1 / (points.shape[1] + 4))
    sums = multi_bandwidth_kde(points, points, [model.bandwidth_, scott], leave_one_out=True)
    lost = float((sums.log_density[0] - sums.log_density[1]).mean())
    parts = float(sums.participation[0].median())
    return [
        Measured("digits: log likelihood per point that Scott's rule loses", lost, "> 1", lost > 1),
        Measured("digits: points that make an estimate up", parts, "< 10", parts < 10),
    ]


def speed(count: int = 4000, dim: int = 64, bandwidths: int = 8) -> tuple[float, float]:
    """Seconds for log densities at several bandwidths: ours with all other sums, scikit-learn's without."""
    draw = np.random.RandomState(0)
    x, y = draw.randn(count, dim), draw.randn(count, dim)
    grid = np.geomspace(0.3, 3, bandwidths).tolist()
    multi_bandwidth_kde(torch.from_numpy(x[:10]), torch.from_numpy(y), grid)  # kernels are built once
    began = time.perf_counter()
    found = multi_bandwidth_kde(torch.from_numpy(x), torch.from_numpy(y), grid).log_density
    ours = time.perf_counter() - began
    few = 400
    began = time.perf_counter()
    scores = [KernelDensity(bandwidth=h).fit(y).score_samples(x[:few]) for h in grid]
    peer = (time.perf_counter() - began) * count / few
    assert np.allclose(np.stack(scores), found[:, :few].numpy(), rtol=1e-7)
    return ours, peer


def main() -> None:
    divergence, sums = regimes()
    law = laws(DRAWS)
    measured = [*figures(divergence, sums, law), *digits()]
    ours, peer = speed()
    measured.append(Measured("scikit-learn's time / ours, 8 bandwidths, 4,000 × 4,000 points, d = 64", peer / ours))
    record(
        SYSTEM.name, measured, picture=picture(divergence, sums, law),
        curve={"h / h_G": RATIOS, "divergence / d": divergence, "participation": sums.participation.median(1).values},
        law={"draws": DRAWS, "skewness": skewness(law), "median / mean": law.median(1).values / law.mean(1)},
        seconds={"ours": ours, "scikit-learn (a tenth of the points, times 10)": peer},
    )  # fmt: skip


if __name__ == "__main__":
    main()
