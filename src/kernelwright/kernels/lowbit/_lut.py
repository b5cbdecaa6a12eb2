"""Products with binary-coded weights by tables: ``activation(x @ W.T + bias)`` where ``W`` is a sum of sign planes.

The time is proportional to the planes, which no kernel has that dequantises. ``kw/lut.h`` says how it is computed.

Source: LUT-GEMM (arXiv 2206.09557), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...errors import LowBitInvalid
from ...targets.plan import Candidate
from ._entry import ACTIVATIONS, CPP, Part, check_activation, check_floats, product_candidate
from ._pack import pack, unpack
from ._product import Product, _code, _workspace, parts
from ._tensor import BinaryTensor
from ._tiles import CHUNK, ROWS


@dataclass(frozen=True)
class TiledBinary:
    """A :class:`BinaryTensor` in tiles of 16 rows, filled up with zeros.

    ``codes``: ``uint8``, ``[tiles, K / 32, bits, 64]``, where bytes ``4 r ... 4 r + 3`` are the 32 signs of row ``r``;
    ``alpha``: ``[tiles, K / group_size, bits, 16]``; ``offset``: ``[tiles, K / group_size, 16]`` or None.
    """

    codes: torch.Tensor
    alpha: torch.Tensor
    offset: torch.Tensor | None
    shape: tuple[int, int]
    group_size: int

    def binary(self) -> BinaryTensor:
        """The matrix that was laid out: :func:`tile_binary`'s inverse."""
        rows = self.shape[0]
        alpha = self.alpha.permute(2, 0, 3, 1).flatten(1, 2)[:, :rows]
        offset = None if self.offset is None else self.offset.mT.flatten(0, 1)[:rows]
        planes = torch.stack([pack(plane[:rows], 1) for plane in _signs(self.codes)])
        return BinaryTensor(planes, alpha.contiguous(), offset, self.shape, self.group_size)


def tileable_binary(weight: BinaryTensor) -> bool:
    """Whether :func:`tile_binary` takes it: groups of whole chunks."""
    return weight.group_size % CHUNK == 0


