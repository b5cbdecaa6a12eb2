"""Ensemble sizes for both limits beside the published ones and the bound; every input of ten bits; real networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..._system import Measured, Result, Track
from ...common import COLOURS, INK, axes, legend
from ._ensemble import PermutationEnsemble
from ._moments import permutation_moments, required_ensemble_size
from ._sizes import all_inputs, measured_size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BITS = (5, 10, 15, 20, 25, 30)
PUBLISHED = (43, 69, 103, 117, 157, 175)  # members to reach 90 % (stored results of the official code)
LIMITS = {
    "ntk": (135, 293, 466, 555, 681, 846),
    "nngp": (21, 54, 86, 113, 153, 186),
}  # medians of an earlier simulation

Sizes = dict[str, np.ndarray]


def sizes(runs: int, track: Track) -> Sizes:
    """Members to reach 90 %, ``[runs, k]``, for each limit."""
    return {
        kernel: np.array([[measured_size(k, kernel=kernel, seed=100 * run + k) for k in BITS]
                          for run in track(range(runs), f"ensembles, {kernel}")])
        for kernel in LIMITS
    }  # fmt: skip


def slope(medians: np.ndarray) -> float:
    """Of log size over log k."""
    return float(np.polyfit(np.log(BITS), np.log(medians), 1)[0])


def exhaustive(k: int = 10, members: int = 20_000) -> float:
    """The share of all 2^k - 1 inputs that one ensemble answers exactly."""
    goes = torch.randperm(k, generator=torch.Generator().manual_seed(5))
    x = all_inputs(k)
    model = PermutationEnsemble(members, solver="gp-limit").fit(goes)
    return model.score(x, x[:, goes.argsort()].long())


def figures(found: Sizes, exact: float) -> list[Measured]:
    """Slopes and distances from the published and simulated sizes."""
    measured = [Measured("all 1,023 inputs of ten bits, share exact", exact, "1", exact == 1.0)]
    for kernel, rows in found.items():
        middle = np.median(rows, 0)
        law = slope(middle)
        apart = float(np.abs(middle / np.array(LIMITS[kernel]) - 1)[1:].max())
        measured.append(Measured(f"slope of the ensemble size, {kernel} limit", law, "0.9 to 1.3", 0.9 <= law <= 1.3))
        measured.append(
            Measured(f"sizes, k from 10: furthest from simulation, {kernel}", apart, "<= 0.15", apart <= 0.15)
        )
    return measured


def run(track: Track) -> Result:
    """Sizes from few runs, the exhaustive check, and one trained ensemble."""
    found = sizes(8, track)
    measured = [*figures(found, exhaustive()), *trained(200, 1024)]
    return Result(tuple(measured), picture(found))


def trained(members: int, width: int) -> list[Measured]:
    """Means of real networks over their members, against both closed forms: two ones among five bits."""
    x, measured = torch.tensor([[1.0, 1, 0, 0, 0]]), []
    for kernel, parametrization in (("ntk", "ntk"), ("nngp", "standard")):
        model = PermutationEnsemble(members, width, parametrization=parametrization).fit([0, 1, 2, 3, 4])
        zeros = float(model.decision_function(x)[0, 2:].mean())
        mean, _, variance = permutation_moments(5, 2, kernel)
        error = (zeros - mean) / (variance / (3 * members)) ** 0.5
        name = f"trained networks, {parametrization}: mean of the zeros"
        measured.append(Measured(name, zeros, f"{mean:.4f}, within 4 errors", abs(error) < 4))
    return measured


def picture(found: Sizes) -> Figure:
    """Ensemble size over the number of bits: bound, both limits, the published measurements."""
    figure, (left, right) = axes(1, 2)
    bits = np.arange(3, 31)
    bound = [required_ensemble_size(int(k), 1000, 0.1) for k in bits]
    left.semilogy(bits, bound, color=COLOURS[4], label="bound, 1,000 inputs")
    names = {"ntk": "NTK limit", "nngp": "last-layer limit"}
    for colour, (kernel, rows) in zip(COLOURS, found.items(), strict=False):
        for at in (left, right):
            at.plot(BITS, np.median(rows, 0), "o-", color=colour, label=names[kernel])
            at.fill_between(BITS, rows.min(0), rows.max(0), color=colour, alpha=0.15, linewidth=0)
    for at in (left, right):
        at.plot(BITS, PUBLISHED, "x", color=INK, label="published, trained")
        at.set_xlabel("bits k")
    left.set_title("members for 90 % exact answers")
    left.set_ylabel("members")
    right.set_title("the same, closer")
    left.set_ylim(bottom=1)
    legend(left, loc="lower right")
    return figure


__all__ = ["BITS", "LIMITS", "exhaustive", "figures", "picture", "run", "sizes", "slope", "trained"]
