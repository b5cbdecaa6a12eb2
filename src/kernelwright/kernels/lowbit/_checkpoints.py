"""Checkpoints that users have: the int32 words of GPTQ and AWQ, and plain codes with zero points (torchao's form).

Both word formats hold the transposed matrix (``[K, N]``) and four-bit (GPTQ: 2, 4 or 8-bit) codes with integer zero
points; they differ in the axis that is packed and in the order within a word.
"""

from __future__ import annotations

import torch

from ...errors import LowBitInvalid
from ._tensor import QuantTensor
from ._types import LowBitType, dt

_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # nibble i of a word holds column _AWQ_ORDER[i] of its eight


def from_affine(
    codes: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor | None, kind: LowBitType | str = "u4"
) -> QuantTensor:
    """``weight = (code - zero_point) * scale``: codes ``[N, K]`` (any integer dtype), the others ``[N, K / group]``.

    This is the form of torchao's affine quantised tensors and of ONNX. Signed codes are taken for signed types.

    >>> from_affine(torch.tensor([[0, 3]]), torch.ones(1, 1), torch.tensor([[1]]), "u2").dequantize().tolist()
    [[-1.0, 2.0]]
    """
    kind = dt(kind) if isinstance(kind, str) else kind
    if codes.is_floating_point() or kind.kind not in ("int", "uint"):
        raise LowBitInvalid(f"codes are {codes.dtype} for {kind.name}; affine codes are integers of an integer type.")
    if codes.numel() and not kind.min <= int(codes.min()) <= int(codes.max()) <= kind.max:
        raise LowBitInvalid(f"codes reach from {int(codes.min())} to {int(codes.max())}, outside of {kind.name}.")
    bits = (codes.long() & (2**kind.bits - 1)).to(torch.uint8)
    return QuantTensor.of_codes(bits, scale, None if zero_point is None else -scale * zero_point.to(scale.dtype), kind)


