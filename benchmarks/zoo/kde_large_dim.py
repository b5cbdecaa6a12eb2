"""Density estimates in many dimensions: the regimes, the laws of fluctuations, digits, and time against scikit-learn.

Run: python benchmarks/zoo/kde_large_dim.py
"""

from __future__ import annotations

import time

import numpy as np
import torch
from record import record
from scipy.special import logsumexp
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


def speed(count: int = 4000, dim: int = 64, bandwidths: int = 8) -> dict[str, float]:
    """Log densities at several bandwidths, ours with all other sums: seconds, and how far each is from brute force."""
    draw = np.random.RandomState(0)
    x, y = draw.randn(count, dim), draw.randn(count, dim)
    grid = np.geomspace(0.3, 3, bandwidths).tolist()
    multi_bandwidth_kde(torch.from_numpy(x[:10]), torch.from_numpy(y), grid)  # kernels are built once
    began = time.perf_counter()
    found = multi_bandwidth_kde(torch.from_numpy(x), torch.from_numpy(y), grid).log_density
    ours = time.perf_counter() - began
    few = count // 10
    began = time.perf_counter()
    scores = [KernelDensity(bandwidth=h).fit(y).score_samples(x[:few]) for h in grid]
    peer = (time.perf_counter() - began) * count / few
    exact = brute_force(x[:few], y, grid)
    return {
        "seconds": ours, "scikit-learn, seconds (a tenth of the points, times 10)": peer,
        "error": float(np.abs(found[:, :few].numpy() - exact).max()),
        "scikit-learn, error": float(np.abs(np.stack(scores) - exact).max()),
    }  # fmt: skip


def brute_force(x: np.ndarray, y: np.ndarray, grid: list[float]) -> np.ndarray:
    """Every distance as a sum of squared differences."""
    squares = np.stack([((row - y) ** 2).sum(1) for row in x])
    norms = [np.log(len(y)) + x.shape[1] / 2 * np.log(2 * np.pi * h * h) for h in grid]
    return np.stack([logsumexp(-squares / (2 * h * h), 1) - n for h, n in zip(grid, norms, strict=True)])


def main() -> None:
    divergence, sums = regimes()
    law = laws(DRAWS)
    measured = [*figures(divergence, sums, law), *digits()]
    raced = speed()
    ratio = raced["scikit-learn, seconds (a tenth of the points, times 10)"] / raced["seconds"]
    measured += [
        Measured("scikit-learn's time / ours, 8 bandwidths, 4,000 × 4,000 points, d = 64", ratio),
        Measured("error of a log density there, float64", raced["error"], "< 1e-9", raced["error"] < 1e-9),
        Measured("error of scikit-learn's there", raced["scikit-learn, error"]),
    ]
    record(
        SYSTEM.name, measured, picture=picture(divergence, sums, law),
        curve={"h / h_G": RATIOS, "divergence / d": divergence, "participation": sums.participation.median(1).values},
        law={"draws": DRAWS, "skewness": skewness(law), "median / mean": law.median(1).values / law.mean(1)},
        speed=raced,
    )  # fmt: skip


if __name__ == "__main__":
    main()
