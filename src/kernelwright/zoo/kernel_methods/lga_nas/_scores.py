"""Scores of a network from its tangent kernel on one batch, and how well scores order networks."""

from __future__ import annotations

import torch
from torch import nn

from ....errors import ZooInvalid
from ...common import kendall, one_hot, spearman
from ._gram import ntk_gram

_WORST_CONDITION = 1e5


def label_gradient_alignment(gram: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """LGA in [-1, 1] of a Gram matrix [..., B, B] and labels [B]: <T, L> / (|T| |L|), both less their scalar means.

    L is +1 for two samples of one class, else -1. It knows no scale and no constant in the Gram matrix; 0 where
    either is constant, as for networks without gradients (arXiv 2203.14577).

    >>> labels = torch.tensor([0, 0, 1])
    >>> label_gradient_alignment((labels[:, None] == labels) * 3.0 + 1, labels)
    tensor(1.)
    """
    if gram.shape[-2:] != (len(labels), len(labels)):
        raise ZooInvalid(f"The Gram matrix is {tuple(gram.shape)} for {len(labels)} labels; it must be [B, B].")
    t = gram - gram.mean((-2, -1), keepdim=True)
    same = torch.where(labels[:, None] == labels, 1.0, -1.0).to(gram)
    same = same - same.mean()
    norms = t.square().sum((-2, -1)).sqrt() * same.square().sum().sqrt()
    smallest = gram.abs().amax((-2, -1)) * torch.finfo(gram.dtype).eps * len(labels) * same.square().sum().sqrt()
    return torch.where(
        norms > smallest, (t * same).sum((-2, -1)) / norms.clamp_min(torch.finfo(gram.dtype).tiny), norms.new_zeros(())
    )


def ntk_metrics(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    x_val: torch.Tensor | None = None,
    y_val: torch.Tensor | None = None,
) -> dict[str, float]:
    """All scores of a model on a batch (x [B, ...], y [B]), the larger the better: LGA and those it competes with.

    "frobenius" |Theta|, "mean", "condition" -lam_max / lam_min (never below -1e5), "eigenvalues" -sum log(lam + 1) +
    1 / (lam + 1); with a second batch also "regression", the accuracy of kernel regression on it. Batch norms use
    both batches as one.
    """
    joined = x if x_val is None else torch.cat([x, x_val])
    whole, count = ntk_gram(model, joined).double(), len(x)
    found = gram_scores(whole[:count, :count], y)
    if x_val is not None and y_val is not None:
        jitter = 1e-6 * whole.diagonal().mean() * torch.eye(count, dtype=whole.dtype)
        classes = int(torch.cat([y, y_val]).max()) + 1
        solved = torch.linalg.lstsq(whole[:count, :count] + jitter, one_hot(y, classes, whole.dtype)).solution
        found["regression"] = float(((whole[count:, :count] @ solved).argmax(1) == y_val).double().mean())
    return found


def gram_scores(gram: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    """What :func:`ntk_metrics` reads off one Gram matrix [B, B] and labels [B]."""
    values = torch.linalg.eigvalsh(gram).clamp_min(0)
    condition = float(values[-1] / values[0]) if values[0] > 0 else _WORST_CONDITION
    return {
        "lga": float(label_gradient_alignment(gram, y)),
        "frobenius": float(gram.norm()),
        "mean": float(gram.mean()),
        "condition": -min(condition, _WORST_CONDITION),
        "eigenvalues": -float((torch.log(values + 1) + 1 / (values + 1)).sum()),
    }


def kernel_change(now: torch.Tensor, before: torch.Tensor) -> tuple[float, float]:
    """How far training moved a Gram matrix: |now - before| / |before|, and the distance 1 - cosine of the two."""
    relative = (now - before).norm() / before.norm()
    cosine = (now * before).sum() / (now.norm() * before.norm())
    return float(relative), float(1 - cosine)


def rank_correlation(scores: torch.Tensor, accuracies: torch.Tensor, draws: int = 500) -> dict[str, float]:
    """Kendall's tau-b and Spearman's rho, with tau's 95 % bootstrap interval "low" to "high" (40 networks: about ±0.2).

    Constant scores order nothing: their correlations are 0.
    """
    if bool((scores == scores[0]).all()) or bool((accuracies == accuracies[0]).all()):
        return dict.fromkeys(("kendall", "spearman", "low", "high"), 0.0)
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(draws):
        rows = torch.randint(len(scores), (len(scores),), generator=generator)
        drawn.append(kendall(scores[rows], accuracies[rows]))
    low, high = torch.tensor(drawn).nan_to_num(0).quantile(torch.tensor([0.025, 0.975])).tolist()
    return {"kendall": kendall(scores, accuracies), "spearman": spearman(scores, accuracies), "low": low, "high": high}


__all__ = ["gram_scores", "kernel_change", "label_gradient_alignment", "ntk_metrics", "rank_correlation"]
