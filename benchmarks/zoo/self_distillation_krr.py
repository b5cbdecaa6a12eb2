"""Self-distilled ridge regression: the toy table, real data with a ridge too small, networks, a path of 1,000 fits.

Run: python benchmarks/zoo/self_distillation_krr.py
"""

from __future__ import annotations

import time

import numpy as np
import torch
from record import record
from sklearn.datasets import load_diabetes, load_digits
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import train_test_split

from kernelwright.ops import gaussian
from kernelwright.zoo import Measured, plainly
from kernelwright.zoo.common import load, mlp
from kernelwright.zoo.kernel_methods.self_distillation_krr import (
    SYSTEM,
    SelfDistilledKernelRidge,
    SelfDistiller,
    spectral_path,
)

SPLITS, ROUNDS, NOISY = 10, 5, 0.3
GAMMA = 0.1  # 1 / bandwidth², in the race


def real(name: str) -> dict[str, list[float]]:
    """Test errors of the last round over those of the first, for each split: ridge and mix in turn."""
    x, y = load_diabetes(return_X_y=True) if name == "diabetes" else load_digits(return_X_y=True)
    if name == "digits":
        x, y = x[:700] / 16, np.eye(10)[y[:700]]
    found: dict[str, list[float]] = {}
    for seed in range(SPLITS):
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=seed)
        mean, width = x_train.mean(0), np.maximum(x_train.std(0), 1e-12)
        if name == "diabetes":
            x_train, x_test = (x_train - mean) / width, (x_test - mean) / width
        gamma = 0.02 if name == "diabetes" else 0.05
        best = left_out(x_train, y_train - y_train.mean(0), gamma)
        for label, ridge in (("too small", best / 10), ("at the optimum", best)):
            for kind, mix in (("optimal", "optimal"), ("mix 0", 0.0)):
                model = SelfDistilledKernelRidge(
                    gamma=gamma, alpha=ridge, mix=mix, n_steps=ROUNDS, centre=True, random_state=seed
                ).fit(x_train, y_train)
                errors = [float(np.mean((p - y_test) ** 2)) for p in model.staged_predict(x_test)]
                found.setdefault(f"{label}, {kind}", []).append(errors[-1] / errors[0])
    return found


def left_out(x: np.ndarray, y: np.ndarray, gamma: float) -> float:
    """The ridge of a grid with the least leave-one-out error, which for ridge regression has a closed form."""
    values, vectors = np.linalg.eigh(rbf_kernel(x, gamma=gamma))
    errors = {}
    for ridge in np.logspace(-4, 1, 11):
        shrinkage = vectors * (values / (values + ridge)) @ vectors.T
        own = 1 - shrinkage.diagonal().reshape(-1, *[1] * (y.ndim - 1))
        errors[float(ridge)] = float(np.mean(((y - shrinkage @ y) / own) ** 2))
    return min(errors, key=errors.__getitem__)


def speed(count: int = 1000, test: int = 500) -> tuple[float, float]:
    """Seconds for a path of 10 ridges, 10 mixes and 10 rounds, and for refitting one chain of it; least of three."""
    draw = np.random.RandomState(0)
    x, y, x_test = draw.randn(count, 16), draw.randn(count), draw.randn(test, 16)
    points, queries = torch.from_numpy(x), torch.from_numpy(x_test)
    ridges, mixes = torch.logspace(-3, 1, 10, dtype=torch.float64), torch.linspace(0, 1, 10, dtype=torch.float64)
    ours, refits = [], []
    for _ in range(3):
        began = time.perf_counter()
        values, vectors = torch.linalg.eigh(gaussian(points, points, GAMMA**-0.5).dense())
        projected = gaussian(queries, points, GAMMA**-0.5) @ vectors
        path = spectral_path(projected, values, vectors.T @ torch.from_numpy(y), ridges, mixes, 10)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        targets = y
        for _ in range(10):
            fitted = KernelRidge(kernel="rbf", gamma=GAMMA / 2, alpha=float(ridges[4])).fit(x, targets)
            targets = float(mixes[3]) * y + (1 - float(mixes[3])) * fitted.predict(x)
        refits.append(time.perf_counter() - began)
    assert np.allclose(fitted.predict(x_test), path[9, 4, 3].numpy(), atol=1e-8)
    return min(ours), min(refits)


def deep() -> tuple[list[float], list[float], list[float]]:
    """On digits, some labels drawn at random: each round's estimated mix, the best of a grid, test accuracies."""
    split = load("digits", test=0.4, seed=0)
    half = len(split.test_x) // 2
    held, test = (split.test_x[:half], split.test_y[:half]), (split.test_x[half:], split.test_y[half:])
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(300, generator=generator) < NOISY
    labels = torch.where(wrong, torch.randint(10, (300,), generator=generator), split.train_y[:300])
    batches = list(zip(split.train_x[:300].split(50), labels.split(50), strict=True))

    def model() -> torch.nn.Module:
        torch.manual_seed(7)
        return mlp([64, 64, 10])

    distiller = SelfDistiller(model, mix="optimal", n_steps=3, epochs=60, lr=5e-3).fit(batches, [held])
    truth = torch.nn.functional.one_hot(held[1], 10).float()
    best = [1.0]
    for step in (1, 2):
        errors = {}
        for mix in torch.linspace(0, 1, 11).tolist():
            pupil, _ = distiller.train_one(batches, distiller.models_[step - 1], mix)
            errors[mix] = float((pupil(held[0]).detach().softmax(1) - truth).square().mean())
        best.append(min(errors, key=errors.__getitem__))
    scores = [float((m(test[0]).argmax(1) == test[1]).float().mean()) for m in distiller.models_]
    return distiller.mix_, best, scores


def main() -> None:
    toy = SYSTEM.example(plainly)
    measured = list(toy.measured)
    ratios = {name: real(name) for name in ("diabetes", "digits")}
    for name, found in ratios.items():
        means = {key: float(np.mean(values)) for key, values in found.items()}
        gain, chain = means["too small, optimal"], means["too small, mix 0"]
        measured += [
            Measured(f"{name}: test error after 5 rounds / round 1, ridge too small", gain, "<= 0.98", gain <= 0.98),
            Measured(f"{name}: the same at mix 0", chain),
            Measured(
                f"{name}: the same, ridge at the leave-one-out optimum", means["at the optimum, optimal"], "<= 1.01",
                means["at the optimum, optimal"] <= 1.01,
            ),
        ]  # fmt: skip
    mixes, grid, scores = deep()
    apart = max(abs(a - b) for a, b in zip(mixes, grid, strict=True))
    measured.append(Measured("network: estimated mix, furthest from the grid's best", apart))
    ours, refit = speed()
    measured.append(Measured("refitting 100 chains / path of 1,000 predictions (time)", 100 * refit / ours))
    record(
        SYSTEM.name, measured, picture=toy.picture, error_ratios=ratios, network={"mix": mixes, "grid": grid,
        "accuracy": scores}, seconds={"path": ours, "one refitted chain of 10 rounds": refit},
    )  # fmt: skip


if __name__ == "__main__":
    main()
