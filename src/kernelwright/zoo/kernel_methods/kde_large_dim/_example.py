"""The three regimes, seen: divergence and participation against theory, and the law of the partition function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..._system import Measured, Result, Track
from ...common import COLOURS, MUTED, axes, legend
from ._sums import MultiBandwidth, multi_bandwidth_kde, partition_draws
from ._theory import kde_kl_theory, kde_thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIM, ALPHA, TEST = 100, 0.1, 200
RATIOS = (0.55, 0.65, 0.7, 0.76, 0.82, 0.91, 1.0, 1.14, 1.36, 1.7, 2.05, 2.5)  # h / h_g
LAW_DIM, LAW_ALPHA, LAW_RATIOS = 50, 0.2, (1.8, 1.2, 1.0)


def regimes(seed: int = 0) -> tuple[list[float], MultiBandwidth]:
    """The divergence over d at each of ``RATIOS`` h_g, of n = exp(ALPHA DIM) Gaussian points, and all sums."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(round(math.exp(ALPHA * DIM)), DIM, generator=generator)
    x = torch.randn(TEST, DIM, generator=generator)
    h_g = kde_thresholds(ALPHA).h_g
    sums = multi_bandwidth_kde(x, y, [r * h_g for r in RATIOS])
    true = -0.5 * x.square().sum(1) - 0.5 * DIM * math.log(2 * math.pi)
    return ((true - sums.log_density).mean(1) / DIM).tolist(), sums


def laws(draws: int, seed: int = 0) -> torch.Tensor:
    """Draws of Z / E Z at ``LAW_RATIOS`` h_g, ``[3, draws]``."""
    h_g = kde_thresholds(LAW_ALPHA).h_g
    points = round(math.exp(LAW_ALPHA * LAW_DIM))
    return partition_draws([r * h_g for r in LAW_RATIOS], points, LAW_DIM, draws, seed)


def skewness(values: torch.Tensor) -> torch.Tensor:
    """Of each row."""
    apart = values - values.mean(-1, keepdim=True)
    return apart.pow(3).mean(-1) / apart.square().mean(-1).pow(1.5)


def run(track: Track) -> Result:
    """Measure both, at the size of a small machine."""
    steps = iter(track(("densities", "laws"), "drawing"))
    next(steps)
    divergence, sums = regimes()
    next(steps)
    law = laws(400)
    list(steps)
    return Result(figures(divergence, sums, law), picture(divergence, sums, law))


def figures(divergence: list[float], sums: MultiBandwidth, law: torch.Tensor) -> tuple[Measured, ...]:
    """What theory says of these, and what was found."""
    h_g = kde_thresholds(ALPHA).h_g
    wide = [abs(k - kde_kl_theory(r * h_g, ALPHA)) for r, k in zip(RATIOS, divergence, strict=True) if r >= 1.1]
    best = RATIOS[int(np.argmin(divergence))]
    gain = divergence[RATIOS.index(1.36)] - min(divergence)
    parts = sums.participation.median(1).values.tolist()
    condensed, spread = parts[RATIOS.index(0.91)], parts[RATIOS.index(1.36)]
    skew, middle = skewness(law).tolist(), (law.median(1).values / law.mean(1)).tolist()
    return (
        Measured("best bandwidth / h_G", best, "0.65 to 0.95", 0.65 <= best <= 0.95),
        Measured("divergence over d, furthest from theory above 1.1 h_G", max(wide), "< 0.01", max(wide) < 0.01),
        Measured("divergence over d, what is lost at 1.36 h_G (below h_CLT)", gain, "> 0.1", gain > 0.1),
        Measured("points that make an estimate up, at 0.91 h_G", condensed, "< 5", condensed < 5),
        Measured("points that make an estimate up, at 1.36 h_G", spread, "> 50", spread > 50),
        Measured("skewness of Z at 1.8 h_G", skew[0], "< 0.5", skew[0] < 0.5),
        Measured("skewness of Z at 1.2 h_G", skew[1], "> 3", skew[1] > 3),
        Measured("median / mean of Z at h_G", middle[2], "< 0.6", middle[2] < 0.6),
    )


def picture(divergence: list[float], sums: MultiBandwidth, law: torch.Tensor) -> Figure:
    """Divergence, participation and laws, with the thresholds marked."""
    limits = kde_thresholds(ALPHA)
    figure, (left, middle, right) = axes(1, 3, width=4.0)
    fine = np.linspace(0.5, 2.5, 200)
    left.plot(fine, [kde_kl_theory(r * limits.h_g, ALPHA) for r in fine], color=COLOURS[4], label="theory, d = ∞")
    left.plot(RATIOS, divergence, "o", color=COLOURS[0], label=f"d = {DIM}")
    left.set_ylabel("KL divergence / d")
    legend(left, loc="lower right")
    middle.semilogy(RATIOS, sums.participation.median(1).values, "o-", color=COLOURS[0])
    middle.set_ylabel("points that make an estimate up")
    for at in (left, middle):
        at.set_xlabel("bandwidth / $h_G$")
        for mark, name in ((1.0, "$h_G$"), (2**0.5, "$h_{CLT}$")):
            at.axvline(mark, color=MUTED, linewidth=1, linestyle=":")
            at.annotate(name, (mark, 0.97), xycoords=("data", "axes fraction"), xytext=(3, -8), fontsize=9,
                        textcoords="offset points")  # fmt: skip
    bins = np.geomspace(1e-2, 30, 60).tolist()
    for colour, ratio, row in zip(COLOURS, LAW_RATIOS, law, strict=False):
        right.hist(row.numpy(), bins=bins, histtype="step", color=colour, linewidth=1.8, label=f"{ratio:g} $h_G$")
    right.set_xscale("log")
    right.set_xlabel("Z / E Z")
    right.set_ylabel("draws")
    legend(right)
    left.set_title("best below condensation")
    middle.set_title("condensation")
    right.set_title("from Gaussian to heavy tails")
    return figure


__all__ = ["figures", "laws", "picture", "regimes", "run", "skewness"]
