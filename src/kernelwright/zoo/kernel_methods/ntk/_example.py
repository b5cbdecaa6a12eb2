"""The example: kernels of finite networks close in on the limit, and so does their training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..._system import Measured, Result, Track
from ...common import COLOURS, INK, axes, legend
from ._gram import mlp
from ._network import NTKMLP, empirical_ntk

DEPTH = 4


def circle(angles: Tensor) -> Tensor:
    """Points [n, 2] on the unit circle."""
    return torch.stack([angles.cos(), angles.sin()], 1)


def kernels_on_circle(width: int, draws: int, angles: Tensor, seed: int = 0) -> Tensor:
    """The empirical kernels [draws, n] of random networks between (1, 0) and points of the circle."""
    torch.manual_seed(seed)
    points, start = circle(angles), circle(torch.zeros(1, dtype=angles.dtype))
    widths = (2, *[width] * (DEPTH - 1), 1)
    nets = (NTKMLP(widths, dtype=angles.dtype) for _ in range(draws))
    rows = [empirical_ntk(net, start, points, outputs="trace").flatten() for net in nets]
    return torch.stack(rows)


def example(track: Track, widths: tuple[int, int] = (100, 900), draws: int = 20) -> Result:
    """The kernel on the circle at two widths, over random networks, beside its limit (figure 1 of the paper)."""
    angles = torch.linspace(-math.pi, math.pi, 65)
    limit = mlp(DEPTH).ntk(circle(torch.zeros(1)), circle(angles))[0]
    right_angle = mlp(DEPTH).ntk(circle(torch.tensor([0.0, math.pi / 2], dtype=torch.float64)))[0, 1].item()
    found = {w: kernels_on_circle(w, draws, angles) for w in track(widths, "drawing networks")}
    figure, (at,) = axes(width=6.4, height=4.2)
    for colour, (width, kernels) in zip(COLOURS[1:], found.items(), strict=False):
        for k, one in enumerate(kernels):
            at.plot(angles, one, color=colour, lw=0.9, alpha=0.6, label=f"width {width}" if k == 0 else None)
    at.plot(angles, limit, color=INK, lw=2, label="infinite width")
    at.set_xlabel("angle between the inputs")
    at.set_ylabel("tangent kernel")
    at.set_xticks([-math.pi, -math.pi / 2, 0, math.pi / 2, math.pi], ["-π", "-π/2", "0", "π/2", "π"])
    at.set_title(f"{draws} random networks of {DEPTH} layers", loc="left")
    legend(at)
    narrow, wide = (found[w] for w in widths)
    ratio = float(narrow.std(0).mean() / wide.std(0).mean())
    law = math.sqrt(widths[1] / widths[0])
    error = float((wide.mean(0) - limit).abs().max() / limit.max())
    return Result(
        (
            Measured("kernel at a right angle", right_angle, "0.092702", abs(right_angle - 0.092702) < 1e-6),
            Measured(f"spread at width {widths[0]} over {widths[1]}", ratio, f"about {law:.3g}", 0.5 < ratio / law < 2),
            Measured(f"relative error of the mean at width {widths[1]}", error, "below 0.1", error < 0.1),
        ),
        figure,
    )


__all__ = ["circle", "example", "kernels_on_circle"]
