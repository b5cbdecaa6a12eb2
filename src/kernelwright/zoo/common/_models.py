"""Small models and the plainest way to train them: for systems whose point is something else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
from torch import nn

from ...errors import ZooInvalid

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers from ``sizes[0]`` to ``sizes[-1]`` features, an activation between any two.

    >>> mlp([64, 32, 10])(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ZooInvalid(f"sizes are {list(sizes)}; there must be at least two, each at least 1.")
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def cnn(channels: Sequence[int], classes: int) -> nn.Sequential:
    """Convolutions of 3 × 3, each with batch normalisation, ReLU and, between two, average pooling by 2; then the mean.

    Images ``[n, channels[0], h, w]`` to logits ``[n, classes]``.

    >>> cnn([1, 8, 16], 10)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    if len(channels) < 2 or min(channels) < 1:
        raise ZooInvalid(f"channels are {list(channels)}; there must be at least two, each at least 1.")
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.AvgPool2d(2)]
    layers[-1] = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1], classes))


def train(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    epochs: int,
    lr: float = 1e-3,
    batch: int = 64,
    seed: int = 0,
    loss: Loss = nn.functional.cross_entropy,
    track: Callable[[Iterable[int], str], Iterable[int]] | None = None,
) -> float:
    """Train in place with Adam on shuffled batches; return the mean loss of the last epoch.

    ``track`` is the :class:`~kernelwright.zoo.Track` of an example. The weights' first values are the caller's to seed.
    """
    if epochs < 1 or batch < 1 or len(x) != len(y) or not len(x):
        raise ZooInvalid(f"epochs {epochs}, batch {batch}, {len(x)} inputs and {len(y)} targets cannot be trained on.")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    model.train()
    total = 0.0
    steps = range(epochs)
    for _ in steps if track is None else track(steps, "training"):
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            optimizer.zero_grad()
            value = loss(model(x[rows]), y[rows])
            value.backward()
            optimizer.step()
            total += float(value.detach()) * len(rows)
    return total / len(x)


@torch.no_grad()
def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, batch: int = 512) -> float:
    """The share of inputs whose largest logit is the label, in evaluation mode; the model's mode is put back."""
    if not len(x):
        raise ZooInvalid("There are no inputs to measure accuracy on.")
    mode = model.training
    model.eval()
    right = sum(int((model(a).argmax(1) == b).sum()) for a, b in zip(x.split(batch), y.split(batch), strict=True))
    model.train(mode)
    return right / len(x)


__all__ = ["accuracy", "cnn", "mlp", "train"]
