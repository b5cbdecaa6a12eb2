"""The paper's question on digits: distil 0 to 5 without their labels, then ask for 6 to 9."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from ..._system import Track, plainly
from ...common import load
from ._distill import DistilledSet
from ._networks import BarlowTwins, ConvExtractor
from ._solver import KernelRidgeSolver, outer_loss
from ._transfer import linear_probe, pretrain_on

TEACHER, STUDENT, OUTPUTS = (32, 64), (16, 32), 64


def shifted(x: Tensor, offsets: Tensor) -> Tensor:
    """Images [n, c, h, w] moved by 0, 1 or 2 less one pixels, ``offsets`` [n, 2]; borders come in as the minimum."""
    height, width = x.shape[-2:]
    padded = nn.functional.pad(x, (1, 1, 1, 1), value=float(x.min()))
    rows = offsets[:, :1] + torch.arange(height)
    columns = offsets[:, 1:] + torch.arange(width)
    return padded[torch.arange(len(x))[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def view(x: Tensor, generator: torch.Generator) -> Tensor:
    """One augmentation of every image: moved by up to a pixel, another contrast, noise."""
    moved = shifted(x, torch.randint(0, 3, (len(x), 2), generator=generator))
    contrast = 1 + 0.3 * torch.randn(len(x), 1, 1, 1, generator=generator)
    return moved * contrast + 0.3 * torch.randn(x.shape, generator=generator)


@dataclass(frozen=True)
class Batches:
    """Endless shuffled batches of images, all of one batch moved alike by up to a pixel; a loader for ``KRRST``."""

    x: Tensor
    batch: int
    seed: int

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            rows = torch.randperm(len(self.x), generator=generator)[: self.batch]
            yield shifted(self.x[rows], torch.randint(0, 3, (1, 2), generator=generator).expand(len(rows), 2))


class Standardised(nn.Module):
    """A teacher whose vectors have mean 0 in each coordinate and deviation 1 over all, on the images given."""

    def __init__(self, teacher: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.teacher = teacher
        with torch.no_grad():
            found = teacher(x)
        self.mean, self.spread = found.mean(0), found.std()

    def forward(self, x: Tensor) -> Tensor:
        return (self.teacher(x) - self.mean) / self.spread


@dataclass(frozen=True)
class Problem:
    """Source images (0 to 5) to distil and to hold out, their labels for baselines; target images (6 to 9), labels."""

    source: Tensor
    source_labels: Tensor
    held: Tensor
    target: Tensor
    target_labels: Tensor
    teacher: nn.Module


def digits_problem(teacher_epochs: int, seed: int = 0, track: Track = plainly) -> Problem:
    """Digits as images [n, 1, 8, 8] of mean 0 and deviation 1 on the source, and a teacher trained on the source."""
    data = load("digits", test=0.2, seed=seed)

    def images(x: Tensor) -> Tensor:
        return x.reshape(-1, 1, 8, 8)

    of_source, of_held = data.train_y < 6, data.test_y < 6
    source = images(data.train_x[of_source])
    mean, spread = source.mean(), source.std()
    target, labels = torch.cat([data.train_x, data.test_x]), torch.cat([data.train_y, data.test_y])
    source, held, target = (
        (x - mean) / spread for x in (source, images(data.test_x[of_held]), images(target[labels >= 6]))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ConvExtractor(TEACHER, OUTPUTS)
    teacher = BarlowTwins(encoder, OUTPUTS, view, seed=seed).fit(source, teacher_epochs, track=track)
    return Problem(
        source, data.train_y[of_source], held, target, labels[labels >= 6] - 6, Standardised(teacher, source).eval()
    )


def student(outputs: int = OUTPUTS) -> ConvExtractor:
    """A smaller network than the teacher, drawn from the process's random numbers."""
    return ConvExtractor(STUDENT, outputs)


def fresh_student(outputs: int, seed: int) -> ConvExtractor:
    """The same, drawn under a seed of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return student(outputs)


def held_out_error(pairs: DistilledSet, problem: Problem, networks: int = 4) -> float:
    """The outer loss on held-out images, averaged over fresh networks after 1, 21, 41, ... steps on the pairs."""
    wanted = problem.teacher(problem.held)
    errors = []
    for i in range(networks):
        network = pretrain_on(pairs, fresh_student(pairs.y.shape[1], 5000 + i), 20 * i + 1, lr=0.02)
        with torch.no_grad():
            errors.append(float(outer_loss(network, KernelRidgeSolver(), pairs.x, pairs.y, problem.held, wanted)))
    return fmean(errors)


def few_shot(network: nn.Module, problem: Problem, shots: int = 3, draws: int = 10) -> float:
    """Accuracy on the target classes of a linear probe trained on ``shots`` images of each, averaged over draws."""
    scores = []
    for draw in range(draws):
        generator = torch.Generator().manual_seed(draw)
        order = torch.randperm(len(problem.target), generator=generator)
        labels = problem.target_labels[order]
        chosen = torch.cat([torch.nonzero(labels == c).flatten()[:shots] for c in range(4)])
        rest = torch.ones(len(order), dtype=torch.bool)
        rest[chosen] = False
        train, test = order[chosen], order[rest]
        x, y = problem.target, problem.target_labels
        scores.append(linear_probe(network, (x[train], y[train]), (x[test], y[test])))
    return fmean(scores)


def transfer(pairs: DistilledSet, problem: Problem, seeds: int, epochs: int = 200, lr: float = 0.02) -> list[float]:
    """Few-shot accuracies of ``seeds`` fresh networks, each pre-trained on the pairs."""
    return [
        few_shot(pretrain_on(pairs, fresh_student(pairs.y.shape[1], 100 + s), epochs, lr=lr, seed=s), problem)
        for s in range(seeds)
    ]


__all__ = ["Problem", "digits_problem", "few_shot", "fresh_student", "held_out_error", "student", "transfer"]
