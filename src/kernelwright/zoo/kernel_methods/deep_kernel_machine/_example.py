"""What deep-kernel-machine shows: the linear closed form, learned kernels of digits, likelihood against nu."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..._system import Measured, Result, Track
from ...common import COLOURS, axes, legend
from ._full import DKMRegressor, dkm_terms, optimise
from ._kernels import GramBlocks, with_bias
from ._sparse import SparseDKMClassifier, SparseDKMRegressor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
STRENGTHS = (0.3, 1.0, 10.0, 100.0, math.inf)


@dataclass(frozen=True)
class Size:
    """How much is trained: inducing points and epochs on digits, epochs of the regression, its seeds."""

    inducing: int
    epochs: int
    regression_epochs: int
    seeds: int


SMALL = Size(inducing=100, epochs=20, regression_epochs=60, seeds=1)


@dataclass(frozen=True)
class Found:
    """What was measured; over STRENGTHS accuracies and log-likelihoods on digits."""

    linear_error: float
    gain: float  # nats per 100 points, of the full machine over its start
    alignment: float  # of the top Gram with the targets, over that of the NNGP
    accuracies: list[float]
    likelihoods: list[float]
    kernels: tuple[Floats, Floats]  # NNGP's and learned, test digits by inducing points, both in order of class
    errors: dict[str, float]  # RMSE with nine inputs of ten that do not matter


def linear_error(size: int = 12, depth: int = 3) -> float:
    """The largest relative distance of a linear machine's Gram matrices to G_0 (G_0^-1 G_top)^(l / (depth + 1))."""
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(2, size, 2 * size, dtype=torch.float64, generator=draw)
    g0, top = a @ a.transpose(1, 2) / (2 * size)
    y = math.sqrt(size) * torch.linalg.cholesky(top)
    raws, _ = optimise(g0, y, depth, float(size), 0.0, "linear", 3000, start=False, jitter=0.0)
    terms = dkm_terms(g0, raws, y, float(size), 0.0, "linear", start=False, jitter=0.0)
    values, vectors = torch.linalg.eig(torch.linalg.solve(g0, top))
    worst = 0.0
    for layer, gram in enumerate(terms.grams, 1):
        wanted = g0 @ ((vectors * values ** (layer / (depth + 1))) @ torch.linalg.inv(vectors)).real
        worst = max(worst, float((gram - wanted).norm() / wanted.norm()))
    return worst


def alignment(gram: Floats, y: Floats) -> float:
    """The cosine between the centred ``gram [n, n]`` and y y', for ``y [n]``."""
    y = y - y.mean()
    centred = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
    return float(y @ centred @ y / (np.linalg.norm(centred) * (y @ y)))


def digits() -> tuple[Floats, Floats, Floats, Floats]:
    """1000 training rows with labels, and the others."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order][:1000], y[order][:1000], x[order][1000:], y[order][1000:]


def irrelevant(rows: int = 1000) -> tuple[Floats, Floats]:
    """sin(3 x_1) with some noise, of ten inputs."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 10))
    return x, np.sin(3 * x[:, 0]) + 0.05 * rng.normal(size=rows)


def top_kernel(model: SparseDKMClassifier, x: Floats, y: Floats) -> Floats:
    """The head's kernel as cosines, between rows and inducing points, both in order of class."""
    with torch.no_grad():
        scaled = with_bias((x - model._shift) / model._scale)
        k: GramBlocks = model.module_.layers(scaled)
        inducing = model.module_.layers[0].inducing
        classes = model.module_(inducing)[0].argmax(1)
        cosines = k.ti / (k.t[:, None] * k.ii.diagonal()).sqrt()
    return cosines[np.argsort(y, kind="stable")][:, classes.argsort(stable=True)].numpy()


