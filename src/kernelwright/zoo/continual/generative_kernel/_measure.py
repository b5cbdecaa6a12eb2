"""Sequences of tasks on digits, what is measured of a learner, and plain fine-tuning to compare with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import ZooInvalid
from ..._system import Track, plainly
from ...common import load, mlp
from ._classifier import GenerativeKernelClassifier, KernelContinualClassifier
from ._vae import ClassConditionalVAE


@dataclass(frozen=True)
class LearningTask:
    """Images [n, 64] in [0, 1] and labels [n], to learn from and to be tested on."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def split_digits(seed: int = 0) -> list[LearningTask]:
    """Five tasks of two digits each: 0 and 1, 2 and 3, ... (task-incremental)."""
    data = load("digits", test=0.3, seed=seed)
    tasks = []
    for first in range(0, 10, 2):
        train, test = data.train_y // 2 == first // 2, data.test_y // 2 == first // 2
        tasks.append(LearningTask(data.train_x[train], data.train_y[train], data.test_x[test], data.test_y[test]))
    return tasks


def permuted_digits(count: int = 10, seed: int = 0) -> list[LearningTask]:
    """``count`` tasks of all ten digits, the pixels of each in an order of its own (the first as they are)."""
    data = load("digits", test=0.3, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.arange(64), *(torch.randperm(64, generator=generator) for _ in range(count - 1))]
    return [LearningTask(data.train_x[:, o], data.train_y, data.test_x[:, o], data.test_y) for o in orders]


class UnitRows(nn.Module):
    """Rows divided by their norm: predictions depend on no other row of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=-1)


def feature_net(seed: int = 0, width: int = 64) -> nn.Sequential:
    """64 pixels to ``width`` features of norm 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(mlp([64, 128, width]), nn.ReLU(), UnitRows())


def digits_vae(seed: int = 0, z_dim: int = 32, contrast: float = 0.5) -> ClassConditionalVAE:
    """A generator of 8x8 digits by small dense networks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = nn.Sequential(mlp([z_dim, 128, 64]), nn.Sigmoid())
        return ClassConditionalVAE(mlp([64, 128, 2 * z_dim]), decoder, z_dim=z_dim, contrast=contrast)


Learner = GenerativeKernelClassifier | KernelContinualClassifier


@dataclass(frozen=True)
class Course:
    """Accuracies [T, T] (row: after learning task t; column: of task i; NaN before it), bytes [T] after every task."""

    accuracies: Tensor
    memory: tuple[int, ...]


def learn(learner: Learner, tasks: list[LearningTask], track: Track = plainly) -> Course:
    """Learn the tasks in order, and test all learned so far after each, the learner being told the task."""
    found = torch.full((len(tasks), len(tasks)), torch.nan)
    memory = []
    for t in track(range(len(tasks)), "tasks"):
        learner.partial_fit_task(tasks[t].train_x, tasks[t].train_y, t)
        memory.append(learner.memory_bytes())
        for i in range(t + 1):
            found[t, i] = (learner.predict(tasks[i].test_x, i) == tasks[i].test_y).float().mean()
    return Course(found, tuple(memory))


def finetuned(tasks: list[LearningTask], epochs: int = 5, seed: int = 0) -> Tensor:
    """Accuracies [T, T] of an ordinary softmax network trained on task after task: what forgetting looks like."""
    classes = int(max(task.train_y.max() for task in tasks)) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = mlp([64, 128, 64, classes])
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.8)
        found = torch.full((len(tasks), len(tasks)), torch.nan)
        for t, task in enumerate(tasks):
            for _ in range(epochs):
                for part in torch.randperm(len(task.train_x)).split(20):
                    optimiser.zero_grad()
                    functional.cross_entropy(net(task.train_x[part]), task.train_y[part]).backward()
                    optimiser.step()
            with torch.no_grad():
                for i in range(t + 1):
                    found[t, i] = (net(tasks[i].test_x).argmax(1) == tasks[i].test_y).float().mean()
    return found


def _square(accuracies: Tensor) -> Tensor:
    if accuracies.ndim != 2 or accuracies.shape[0] != accuracies.shape[1] or not len(accuracies):
        raise ZooInvalid(f"Accuracies are a matrix [T, T] of T >= 1 tasks, not {tuple(accuracies.shape)}.")
    return accuracies


def average_accuracy(accuracies: Tensor) -> float:
    """Mean over tasks of the accuracy after the last one, of a matrix [T, T] (row: after task t; column: of task i).

    >>> average_accuracy(torch.tensor([[1.0, torch.nan], [0.5, 1.0]]))
    0.75
    """
    return float(_square(accuracies)[-1].mean())


def forgetting(accuracies: Tensor) -> float:
    """Mean over all tasks but the last of the best accuracy a task ever had minus the one it ends with.

    >>> forgetting(torch.tensor([[1.0, torch.nan], [0.5, 1.0]]))
    0.5
    """
    held = _square(accuracies)[:, :-1]
    return float((held.nan_to_num(-torch.inf).amax(0) - held[-1]).mean()) if held.shape[1] else 0.0


__all__ = [
    "Course",
    "LearningTask",
    "average_accuracy",
    "digits_vae",
    "feature_net",
    "finetuned",
    "forgetting",
    "learn",
    "permuted_digits",
    "split_digits",
]
