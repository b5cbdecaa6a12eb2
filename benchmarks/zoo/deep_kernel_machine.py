"""deep-kernel-machine at a fuller size, its cost against the number of rows, and GPyTorch's sparse Gaussian process.

``python benchmarks/zoo/deep_kernel_machine.py``; gpytorch is compared with where it can be imported.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from record import record

from kernelwright.zoo import Measured, plainly
from kernelwright.zoo.kernel_methods.deep_kernel_machine import SparseDKMClassifier, SparseDKMRegressor
from kernelwright.zoo.kernel_methods.deep_kernel_machine._example import (
    STRENGTHS,
    Size,
    digits,
    irrelevant,
    judge,
    measure,
    picture,
)

FULL = Size(inducing=200, epochs=30, regression_epochs=60, seeds=2)
ROWS = (1000, 2000, 4000, 8000)
INDUCING, EPOCHS, BATCH = 100, 60, 256


def epoch_seconds() -> list[float]:
    """The quicker of two epochs over ROWS rows of 10 inputs, 100 inducing points."""
    seconds = []
    for rows in ROWS:
        x, y = irrelevant(rows)
        found = []
        for _ in range(2):
            start = time.perf_counter()
            SparseDKMRegressor(INDUCING, epochs=1, random_state=0).fit(x, y)
            found.append(time.perf_counter() - start)
        seconds.append(min(found))
    return seconds


def sets() -> dict[str, tuple[np.ndarray, ...]]:
    """Regressions as (train x, train y, test x, test y)."""
    from sklearn.datasets import load_diabetes

    x, y = irrelevant()
    a, b = load_diabetes(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(a))
    a, b = a[order], b[order]
    return {
        "irrelevant inputs": (x[:600], y[:600], x[600:], y[600:]),
        "diabetes": (a[:300], b[:300], a[300:], b[300:]),
    }


def scores(mean: np.ndarray, std: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """RMSE and mean log-likelihood of the test targets."""
    likelihood = -(((y - mean) / std) ** 2) / 2 - np.log(std) - np.log(2 * np.pi) / 2
    return {"rmse": float(np.sqrt(np.mean((y - mean) ** 2))), "log-likelihood": float(likelihood.mean())}


def ours(
    nu: float, train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray
) -> dict[str, float]:
    start = time.perf_counter()
    model = SparseDKMRegressor(INDUCING, kernel="rbf", nu=nu, epochs=EPOCHS, batch_size=BATCH, random_state=0)
    model.fit(train_x, train_y)
    seconds = (time.perf_counter() - start) / EPOCHS
    return {**scores(*model.predict(test_x, return_std=True), test_y), "seconds an epoch": seconds}


def svgp(
    ard: bool, train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray
) -> dict[str, float]:
    """GPyTorch's SVGP: a radial kernel, one length scale or one for each input, as many inducing points and epochs."""
    import gpytorch as gp

    shift, scale, low, wide = train_x.mean(0), train_x.std(0), train_y.mean(), train_y.std()
    x, z = (torch.from_numpy((a - shift) / scale) for a in (train_x, test_x))
    y = torch.from_numpy((train_y - low) / wide)

    class Process(gp.models.ApproximateGP):
        def __init__(self, inducing: torch.Tensor) -> None:
            spread = gp.variational.CholeskyVariationalDistribution(len(inducing))
            super().__init__(gp.variational.VariationalStrategy(self, inducing, spread))
            self.mean = gp.means.ConstantMean()
            self.kernel = gp.kernels.ScaleKernel(gp.kernels.RBFKernel(ard_num_dims=x.shape[1] if ard else None))

        def forward(self, at: torch.Tensor) -> Any:
            return gp.distributions.MultivariateNormal(self.mean(at), self.kernel(at))

    torch.manual_seed(0)
    model = Process(x[torch.randperm(len(x))[:INDUCING]].clone()).double()
    likelihood = gp.likelihoods.GaussianLikelihood().double()
    bound = gp.mlls.VariationalELBO(likelihood, model, len(x))
    steps = torch.optim.Adam([*model.parameters(), *likelihood.parameters()], lr=0.02)
    decays = torch.optim.lr_scheduler.MultiStepLR(steps, [EPOCHS // 2 + 1, EPOCHS * 3 // 4 + 1], 0.1)
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            steps.zero_grad()
            (-bound(model(x[batch]), y[batch])).backward()
            steps.step()
        decays.step()
    seconds = (time.perf_counter() - start) / EPOCHS
    model.eval(), likelihood.eval()
    with torch.no_grad():
        found = likelihood(model(z))
    mean, std = found.mean.numpy() * wide + low, found.variance.sqrt().numpy() * wide
    return {**scores(mean, std, test_y), "seconds an epoch": seconds}


def compare() -> dict[str, dict[str, dict[str, float]]]:
    """All regressions by all methods; GPyTorch's where it is there."""
    methods: dict[str, Any] = {
        "DKM, nu = 10": lambda data: ours(10.0, *data),
        "DKM, nu = 100": lambda data: ours(100.0, *data),
        "NNGP": lambda data: ours(float("inf"), *data),
    }
    try:
        import gpytorch
    except ImportError as error:
        print(f"gpytorch: skipped, {error}")
    else:
        methods[f"gpytorch {gpytorch.__version__} SVGP, one scale"] = lambda data: svgp(False, *data)
        methods[f"gpytorch {gpytorch.__version__} SVGP, a scale each"] = lambda data: svgp(True, *data)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, data in sets().items():
        found[name] = {}
        for method, call in methods.items():
            found[name][method] = call(data)
            print(f"  {name:18} {method:36} " + ", ".join(f"{k} {v:.4g}" for k, v in found[name][method].items()))
    return found


def baseline() -> dict[str, float]:
    """Digits by one layer of the same machinery without Gram layers: a sparse Gaussian process."""
    train_x, train_y, test_x, test_y = digits()
    model = SparseDKMClassifier(FULL.inducing, depth=0, epochs=FULL.epochs, random_state=0).fit(train_x, train_y)
    shares = model.predict_proba(test_x)
    picked = shares[np.arange(len(test_y)), test_y]
    return {"accuracy": model.score(test_x, test_y), "log-likelihood": float(np.log(picked).mean())}


def main() -> None:
    found = measure(FULL, plainly)
    seconds = epoch_seconds()
    slope = float(np.polyfit(np.log(ROWS), np.log(seconds), 1)[0])
    compared = compare()
    measured = [
        *judge(found),
        Measured("sparse: slope of an epoch's time in rows, log-log", slope, "1 ± 0.2", abs(slope - 1) < 0.2),
    ]
    drawn = compared["irrelevant inputs"]
    plain = next((drawn[name] for name in drawn if name.endswith("one scale")), None)
    if plain is not None:
        ratio = drawn["DKM, nu = 10"]["rmse"] / plain["rmse"]
        measured.append(Measured("irrelevant inputs: RMSE over SVGP's of one length scale", ratio, "< 1", ratio < 1))
    record(
        "deep-kernel-machine", measured, picture=picture(found), strengths=STRENGTHS, accuracies=found.accuracies,
        likelihoods=found.likelihoods, errors=found.errors, rows=ROWS, epoch_seconds=seconds, regressions=compared,
        digits_without_layers=baseline(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
