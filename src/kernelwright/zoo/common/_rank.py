"""Whether two scores put things in the same order: what judges proxies, searches and retrieval."""

from __future__ import annotations

import torch

from ...errors import ZooInvalid


def kendall(a: torch.Tensor, b: torch.Tensor) -> float:
    """Kendall's tau-b of two scores ``[n]``: 1 for the same order, -1 for the opposite; NaN where one is constant.

    >>> round(kendall(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0])), 4)
    0.3333
    """
    from scipy.stats import kendalltau

    _check(a, b)
    return float(kendalltau(a.detach().double().numpy(), b.detach().double().numpy()).statistic)


def spearman(a: torch.Tensor, b: torch.Tensor) -> float:
    """Spearman's rho of two scores ``[n]``: the correlation of their ranks; NaN where one is constant.

    >>> round(spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 20.0, 1000.0])), 4)
    1.0
    """
    from scipy.stats import rankdata

    _check(a, b)
    ranks = [torch.from_numpy(rankdata(v.detach().double().numpy())) for v in (a, b)]
    left, right = (r - r.mean() for r in ranks)
    return float((left @ right) / (left.norm() * right.norm()))


def recall_at(scores: torch.Tensor, relevant: torch.Tensor, k: int) -> float:
    """The share of queries with a relevant item among their ``k`` highest: ``scores`` and bool ``relevant`` ``[q, n]``.

    >>> recall_at(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([[True, False], [True, False]]), 1)
    0.5
    """
    if scores.ndim != 2 or scores.shape != relevant.shape or not len(scores):
        raise ZooInvalid(f"scores are {tuple(scores.shape)} and relevant {tuple(relevant.shape)}; both must be [q, n].")
    if not 1 <= k <= scores.shape[1]:
        raise ZooInvalid(f"k is {k}; it must be between 1 and the {scores.shape[1]} items.")
    best = scores.topk(k, dim=1).indices
    return float(relevant.gather(1, best).any(1).double().mean())


def _check(a: torch.Tensor, b: torch.Tensor) -> None:
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise ZooInvalid(f"The scores have the shapes {shapes}; both must be [n] with n at least 2.")
    if torch.isnan(a).any() or torch.isnan(b).any():
        raise ZooInvalid("The scores hold NaN, which has no rank.")


__all__ = ["kendall", "recall_at", "spearman"]
