"""Kernels of infinitely wide deep CNNs without overlap: a tree of arc-cosines whose nodes average their children.

Cagnetta, Favero and Wyart 2023, section 3. Angles are carried as the *gap* ``1 - c`` and ``1 + c`` at the leaves, so
that nearly equal patches keep their digits (an arc cosine near one would lose half of them).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ....errors import ZooInvalid
from ..ntk._gram import check, mirror, one_thread, tiles

Kind = Literal["ntk", "nngp"]


def effective_dimension(filter_sizes: Sequence[int], level: int) -> int:
    """``(s_1 - 1) s_2 ... s_level``: degrees of freedom of a receptive field of that level on spheres.

    >>> [effective_dimension((2, 2, 2), level) for level in (1, 2, 3)]
    [1, 2, 4]
    """
    if not 1 <= level <= len(filter_sizes):
        raise ZooInvalid(f"level is {level}; the network has the levels 1 to {len(filter_sizes)}.")
    return (filter_sizes[0] - 1) * math.prod(filter_sizes[1:level])


def learning_curve_exponent(
    student: Sequence[int], teacher_level: int, nu: float = 0.5, teacher_nu: float = 0.5
) -> float:
    """The exponent b of ``error ~ n^-b`` for ridgeless regression on a teacher of ``teacher_level`` levels.

    ``2 nu_T (2 nu + d_L) / (d_L (2 nu + d_T))`` with effective dimensions d; ``nu`` is 1/2 for the tangent kernel and
    3/2 for the covariance (section 5 of the paper).

    >>> learning_curve_exponent((2, 2, 2), 1)
    0.625
    """
    last, teacher = effective_dimension(student, len(student)), effective_dimension(student, teacher_level)
    return 2 * teacher_nu * (2 * nu + last) / (last * (2 * nu + teacher))


def hierarchical_ntk(
    X: Tensor,
    Z: Tensor | None = None,
    *,
    filter_sizes: Sequence[int],
    kind: Kind = "ntk",
    normalize: bool = False,
    dims: Literal[1, 2] = 1,
) -> Tensor:
    """The kernel [n, m] of a deep CNN of infinite width whose patches do not overlap.

    ``X`` [n, d], ``Z`` [m, d] (or [n, h, w] for ``dims=2``), float32 or float64; ``filter_sizes`` from the input up, in
    two dimensions the sides of square filters. What is left above the last level is averaged. Patches of any norm;
    ``normalize`` makes each a unit vector, as the paper's data are. Raises ``ZooInvalid``.

    >>> hierarchical_ntk(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), filter_sizes=(2, 2)).item()
    3.0
    """
    if kind not in ("ntk", "nngp"):
        raise ZooInvalid(f"kind is {kind!r}; give 'ntk' or 'nngp'.")
    sizes = groups_of(X, filter_sizes, dims)
    x = patches(X, sizes, dims, normalize)
    z = x if Z is None else patches(Z, groups_of(Z, filter_sizes, dims), dims, normalize)
    check(x.flatten(1), z.flatten(1))
    if torch.is_grad_enabled() and (x.requires_grad or z.requires_grad):
        return _tree(x, z, sizes[1:], kind)
    result = x.new_empty(len(x), len(z))
    with torch.no_grad(), one_thread():
        for rows, columns in tiles(len(x), len(z), symmetric=Z is None):
            result[rows, columns] = _tree(x[rows], z[columns], sizes[1:], kind)
            if Z is None:
                mirror(result, rows, columns)
    return result


def hierarchical_ntk_matvec(
    X: Tensor, Z: Tensor, V: Tensor, *, filter_sizes: Sequence[int], kind: Kind = "ntk", normalize: bool = False
) -> Tensor:
    """``hierarchical_ntk(X, Z) @ V`` for V [m, r], with no more than 64 rows of the kernel held at a time."""
    if V.ndim != 2 or len(V) != len(Z):
        raise ZooInvalid(f"V has the shape {tuple(V.shape)}; it needs one row for each of the {len(Z)} rows of Z.")
    rows = [hierarchical_ntk(x, Z, filter_sizes=filter_sizes, kind=kind, normalize=normalize) @ V for x in X.split(64)]
    return torch.cat(rows)


def groups_of(x: Tensor, filter_sizes: Sequence[int], dims: int) -> tuple[int, ...]:
    """Elements of a patch, then children of a node at each level above, the average at the top last."""
    if dims not in (1, 2) or x.ndim != 1 + dims or (dims == 2 and x.shape[1] != x.shape[2]):
        raise ZooInvalid(f"The inputs have the shape {tuple(x.shape)}; give [n, d], or square [n, h, h] with dims=2.")
    sides, length = math.prod(filter_sizes), x.shape[1]
    if not filter_sizes or min(filter_sizes) < 1 or length % sides:
        raise ZooInvalid(f"filter_sizes {tuple(filter_sizes)} do not divide the length {length} of the inputs.")
    return tuple(s**dims for s in (*filter_sizes, length // sides))


def patches(x: Tensor, sizes: tuple[int, ...], dims: int, normalize: bool) -> Tensor:
    """[n, patches, elements] in the order of the tree: children of a node side by side."""
    if dims == 2:
        sides = [math.isqrt(s) for s in reversed(sizes)]
        levels = len(sides)
        split = x.reshape(len(x), *sides, *sides)
        order = [axis for k in range(levels) for axis in (1 + k, 1 + levels + k)]
        x = split.permute(0, *order).reshape(len(x), -1)
    leaves = x.reshape(len(x), math.prod(sizes[1:]), sizes[0])
    if not normalize:
        return leaves
    return leaves / leaves.norm(dim=2, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)


def _safe_sqrt(x: Tensor) -> Tensor:
    """The square root whose gradient at zero is zero: the kernel's kink on the diagonal has no slope."""
    if not x.requires_grad:
        return x.sqrt()
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0 * x)


