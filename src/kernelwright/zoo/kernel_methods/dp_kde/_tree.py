"""Sums of distances along one coordinate from noisy dyadic counts, and their query as a table or by the paper's rule.

Points of a coordinate are snapped to m grid values t_j = low + j (high - low) / (m - 1), m = 2^L. A binary tree counts
them at L + 1 levels, and every node gets noise. Any prefix count is then a sum of at most L nodes instead of m leaves.

Everything after the noise is free. The paper asks O(log(m) / alpha) buckets a query. Here the counts are first made
consistent (the least-squares leaves given all nodes: Hay et al., PVLDB 2010) and sum_i |t_j - x_i|^p is computed once
for all j: a query is one look-up with linear interpolation.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ._noise import Floats
from ._privacy import Adjacency, Sensitivity


def leaf_indices(x: Floats, low: float, high: float, leaves: int) -> np.ndarray:
    """The nearest grid value of every entry of ``x [n, d]``, clipped to [low, high]: int64 ``[n, d]``."""
    unit = (np.clip(x, low, high) - low) / (high - low)
    return np.rint(unit * (leaves - 1)).astype(np.int64)


def dyadic_counts(indices: np.ndarray, leaves: int) -> list[Floats]:
    """Counts of every node of d trees, root first: arrays ``[d, 1]``, ``[d, 2]``, ..., ``[d, leaves]``."""
    d = indices.shape[1]
    flat = np.bincount((indices + leaves * np.arange(d)).ravel(), minlength=d * leaves)
    levels = [flat.reshape(d, leaves).astype(np.float64)]
    while levels[-1].shape[1] > 1:
        levels.append(levels[-1].reshape(d, -1, 2).sum(-1))
    return levels[::-1]


def tree_sensitivity(d: int, leaves: int, adjacency: Adjacency) -> Sensitivity:
    """One row moves one node a level and coordinate by 1; a replaced row two, but never the root, which is public."""
    depth = int(math.log2(leaves))
    changed = d * (depth + 1) if adjacency == "add-remove" else 2 * d * depth
    return Sensitivity(float(changed), math.sqrt(changed))


def consistent_leaves(levels: list[Floats], exact_root: bool) -> Floats:
    """The leaves ``[d, m]`` whose sums fit all noisy nodes best in least squares (noise of equal variance).

    ``exact_root`` says that the root is known, so it is fitted exactly.
    """
    fitted = [levels[-1]]
    for height, nodes in enumerate(reversed(levels[:-1]), start=2):  # upwards: what a subtree says of its own root
        below = fitted[-1].reshape(*nodes.shape, 2).sum(-1)
        weight = (2**height - 2 ** (height - 1)) / (2**height - 1)
        fitted.append(weight * nodes + (1 - weight) * below)
    fitted = fitted[::-1]
    current = levels[0] if exact_root else fitted[0]
    for nodes in fitted[1:]:  # downwards: what a parent knows better is split evenly
        pairs = nodes.reshape(*current.shape, 2)
        pairs = pairs + (current - pairs.sum(-1))[..., None] / 2
        current = pairs.reshape(nodes.shape)
    return current


def distance_table(leaf_counts: Floats, spacing: float, p: float) -> Floats:
    """sum_j counts_j |t_k - t_j|^p at every grid value t_k, for counts ``[d, m]``: ``[d, m]``, by FFT."""
    m = leaf_counts.shape[1]
    weights = (spacing * np.abs(np.arange(-(m - 1), m))) ** p
    size = 1 << (3 * m - 3).bit_length()
    product = np.fft.irfft(np.fft.rfft(leaf_counts, size) * np.fft.rfft(weights, size), size)
    return product[:, m - 1 : 2 * m - 1]


def table_answers(tables: Tensor, positions: Tensor) -> Tensor:
    """Sum over d coordinates of linear interpolations: ``tables [d, m]`` at ``positions [q, d]`` within [0, m - 1].

    >>> table_answers(torch.tensor([[0.0, 2.0, 4.0]]), torch.tensor([[0.5], [2.0]]))
    tensor([1., 4.])
    """
    left = positions.floor().clamp(max=tables.shape[1] - 2).long()
    fraction = positions - left
    below = tables.gather(1, left.t()).t()
    above = tables.gather(1, left.t() + 1).t()
    return torch.lerp(below, above, fraction).sum(1)


def prefix_counts(levels: list[Floats]) -> Floats:
    """Noisy counts of the first k leaves, k = 0..m, each the sum of the nodes that k's bits name: ``[d, m + 1]``."""
    d, m = levels[-1].shape
    k = np.arange(m + 1)
    total = np.zeros((d, m + 1))
    for depth, nodes in enumerate(levels):
        step = m >> depth  # leaves under a node of this level
        bit = (k // step) % 2 == 1 if depth else k == m
        total[:, bit] += nodes[:, k[bit] // step - 1]
    return total


def bucket_answers(prefix: Floats, positions: Floats, spacing: float, alpha: float, p: float) -> Floats:
    """The paper's query: points in geometric buckets around y count with their bucket's outer distance to the p.

    ``prefix [d, m + 1]`` as of :func:`prefix_counts`, ``positions [q, d]`` in grid steps. Without noise the answer for
    queries on the grid is within [1, (1 + alpha)^p] times the sum over the snapped points.
    """
    m = prefix.shape[1] - 1
    radii = (m - 1.0) / (1 + alpha) ** np.arange(math.ceil(math.log(2 * m) / math.log1p(alpha)) + 1)
    weights = (radii * spacing) ** p
    weights[-1] = 0.0  # closer than half a grid step
    nested = np.diff(weights, prepend=0.0)  # intervals are nested: what a narrower one corrects
    total = np.zeros(len(positions))
    for radius, weight in zip(radii, nested, strict=True):
        first = np.ceil(positions - radius).clip(0, m).astype(np.int64)
        after = np.floor(positions + radius).clip(-1, m - 1).astype(np.int64) + 1
        inside = np.take_along_axis(prefix.T, after, 0) - np.take_along_axis(prefix.T, first, 0)
        total += weight * inside.sum(1)
    return total


__all__ = [
    "bucket_answers",
    "consistent_leaves",
    "distance_table",
    "dyadic_counts",
    "leaf_indices",
    "prefix_counts",
    "table_answers",
    "tree_sensitivity",
]
