"""How far apart two sets of features lie, as Gaussians: what judges generated against real data."""

from __future__ import annotations

import torch

from ...errors import ZooInvalid


def frechet_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """|mean x - mean y|² + tr(C_x + C_y - 2 (C_x C_y)^(1/2)), from features ``[n, d]`` and ``[m, d]``, in float64.

    The squared 2-Wasserstein distance of the Gaussians with these means and (unbiased) covariances (Dowson and Landau
    1982); with Inception features it is called FID. Raises :class:`ZooInvalid` unless both have at least two rows, one
    width and finite values.

    >>> x = torch.tensor([[0.0], [2.0]])
    >>> round(frechet_distance(x, x + 3), 6)
    9.0
    """
    for name, value in (("x", x), ("y", y)):
        if value.ndim != 2 or len(value) < 2:
            raise ZooInvalid(f"{name} has the shape {tuple(value.shape)}; it must be [n, d] with n at least 2.")
        if not torch.isfinite(value).all():
            raise ZooInvalid(f"{name} holds NaN or infinity; features must be finite.")
    if x.shape[1] != y.shape[1]:
        raise ZooInvalid(f"x has {x.shape[1]} features and y {y.shape[1]}; they must have the same.")
    x, y = x.detach().double(), y.detach().double()
    left, right = x - x.mean(0), y - y.mean(0)
    # tr (C_x C_y)^(1/2) is the sum of the singular values of this product: no matrix root, and exact where the
    # covariances are singular, as they are with fewer rows than features.
    cross = torch.linalg.svdvals(_thin(left) @ _thin(right).T).sum()
    shift = (x.mean(0) - y.mean(0)).square().sum()
    spread = left.square().sum() / (len(x) - 1) + right.square().sum() / (len(y) - 1)
    return max(float(shift + spread - 2 * cross), 0.0)


def _thin(centred: torch.Tensor) -> torch.Tensor:
    """R with at most d rows and R^T R the covariance."""
    scaled = centred / (len(centred) - 1) ** 0.5
    return torch.linalg.qr(scaled, mode="r").R if len(scaled) > scaled.shape[1] else scaled


__all__ = ["frechet_distance"]
