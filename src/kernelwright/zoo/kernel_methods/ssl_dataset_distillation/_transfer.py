"""What a distilled set is for: pre-train a fresh network on it, then judge its features on another task."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._distill import DistilledSet
from ._solver import features_of


def pretrain_on(
    distilled: DistilledSet,
    model: nn.Module,
    epochs: int = 1000,
    batch: int = 256,
    *,
    lr: float = 0.1,
    weight_decay: float = 1e-3,
    seed: int = 0,
) -> nn.Module:
    """Train ``model`` in place on the pairs by half the sum of squares and SGD with momentum; no augmentation."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)
    model.train()
    for _ in range(epochs):
        for part in torch.randperm(len(distilled.x), generator=generator).split(batch):
            loss = 0.5 * functional.mse_loss(model(distilled.x[part]), distilled.y[part], reduction="sum") / len(part)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def linear_probe(
    model: nn.Module, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, decay: float = 1e-3
) -> float:
    """Accuracy in [0, 1] on ``test`` of a logistic regression on the frozen features of ``train``.

    Images [n, ...] and labels [n] of 0..C-1. Features are standardised by the training ones and scaled by 1/sqrt(p);
    the fit is convex (``decay`` is the weight of |W|²), so that it depends on no learning rate.
    """
    model.eval()
    with torch.no_grad():
        features, asked = features_of(model, train[0]), features_of(model, test[0])
    centre, spread = features.mean(0), features.std(0, correction=0).clamp_min(1e-3) * features.shape[1] ** 0.5
    features, asked = (features - centre) / spread, (asked - centre) / spread
    weight = torch.zeros(features.shape[1], int(train[1].max()) + 1, requires_grad=True)
    bias = torch.zeros(weight.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(features @ weight + bias, train[1]) + decay * weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(objective)
    with torch.no_grad():
        return float(((asked @ weight + bias).argmax(1) == test[1]).float().mean())


def finetune(
    model: nn.Module,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    steps: int = 300,
    batch: int = 256,
    *,
    lr: float = 0.01,
    seed: int = 0,
) -> float:
    """Accuracy in [0, 1] on ``test`` after training features and a new linear head on ``train``.

    SGD with momentum 0.9, weight decay 5e-4 and a cosine schedule. ``model`` itself is changed.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        width = features_of(model.eval(), train[0][:1]).shape[1]
    head = nn.Linear(width, int(train[1].max()) + 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimiser = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=lr, momentum=0.9, weight_decay=5e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    model.train()
    for _ in range(steps):
        part = torch.randperm(len(train[0]), generator=generator)[:batch]
        loss = functional.cross_entropy(head(features_of(model, train[0][part])), train[1][part])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        cosine.step()
    model.eval()
    with torch.no_grad():
        return float((head(features_of(model, test[0])).argmax(1) == test[1]).float().mean())


__all__ = ["finetune", "linear_probe", "pretrain_on"]
