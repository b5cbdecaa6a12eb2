"""The cells of NAS-Bench-201 as modules: small graphs of five operations, stacked in stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ....errors import ZooInvalid

OPERATIONS = ("none", "skip", "conv1x1", "conv3x3", "avgpool3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # from node to node
Cell = tuple[int, ...]  # for each edge the index of its operation


def _convolution(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(after))


def _operation(kind: int, channels: int) -> nn.Module | None:
    name = OPERATIONS[kind]
    if name == "none":
        return None
    if name == "skip":
        return nn.Identity()
    if name == "avgpool3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return _convolution(channels, channels, 1 if name == "conv1x1" else 3)


class CellModule(nn.Module):
    """One cell: node 0 is the input, every later node the sum of its edges, node 3 the output; [n, c, h, w] to same."""

    def __init__(self, cell: Cell, channels: int) -> None:
        super().__init__()
        made = {edge: _operation(kind, channels) for edge, kind in zip(EDGES, cell, strict=True)}
        self.edges = nn.ModuleDict({f"{i}-{j}": op for (i, j), op in made.items() if op is not None})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        nodes = [x]
        for node in range(1, 4):
            parts = [self.edges[f"{i}-{j}"](nodes[i]) for i, j in EDGES if j == node and f"{i}-{j}" in self.edges]
            nodes.append(torch.stack(parts).sum(0) if parts else torch.zeros_like(x))
        return nodes[3]


class _Reduction(nn.Module):
    """Half the resolution, other channels: two convolutions beside an average pool and a convolution of 1."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(before, after, 3, 2), _convolution(after, after, 3))
        self.side = nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), nn.Conv2d(before, after, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.side(x)


@dataclass(frozen=True)
class CellSpace:
    """All 5^6 = 15,625 cells, and the network around one: a stem, stages of ``cells`` cells, mean, linear.

    >>> space = SmallCellSpace()
    >>> space.build(space.sample(np.random.default_rng(0)))(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    channels: Sequence[int]
    cells: int
    in_channels: int
    classes: int

    def sample(self, generator: np.random.Generator) -> Cell:
        """A cell drawn at random among those that join input and output."""
        while True:
            cell = tuple(int(kind) for kind in generator.integers(len(OPERATIONS), size=len(EDGES)))
            if is_connected(cell):
                return cell

    def mutate(self, cell: Cell, generator: np.random.Generator) -> Cell:
        """The cell with another operation on one edge; input and output stay joined."""
        while True:
            edge = int(generator.integers(len(EDGES)))
            kind = (cell[edge] + int(generator.integers(1, len(OPERATIONS)))) % len(OPERATIONS)
            changed = (*cell[:edge], kind, *cell[edge + 1 :])
            if is_connected(changed):
                return changed

    def build(self, cell: Cell, generator: torch.Generator | None = None) -> nn.Module:
        """The network of a cell, [n, in_channels, h, w] to logits [n, classes]; weights drawn from ``generator``."""
        check_cell(cell)
        layers: list[nn.Module] = [nn.Conv2d(self.in_channels, self.channels[0], 3, padding=1, bias=False)]
        layers.append(nn.BatchNorm2d(self.channels[0]))
        for stage, channels in enumerate(self.channels):
            if stage:
                layers.append(_Reduction(self.channels[stage - 1], channels))
            layers += [CellModule(cell, channels) for _ in range(self.cells)]
        last = self.channels[-1]
        layers += [
            nn.BatchNorm2d(last),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(last, self.classes),
        ]
        model = nn.Sequential(*layers)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
                nn.init.zeros_(module.bias)
        return model


def NASBench201Space(classes: int = 10) -> CellSpace:
    """The networks of the benchmark: 16, 32 and 64 channels, five cells a stage, colour images."""
    return CellSpace((16, 32, 64), 5, 3, classes)


def SmallCellSpace(
    channels: Sequence[int] = (8, 16), cells: int = 1, in_channels: int = 1, classes: int = 10
) -> CellSpace:
    """The same cells in networks that train in seconds: two stages of one cell, grey images."""
    return CellSpace(tuple(channels), cells, in_channels, classes)


def is_connected(cell: Cell) -> bool:
    """Whether something of the input reaches the output."""
    check_cell(cell)
    reached = {0}
    for (i, j), kind in zip(EDGES, cell, strict=True):
        if kind and i in reached:
            reached.add(j)
    return 3 in reached


def check_cell(cell: Cell) -> None:
    """Raises ``ZooInvalid`` where it is none."""
    if len(cell) != len(EDGES) or not all(0 <= kind < len(OPERATIONS) for kind in cell):
        raise ZooInvalid(f"The cell is {cell}; it must be {len(EDGES)} numbers from 0 to {len(OPERATIONS) - 1}.")


__all__ = [
    "EDGES",
    "OPERATIONS",
    "Cell",
    "CellModule",
    "CellSpace",
    "NASBench201Space",
    "SmallCellSpace",
    "is_connected",
]
