"""Permutation ensembles: the law of their size in both limits, all inputs of ten bits, real networks, time.

Run: python benchmarks/zoo/exact_permutations.py
"""

from __future__ import annotations

import time

import numpy as np
import torch
from record import record

from kernelwright.zoo import Measured, plainly
from kernelwright.zoo.kernel_methods.exact_permutations import SYSTEM, ensemble_step, permutation_moments
from kernelwright.zoo.kernel_methods.exact_permutations._example import (
    BITS,
    exhaustive,
    figures,
    picture,
    sizes,
    trained,
)

RUNS = 20


def step_times(members: int = 8, width: int = 4000, k: int = 30) -> tuple[float, float]:
    """Seconds for a step of all members together, and one after another with autograd: the best of interleaved runs."""
    first, second = torch.randn(2, members, width, k)
    targets = torch.eye(k)
    layers = [(a.clone().requires_grad_(), b.clone().requires_grad_()) for a, b in zip(first, second, strict=True)]
    together, apart = [], []
    for _ in range(5):
        began = time.perf_counter()
        ensemble_step(first, second, targets)
        together.append(time.perf_counter() - began)
        began = time.perf_counter()
        for a, b in layers:
            hidden = (a / k**0.5).relu()
            loss = 0.5 * (hidden.T @ b / width**0.5 - targets).square().sum()
            with torch.no_grad():
                torch._foreach_add([a, b], list(torch.autograd.grad(loss, (a, b))), alpha=-1)
        apart.append(time.perf_counter() - began)
    return min(together), min(apart)


def main() -> None:
    found = sizes(RUNS, plainly)
    measured = [*figures(found, exhaustive()), *trained(300, 2048)]
    together, apart = step_times()
    measured.append(Measured("member by member with autograd / all members at once (time of a step)", apart / together))
    record(
        SYSTEM.name, measured, picture=picture(found),
        sizes={kernel: dict(zip(BITS, np.median(rows, 0), strict=True)) for kernel, rows in found.items()},
        runs=RUNS, moments={k: permutation_moments(k, 2) for k in BITS},
        seconds={"step of 8 members, width 4000, k 30": together, "one after another": apart},
    )  # fmt: skip


if __name__ == "__main__":
    main()