def _tree(x: Tensor, z: Tensor, groups: tuple[int, ...], kind: Kind) -> Tensor:
    """The recursion for leaves x [n, p, s], z [m, p, s]; nodes come first, so that each holds a plain [n, m]."""
    left = x.square().sum(2).T[:, :, None]  # [p, n, 1]
    right = z.square().sum(2).T[:, None, :]
    inner = x.transpose(0, 1) @ z.permute(1, 2, 0)
    root = _safe_sqrt(left) * _safe_sqrt(right)
    gap, total, theta = _leaf_gaps(x, z, root, inner, -1), _leaf_gaps(x, z, root, inner, 1), inner
    for group in groups:
        half = torch.atan2(_safe_sqrt(gap), _safe_sqrt(total))  # half the angle
        # root (sin t - t cos t) / pi is what a rectifier adds to the covariance, in its normalisation k(x, x) = |x|².
        bend = _safe_sqrt(gap) * _safe_sqrt(total) - half * (total - gap)
        gap = (gap - bend / math.pi).clamp_min(0)
        nngp = root - gap
        if kind == "ntk":
            theta = _average(theta * (1 - (2 / math.pi) * half) + nngp, group)
        # A node's variances are averages too; its root exceeds the average of its children's where their norms differ.
        more = _excess(left, right, group)
        left, right = _average(left, group), _average(right, group)
        gap = _average(gap, group) + more
        root = _safe_sqrt(left) * _safe_sqrt(right)
        total = 2 * root - gap
    result: Tensor = (theta if kind == "ntk" else root - gap)[0]
    return result


def _leaf_gaps(x: Tensor, z: Tensor, root: Tensor, inner: Tensor, sign: int) -> Tensor:
    """``root ± inner`` [p, n, m]; patches are short, so small ones come from differences of unit vectors at once."""
    if x.shape[2] > 16:
        return (root + sign * inner).clamp_min(0)
    tiny = torch.finfo(x.dtype).tiny
    unit_x = (x / x.norm(dim=2, keepdim=True).clamp_min(tiny)).permute(2, 1, 0)
    unit_z = (z / z.norm(dim=2, keepdim=True).clamp_min(tiny)).permute(2, 1, 0)
    distance = torch.zeros_like(inner)
    for a, b in zip(unit_x, unit_z, strict=True):
        distance = distance + (a[:, :, None] + sign * b[:, None, :]) ** 2
    return root * distance / 2


def _excess(left: Tensor, right: Tensor, group: int) -> Tensor:
    """``sqrt(mean l mean r) - mean sqrt(l r)`` as a squared distance of unit vectors: nothing large cancels."""
    lefts, rights = left.unflatten(0, (-1, group)), right.unflatten(0, (-1, group))
    one, other = _safe_sqrt(lefts.sum(1)), _safe_sqrt(rights.sum(1))
    distance: Tensor | float = 0.0
    for k in range(group):
        unit, unit_other = _safe_sqrt(lefts[:, k]) / _positive(one), _safe_sqrt(rights[:, k]) / _positive(other)
        distance = distance + (unit - unit_other) ** 2
    return one * other * distance / (2 * group)


def _positive(x: Tensor) -> Tensor:
    return x.clamp_min(torch.finfo(x.dtype).tiny)


def _average(nodes: Tensor, group: int) -> Tensor:
    return nodes.unflatten(0, (-1, group)).mean(1)


__all__ = [
    "Kind",
    "effective_dimension",
    "groups_of",
    "hierarchical_ntk",
    "hierarchical_ntk_matvec",
    "learning_curve_exponent",
    "patches",
]
