"""dp-kde at a fuller size, trees against flat histograms on many leaves, and classifiers of diffprivlib.

``python benchmarks/zoo/dp_kde.py``; diffprivlib is compared with where it can be imported.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from record import record

from kernelwright.zoo import Measured, plainly
from kernelwright.zoo.kernel_methods.dp_kde import DPDistanceSum, DPKernelDensity, DPSimilarityClassifier
from kernelwright.zoo.kernel_methods.dp_kde._example import (
    EPSILONS,
    FEATURES,
    Size,
    digits,
    flat_histogram_sums,
    judge,
    measure,
    picture,
)

FULL = Size(seeds=20, rows=50_000, leaves=1024)


def many_leaves(seeds: int = 5) -> dict[str, float]:
    """Mean absolute errors per row of l1 sums at n = m = 2^16, epsilon 1."""
    n = 2**16
    x, y = np.random.default_rng(0).random((n, 1)), np.linspace(0, 1, 51)[:, None]
    order = np.sort(x[:, 0])
    left = np.searchsorted(order, y[:, 0])
    sums = np.concatenate([[0], np.cumsum(order)])
    exact = y[:, 0] * (2 * left - n) + sums[-1] - 2 * sums[left]
    errors: dict[str, list[float]] = {"table": [], "flat histogram": []}
    for seed in range(seeds):
        model = DPDistanceSum(epsilon=1.0, leaves=n, noise="laplace", random_state=seed).fit(x)
        errors["table"].append(np.abs(model.distance_sum(y) - exact).mean() / n)
        errors["flat histogram"].append(np.abs(flat_histogram_sums(x, y, n, 1.0, seed) - exact).mean() / n)
    return {name: float(np.mean(values)) for name, values in errors.items()}


def speeds() -> dict[str, float]:
    """Microseconds a query and seconds to build, d = 64: private answers against the exact sum over 50 000 rows."""
    from sklearn.metrics import pairwise_distances

    x = np.random.default_rng(0).random((50_000, 64))
    y = x[:200]
    found: dict[str, float] = {}
    for name, model in (
        ("kernel", DPKernelDensity(n_features=800, random_state=0)),
        ("l1 table", DPDistanceSum(random_state=0)),
        ("l1 bucket rule", DPDistanceSum(query="buckets", random_state=0)),
    ):
        start = time.perf_counter()
        model.fit(x)
        found[f"{name}: build, s"] = time.perf_counter() - start
        answer = model.kernel_sum if isinstance(model, DPKernelDensity) else model.distance_sum
        found[f"{name}: query, µs"] = 1e6 * _best(lambda answer=answer: answer(y)) / len(y)
    found["exact l1 over all rows: query, µs"] = 1e6 * _best(lambda: pairwise_distances(y, x, "l1").sum(1), 2) / len(y)
    return found


def _best(call: Any, times: int = 5) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peers() -> dict[str, dict[str, float]] | None:
    """Accuracy and fit seconds on digits at epsilon 5, replaced rows counting as two that come and go."""
    try:
        from diffprivlib.models import GaussianNB, LogisticRegression
    except ImportError as error:
        print(f"diffprivlib: skipped, {error}")
        return None
    train_x, train_y, test_x, test_y = digits()
    unit_train, unit_test = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (train_x, test_x))
    makers = {
        "ours": lambda s: DPSimilarityClassifier(epsilon=5.0, adjacency="add-remove", random_state=s),
        "ours, δ = 1e-5": lambda s: DPSimilarityClassifier(
            epsilon=5.0, adjacency="add-remove", noise="gaussian", delta=1e-5, random_state=s
        ),
        "diffprivlib logistic regression": lambda s: LogisticRegression(epsilon=5.0, data_norm=1.0, random_state=s),
        "diffprivlib naive Bayes": lambda s: GaussianNB(epsilon=5.0, bounds=(-1, 1), random_state=s),
    }
    found = {}
    for name, make in makers.items():
        scores, seconds = [], []
        for seed in range(5):
            start = time.perf_counter()
            model = make(seed).fit(unit_train, train_y)
            seconds.append(time.perf_counter() - start)
            scores.append(model.score(unit_test, test_y))
        found[name] = {"accuracy": float(np.mean(scores)), "fit, s": min(seconds)}
        print(f"  {name:34} accuracy {found[name]['accuracy']:.3f}, fit {min(seconds):.4f} s")
    return found


def main() -> None:
    curves = measure(FULL, plainly)
    leaves = many_leaves()
    ratio = leaves["flat histogram"] / leaves["table"]
    measured = [
        *judge(curves),
        Measured("l1, n = m = 2^16, ε = 1: error of a flat histogram / table", ratio, "> 1", ratio > 1),
    ]
    compared = peers()
    if compared is not None:
        logistic, ours = compared["diffprivlib logistic regression"], compared["ours"]
        faster, gain = logistic["fit, s"] / ours["fit, s"], ours["accuracy"] - logistic["accuracy"]
        measured.append(Measured("digits, ε = 5: fit time of DP logistic regression / ours", faster))
        measured.append(Measured("digits, ε = 5: accuracy over DP logistic regression", gain, "> 0", gain > 0))
    record(
        "dp-kde", measured, picture=picture(curves), epsilons=EPSILONS, features=FEATURES, l1_errors=curves.distance,
        kernel_errors=curves.features, accuracies=curves.accuracy, many_leaves=leaves, speeds=speeds(), peers=compared,
    )  # fmt: skip


if __name__ == "__main__":
    main()
