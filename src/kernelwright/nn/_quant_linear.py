"""A linear layer whose weights have few bits."""

from __future__ import annotations

import torch

from ..kernels.lowbit import MOST_ROWS, Product, QuantTensor, TiledWeight, dt, round_to_nearest, tile, tileable
from ..ops import lowbit_matmul, prepare
from ..search import Kernel


class QuantLinear(torch.nn.Module):
    """``activation(x @ weight.T + bias)`` with a low-bit weight, in place of ``torch.nn.Linear``.

    The weight's parts are buffers (``codes``, ``scale``, ``offset``), so the layer moves, saves and loads like any
    other, with ``torch.save`` and safetensors alike; the bias is a parameter. Gradients flow to the input and the bias
    (for adapters beside a frozen weight).

    >>> layer = QuantLinear.of(torch.nn.Linear(64, 32), "u4", group_size=32)
    >>> layer(torch.randn(3, 64)).shape
    torch.Size([3, 32])
    """

    codes: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor | None

    def __init__(self, weight: QuantTensor, bias: torch.Tensor | None = None, *, activation: str | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.kind, self.group_size, self.activation = weight.kind.name, weight.group_size, activation
        self.tiled = tileable(weight)
        parts: QuantTensor | TiledWeight = tile(weight) if self.tiled else weight
        self.register_buffer("codes", parts.codes if isinstance(parts, TiledWeight) else parts.packed)
        self.register_buffer("scale", parts.scale)
        self.register_buffer("offset", parts.offset)
        self.bias = None if bias is None else torch.nn.Parameter(bias.detach().clone())
        self._served: dict[torch.dtype, Kernel] = {}

    @staticmethod
    def of(
        linear: torch.nn.Linear, kind: str = "u4", group_size: int | None = 128, *, activation: str | None = None
    ) -> QuantLinear:
        """A layer's weight rounded to the nearest codes; for other quantisers give their result to the constructor."""
        return QuantLinear(round_to_nearest(linear.weight, kind, group_size), linear.bias, activation=activation)

    @property
    def weight(self) -> QuantTensor | TiledWeight:
        """The weight as the operations take it."""
        shape = (self.out_features, self.in_features)
        made = TiledWeight if self.tiled else QuantTensor
        return made(self.codes, self.scale, self.offset, dt(self.kind), shape, self.group_size)

    def dequantize(self) -> torch.Tensor:
        """The weight that is meant: float32, ``[out_features, in_features]``."""
        weight = self.weight
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
        if isinstance(weight, TiledWeight):
            self._served[x.dtype] = prepare(Product.of(weight, x.dtype, bias is not None, self.activation))
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