def from_gptq(
    qweight: torch.Tensor,
    qzeros: torch.Tensor,
    scales: torch.Tensor,
    g_idx: torch.Tensor | None = None,
    *,
    bits: int = 4,
    zeros_are_less_one: bool = True,
) -> QuantTensor:
    """A GPTQ layer: ``qweight`` int32 ``[K * bits / 32, N]``, ``qzeros`` int32 ``[K / g, N * bits / 32]``, ``scales``.

    ``zeros_are_less_one``: the first version of the format stores ``zero - 1``. ``g_idx`` must be in order (a
    checkpoint with reordered columns is refused: ``desc_act=False`` makes one without).
    """
    if bits not in (2, 4, 8):
        raise LowBitInvalid(f"bits is {bits}; GPTQ words hold 2, 4 or 8-bit codes here.")
    _check_words(qweight, qzeros, scales)
    codes = _from_words(qweight.T, bits)  # [N, K]
    zeros = _from_words(qzeros, bits).T.float() + zeros_are_less_one
    rows, columns = codes.shape
    _check_parts(scales, zeros, rows, columns)
    size = columns // scales.shape[0]
    if g_idx is not None and not torch.equal(g_idx.long().cpu(), torch.arange(columns) // size):
        raise LowBitInvalid("g_idx reorders the columns (desc_act=True); only checkpoints in order are read.")
    return _joined(codes, scales, zeros, f"u{bits}")


def to_gptq(weight: QuantTensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``qweight``, ``qzeros`` (less one) and ``scales`` (float16) of an unsigned type with integer zero points."""
    bits = weight.kind.bits
    zeros = _integer_zeros(weight, (2, 4, 8)) - 1
    return (
        _to_words(weight.codes(), bits).T.contiguous(),
        _to_words(zeros.T & (2**bits - 1), bits),
        weight.scale.T.half().contiguous(),
    )


def from_awq(qweight: torch.Tensor, qzeros: torch.Tensor, scales: torch.Tensor) -> QuantTensor:
    """An AWQ layer: int32 ``qweight`` ``[K, N / 8]``, ``qzeros`` ``[K / g, N / 8]``; ``scales`` ``[K / g, N]``."""
    _check_words(qweight, qzeros, scales)
    codes, zeros = (_from_words(words, 4)[:, _awq_columns(words.shape[1] * 8, True)] for words in (qweight, qzeros))
    _check_parts(scales, zeros.T, codes.shape[1], codes.shape[0])
    return _joined(codes.T, scales, zeros.T.float(), "u4")


def to_awq(weight: QuantTensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``qweight``, ``qzeros`` and ``scales`` (float16) of a ``u4`` tensor with integer zero points."""
    zeros = _integer_zeros(weight, (4,)).T
    order = _awq_columns(weight.shape[0], False)
    words = _to_words(weight.codes().T[:, order], 4)
    return words, _to_words(zeros[:, order], 4), weight.scale.T.half().contiguous()


def _awq_columns(count: int, inverse: bool) -> torch.Tensor:
    order = torch.tensor(_AWQ_ORDER)
    order = order.argsort() if inverse else order
    return (8 * torch.arange(count // 8)[:, None] + order).flatten()


def _from_words(words: torch.Tensor, bits: int) -> torch.Tensor:
    """int32 words to the codes in them along the last axis, lowest bits first: uint8."""
    spread = words[..., None].long() >> bits * torch.arange(32 // bits, device=words.device)
    return (spread & (2**bits - 1)).to(torch.uint8).flatten(-2)


def _to_words(codes: torch.Tensor, bits: int) -> torch.Tensor:
    each = 32 // bits
    if codes.shape[-1] % each:
        raise LowBitInvalid(f"an axis of {codes.shape[-1]} codes does not fill int32 words of {each}.")
    grouped = codes.unflatten(-1, (-1, each)).long()
    return (grouped << bits * torch.arange(each, device=codes.device)).sum(-1).to(torch.int32).contiguous()


def _joined(codes: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor, kind: str) -> QuantTensor:
    scale = scales.T.float().contiguous()
    return QuantTensor.of_codes(codes.contiguous(), scale, -scale * zeros, kind)


def _integer_zeros(weight: QuantTensor, widths: tuple[int, ...]) -> torch.Tensor:
    if weight.kind.kind != "uint" or weight.kind.bits not in widths:
        raise LowBitInvalid(
            f"the weight's type is {weight.kind.name}; this format holds unsigned codes of {widths} bits."
        )
    zeros = weight.zero_points()
    whole = zeros.round()
    if bool(((zeros - whole).abs() > 1e-3).any()) or bool(((whole < 0) | (whole > weight.kind.max)).any()):
        raise LowBitInvalid("the weight's zero points are no codes; this format holds integer zero points alone.")
    return whole.long()


def _check_words(qweight: torch.Tensor, qzeros: torch.Tensor, scales: torch.Tensor) -> None:
    for name, words in (("qweight", qweight), ("qzeros", qzeros)):
        if words.dtype != torch.int32 or words.ndim != 2 or words.numel() == 0:
            raise LowBitInvalid(
                f"{name} is {words.dtype} of shape {tuple(words.shape)}; it is a matrix of int32 words."
            )
    if not scales.is_floating_point() or scales.ndim != 2:
        raise LowBitInvalid(f"scales are {scales.dtype} of shape {tuple(scales.shape)}; they are a floating matrix.")


def _check_parts(scales: torch.Tensor, zeros: torch.Tensor, rows: int, columns: int) -> None:
    groups = scales.shape[0]
    if tuple(scales.shape) != (groups, rows) or tuple(zeros.shape) != (rows, groups) or not groups or columns % groups:
        raise LowBitInvalid(
            f"scales have shape {tuple(scales.shape)} and there are zero points for {tuple(zeros.shape)[::-1]}; "
            f"a matrix of {columns} inputs and {rows} outputs has (groups, {rows}) of both."
        )
