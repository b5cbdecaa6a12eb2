"""The CNNs at finite width: locally connected, patches without overlap, in the NTK parametrisation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ....errors import ZooInvalid


class LocalConvNet1d(nn.Module):
    """Filters of ``filter_sizes`` with strides of the same size, each place with weights of its own, a dense readout.

    Inputs [n, in_channels, size] to outputs [n]. Weights are standard normal; sums are divided by the root of their
    length. Its tangent kernel approaches ``2^-L / s_1`` times :func:`hierarchical_ntk` for one channel.

    >>> LocalConvNet1d(16, 1, 8, (2, 2))(torch.ones(3, 1, 8)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        width: int,
        in_channels: int,
        size: int,
        filter_sizes: Sequence[int],
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if size % math.prod(filter_sizes):
            raise ZooInvalid(f"filter_sizes {tuple(filter_sizes)} do not divide the size {size}.")
        self.filter_sizes = tuple(filter_sizes)
        self.weights = nn.ParameterList()
        channels, places = in_channels, size
        for s in self.filter_sizes:
            places //= s
            self.weights.append(nn.Parameter(torch.randn(places, channels * s, width, dtype=dtype)))
            channels = width
        self.readout = nn.Parameter(torch.randn(places * width, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        places = x.movedim(2, 0)  # [size, n, channels]
        for s, weight in zip(self.filter_sizes, self.weights, strict=True):
            grouped = places.unflatten(0, (-1, s)).movedim(1, 3).flatten(2)  # [places, n, channels s]
            places = torch.relu(grouped @ weight / math.sqrt(weight.shape[1]))
        return places.transpose(0, 1).flatten(1) @ self.readout / math.sqrt(len(self.readout))


__all__ = ["LocalConvNet1d"]
