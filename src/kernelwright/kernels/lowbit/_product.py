"""The family's operation: ``activation(x @ W.T + bias)`` for a matrix of low-bit weights in tiles.

Held together here: what it means (:class:`Product`, the reference), and the C++ that computes it. One source serves
every size: what the template must know are the values that codes stand for, the group size and the types.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ...targets.plan import Candidate
from ._entry import ACTIVATIONS, CPP, Part, check_activation, check_floats, product_candidate
from ._tiles import CHUNK, ROWS, TiledWeight, untiled, zero_code
from ._types import LowBitType, dt


@dataclass(frozen=True)
class Product:
    """One product as a plain callable on ``(x, codes, scale[, offset][, bias])``: the task's reference.

    ``x`` is ``[M, K]`` of ``dtype``, the weight's parts are :class:`TiledWeight`'s; the result is ``[M, rows]`` of
    ``dtype``. Computed in float32 (float64 when the parts are float64) as anybody would: dequantise, then multiply.
    """

    kind: str
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

    @property
    def type(self) -> LowBitType:
        """The weight's type."""
        return dt(self.kind)

    @property
    def bits(self) -> int:
        """Bits of a weight."""
        return self.type.bits

    @staticmethod
    def of(weight: TiledWeight, dtype: torch.dtype, has_bias: bool, activation: str | None) -> Product:
        """The product of a weight with activations of ``dtype``."""
        return Product(
            weight.kind.name, weight.group_size, *weight.shape,
            dtype=dtype, scales=weight.scale.dtype, has_offset=weight.offset is not None, has_bias=has_bias,
            activation=activation,
        )  # fmt: skip

    def __call__(self, x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        rest = list(more)
        wide = torch.float64 if torch.float64 in (x.dtype, scale.dtype) else torch.float32
        plain = untiled(codes, self.bits)
        values = self.type.decode(plain, wide) if self.type.kind == "float" else plain.to(wide) - zero_code(self.type)
        weight = values.unflatten(1, (-1, self.group_size)) * _by_row(scale.to(wide))
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

    def example(self, rows: int) -> tuple[torch.Tensor, ...]:
        """Arguments of the right shapes, the same each time; a judge draws its own values."""
        generator = torch.Generator().manual_seed(0)
        groups = (-(-self.rows // ROWS), self.columns // self.group_size, ROWS)
        codes = _any_codes(self.type, (groups[0], self.columns // CHUNK, self.bits, 64), generator)
        scale = torch.rand(groups, generator=generator).add(0.5).to(self.scales)
        offset = torch.randn(groups, generator=generator).to(self.scales) if self.has_offset else None
        weight = TiledWeight(codes, scale, offset, self.type, (self.rows, self.columns), self.group_size)
        x = torch.randn(rows, self.columns, generator=generator).to(self.dtype)
        bias = torch.randn(self.rows, generator=generator).to(self.dtype) if self.has_bias else None
        return self.arguments(x, weight, bias)


def _any_codes(kind: LowBitType, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Bytes of codes in tiles that stand for finite values, also when a judge has put them into another order."""
    made = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    finite = kind.values().isfinite()
    if bool(finite.all()):
        return made
    if kind.bits < 8:
        return made & 0xDD  # without bit 1 of every half byte, which all such codes of e5m1 have
    fine = finite.nonzero()[:, 0].to(torch.uint8)
    return fine[made.long() % len(fine)]


def _by_row(part: torch.Tensor) -> torch.Tensor:
    """``[tiles, groups, 16]`` as ``[16 * tiles, groups, 1]``."""
    return part.mT.reshape(-1, part.shape[1], 1)


def candidate(product: Product) -> Candidate:
    """The product as C++ with its launch plan, for 1 to 512 rows of activations."""
    offset = "offset" if product.has_offset else f"static_cast<const {CPP[product.scales]}*>(nullptr)"
    bias = "bias" if product.has_bias else f"static_cast<const {CPP[product.dtype]}*>(nullptr)"
    return product_candidate(
        f"A product with {product.kind} weights in groups of {product.group_size}",
        "lowbit.h",
        parts(product),
        f"""kw::lowbit::product<Code, {product.group_size}, {str(product.has_offset).lower()}>(
      x, codes, scale, {offset}, {bias}, out, m, n, depth, workspace, kw::max_threads(), activation);""",
        before=_code(product.type),
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
    """Bytes for ``m`` rows: ``Row`` and ``row_bytes`` in kw/lowbit.h, which need more than those of lowbit_lookup.h."""
    depth = product.columns
    return f"m*{48 + 4 * (depth + depth // CHUNK * 6 + depth // product.group_size)}"


def _code(kind: LowBitType) -> str:
    """The type as ``kw/lowbit_codes.h`` wants it."""
    counted = kind.kind != "float"
    values = torch.arange(2.0**kind.bits) - zero_code(kind) if counted else kind.values()
    found = (zero_code(kind), 1.0) if counted else _levels(values)
    zero, unit = found or (0, 2.0 ** math.floor(math.log2(kind.max)))  # tables hold values around one
    return f"""
struct Code {{
  static constexpr int BITS = {kind.bits}, ZERO = {zero};
  static constexpr bool COUNTED = {str(counted).lower()}, LEVELS = {str(found is not None).lower()};
  static constexpr float UNIT = {unit}f;
  static constexpr float VALUES[] = {{{", ".join(map(_number, values.tolist()))}}};
}};
"""


def _levels(values: torch.Tensor) -> tuple[int, float] | None:
    """``zero`` and ``unit`` such that values are ``unit * (byte - zero)``; None where bytes do not reach."""
    unit = float(values[values > 0].min())
    levels = values / unit
    if not bool((levels == levels.round()).all()) or float(levels.max() - levels.min()) > 255:
        return None
    return -int(levels.min()), unit


def _number(value: float) -> str:
    return '__builtin_nanf("")' if value != value else f"{value}f".replace("inff", "__builtin_inff()")
