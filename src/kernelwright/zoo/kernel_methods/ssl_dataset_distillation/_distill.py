"""Bilevel distillation: images and target vectors, learned so that a head fitted to them does what a teacher does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import ZooInvalid
from ..._system import Track, plainly
from ._solver import KernelRidgeSolver, outer_loss


@dataclass(frozen=True)
class DistilledSet:
    """Images ``x`` [m, ...] and target vectors ``y`` [m, d] of one dtype."""

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or self.y.ndim != 2:
            raise ZooInvalid(
                f"A distilled set is m images and m vectors, not {tuple(self.x.shape)} and {tuple(self.y.shape)}."
            )

    def save(self, path: str | Path) -> None:
        torch.save({"x": self.x, "y": self.y}, path)

    @classmethod
    def load(cls, path: str | Path) -> DistilledSet:
        """Raises ``ZooInvalid`` where the file holds something else."""
        held = torch.load(path, weights_only=True)
        if not isinstance(held, dict) or set(held) != {"x", "y"}:
            raise ZooInvalid(f"{path} is no distilled set: it does not hold exactly x and y.")
        return cls(held["x"], held["y"])


@dataclass
class _Member:
    """One extractor of the pool, and how long it has been trained on the synthetic pairs."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    steps: int = 0

    def train(self, x: Tensor, y: Tensor) -> None:
        self.network.train()
        loss = 0.5 * functional.mse_loss(self.network(x), y, reduction="sum") / len(x)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.steps += 1


class ModelPool:
    """Extractors at many moments of their training on the synthetic pairs: what the outer step averages over.

    ``reset="intended"`` gives an extractor that has had ``max_steps`` a fresh start and a counter at 0.
    ``reset="official"`` does what the published code does: the counter stays, so the extractor is drawn anew whenever
    it is picked and never trained again.
    """

    def __init__(
        self,
        factory: Callable[[], nn.Module],
        size: int,
        max_steps: int,
        *,
        lr: float = 0.1,
        reset: Literal["intended", "official"] = "intended",
    ) -> None:
        if reset not in ("intended", "official") or size < 1 or max_steps < 2:
            raise ZooInvalid(
                f"A pool has size >= 1, max_steps >= 2 and reset 'intended' or 'official', not {size}, {max_steps} "
                f"and {reset!r}."
            )
        self.factory, self.max_steps, self.lr, self.reset = factory, max_steps, lr, reset
        self.members = [self._fresh() for _ in range(size)]

    def _fresh(self) -> _Member:
        network = self.factory()
        optimiser = torch.optim.SGD(network.parameters(), lr=self.lr, momentum=0.9, weight_decay=1e-3)
        return _Member(network, optimiser)

    def warm(self, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
        """Train every extractor for a number of steps of its own, below ``max_steps``."""
        for member in self.members:
            for _ in range(int(torch.randint(1, self.max_steps, (), generator=generator))):
                member.train(x, y)

    def pick(self, generator: torch.Generator) -> int:
        return int(torch.randint(len(self.members), (), generator=generator))

    def advance(self, index: int, x: Tensor, y: Tensor) -> None:
        """One step on the new pairs, or a fresh start after ``max_steps``."""
        member = self.members[index]
        if member.steps < self.max_steps:
            member.train(x, y)
            return
        self.members[index] = self._fresh()
        if self.reset == "official":
            self.members[index].steps = member.steps


class KRRST:
    """Self-supervised dataset distillation for transfer learning (arXiv 2310.06511, algorithm 1).

    ``teacher`` maps images to target vectors [n, d]; ``extractor_factory()`` makes a network with ``features(x)``
    [n, p] and ``forward(x)`` [n, d]; ``learn`` says which of images and targets are learned. ``fit`` leaves the
    outer losses in ``losses_`` and the mean over the last tenth of the steps is what a run reached.
    """

    def __init__(
        self,
        teacher: Callable[[Tensor], Tensor],
        extractor_factory: Callable[[], nn.Module],
        n_synthetic: int,
        outer_lr: float = 1e-4,
        pool_size: int = 10,
        max_inner_steps: int = 1000,
        *,
        solver: KernelRidgeSolver | None = None,
        learn: tuple[Literal["x", "y"], ...] = ("x", "y"),
        inner_lr: float = 0.1,
        pool_reset: Literal["intended", "official"] = "intended",
        seed: int = 0,
    ) -> None:
        if n_synthetic < 1 or not learn or set(learn) - {"x", "y"}:
            raise ZooInvalid(f"n_synthetic is at least 1 and learn names x, y or both, not {n_synthetic}, {learn!r}.")
        self.teacher, self.extractor_factory, self.n_synthetic = teacher, extractor_factory, n_synthetic
        self.outer_lr, self.pool_size, self.max_inner_steps = outer_lr, pool_size, max_inner_steps
        self.solver = solver if solver is not None else KernelRidgeSolver()
        self.learn, self.inner_lr, self.pool_reset, self.seed = learn, inner_lr, pool_reset, seed
        self.losses_: list[float] = []

    def fit(
        self, unlabelled_loader: Iterable[Any], n_steps: int, *, initial: Tensor | None = None, track: Track = plainly
    ) -> DistilledSet:
        """The pairs after ``n_steps`` outer steps over the loader's batches (tensors, or tuples that begin with one).

        ``initial`` [m, ...] are the images to begin with; otherwise the first of the loader's. The networks are drawn
        under ``seed``; the process's own random numbers stay as they were.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self._fit(_forever(unlabelled_loader), n_steps, initial, track)

    def _fit(self, batches: Iterator[Tensor], n_steps: int, initial: Tensor | None, track: Track) -> DistilledSet:
        generator = torch.Generator().manual_seed(self.seed)
        x = (_first(batches, self.n_synthetic) if initial is None else initial).detach().clone()
        if len(x) != self.n_synthetic:
            raise ZooInvalid(f"initial holds {len(x)} images; n_synthetic is {self.n_synthetic}.")
        with torch.no_grad():
            y = self.teacher(x).detach().clone()
        pool = ModelPool(
            self.extractor_factory, self.pool_size, self.max_inner_steps, lr=self.inner_lr, reset=self.pool_reset
        )
        pool.warm(x, y, generator)
        learned = [t.requires_grad_() for name, t in (("x", x), ("y", y)) if name in self.learn]
        optimiser = torch.optim.AdamW(learned, lr=self.outer_lr, weight_decay=0.0)
        decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - (1 - 1e-3) * min(step / n_steps, 1.0))
        self.losses_ = []
        for _ in track(range(n_steps), "distillation"):
            real, index = next(batches), pool.pick(generator)
            with torch.no_grad():
                wanted = self.teacher(real)
            loss = outer_loss(pool.members[index].network, self.solver, x, y, real, wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay.step()
            pool.advance(index, x.detach(), y.detach())
            self.losses_.append(loss.item())
        return DistilledSet(x.detach(), y.detach())


def _forever(loader: Iterable[Any]) -> Iterator[Tensor]:
    while True:
        empty = True
        for batch in loader:
            empty = False
            yield batch[0] if isinstance(batch, (tuple, list)) else batch
        if empty:
            raise ZooInvalid("The loader of unlabelled images is empty.")


def _first(batches: Iterator[Tensor], count: int) -> Tensor:
    found = [next(batches)]
    while sum(map(len, found)) < count:
        found.append(next(batches))
    return torch.cat(found)[:count]


__all__ = ["KRRST", "DistilledSet", "ModelPool"]
