"""LGA: 20 cells for each of two seeds, scored before and during training, against their accuracy after it.

python benchmarks/zoo/lga_nas.py
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context

import torch
from record import record

from kernelwright.zoo import Measured
from kernelwright.zoo.kernel_methods.lga_nas import NASBench201Space, SmallCellSpace, ntk_gram
from kernelwright.zoo.kernel_methods.lga_nas._example import (
    Trial,
    cells,
    correlations,
    mean_tau,
    picture,
    summary,
    trial,
)

SEEDS, CELLS = 2, 20


def one_seed(seed: int) -> list[Trial]:
    """All trials of a seed, on one thread."""
    torch.set_num_threads(1)
    found = []
    for cell in cells(CELLS, seed):
        found.append(trial(cell, seed))
        print(f"seed {seed}: {len(found)} of {CELLS} cells", flush=True)
    return found


def gram_seconds() -> dict[str, float]:
    """Least seconds of three for one Gram matrix of 64 images, by method; batch norms in evaluation mode."""
    model = SmallCellSpace().build((3, 3, 3, 3, 3, 3))
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = {"loop": [], "batched": [], "layerwise": []}
    for _ in range(3):
        for method, seconds in found.items():
            begin = time.perf_counter()
            ntk_gram(model, x, bn_mode="eval", method=method)
            seconds.append(time.perf_counter() - begin)
    return {method: min(seconds) for method, seconds in found.items()}


def main() -> None:
    with ProcessPoolExecutor(SEEDS, mp_context=get_context("spawn")) as pool:
        runs = list(pool.map(one_seed, range(SEEDS)))
    torch.set_num_threads(1)
    seconds = gram_seconds()
    ratio = seconds["loop"] / seconds["layerwise"]
    measured = [*summary(runs), Measured("Gram in one pass, times as fast as a pass for each image", ratio)]
    parameters = sum(p.numel() for p in NASBench201Space().build((3, 3, 3, 3, 3, 3)).parameters())
    record(
        "lga-nas",
        measured,
        picture=picture(runs),
        tau=mean_tau(runs),
        by_seed=[correlations(run) for run in runs],
        trials=[[asdict(t) for t in run] for run in runs],
        gram_seconds=seconds,
        largest_network_of_the_benchmark=parameters,
    )


if __name__ == "__main__":
    main()
