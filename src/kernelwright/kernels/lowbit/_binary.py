"""Fitting binary coding: a row of weights as a sum of scaled sign vectors.

Source: LUT-GEMM (arXiv 2206.09557), section 3 and appendix; the alternating method is that of Xu et al. (2018).
"""

from __future__ import annotations

import torch

from ...errors import LowBitInvalid
from ._pack import pack
from ._tensor import BinaryTensor, check_groups

_CHUNK = 1 << 22  # values searched at a time, so that the search's own memory stays small beside a large matrix


def binary_code(
    weight: torch.Tensor,
    bits: int,
    group_size: int | None = 128,
    *,
    rounds: int = 15,
    importance: torch.Tensor | None = None,
) -> BinaryTensor:
    """``weight`` (``[N, K]``, floating) as ``bits`` sign planes with a scale for each plane and group, without offset.

    Greedy first: each plane takes the signs of what is left and its mean size. Then ``rounds`` times: the best scales
    for the planes (least squares), the best signs for the scales (the nearest of the ``2**bits`` sums); 0 rounds is
    greedy, and no round makes a group worse. ``importance`` (``[N, K]``, not negative) weighs each weight's error.

    >>> binary_code(torch.tensor([[1.0, -1.0, 3.0, -3.0]]), 2, None).dequantize().tolist()
    [[1.0, -1.0, 3.0, -3.0]]

    Raises ``LowBitInvalid`` when ``bits`` is not 1 to 8, the group size does not divide K, or a value is not finite.
    """
    if not 1 <= bits <= 8:
        raise LowBitInvalid(f"bits is {bits}; binary coding has 1 to 8 planes.")
    if weight.ndim != 2 or not weight.is_floating_point() or not weight.isfinite().all():
        raise LowBitInvalid(
            f"weight is {weight.dtype} of shape {tuple(weight.shape)}; a finite floating matrix is coded."
        )
    size = weight.shape[1] if group_size is None else group_size
    check_groups(weight.shape, size)
    if importance is not None and (importance.shape != weight.shape or bool((importance < 0).any())):
        raise LowBitInvalid(
            f"importance has shape {tuple(importance.shape)}; it is not negative and {tuple(weight.shape)}."
        )
    groups = weight.detach().float().reshape(-1, size)
    weights = torch.ones_like(groups) if importance is None else importance.float().reshape(-1, size)
    step = max(_CHUNK // (size * bits), 1)
    parts = [_fit(groups[at : at + step], weights[at : at + step], bits, rounds) for at in range(0, len(groups), step)]
    signs = torch.cat([part[0] for part in parts], 1)
    alpha = torch.cat([part[1] for part in parts], 1)
    rows, columns = weight.shape
    planes = pack((signs > 0).to(torch.uint8).reshape(bits, rows, columns), 1)
    return BinaryTensor(planes, alpha.reshape(bits, rows, columns // size), None, (rows, columns), size)


def _fit(w: torch.Tensor, importance: torch.Tensor, bits: int, rounds: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Signs ``[bits, G, size]`` and scales ``[bits, G]`` of groups ``w`` ``[G, size]``."""
    signs, alpha = _greedy(w, importance, bits)
    best = _cost(w, importance, signs, alpha)
    for _ in range(rounds if bits > 1 else 0):
        fitted = _least_squares(w, importance, signs)
        tried = _nearest_signs(w, fitted)
        cost = _cost(w, importance, tried, fitted)
        better = cost < best
        if not better.any():
            break
        best = torch.where(better, cost, best)
        alpha = torch.where(better, fitted, alpha)
        signs = torch.where(better[:, None], tried, signs)
    return signs, alpha


def _greedy(w: torch.Tensor, importance: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    left, signs, alpha = w, [], []
    total = importance.sum(-1).clamp(min=torch.finfo(w.dtype).tiny)
    for _ in range(bits):
        sign = torch.where(left < 0, -1.0, 1.0)  # the sign of 0 is +1
        size = (left.abs() * importance).sum(-1) / total
        left = left - size[:, None] * sign
        signs.append(sign)
        alpha.append(size)
    return torch.stack(signs), torch.stack(alpha)


def _least_squares(w: torch.Tensor, importance: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    """The best scales for given signs. Planes that coincide make the system singular, so a trace of it is added."""
    planes = signs.permute(1, 0, 2).double()  # [G, bits, size]
    weighted = planes * importance[:, None].double()
    gram = weighted @ planes.mT
    ridge = 1e-9 * gram.diagonal(dim1=1, dim2=2).mean(-1) + torch.finfo(torch.float64).tiny
    gram = gram + ridge[:, None, None] * torch.eye(len(signs), dtype=torch.float64, device=w.device)
    right = weighted @ w.double()[..., None]
    return torch.linalg.solve(gram, right)[..., 0].T.to(w.dtype)


def _nearest_signs(w: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """For each weight the signs whose sum lies nearest: all ``2**bits`` sums are sorted once for each group."""
    bits = len(alpha)
    patterns = (torch.arange(2**bits, device=w.device)[:, None] >> torch.arange(bits, device=w.device)) & 1
    patterns = 2.0 * patterns - 1.0  # [2**bits, bits]
    levels, order = (patterns @ alpha).T.sort(-1)  # [G, 2**bits]
    middles = (levels[:, 1:] + levels[:, :-1]) / 2
    index = torch.searchsorted(middles.contiguous(), w.contiguous())
    return patterns[order.gather(1, index)].permute(2, 0, 1)


def _cost(w: torch.Tensor, importance: torch.Tensor, signs: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    return ((w - (signs * alpha[..., None]).sum(0)).square() * importance).sum(-1)
