"""The example: networks of one linear layer close in on the infinite one, and features move as the theory says."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..._system import Measured, Result, Track
from ...common import COLOURS, axes, legend, load, one_hot
from ._linear import InfiniteLinear1LP
from ._parametrisation import ABC, coordinate_check, slope

CHECK_WIDTHS = (128, 256, 512, 1024)


def trained(model: nn.Module, steps: int = 50, lr: float = 0.02, seed: int = 0) -> nn.Module:
    """SGD on 16 drawn inputs a step, whose targets are a fixed linear function: the same stream for every model."""
    generator = torch.Generator().manual_seed(seed)
    d, o = 20, 3
    target = torch.randn(d, o, generator=generator, dtype=torch.float64) / d**0.5
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(steps):
        x = torch.randn(16, d, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        (model(x) - x @ target).square().sum(1).mean().div(2).backward()
        optimizer.step()
    return model


@torch.no_grad()
def _outputs(model: nn.Module) -> Tensor:
    points: Tensor = torch.randn(100, 20, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    outputs: Tensor = model(points)
    return outputs


def distances(widths: tuple[int, ...], draws: int) -> dict[int, float]:
    """The RMS distance of trained networks from the infinite one, by width; d = 20, o = 3, sigma_v = 0.3."""
    infinite = InfiniteLinear1LP(20, 3, 1.0, 0.3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    finite = {n: [infinite.sample(n, generator) for _ in range(draws)] for n in widths}
    limit = _outputs(trained(infinite))
    return {
        n: float(torch.stack([_outputs(trained(net)) - limit for net in nets]).square().mean().sqrt())
        for n, nets in finite.items()
    }


def movements(widths: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """Coordinate checks of three layers on digits, by parametrisation."""
    split = load("digits")
    x, y = split.train_x[:64], one_hot(split.train_y[:64], 10)
    rules = {"maximal updates": ABC.mup(3), "tangent kernel": ABC.ntk(3), "standard, rate / n": ABC.standard(3)}
    return {name: dict(coordinate_check(rule, widths, x, y)) for name, rule in rules.items()}


def example(track: Track) -> Result:
    """Two panels: distance from the infinite network by width, and how far features move by width."""
    found: dict[int, float] = {}
    for n in track((64, 256, 1024, 4096), "training by width"):
        found |= distances((n,), 10 if n < 4096 else 4)
    moved = movements(CHECK_WIDTHS)
    figure, (left, right) = axes(1, 2, height=3.8)
    left.loglog(list(found), list(found.values()), "o-", color=COLOURS[0])
    left.set_xlabel("width")
    left.set_ylabel("distance from infinite width")
    left.set_title("A linear hidden layer, 50 steps", loc="left")
    for colour, (name, by_width) in zip(COLOURS, moved.items(), strict=False):
        right.loglog(list(by_width), list(by_width.values()), "o-", color=colour, label=name)
    right.set_xlabel("width")
    right.set_ylabel("mean movement of hidden units")
    right.set_title("Five steps on digits", loc="left")
    legend(right)
    fall = slope(found)
    learnt, frozen = slope(moved["maximal updates"]), slope(moved["tangent kernel"])
    return Result(
        (
            Measured("distance from infinite width, slope", fall, "-0.65 to -0.35", -0.65 <= fall <= -0.35),
            Measured("movement under maximal updates, slope", learnt, "0 ± 0.1", abs(learnt) <= 0.1),
            Measured("movement in the kernel regime, slope", frozen, "-0.5 ± 0.12", abs(frozen + 0.5) <= 0.12),
        ),
        figure,
    )


__all__ = ["distances", "example", "movements", "trained"]
