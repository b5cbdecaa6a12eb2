"""Two of four: in every four neighbouring weights of a row at most two stay, as Sparse-MARLIN stores them."""

from __future__ import annotations

import torch

from ...errors import LowBitInvalid


def two_of_four(weight: torch.Tensor, inputs: torch.Tensor | None = None) -> torch.Tensor:
    """A mask (bool, ``[N, K]``) of the two weights to keep in every four: the largest, or those that matter most.

    With ``inputs`` (``[..., K]``) a weight's size counts times the root mean square of its input (Wanda, arXiv
    2306.11695, equation 1). Of equal weights the first stay.

    >>> two_of_four(torch.tensor([[1.0, -3.0, 2.0, 0.5]])).tolist()
    [[False, True, True, False]]
    """
    if weight.ndim != 2 or weight.shape[1] % 4 or weight.numel() == 0:
        raise LowBitInvalid(f"weight has shape {tuple(weight.shape)}; rows of whole fours are pruned two of four.")
    if not weight.isfinite().all():
        raise LowBitInvalid("weight holds NaN or infinity; only finite weights can be compared.")
    size = weight.detach().abs().float()
    if inputs is not None:
        if inputs.shape[-1] != weight.shape[1] or inputs.numel() == 0:
            raise LowBitInvalid(f"inputs have shape {tuple(inputs.shape)}; vectors of {weight.shape[1]} are needed.")
        size = size * inputs.detach().float().reshape(-1, weight.shape[1]).square().mean(0).sqrt()
    fours = size.unflatten(1, (-1, 4))
    rank = fours.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return (rank < 2).flatten(1)


def compress(codes: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The codes that stay, ``[N, K / 2]``, and where they were: a nibble of two 2-bit positions for every four.

    ``mask`` is :func:`two_of_four`'s. Fours of which fewer than two stay are filled up with their next positions (the
    codes there must mean zero). Source: Sparse-MARLIN (arXiv 2408.11743): the mask is made of weights, not of codes.
    """
    if mask.shape != codes.shape or mask.dtype != torch.bool or codes.shape[-1] % 4:
        raise LowBitInvalid(
            f"mask is {mask.dtype} of shape {tuple(mask.shape)}; it is bool, as codes {tuple(codes.shape)}."
        )
    fours = mask.unflatten(1, (-1, 4))
    if bool((fours.sum(-1) > 2).any()):
        raise LowBitInvalid("mask keeps more than two of some four; two_of_four() makes one that does not.")
    places = (~fours).to(torch.uint8).argsort(dim=-1, stable=True)[..., :2].sort(-1).values
    kept = codes.unflatten(1, (-1, 4)).gather(-1, places)
    return kept.flatten(1), (places[..., 0] | places[..., 1] << 2).to(torch.uint8)


def expand(kept: torch.Tensor, places: torch.Tensor, fill: int) -> torch.Tensor:
    """The codes ``[N, K]`` of which :func:`compress` kept half; ``fill`` is the code that means zero."""
    if kept.ndim != 2 or places.shape != (kept.shape[0], kept.shape[1] // 2):
        raise LowBitInvalid(
            f"places have shape {tuple(places.shape)}; there is one for every two of {tuple(kept.shape)}."
        )
    index = torch.stack([places & 3, places >> 2], -1).long()
    fours = torch.full((*places.shape, 4), fill, dtype=kept.dtype, device=kept.device)
    return fours.scatter(-1, index, kept.unflatten(1, (-1, 2))).flatten(1)
