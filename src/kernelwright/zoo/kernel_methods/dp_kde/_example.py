"""What dp-kde shows: l1 error against epsilon in three ways, kernel error against features, accuracy on digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..._system import Measured, Result, Track
from ...common import COLOURS, axes, legend
from ._classifier import DPSimilarityClassifier
from ._distance_sum import DPDistanceSum
from ._features import gaussian_sums
from ._kernel_density import DPKernelDensity
from ._noise import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPSILONS = (0.1, 0.5, 1.0, 5.0)
FEATURES = (12, 50, 200, 800, 3200)


@dataclass(frozen=True)
class Size:
    """How much is measured: seeds of noise, rows of the kernel sums, leaves of the trees."""

    seeds: int
    rows: int
    leaves: int


SMALL = Size(seeds=5, rows=20_000, leaves=1024)


@dataclass(frozen=True)
class Curves:
    """What was measured, by way: l1 errors (relative) over EPSILONS, kernel errors over FEATURES, accuracies."""

    distance: dict[str, list[float]]
    features: dict[str, list[float]]
    accuracy: dict[str, list[float]]
    free_accuracy: float


def flat_histogram_sums(x: Floats, y: Floats, leaves: int, epsilon: float, seed: int) -> Floats:
    """The baseline: Laplace noise on every count (sensitivity 2 to a replaced row), brought to the public sum."""
    nearest = np.rint(x[:, 0] * (leaves - 1)).astype(np.int64)
    counts = np.bincount(nearest, minlength=leaves) + np.random.default_rng(seed).laplace(0, 2 / epsilon, leaves)
    counts += (len(x) - counts.sum()) / leaves
    return np.abs(y - np.linspace(0, 1, leaves)) @ counts


def measure(size: Size, track: Track) -> Curves:
    """All curves; the noise of seed s is the same at every run."""
    rng = np.random.default_rng(0)
    x, y = rng.beta(2, 5, (1000, 1)), np.linspace(0.01, 0.99, 50)[:, None]
    exact = np.abs(y - x.T).sum(1)

    def tree(query: str, epsilon: float, seed: int) -> Floats:
        model = DPDistanceSum(epsilon=epsilon, leaves=size.leaves, query=query, noise="laplace", random_state=seed)
        return model.fit(x).distance_sum(y)

    ways: dict[str, Callable[[float, int], Floats]] = {
        "bucket rule": partial(tree, "buckets"),
        "table": partial(tree, "table"),
        "flat histogram": partial(flat_histogram_sums, x, y, size.leaves),
    }
    distance: dict[str, list[float]] = {name: [] for name in ways}
    for epsilon in track(EPSILONS, "l1 sums"):
        for name, way in ways.items():
            errors = [np.abs(way(epsilon, seed) / exact - 1).mean() for seed in range(size.seeds)]
            distance[name].append(float(np.mean(errors)))
    features = {
        "Laplace, ε = 0.1, phases": _kernel_errors(size, track, form="phase", noise="laplace"),
        "Laplace, ε = 0.1, pairs": _kernel_errors(size, track, form="pair", noise="laplace"),
        "Gaussian, δ = 1e-6, pairs": _kernel_errors(size, track, form="pair", noise="gaussian", delta=1e-6),
    }
    free, accuracy = _accuracies(size, track)
    return Curves(distance, features, accuracy, free)


def _kernel_errors(size: Size, track: Track, **options: Any) -> list[float]:
    """Mean absolute errors of average Gaussian similarities at epsilon 0.1, over FEATURES."""
    x = np.random.default_rng(1).normal(size=(size.rows, 64))
    x /= 0.7 * np.linalg.norm(x, axis=1, keepdims=True)  # unit vectors at bandwidth 0.7
    exact = gaussian_sums(*(torch.from_numpy(rows) for rows in (x, x[:100]))).numpy() / size.rows
    errors = []
    for count in track(FEATURES, "kernel sums"):
        found = []
        for seed in range(2):
            model = DPKernelDensity(epsilon=0.1, n_features=count, random_state=seed, **options)
            found.append(np.abs(model.fit(x).kernel_sum(x[:100]) / size.rows - exact).mean())
        errors.append(float(np.mean(found)))
    return errors


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """1000 training rows with labels and the others; 5, a grey named without looking at the images, is taken off."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(19).permutation(len(images))
    rows, labels = images[order] - 5.0, labels[order]
    return rows[:1000], labels[:1000], rows[1000:], labels[1000:]


