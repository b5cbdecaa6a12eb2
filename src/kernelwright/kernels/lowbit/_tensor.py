"""A matrix of low-bit weights: packed codes, and the scales and offsets of their groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ...errors import LowBitInvalid
from ._pack import pack, packed_size, unpack
from ._types import LowBitType, dt


def check_groups(shape: Sequence[int], group_size: int) -> None:
    """Raise ``LowBitInvalid`` unless the matrix has elements and its rows fall into whole groups."""
    if len(shape) != 2 or 0 in shape:
        raise LowBitInvalid(f"the weight has shape {tuple(shape)}; it is a matrix of at least one row and one column.")
    if group_size < 1 or shape[1] % group_size:
        raise LowBitInvalid(f"group_size is {group_size}, which does not divide the {shape[1]} inputs of a row.")


@dataclass(frozen=True)
class QuantTensor:
    """``weight[n, k] = scale[n, g] * value(code[n, k]) + offset[n, g]`` with ``g = k // group_size``; ``[N, K]``.

    ``packed`` holds the codes row by row (``uint8``, ``[N, ceil(K * bits / 8)]``, see :func:`pack`); ``scale`` is
    ``[N, K / group_size]`` of a floating type, ``offset`` likewise, or None where it is zero. A group spans the whole
    row where ``group_size == K`` (per-channel). Rows are outputs, as in ``torch.nn.Linear``.

    Formats with a zero point mean ``scale * (code - zero)``, those with a minimum ``scale * code + minimum``: an offset
    says both exactly (:meth:`zero_points` gives it back as the former).

    Raises ``LowBitInvalid`` when the parts do not fit one another or a scale is not finite.
    """

    packed: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor | None
    kind: LowBitType
    shape: tuple[int, int]
    group_size: int

    def __post_init__(self) -> None:
        rows, columns = self.shape
        check_groups(self.shape, self.group_size)
        groups = (rows, columns // self.group_size)
        want = (rows, packed_size(columns, self.kind.bits))
        if self.packed.dtype != torch.uint8 or tuple(self.packed.shape) != want:
            raise LowBitInvalid(
                f"packed is {self.packed.dtype} of shape {tuple(self.packed.shape)}; "
                f"{rows} rows of {columns} {self.kind.name} codes are torch.uint8 of shape {want}."
            )
        for name, part in (("scale", self.scale), ("offset", self.offset)):
            if part is None:
                continue
            if not part.is_floating_point() or tuple(part.shape) != groups:
                raise LowBitInvalid(
                    f"{name} is {part.dtype} of shape {tuple(part.shape)}; it must be floating, {groups}."
                )
            if not part.isfinite().all():
                raise LowBitInvalid(f"{name} holds NaN or infinity; every group needs a finite one.")

    @property
    def bits_per_weight(self) -> float:
        """Bits stored for each weight, scales and offsets included."""
        parts = [self.packed, self.scale, *([] if self.offset is None else [self.offset])]
        return 8 * sum(part.numel() * part.element_size() for part in parts) / (self.shape[0] * self.shape[1])

    def codes(self) -> torch.Tensor:
        """The codes, one a byte: ``uint8``, ``[N, K]``."""
        return unpack(self.packed, self.kind.bits, self.shape[1])

    def dequantize(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The matrix that is meant: ``[N, K]``; computed in float32 (float64 for float64) and rounded once."""
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        codes = self.kind.decode(self.codes(), wide)
        total = codes.view(len(codes), -1, self.group_size) * self.scale.to(wide)[..., None]
        if self.offset is not None:
            total = total + self.offset.to(wide)[..., None]
        return total.view(self.shape).to(dtype)

    def zero_points(self) -> torch.Tensor:
        """The value that stands for 0 in each group, ``-offset / scale``: float64, ``[N, K / group_size]``."""
        scale = self.scale.double()
        return torch.zeros_like(scale) if self.offset is None else -self.offset.double() / scale

    def to(self, device: torch.device | str) -> QuantTensor:
        """The same on another device."""
        offset = None if self.offset is None else self.offset.to(device)
        return replace(self, packed=self.packed.to(device), scale=self.scale.to(device), offset=offset)

    @staticmethod
    def of_codes(
        codes: torch.Tensor,
        scale: torch.Tensor,
        offset: torch.Tensor | None = None,
        kind: LowBitType | str = "u4",
        group_size: int | None = None,
    ) -> QuantTensor:
        """From codes one a byte, ``[N, K]``; ``group_size`` None is what the shape of ``scale`` says.

        >>> codes = torch.tensor([[8, 9]], dtype=torch.uint8)
        >>> QuantTensor.of_codes(codes, torch.ones(1, 1), torch.full((1, 1), -8.0)).dequantize().tolist()
        [[0.0, 1.0]]
        """
        kind = dt(kind) if isinstance(kind, str) else kind
        if codes.ndim != 2 or scale.ndim != 2 or 0 in scale.shape:
            raise LowBitInvalid(
                f"codes have shape {tuple(codes.shape)} and scale {tuple(scale.shape)}; both are [N, ...]."
            )
        size = group_size or max(codes.shape[1] // scale.shape[1], 1)
        kind.decode(codes[:0])  # the dtype
        return QuantTensor(pack(codes, kind.bits), scale, offset, kind, (codes.shape[0], codes.shape[1]), size)


@dataclass(frozen=True)
class BinaryTensor:
    """Binary coding: ``weight[n, k] = sum_i alpha[i, n, g] * b_i[n, k] + offset[n, g]``, ``b`` = ±1.

    ``planes`` holds a bit for each b (1 is +1): ``uint8``, ``[q, N, ceil(K / 8)]``; ``alpha`` is ``[q, N, K / group]``,
    ``offset`` ``[N, K / group]`` or None. Source: LUT-GEMM (arXiv 2206.09557), equation 2 with the offset of section 3.

    Raises ``LowBitInvalid`` when the parts do not fit one another or are not finite.
    """

    planes: torch.Tensor
    alpha: torch.Tensor
    offset: torch.Tensor | None
    shape: tuple[int, int]
    group_size: int

    def __post_init__(self) -> None:
        rows, columns = self.shape
        check_groups(self.shape, self.group_size)
        count, groups = self.planes.shape[0], columns // self.group_size
        if not 1 <= count <= 8:
            raise LowBitInvalid(f"planes are {count} sign planes; a weight has 1 to 8.")
        want = {
            "planes": (self.planes, (count, rows, packed_size(columns, 1))),
            "alpha": (self.alpha, (count, rows, groups)),
            "offset": (self.offset, (rows, groups)),
        }
        for name, (part, shape) in want.items():
            if part is not None and tuple(part.shape) != shape:
                raise LowBitInvalid(
                    f"{name} has shape {tuple(part.shape)}; for {rows} rows of {columns} it is {shape}."
                )
            if part is None or name == "planes":
                continue
            if not part.is_floating_point():
                raise LowBitInvalid(f"{name} is {part.dtype}; scales and offsets are floating.")
            if not part.isfinite().all():
                raise LowBitInvalid(f"{name} holds NaN or infinity; every group needs finite ones.")
        if self.planes.dtype != torch.uint8:
            raise LowBitInvalid(f"planes are {self.planes.dtype}; bits are packed in torch.uint8.")

    @property
    def bits(self) -> int:
        """How many planes there are."""
        return self.planes.shape[0]

    def dequantize(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The matrix that is meant: ``[N, K]``."""
        signs = 2 * unpack(self.planes, 1, self.shape[1]).to(dtype) - 1
        grouped = signs.unflatten(2, (-1, self.group_size))
        total = (grouped * self.alpha.to(dtype)[..., None]).sum(0)
        if self.offset is not None:
            total = total + self.offset.to(dtype)[..., None]
        return total.flatten(1)


def to_binary(weight: QuantTensor) -> BinaryTensor:
    """An integer tensor as binary coding, exactly: ``alpha_i = s 2**(i-1)``, the offset moves by ``s (2**q - 1) / 2``.

    Signs are one plane as they are. Source: LUT-GEMM (arXiv 2206.09557), equations 9-11. Raises ``LowBitInvalid`` for
    small floats.
    """
    if weight.kind.kind == "sign":
        return BinaryTensor(weight.packed[None], weight.scale[None], weight.offset, weight.shape, weight.group_size)
    if weight.kind.kind not in ("int", "uint"):
        raise LowBitInvalid(f"the weight's type is {weight.kind.name}; only integers are sums of equally spaced bits.")
    bits = weight.kind.bits
    codes = weight.codes()
    offset = torch.zeros_like(weight.scale) if weight.offset is None else weight.offset
    middle = (2**bits - 1) / 2
    if weight.kind.kind == "int":  # two's complement with its top bit turned over counts from the lowest value
        codes, middle = codes ^ (1 << (bits - 1)), -0.5
    planes = torch.stack([pack((codes >> bit) & 1, 1) for bit in range(bits)])
    alpha = torch.stack([weight.scale * 2.0 ** (bit - 1) for bit in range(bits)])
    return BinaryTensor(planes, alpha, offset + weight.scale * middle, weight.shape, weight.group_size)