def measure(size: Size, track: Track) -> Found:
    """Everything, on 1000 digits, 1000 drawn rows, and 200 rows of diabetes."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    full, still = (DKMRegressor(nu=nu, noise=0.5).fit(x[:200], y[:200]) for nu in (10.0, math.inf))
    raised = alignment(full.grams_[-1], y[:200]) / alignment(still.grams_[-1], y[:200])
    train_x, train_y, test_x, test_y = digits()
    accuracies, likelihoods, kernels = [], [], []
    for nu in track(STRENGTHS, "digits"):
        model = SparseDKMClassifier(size.inducing, nu=nu, epochs=size.epochs, random_state=0).fit(train_x, train_y)
        shares = model.predict_proba(test_x)
        accuracies.append(float((model.classes_[shares.argmax(1)] == test_y).mean()))
        likelihoods.append(float(np.log(shares[np.arange(len(test_y)), test_y]).mean()))
        if nu in (1.0, math.inf):
            kernels.append(top_kernel(model, test_x[:200], test_y[:200]))
    errors = {name: regression_error(nu, size, track) for name, nu in (("learned", 10.0), ("NNGP", math.inf))}
    gain = 100 * (full.objective_ - full.start_objective_) / 200
    return Found(linear_error(), gain, raised, accuracies, likelihoods, (kernels[1], kernels[0]), errors)


def regression_error(nu: float, size: Size, track: Track) -> float:
    """Root mean squared test error with nine inputs of ten that do not matter, mean over seeds."""
    x, y = irrelevant()
    errors = []
    for seed in track(range(size.seeds), "irrelevant inputs"):
        model = SparseDKMRegressor(size.inducing, kernel="rbf", nu=nu, epochs=size.regression_epochs, random_state=seed)
        model.fit(x[:600], y[:600])
        errors.append(float(np.sqrt(np.mean((model.predict(x[600:]) - y[600:]) ** 2))))
    return float(np.mean(errors))


def judge(found: Found) -> tuple[Measured, ...]:
    """The figures beside what the card lets us expect."""
    best, last = STRENGTHS.index(1.0), len(STRENGTHS) - 1
    accuracy = found.accuracies[best]
    nats = found.likelihoods[best] - found.likelihoods[last]
    ratio = found.errors["learned"] / found.errors["NNGP"]
    error, gain, raised = found.linear_error, found.gain, found.alignment
    return (
        Measured("linear machine: relative error to the closed form", error, "< 1e-6", error < 1e-6),
        Measured("diabetes, full: nats gained per 100 points", gain, "> 1", gain > 1),
        Measured("diabetes, full: top Gram's alignment over the NNGP's", raised, ">= 1.2", raised >= 1.2),
        Measured("digits, sparse: accuracy", accuracy, ">= 0.95", accuracy >= 0.95),
        Measured("digits, sparse: accuracy of the NNGP", found.accuracies[last]),
        Measured("digits, sparse: log-likelihood over the NNGP's, nats a row", nats, "> 0", nats > 0),
        Measured("irrelevant inputs, sparse: RMSE over the NNGP's", ratio, "< 1", ratio < 1),
    )


def picture(found: Found) -> Figure:
    """The head's kernel without and with learning, and likelihood and accuracy against nu."""
    figure, (left, middle, right) = axes(1, 3)
    names = ("no learning (NNGP)", "learned, ν = 1")
    for at, kernel, name in zip((left, middle), found.kernels, names, strict=True):
        at.imshow(kernel, aspect="auto", cmap="viridis", interpolation="none")
        at.grid(False)
        at.set(title=f"Top kernel, {name}", xlabel="inducing points, by class", ylabel="test digits, by class")
    places = range(len(STRENGTHS))
    right.plot(places, found.likelihoods, "o-", color=COLOURS[0], label="log-likelihood")
    right.plot(places, found.accuracies, "s--", color=COLOURS[1], label="accuracy")
    right.set_xticks(places, ["∞" if math.isinf(nu) else f"{nu:g}" for nu in STRENGTHS])
    right.set(xlabel="ν: how strongly layers are held to the prior", title="Digits, test")
    legend(right)
    return figure


def run(track: Track) -> Result:
    """The example at a small size."""
    found = measure(SMALL, track)
    return Result(judge(found), picture(found))


__all__ = ["SMALL", "STRENGTHS", "Found", "Size", "digits", "irrelevant", "judge", "measure", "picture", "run"]
