"""Limits of infinite width that learn features: how fast finite networks and word vectors close in on them.

``python benchmarks/zoo/infinite_feature_learning.py``
"""

from __future__ import annotations

import math

import numpy as np
import torch
from record import record

from kernelwright.zoo import Measured, plainly
from kernelwright.zoo.common import load, mlp
from kernelwright.zoo.kernel_methods.infinite_feature_learning import (
    SYSTEM,
    Word2VecCBOW,
    apply_mup,
    drawn_corpus,
    mup_param_groups,
    slope,
)


def words() -> tuple[dict[int, float], dict[str, float]]:
    """Distances of cosine matrices from the infinite width's, by width; and last losses."""
    corpus = drawn_corpus()
    limit = Word2VecCBOW(math.inf, epochs=2).fit(corpus)
    off, losses = {}, {"infinite": limit.loss_}
    for width in (16, 64, 256, 1024):
        found = Word2VecCBOW(width, epochs=2).fit(corpus)
        off[width] = float(np.sqrt(((found.cosines(100) - limit.cosines(100)) ** 2).mean()))
        losses[str(width)] = found.loss_
    return off, losses


def best_rates(maximal: bool, widths: tuple[int, ...] = (64, 256, 1024)) -> dict[int, float]:
    """The rate of Adam, of a grid of factors two, with the least training loss on digits after 20 steps, by width."""
    split = load("digits")
    x, y = split.train_x[:256], split.train_y[:256]
    best = {}
    for width in widths:
        losses = {}
        for rate in (2.0**-k for k in range(3, 13)):
            total = 0.0
            for seed in range(3):
                torch.manual_seed(seed)
                net, base = mlp([64, width, width, 10]), mlp([64, 64, 64, 10])
                groups = mup_param_groups(apply_mup(net, base), base, rate, "adam") if maximal else net.parameters()
                optimizer = torch.optim.Adam(groups, lr=rate)
                for _ in range(20):
                    optimizer.zero_grad()
                    loss = torch.nn.functional.cross_entropy(net(x), y)
                    loss.backward()
                    optimizer.step()
                total += float(loss.detach())
            losses[rate] = total if math.isfinite(total) else math.inf
        best[width] = min(losses, key=losses.__getitem__)
    return best


def main() -> None:
    torch.set_num_threads(2)
    shown = SYSTEM.example(plainly)
    off, losses = words()
    falling = all(a > b for a, b in zip(off.values(), list(off.values())[1:], strict=False))
    fall = slope(off)
    maximal, standard = best_rates(True), best_rates(False)
    shift = max(maximal.values()) / min(maximal.values())
    other = max(standard.values()) / min(standard.values())
    measured = [
        *shown.measured,
        Measured(
            "word vectors' distance from infinite width, slope", fall, "-0.7 to -0.3", falling and -0.7 <= fall <= -0.3
        ),
        Measured(
            "loss of infinite width over that of width 16",
            losses["infinite"] / losses["16"],
            "at most 1",
            losses["infinite"] <= losses["16"],
        ),
        Measured("best rate of Adam, shift from width 64 to 1024, maximal updates", shift, "at most 2", shift <= 2),
        Measured("the same, standard", other, "at least 4", other >= 4),
    ]
    detail = {
        "cosine_distance": off,
        "losses": losses,
        "best_rates": {"maximal updates": maximal, "standard": standard},
    }
    record("infinite-feature-learning", measured, picture=shown.picture, **detail)


if __name__ == "__main__":
    main()
