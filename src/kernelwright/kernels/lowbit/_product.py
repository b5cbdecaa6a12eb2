"""The family's operation: ``activation(x @ W.T + bias)`` for a matrix of low-bit weights in tiles.

Held together here: what it means (:class:`Product`, the reference), and the C++ that computes it. One source serves
every size: what the template must know are the bits, the group size and the types.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...targets.plan import Candidate
from ._entry import ACTIVATIONS, CPP, Part, check_activation, check_floats, product_candidate
from ._tiles import CHUNK, ROWS, TiledWeight, untiled


@dataclass(frozen=True)
class Product:
    """One product as a plain callable on ``(x, codes, scale[, offset][, bias])``: the task's reference.

    ``x`` is ``[M, K]`` of ``dtype``, the weight's parts are :class:`TiledWeight`'s; the result is ``[M, rows]`` of
    ``dtype``. Computed in float32 (float64 when the parts are float64) as anybody would: dequantise, then multiply.
    """

    bits: int
    zero: int
    group_size: int
    rows: int
    columns: int
    dtype: torch.dtype = torch.float32
    scales: torch.dtype = torch.float32
    has_offset: bool = False
    has_bias: bool = False
    activation: str | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_floats(x=self.dtype, scale=self.scales)

    @staticmethod
    def of(weight: TiledWeight, dtype: torch.dtype, has_bias: bool, activation: str | None) -> Product:
        """The product of a weight with activations of ``dtype``."""
        return Product(
            weight.kind.bits, weight.zero, weight.group_size, *weight.shape,
            dtype=dtype, scales=weight.scale.dtype, has_offset=weight.offset is not None, has_bias=has_bias,
            activation=activation,
        )  # fmt: skip

    def __call__(self, x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        rest = list(more)
        wide = torch.float64 if torch.float64 in (x.dtype, scale.dtype) else torch.float32
        weight = (untiled(codes, self.bits).to(wide) - self.zero).unflatten(1, (-1, self.group_size))
        weight = weight * _by_row(scale.to(wide))
        if self.has_offset:
            weight = weight + _by_row(rest.pop(0).to(wide))
        y = x.to(wide) @ weight.flatten(1)[: self.rows].T
        if self.has_bias:
            y = y + rest.pop(0).to(wide)
        return ACTIVATIONS[self.activation][0](y).to(x.dtype)

    def arguments(self, x: torch.Tensor, weight: TiledWeight, bias: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """What :meth:`__call__` and the kernel take."""
        parts = (weight.offset if self.has_offset else None, bias if self.has_bias else None)
        return (x, weight.codes, weight.scale, *(part for part in parts if part is not None))


def _by_row(part: torch.Tensor) -> torch.Tensor:
    """``[tiles, groups, 16]`` as ``[16 * tiles, groups, 1]``."""
    return part.mT.reshape(-1, part.shape[1], 1)


def candidate(product: Product) -> Candidate:
    """The product as C++ with its launch plan, for 1 to 512 rows of activations."""
    offset = "offset" if product.has_offset else f"static_cast<const {CPP[product.scales]}*>(nullptr)"
    bias = "bias" if product.has_bias else f"static_cast<const {CPP[product.dtype]}*>(nullptr)"
    numbers = f"{product.bits}, {product.group_size}, {product.zero}, {str(product.has_offset).lower()}"
    return product_candidate(
        f"A product with {product.bits}-bit weights in groups of {product.group_size}",
        "lowbit.h",
        parts(product),
        f"""kw::lowbit::product<{numbers}>(
      x, codes, scale, {offset}, {bias}, out, m, n, depth, workspace, kw::max_threads(), activation);""",
        group_size=product.group_size,
        activation=product.activation,
        workspace=_workspace(product),
        label="lowbit",
    )


def parts(product: Product) -> list[Part]:
    """The arguments of a product's kernels."""
    tiles, groups, bits = -(-product.rows // ROWS), product.columns // product.group_size, product.bits
    by_group = (tiles, groups, ROWS), ("tiles", "groups", str(ROWS))
    made = [
        Part("x", product.dtype, ("m", product.columns), ("m", "depth")),
        Part(
            "codes", torch.uint8, (tiles, product.columns // CHUNK, bits, 64),
            ("tiles", f"depth / {CHUNK}", str(bits), "64"),
        ),
        Part("scale", product.scales, *by_group),
    ]  # fmt: skip
    if product.has_offset:
        made.append(Part("offset", product.scales, *by_group))
    if product.has_bias:
        made.append(Part("bias", product.dtype, (product.rows,), ("n",)))
    return [*made, Part("out", product.dtype, ("m", product.rows), ("m", "n"))]


def _workspace(product: Product) -> str:
    """Bytes of digits, sums and units of ``m`` rows (``Row`` and ``row_bytes`` in kw/lowbit.h)."""
    depth, block = product.columns, next(size for size in (128, 64, 32) if product.group_size % size == 0)
    return f"m*{48 + 4 * (depth + depth // block * 6 + depth // product.group_size)}"
