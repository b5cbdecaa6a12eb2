"""Searches whose fitness is a score after little training, in place of the accuracy after much."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ....errors import ZooInvalid
from ._gram import ntk_gram
from ._scores import label_gradient_alignment
from ._space import Cell, CellSpace

Fitness = Callable[[Cell], float]


def train_epochs(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    epochs: int,
    *,
    of: int | None = None,
    seed: int = 0,
    rate: float = 0.1,
    after: Callable[[int], None] | None = None,
) -> None:
    """SGD with Nesterov momentum, batches of 64 and a cosine schedule made for ``of`` epochs, of which some are run."""
    of = max(of or epochs, 1)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, of * steps)
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
        if after is not None:
            after(epoch + 1)


@dataclass(frozen=True)
class LGAScorer:
    """LGA of a cell's network on ``batch`` images after ``epochs`` of training on x [n, c, h, w] and y [n].

    It is a fitness for the searches: ``scorer(cell)``; ``score(model)`` trains and scores any model in place.
    """

    space: CellSpace
    x: torch.Tensor
    y: torch.Tensor
    epochs: int = 2
    batch: int = 64
    seed: int = 0

    def score(self, model: nn.Module) -> float:
        """Train the model for so many epochs; LGA on the first images. 0 where gradients vanish."""
        train_epochs(model, self.x, self.y, self.epochs, of=max(5, self.epochs), seed=self.seed)
        return float(label_gradient_alignment(ntk_gram(model, self.x[: self.batch]).double(), self.y[: self.batch]))

    def __call__(self, cell: Cell) -> float:
        return self.score(self.space.build(cell, torch.Generator().manual_seed(self.seed)))


def random_search(space: CellSpace, fitness: Fitness, n: int, seed: int = 0) -> tuple[Cell, list[tuple[Cell, float]]]:
    """The best of ``n`` drawn cells, and all of them with their fitness."""
    if n < 1:
        raise ZooInvalid(f"n is {n}; a search looks at one cell at least.")
    generator = np.random.default_rng(seed)
    history = [(cell, fitness(cell)) for cell in (space.sample(generator) for _ in range(n))]
    return max(history, key=lambda one: one[1])[0], history


def regularized_evolution(
    space: CellSpace, fitness: Fitness, population: int, sample_size: int, cycles: int, seed: int = 0
) -> tuple[Cell, list[tuple[Cell, float]]]:
    """The best cell of ``cycles`` in all: tournaments of ``sample_size``, one edge mutated, the oldest discarded.

    Cells seen before keep their fitness (Real et al. 2019, algorithm 1).
    """
    if not 1 <= sample_size <= population <= cycles:
        sizes = f"{population}, {sample_size} and {cycles}"
        raise ZooInvalid(f"population, sample_size and cycles are {sizes}; 1 <= sample_size <= population <= cycles.")
    generator = np.random.default_rng(seed)
    known: dict[Cell, float] = {}
    alive: deque[Cell] = deque()
    history = []
    for cycle in range(cycles):
        if cycle < population:
            cell = space.sample(generator)
        else:
            drawn = generator.choice(len(alive), size=sample_size, replace=False)
            cell = space.mutate(max((alive[int(i)] for i in drawn), key=known.__getitem__), generator)
            alive.popleft()
        if cell not in known:
            known[cell] = fitness(cell)
        alive.append(cell)
        history.append((cell, known[cell]))
    return max(history, key=lambda one: one[1])[0], history


__all__ = ["Fitness", "LGAScorer", "random_search", "regularized_evolution", "train_epochs"]
