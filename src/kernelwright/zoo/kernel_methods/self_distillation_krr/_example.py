"""The paper's toy: eleven noisy points of a sine, fitted, and fitted again to the fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..._system import Measured, Result, Track
from ...common import COLOURS, INK, axes, legend
from ._ridge import SelfDistilledKernelRidge, greedy_mixes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAMMA, RIDGE = 80.0, 0.2

# What the paper's notebook drew: sin(2 pi x) with noise at x = 0, 0.1, .. 1.
TOY_TARGETS = (
    0.38476636465198066, 1.2333967683416893, 1.33232242218057, 0.6920159488895518, -0.29756145531871736,
    -0.24189291901377769, -0.7964485769175675, -0.9616480167034174, -0.49672509509916934, -0.3469066003991437,
    0.5589512650600734,
)  # fmt: skip


def toy() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training points ``[11, 1]`` and targets ``[11]``, test points ``[101, 1]`` and the true values there."""
    x, x_test = np.linspace(0, 1, 11)[:, None], np.linspace(0, 1, 101)[:, None]
    return x, np.array(TOY_TARGETS), x_test, np.sin(2 * np.pi * x_test[:, 0])


def toy_errors(mix: float, n_steps: float = 6) -> list[float]:
    """The mean squared error of every round."""
    x, y, x_test, truth = toy()
    model = SelfDistilledKernelRidge(gamma=GAMMA, alpha=RIDGE, mix=mix, n_steps=n_steps).fit(x, y)
    return [float(np.mean((p - truth) ** 2)) for p in model.staged_predict(x_test)]


def toy_mixes(clip: bool) -> list[float]:
    """Every round's best mix against the true sine."""
    x, y, x_test, truth = (torch.from_numpy(a) for a in toy())
    values, vectors = torch.linalg.eigh(torch.exp(-GAMMA * (x - x.T) ** 2))
    projected = torch.exp(-GAMMA * (x_test - x.T) ** 2) @ vectors
    return greedy_mixes(projected, values, vectors.T @ y[:, None], truth[:, None], RIDGE, 6, clip)


def run(track: Track) -> Result:
    """Errors of six rounds and their limits for three mixes, and the picture of the fits."""
    curves = {mix: toy_errors(mix) for mix in track((0.0, 0.25, 0.35), "mixes")}
    limits = {mix: toy_errors(mix, np.inf)[0] for mix in curves}
    best = toy_mixes(clip=False)
    measured = (
        Measured("error of round 1", curves[0.0][0], "0.16477", abs(curves[0.0][0] - 0.16477) < 5e-6),
        Measured("error of round 6, mix 0", curves[0.0][5], "0.18251", abs(curves[0.0][5] - 0.18251) < 5e-6),
        Measured("error of round 6, mix 0.25", curves[0.25][5], "0.15011", abs(curves[0.25][5] - 0.15011) < 5e-6),
        Measured("error of round 6, mix 0.35", curves[0.35][5], "0.14948", abs(curves[0.35][5] - 0.14948) < 5e-6),
        Measured("error in the limit, mix 0", limits[0.0], "0.49505", abs(limits[0.0] - 0.49505) < 5e-6),
        Measured("error in the limit, mix 0.25", limits[0.25], "0.15250", abs(limits[0.25] - 0.15250) < 5e-6),
        Measured("best mix of round 6", best[5], "0.336", abs(best[5] - 0.336) < 1e-3),
    )
    return Result(measured, picture(curves, limits))


def picture(curves: dict[float, list[float]], limits: dict[float, float]) -> Figure:
    """Fits of rounds 1 to 6 without and with the true targets; the errors of all rounds."""
    x, y, x_test, truth = toy()
    figure, panels = axes(1, 3, width=4.0)
    for at, mix in zip(panels, (0.0, 0.25), strict=False):
        model = SelfDistilledKernelRidge(gamma=GAMMA, alpha=RIDGE, mix=mix, n_steps=6).fit(x, y)
        for step, values in enumerate(model.staged_predict(x_test)):
            label = f"round {step + 1}" if step in (0, 5) else None
            at.plot(x_test[:, 0], values, color=COLOURS[0], alpha=0.25 + 0.15 * step, label=label)
        at.plot(x_test[:, 0], truth, color=COLOURS[4], linestyle="--", label="truth")
        at.plot(x[:, 0], y, "o", color=INK, markersize=4)
        at.set_title(f"fits, mix {mix:g}")
        legend(at)
    for colour, (mix, errors) in zip(COLOURS, curves.items(), strict=False):
        panels[2].plot(range(1, 7), errors, "o-", color=colour, label=f"mix {mix:g}")
        if mix:
            panels[2].axhline(limits[mix], color=colour, linestyle=":", linewidth=1)
    panels[2].set_title("error by round, and limits")
    panels[2].set_xlabel("round")
    panels[2].set_ylabel("mean squared error")
    legend(panels[2])
    return figure


__all__ = ["GAMMA", "RIDGE", "run", "toy", "toy_errors", "toy_mixes"]