def _accuracies(size: Size, track: Track) -> tuple[float, dict[str, list[float]]]:
    train_x, train_y, test_x, test_y = digits()

    def score(epsilon: float, seed: int, **options: Any) -> float:
        model = DPSimilarityClassifier(epsilon=epsilon, adjacency="add-remove", random_state=seed, **options)
        return model.fit(train_x, train_y).score(test_x, test_y)

    ways: dict[str, dict[str, Any]] = {"pure ε": {}, "δ = 1e-5": {"noise": "gaussian", "delta": 1e-5}}
    curves = {
        name: [float(np.mean([score(e, s, **way) for s in range(size.seeds)])) for e in track(EPSILONS, "digits")]
        for name, way in ways.items()
    }
    return score(math.inf, 0), curves


def judge(curves: Curves) -> tuple[Measured, ...]:
    """The figures beside what the card lets us expect."""
    one = EPSILONS.index(1.0)
    distance, features = curves.distance, curves.features
    against_paper = distance["bucket rule"][one] / distance["table"][one]
    u_shaped = features["Laplace, ε = 0.1, phases"]
    gap = curves.free_accuracy - curves.accuracy["pure ε"][-1]
    slope = float(np.polyfit(np.log(EPSILONS), np.log(distance["table"]), 1)[0])
    gaussian = min(u_shaped) / min(features["Gaussian, δ = 1e-6, pairs"])
    fall = curves.free_accuracy - curves.accuracy["pure ε"][0]
    flat = distance["flat histogram"][one] / distance["table"][one]
    return (
        Measured("l1, ε = 1: error of the paper's rule / table", against_paper, ">= 2", against_paper >= 2),
        Measured("l1, ε = 1: error of a flat histogram / table", flat, "> 0.8 at so few leaves", flat > 0.8),
        Measured("l1: slope of the table's error in ε", slope, "-1 ± 0.15", abs(slope + 1) < 0.15),
        Measured(
            "kernel, ε = 0.1: error at 3200 features / best", u_shaped[-1] / min(u_shaped), ">= 1.5",
            u_shaped[-1] / min(u_shaped) >= 1.5,
        ),
        Measured("kernel, ε = 0.1: best Laplace error / best Gaussian", gaussian, "> 1", gaussian > 1),
        Measured("digits: accuracy without privacy", curves.free_accuracy),
        Measured("digits: accuracy lost at ε = 5", gap, "<= 0.05", gap <= 0.05),
        Measured("digits: accuracy lost at ε = 0.1", fall, ">= 0.3", fall >= 0.3),
    )  # fmt: skip


def picture(curves: Curves) -> Figure:
    """Error against epsilon, error against features, accuracy against epsilon."""
    figure, (left, middle, right) = axes(1, 3)
    order = ("table", "bucket rule", "flat histogram")
    for name, style in zip(order, ("o-", "s-", "^--"), strict=True):
        left.loglog(EPSILONS, curves.distance[name], style, label=name)
    left.set(xlabel="ε", ylabel="mean relative error", title="Sums of l1 distances, 1000 rows")
    for (name, errors), style, colour in zip(
        curves.features.items(), ("s-", "o-", "^--"), (COLOURS[1], COLOURS[0], COLOURS[2]), strict=True
    ):
        middle.loglog(FEATURES, errors, style, label=name, color=colour)
    middle.set(xlabel="frequencies", ylabel="mean error of the average", title="Gaussian kernel sums")
    for (name, scores), style in zip(curves.accuracy.items(), ("o-", "^--"), strict=True):
        right.semilogx(EPSILONS, scores, style, label=name)
    right.axhline(curves.free_accuracy, linestyle=":", color=COLOURS[4], label="not private")
    right.set(xlabel="ε", ylabel="accuracy", title="Digits, 1000 private rows", ylim=(0, 1))
    for at in (left, middle, right):
        legend(at)
    return figure


def run(track: Track) -> Result:
    """The example: the curves at a small size."""
    curves = measure(SMALL, track)
    return Result(judge(curves), picture(curves))


__all__ = [
    "EPSILONS",
    "FEATURES",
    "SMALL",
    "Curves",
    "Size",
    "digits",
    "flat_histogram_sums",
    "judge",
    "measure",
    "picture",
    "run",
]
