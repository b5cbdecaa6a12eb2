"""Do scores at initialisation order networks, and does alignment after a few epochs do it better? At digits' size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..._system import HotOperation, Measured, Result, System, Track
from ...common import COLOURS, INK, accuracy, axes, load
from ._gram import conv_gram, ntk_gram
from ._scores import gram_scores, kernel_change, label_gradient_alignment, rank_correlation
from ._search import train_epochs
from ._space import Cell, SmallCellSpace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPOCHS, FINAL = 3, 10  # epochs before the score; epochs of the training that it is to foretell
_TRAIN, _BATCH = 500, 64
FREE = ("lga", "condition", "frobenius", "mean", "eigenvalues")


@dataclass(frozen=True)
class Trial:
    """One cell: scores at initialisation, LGA by epoch (also against shuffled labels), kernel change, accuracy."""

    cell: Cell
    scores: dict[str, float]
    alignment: tuple[float, ...]
    shuffled: tuple[float, ...]
    change: float
    accuracy: float


def trial(cell: Cell, seed: int) -> Trial:
    """Score the cell's network before and during training on 500 digits, then take its accuracy on the others."""
    split = load("digits", seed=seed)
    x, y = split.train_x[:_TRAIN].view(-1, 1, 8, 8), split.train_y[:_TRAIN]
    held = split.test_x.view(-1, 1, 8, 8)
    model = SmallCellSpace().build(cell, torch.Generator().manual_seed(seed))
    labels = y[:_BATCH]
    mixed = labels[torch.randperm(_BATCH, generator=torch.Generator().manual_seed(seed))]
    grams = [ntk_gram(model, x[:_BATCH]).double()]
    scores = gram_scores(grams[0], labels)

    def after(epoch: int) -> None:
        if epoch <= EPOCHS:
            grams.append(ntk_gram(model, x[:_BATCH]).double())

    train_epochs(model, x, y, FINAL, seed=seed, after=after)
    alignment, shuffled = (tuple(float(label_gradient_alignment(g, side)) for g in grams) for side in (labels, mixed))
    return Trial(
        cell, scores, alignment, shuffled, kernel_change(grams[-1], grams[0])[0], accuracy(model, held, split.test_y)
    )


def cells(count: int, seed: int) -> list[Cell]:
    """So many different cells that join input and output."""
    generator, space = np.random.default_rng(seed), SmallCellSpace()
    found: dict[Cell, None] = {}
    while len(found) < count:
        found[space.sample(generator)] = None
    return list(found)


def correlations(trials: list[Trial]) -> dict[str, dict[str, float]]:
    """How every score orders the cells of one seed: at initialisation by name, LGA also after each epoch."""
    accuracies = torch.tensor([t.accuracy for t in trials])
    columns = {name: [t.scores[name] for t in trials] for name in FREE}
    columns |= {f"lga after {e}": [t.alignment[e] for t in trials] for e in range(1, EPOCHS + 1)}
    return {name: rank_correlation(torch.tensor(values), accuracies) for name, values in columns.items()}


def mean_tau(runs: list[list[Trial]]) -> dict[str, float]:
    """Kendall's tau of every score, the mean over the seeds."""
    every = [correlations(trials) for trials in runs]
    return {name: float(np.mean([one[name]["kendall"] for one in every])) for name in every[0]}


def summary(runs: list[list[Trial]], judged: bool = True) -> tuple[Measured, ...]:
    """What came out, beside what is claimed; not ``judged`` where there are too few cells to say."""
    tau = mean_tau(runs)
    lga, best = tau[f"lga after {EPOCHS}"], max(FREE, key=tau.__getitem__)
    rows = [
        ("tau of LGA after 3 epochs", lga, ">= 0.35", lga >= 0.35),
        ("above LGA at initialisation", lga - tau["lga"], ">= 0.1", lga - tau["lga"] >= 0.1),
        (
            "above the condition number at initialisation",
            lga - tau["condition"],
            ">= 0.1",
            lga - tau["condition"] >= 0.1,
        ),
        (f"above the best score at initialisation ({best})", lga - tau[best], ">= 0.1", lga - tau[best] >= 0.1),
    ]
    flat = [t for trials in runs for t in trials]
    rise, drift = (float(np.mean([side[-1] - side[0] for side in c])) for c in _curves(flat))
    rows.append(("rise of LGA in 3 epochs", rise, "> 0", rise > 0))
    rows.append(("drift of LGA against shuffled labels", drift, "within 0.05", abs(drift) <= 0.05))
    place = float(np.mean([_place(trials) for trials in runs]))
    rows.append(("share of cells that the cell of highest LGA is no worse than", place, ">= 0.8", place >= 0.8))
    measured = [Measured(name, value, expected, holds if judged else None) for name, value, expected, holds in rows]
    change = float(np.mean([t.change for t in flat]))
    return (*measured, Measured("relative change of the kernel in 3 epochs", change))


def _curves(trials: list[Trial]) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]]]:
    return [t.alignment for t in trials], [t.shuffled for t in trials]


def _place(trials: list[Trial]) -> float:
    chosen = max(trials, key=lambda t: t.alignment[-1])
    return float(np.mean([t.accuracy <= chosen.accuracy for t in trials]))


def picture(runs: list[list[Trial]]) -> Figure:
    """Accuracy against LGA before and after little training, and how well every score orders the cells."""
    figure, (left, right) = axes(1, 2, width=4.8, height=3.8)
    flat = [t for trials in runs for t in trials]
    for epoch, colour, label in ((0, COLOURS[4], "at initialisation"), (EPOCHS, COLOURS[0], f"after {EPOCHS} epochs")):
        at = [t.alignment[epoch] for t in flat]
        left.scatter(at, [t.accuracy for t in flat], s=22, color=colour, alpha=0.8, label=label)
    left.set(xlabel="label-gradient alignment", ylabel="final test accuracy", title="Every point a cell")
    left.legend(frameon=False, labelcolor=INK, fontsize=9, loc="lower right")
    tau = mean_tau(runs)
    names = sorted(tau, key=tau.__getitem__)
    colours = [COLOURS[0] if "after" in name else COLOURS[4] for name in names]
    right.barh(names, [tau[name] for name in names], color=colours)
    right.axvline(0, color=INK, linewidth=0.8)
    right.set(xlabel="Kendall's tau with final accuracy", title="Scores at initialisation, and LGA after epochs")
    return figure


def _example(track: Track) -> Result:
    run = [trial(cell, 0) for cell in track(cells(12, 0), "cells")]
    return Result(summary([run], judged=False), picture([run]))


def _gram_arguments() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(64, 16, 8, 8, generator=generator) for _ in range(2))


def _alignment_arguments() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(64, 256, 100, generator=generator)
    return rows @ rows.mT, torch.randint(10, (256,), generator=generator)


SYSTEM = System(
    name="lga-nas",
    title="Demystifying the Neural Tangent Kernel from a Practical Perspective",
    source="arXiv 2203.14577",
    claim="The tangent kernel's alignment with the labels orders architectures after a few epochs, not at the start.",
    operations=(
        HotOperation("per_sample_grad_gram", conv_gram, _gram_arguments),
        HotOperation("centered_alignment", label_gradient_alignment, _alignment_arguments),
    ),
    example=_example,
)

__all__ = ["EPOCHS", "FINAL", "SYSTEM", "Trial", "cells", "correlations", "mean_tau", "picture", "summary", "trial"]
