"""SNNK: bias and error of the features, the bundled closed form on digits, adapters from digits 0-4 to digits 5-9.

python benchmarks/zoo/snnk.py
"""

from __future__ import annotations

import time

import torch
from record import record

from kernelwright.zoo import Measured
from kernelwright.zoo.common import load
from kernelwright.zoo.kernel_methods.snnk import BundledClassifier, adapt, errors, picture, summary
from kernelwright.zoo.kernel_methods.snnk._example import SIZES, closed_form

NAMES = ("cos", "sin", "tanh", "relu")


def solve_seconds() -> float:
    """The least time of three fits of 512 features on the 1347 training digits, features and Cholesky together."""
    split = load("digits")
    x, y = split.train_x.numpy(), split.train_y.numpy()
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        BundledClassifier(512, random_state=0).fit(x, y)
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main() -> None:
    torch.set_num_threads(1)
    curves = {name: [errors(name, size, 100)[0] for size in SIZES] for name in NAMES}
    biases = {name: errors(name, 64, 400, seed=1)[1] for name in NAMES}
    solved = [closed_form(seed) for seed in range(5)]
    adapted = [one for seed in range(5) for one in adapt(seed)]
    measured = list(summary(curves, biases, solved, adapted))
    seconds = solve_seconds()
    measured.append(Measured("seconds to fit the closed form", seconds, "< 1", seconds < 1))
    spread = {f"{kind} at norm {norm}": errors(kind, 256, 100, norm)[0] for kind in NAMES for norm in (0.5, 1.0, 1.5)}
    record(
        "snnk",
        measured,
        picture=picture(curves, adapted),
        sizes=SIZES,
        errors=curves,
        errors_by_norm=spread,
        closed_form=solved,
        adapters=[{"kind": a.kind, "parameters": a.parameters, "accuracy": a.accuracy} for a in adapted],
    )


if __name__ == "__main__":
    main()