def tile_binary(weight: BinaryTensor) -> TiledBinary:
    """Lay a matrix out in tiles. Raises ``LowBitInvalid`` for groups that are no whole chunks of 32."""
    if not tileable_binary(weight):
        raise LowBitInvalid(f"the weight is in groups of {weight.group_size}; tables take whole chunks of {CHUNK}.")
    rows, columns = weight.shape
    more = -rows % ROWS
    planes = torch.nn.functional.pad(weight.planes, (0, 0, 0, more))  # [bits, rows, K / 8]
    words = planes.view(weight.bits, -1, ROWS, columns // CHUNK, CHUNK // 8)
    alpha = torch.nn.functional.pad(weight.alpha, (0, 0, 0, more)).unflatten(1, (-1, ROWS))
    offset = None
    if weight.offset is not None:
        offset = torch.nn.functional.pad(weight.offset, (0, 0, 0, more)).unflatten(0, (-1, ROWS)).mT.contiguous()
    codes = words.permute(1, 3, 0, 2, 4).flatten(3).contiguous()
    return TiledBinary(codes, alpha.permute(1, 3, 0, 2).contiguous(), offset, weight.shape, weight.group_size)


@dataclass(frozen=True)
class LutProduct:
    """One product as a plain callable on ``(x, codes, alpha[, offset][, bias])``: the reference of its kernel.

    ``x`` is ``[M, columns]`` of ``dtype``, the weight's parts are :class:`TiledBinary`'s, the result is ``[M, rows]``.
    Computed in float32 (float64 when the parts are float64): dequantise, then multiply.

    >>> from kernelwright.kernels.lowbit import binary_code
    >>> weight = tile_binary(binary_code(torch.randn(20, 64), 2, 32))
    >>> product = LutProduct.of(weight, torch.float32)
    >>> product(*product.arguments(torch.randn(3, 64), weight, None)).shape
    torch.Size([3, 20])
    """

    bits: int
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
        check_floats(x=self.dtype, alpha=self.scales)

    @staticmethod
    def of(
        weight: TiledBinary, dtype: torch.dtype, has_bias: bool = False, activation: str | None = None
    ) -> LutProduct:
        """The product of a weight with activations of ``dtype``."""
        return LutProduct(
            weight.codes.shape[2], weight.group_size, *weight.shape,
            dtype=dtype, scales=weight.alpha.dtype, has_offset=weight.offset is not None, has_bias=has_bias,
            activation=activation,
        )  # fmt: skip

    def __call__(self, x: torch.Tensor, codes: torch.Tensor, alpha: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        rest = list(more)
        wide = torch.float64 if torch.float64 in (x.dtype, alpha.dtype) else torch.float32
        signs = (2 * _signs(codes).to(wide) - 1).unflatten(2, (-1, self.group_size))
        scales = alpha.to(wide).permute(2, 0, 3, 1).flatten(1, 2)[..., None]
        weight = signs[0] * scales[0]
        for sign, scale in zip(signs[1:], scales[1:], strict=True):
            weight = weight + sign * scale
        if self.has_offset:
            weight = weight + rest.pop(0).to(wide).mT.flatten(0, 1)[..., None]
        y = x.to(wide) @ weight.flatten(1)[: self.rows].T
        if self.has_bias:
            y = y + rest.pop(0).to(wide)
        return ACTIVATIONS[self.activation][0](y).to(x.dtype)

    def arguments(self, x: torch.Tensor, weight: TiledBinary, bias: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """What :meth:`__call__` and the kernel take."""
        parts = (weight.offset if self.has_offset else None, bias if self.has_bias else None)
        return (x, weight.codes, weight.alpha, *(part for part in parts if part is not None))

    def example(self, rows: int) -> tuple[torch.Tensor, ...]:
        """Arguments of the right shapes, the same each time; a judge draws its own values."""
        generator = torch.Generator().manual_seed(0)
        bytes_of_row = self.columns // 8
        planes = torch.randint(0, 256, (self.bits, self.rows, bytes_of_row), generator=generator, dtype=torch.uint8)
        groups = (self.rows, self.columns // self.group_size)
        alpha = torch.rand(self.bits, *groups, generator=generator).add(0.5).to(self.scales)
        offset = torch.randn(groups, generator=generator).to(self.scales) if self.has_offset else None
        weight = tile_binary(BinaryTensor(planes, alpha, offset, (self.rows, self.columns), self.group_size))
        x = torch.randn(rows, self.columns, generator=generator).to(self.dtype)
        bias = torch.randn(self.rows, generator=generator).to(self.dtype) if self.has_bias else None
        return self.arguments(x, weight, bias)


def lut_candidate(product: LutProduct) -> Candidate:
    """The product as C++ with its launch plan, for 1 to 512 rows of activations."""
    offset = "offset" if product.has_offset else f"static_cast<const {CPP[product.scales]}*>(nullptr)"
    bias = "bias" if product.has_bias else f"static_cast<const {CPP[product.dtype]}*>(nullptr)"
    numbers = f"{product.bits}, {product.group_size}, {str(product.has_offset).lower()}"
    return product_candidate(
        f"A product with {product.bits} sign planes in groups of {product.group_size}",
        "lut.h",
        _parts(product),
        f"""kw::lut::product<{numbers}>(
      x, codes, alpha, {offset}, {bias}, out, m, n, depth, workspace, kw::max_threads(), activation);""",
        group_size=product.group_size,
        activation=product.activation,
        workspace=_tables(product.columns, product.group_size, 1),
        label="lut",
    )


def looks_up(product: Product) -> bool:
    """Whether :func:`counts_candidate` takes it: integers of 1 or 2 bits, in groups of whole chunks."""
    return product.type.kind in ("int", "uint") and product.bits <= 2 and product.group_size % CHUNK == 0


def counts_candidate(product: Product) -> Candidate:
    """A product with integers of 1 or 2 bits by tables: a rival of the same task's kernel that multiplies."""
    offset = "offset" if product.has_offset else f"static_cast<const {CPP[product.scales]}*>(nullptr)"
    bias = "bias" if product.has_bias else f"static_cast<const {CPP[product.dtype]}*>(nullptr)"
    return product_candidate(
        f"A product with {product.kind} weights in groups of {product.group_size} by tables",
        "lut.h",
        parts(product),
        f"""kw::lut::counts<Code, {product.group_size}, {str(product.has_offset).lower()}>(
      x, codes, scale, {offset}, {bias}, out, m, n, depth, workspace, kw::max_threads(), activation);""",
        before=_code(product.type),
        group_size=product.group_size,
        activation=product.activation,
        workspace=f"{_workspace(product)}+{_tables(product.columns, product.group_size, product.bits)}",
        label="lut",
    )


def _signs(codes: torch.Tensor) -> torch.Tensor:
    """The bits of :func:`tile_binary`'s codes: ``uint8``, ``[bits, 16 * tiles, K]``."""
    words = codes.unflatten(3, (ROWS, CHUNK // 8)).permute(2, 0, 3, 1, 4).flatten(1, 2).flatten(2)
    return unpack(words.contiguous(), 1, 8 * words.shape[2])


def _tables(depth: int, group_size: int, vectors: int) -> int:
    """Bytes of the tables of a row (``Row`` and ``row_at`` in kw/lut_tables.h)."""
    return depth // CHUNK * (512 * vectors + 8) + 4 * (depth // group_size)


def _parts(product: LutProduct) -> list[Part]:
    tiles, groups, bits = -(-product.rows // ROWS), product.columns // product.group_size, product.bits
    counted = ("tiles", "groups", str(ROWS))
    made = [
        Part("x", product.dtype, ("m", product.columns), ("m", "depth")),
        Part(
            "codes", torch.uint8, (tiles, product.columns // CHUNK, bits, 64),
            ("tiles", f"depth / {CHUNK}", str(bits), "64"),
        ),
        Part("alpha", product.scales, (tiles, groups, bits, ROWS), ("tiles", "groups", str(bits), str(ROWS))),
    ]  # fmt: skip
    if product.has_offset:
        made.append(Part("offset", product.scales, (tiles, groups, ROWS), counted))
    if product.has_bias:
        made.append(Part("bias", product.dtype, (product.rows,), ("n",)))
    return [*made, Part("out", product.dtype, ("m", product.rows), ("m", "n"))]
