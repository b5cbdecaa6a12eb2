"""A linear layer whose weights have few bits."""

from __future__ import annotations

import torch

from ..kernels.lowbit import (
    MOST_ROWS,
    BinaryTensor,
    QuantTensor,
    TiledBinary,
    TiledWeight,
    dt,
    round_to_nearest,
    tile,
    tile_binary,
    tileable,
    tileable_binary,
    to_binary,
)
from ..ops import LowBitWeight, lowbit_matmul, prepare, product_of
from ..search import Kernel

_BINARY = "binary"  # the kind of a layer whose weight is a sum of sign planes


class QuantLinear(torch.nn.Module):
    """``activation(x @ weight.T + bias)`` with a low-bit weight, in place of ``torch.nn.Linear``.

    The weight's parts are buffers (``codes``, ``scale``, ``offset``; of binary coding the planes, their scales and the
    offset), so the layer moves, saves and loads like any other, with ``torch.save`` and safetensors alike; the bias is
    a parameter. Gradients flow to the input and the bias (for adapters beside a frozen weight).

    >>> layer = QuantLinear.of(torch.nn.Linear(64, 32), "u4", group_size=32)
    >>> layer(torch.randn(3, 64)).shape
    torch.Size([3, 32])
    """

    codes: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor | None

    def __init__(
        self, weight: QuantTensor | BinaryTensor, bias: torch.Tensor | None = None, *, activation: str | None = None
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.group_size, self.activation = weight.group_size, activation
        if isinstance(weight, QuantTensor) and weight.kind.kind == "sign":
            weight = to_binary(weight)
        if isinstance(weight, BinaryTensor):
            self.kind, self.tiled = _BINARY, tileable_binary(weight)
            laid = tile_binary(weight) if self.tiled else weight
            codes, scale = laid.codes if isinstance(laid, TiledBinary) else laid.planes, laid.alpha
            offset = laid.offset
        else:
            self.kind, self.tiled = weight.kind.name, tileable(weight)
            tiles = tile(weight) if self.tiled else weight
            codes = tiles.codes if isinstance(tiles, TiledWeight) else tiles.packed
            scale, offset = tiles.scale, tiles.offset
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)
        self.bias = None if bias is None else torch.nn.Parameter(bias.detach().clone())
        self._served: dict[torch.dtype, Kernel] = {}

    @staticmethod
    def of(
        linear: torch.nn.Linear, kind: str = "u4", group_size: int | None = 128, *, activation: str | None = None
    ) -> QuantLinear:
        """A layer's weight rounded to the nearest codes; for other quantisers give their result to the constructor."""
        return QuantLinear(round_to_nearest(linear.weight, kind, group_size), linear.bias, activation=activation)

    @property
    def weight(self) -> LowBitWeight:
        """The weight as the operations take it."""
        shape = (self.out_features, self.in_features)
        parts = (self.codes, self.scale, self.offset)
        if self.kind == _BINARY:
            return (TiledBinary if self.tiled else BinaryTensor)(*parts, shape, self.group_size)
        return (TiledWeight if self.tiled else QuantTensor)(*parts, dt(self.kind), shape, self.group_size)

    def dequantize(self) -> torch.Tensor:
        """The weight that is meant: float32, ``[out_features, in_features]``."""
        weight = self.weight
        if isinstance(weight, TiledBinary):
            return weight.binary().dequantize()
        return (weight.quantized() if isinstance(weight, TiledWeight) else weight).dequantize()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[..., in_features]`` to ``[..., out_features]`` in x's dtype."""
        kernel = self._served.get(x.dtype)
        if kernel is not None and not torch.is_grad_enabled() and x.shape[-1] == self.in_features:
            flat = x.reshape(-1, self.in_features)
            if (
                0 < flat.shape[0] <= MOST_ROWS and flat.is_contiguous()
            ):  # the way of every token: nothing is looked at twice
                y: torch.Tensor = kernel(flat, *self._parts(x.dtype))
                return y.reshape(*x.shape[:-1], self.out_features)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        weight = self.weight
        y = lowbit_matmul(x, weight, bias, self.activation)
        if isinstance(weight, TiledWeight | TiledBinary):
            self._served[x.dtype] = prepare(product_of(weight, x.dtype, bias is not None, self.activation))
        return y

    def _parts(self, dtype: torch.dtype) -> list[torch.Tensor]:
        bias = None if self.bias is None else self.bias.to(dtype)
        return [part for part in (self.codes, self.scale, self.offset, bias) if part is not None]

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"kind={self.kind}, group_size={self.group_size}"
        )
