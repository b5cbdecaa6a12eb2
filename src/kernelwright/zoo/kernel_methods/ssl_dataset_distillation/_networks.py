"""Small convolutional networks, and a teacher trained without labels by Barlow Twins (arXiv 2103.03230)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..._system import Track, plainly


class ConvExtractor(nn.Module):
    """Blocks of convolution 3x3, batch norm, ReLU and 2x2 average pooling; then a linear head.

    ``features(x)`` [n, p] is the flattened result of the last block, ``forward(x)`` [n, ``outputs``] the head on it.
    ``image`` is (channels, height, width); every block halves height and width.

    >>> ConvExtractor((8, 16), outputs=5, image=(1, 8, 8))(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 5])
    """

    def __init__(self, widths: Sequence[int], outputs: int, image: tuple[int, int, int] = (1, 8, 8)) -> None:
        super().__init__()
        channels = (image[0], *widths)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.AvgPool2d(2))
                for i, o in itertools.pairwise(channels)
            )
        )
        shrink = 2 ** len(widths)
        self.head = nn.Linear(channels[-1] * (image[1] // shrink) * (image[2] // shrink), outputs)

    def features(self, x: Tensor) -> Tensor:
        return self.blocks(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def barlow_loss(left: Tensor, right: Tensor, off_diagonal: float = 5e-3) -> Tensor:
    """Σ_i (1 - C_ii)² + off_diagonal · Σ_{i≠j} C_ij², C the cross-correlation of two views' [n, d] over the batch."""

    def standard(z: Tensor) -> Tensor:
        return (z - z.mean(0)) / (z.std(0, correction=0) + 1e-5)

    correlation = standard(left).T @ standard(right) / len(left)
    on = torch.diagonal(correlation)
    return (1 - on).square().sum() + off_diagonal * (correlation.square().sum() - on.square().sum())


class BarlowTwins:
    """Trains ``encoder`` on unlabelled images so that two augmentations of one image agree, coordinate by coordinate.

    ``augment(x, generator)`` draws one view of a batch. ``fit`` trains encoder and projector with Adam and hands the
    encoder back in evaluation mode, without gradients: a teacher.
    """

    def __init__(
        self,
        encoder: nn.Module,
        outputs: int,
        augment: Callable[[Tensor, torch.Generator], Tensor],
        *,
        projection: int = 128,
        lr: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.encoder, self.augment, self.seed = encoder, augment, seed
        self.lr = lr
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.projector = nn.Sequential(
                nn.Linear(outputs, projection), nn.BatchNorm1d(projection), nn.ReLU(), nn.Linear(projection, projection)
            )

    def fit(self, x: Tensor, epochs: int, batch: int = 128, track: Track = plainly) -> nn.Module:
        """The trained encoder, of images ``x`` [n, ...]."""
        generator = torch.Generator().manual_seed(self.seed)
        parameters = [*self.encoder.parameters(), *self.projector.parameters()]
        optimiser = torch.optim.Adam(parameters, lr=self.lr, weight_decay=1e-6)
        self.encoder.train()
        for _ in track(range(epochs), "teacher"):
            for part in torch.randperm(len(x), generator=generator).split(batch):
                if len(part) < 2:  # a batch of one has no correlation
                    continue
                views = (self.projector(self.encoder(self.augment(x[part], generator))) for _ in range(2))
                loss = barlow_loss(*views)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        return self.encoder.eval().requires_grad_(False)


__all__ = ["BarlowTwins", "ConvExtractor", "barlow_loss"]
