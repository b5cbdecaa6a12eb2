"""From float weights to codes and scales: round to nearest, half-quadratic, and GPTQ with calibration data.

All of them take a matrix ``[N, K]`` as ``torch.nn.Linear`` holds it and return a :class:`QuantTensor`. They differ in
what they make small: the error of each weight, a robust norm of it, or the error of the layer's outputs.
"""

from __future__ import annotations

import torch

from ...errors import LowBitInvalid
from ._tensor import QuantTensor, check_groups
from ._types import LowBitType, dt

_RATIOS = tuple(
    1 - step / 100 for step in range(76)
)  # MARLIN (arXiv 2408.11743): clipped to 100 % .. 25 % of the range
_HALF_QUADRATIC = (0.7, 10.0, 1.01, 20)  # p of the norm, first beta, its growth, rounds: the defaults of its authors
_BLOCK = 128


def round_to_nearest(
    weight: torch.Tensor, kind: LowBitType | str = "u4", group_size: int | None = 128, *, clip: bool = False
) -> QuantTensor:
    """Every weight becomes the nearest of its group's values.

    Unsigned integers get a zero point (the range is ``[min, max]``, widened to hold 0); the other types are symmetric:
    ``scale = max|w| / kind.max``. ``group_size`` None is one group a row. With ``clip`` the range of each group shrinks
    to the share, of 76, that gives the least squared error.

    >>> round_to_nearest(torch.tensor([[-1.0, 0.0, 0.5, 2.0]]), "u2", None).dequantize().tolist()
    [[-1.0, 0.0, 0.0, 2.0]]
    """
    kind, size = _plan(weight, kind, group_size)
    groups = _grouped(weight, size)
    scale, zero = _scales(groups, kind)
    if clip:
        scale, zero = _clipped(groups, kind, torch.ones_like(groups))
    codes = _codes(groups, scale, zero, kind).reshape(weight.shape)
    return QuantTensor.of_codes(codes, scale, _offset(scale, zero), kind, size)


def half_quadratic(weight: torch.Tensor, kind: LowBitType | str = "u4", group_size: int | None = 64) -> QuantTensor:
    """Round to nearest, then zero points moved so that few large errors count less than many small ones.

    Minimises ``|W - dequantize(W)|_p^p``, p = 0.7, by half-quadratic splitting: shrink the error, solve for the zero
    point, repeat while it helps. Needs no data. Source: Half-Quadratic Quantization (Badri and Shaji, 2023), equations
    3 to 8. Raises ``LowBitInvalid`` for a type without a zero point (any but unsigned integers).
    """
    kind, size = _plan(weight, kind, group_size)
    if kind.kind != "uint":
        raise LowBitInvalid(f"dtype is {kind.name}, which has no zero point to move: half-quadratic takes u1 to u8.")
    groups = _grouped(weight, size)
    scale, first = _scales(groups, kind)
    assert first is not None
    power, beta, growth, rounds = _HALF_QUADRATIC
    zero, best, least = first, first, float("inf")
    for _ in range(rounds):
        values = _codes(groups, scale, zero, kind).float()
        error = groups - scale[..., None] * (values - zero[..., None])
        cost = float(error.abs().mean())
        if cost >= least:
            break
        best, least = zero, cost
        shrunk = error.sign() * (error.abs() - error.abs().clamp(min=1e-8) ** (power - 1) / beta).clamp(min=0)
        zero = (values - (groups - shrunk) / scale[..., None]).mean(-1)
        beta *= growth
    codes = _codes(groups, scale, best, kind).reshape(weight.shape)
    return QuantTensor.of_codes(codes, scale, _offset(scale, best), kind, size)


def gptq(
    weight: torch.Tensor,
    inputs: torch.Tensor,
    kind: LowBitType | str = "u4",
    group_size: int | None = 128,
    *,
    damp: float = 0.1,
    clip: bool = True,
) -> QuantTensor:
    """Column by column, what rounding did wrong is made up for by the columns still to come.

    ``inputs`` is what the layer sees, ``[..., K]`` (a few hundred vectors or more); minimised is
    ``|(W - Q) inputs|^2``. ``damp`` times the mean of the Hessian's diagonal is added to it. Ranges are searched as in
    :func:`round_to_nearest` with ``clip``. Source: GPTQ (arXiv 2210.17323), algorithm 1, with the clipping of MARLIN
    (arXiv 2408.11743). Raises ``LowBitInvalid`` when the inputs do not fit the weight or are not finite.
    """
    kind, size = _plan(weight, kind, group_size)
    rows, columns = weight.shape
    if inputs.shape[-1] != columns or inputs.numel() == 0 or not inputs.isfinite().all():
        raise LowBitInvalid(f"inputs have shape {tuple(inputs.shape)}; finite vectors of {columns} values are needed.")
    upper = _inverse_factor(inputs.detach().reshape(-1, columns).double(), damp).to(torch.float32)
    left = weight.detach().float().clone()
    codes = torch.empty(rows, columns, dtype=torch.uint8, device=weight.device)
    scales: list[torch.Tensor] = []
    zeros: list[torch.Tensor | None] = []
    for begin in range(0, columns, _BLOCK):
        end = min(begin + _BLOCK, columns)
        errors = torch.empty(rows, end - begin, device=weight.device)
        for column in range(begin, end):
            if column % size == 0:
                group = left[:, None, column : column + size]  # what later blocks owe it is still missing: as in GPTQ
                importance = 1.0 / upper.diagonal()[column : column + size].square()
                scale, zero = _clipped(group, kind, importance) if clip else _scales(group, kind)
                scales.append(scale)
                zeros.append(zero)
            code = _codes(left[:, None, column : column + 1], scales[-1], zeros[-1], kind)
            codes[:, column] = code[:, 0, 0]
            error = (left[:, column] - _meant(code, scales[-1], zeros[-1], kind)[:, 0, 0]) / upper[column, column]
            left[:, column:end] -= error[:, None] * upper[column, column:end]
            errors[:, column - begin] = error
        left[:, end:] -= errors @ upper[begin:end, end:]
    points = [zero for zero in zeros if zero is not None]
    scale = torch.cat(scales, 1)
    return QuantTensor.of_codes(codes, scale, _offset(scale, torch.cat(points, 1) if points else None), kind, size)


def _plan(weight: torch.Tensor, kind: LowBitType | str, group_size: int | None) -> tuple[LowBitType, int]:
    """The type and the size of a group, after looking at the arguments."""
    kind = dt(kind) if isinstance(kind, str) else kind
    if weight.ndim != 2 or not weight.is_floating_point():
        raise LowBitInvalid(f"weight is {weight.dtype} of shape {tuple(weight.shape)}; a floating matrix is quantised.")
    if not weight.isfinite().all():
        raise LowBitInvalid("weight holds NaN or infinity; only finite weights can be quantised.")
    if kind.name in ("i1", "sign"):
        better = "binary coding (binary_code) gives one bit its two values" if kind.name == "i1" else "use binary_code"
        raise LowBitInvalid(f"dtype is {kind.name}, whose range has no symmetric scale: {better}.")
    size = weight.shape[1] if group_size is None else group_size
    check_groups(weight.shape, size)
    return kind, size


def _grouped(weight: torch.Tensor, size: int) -> torch.Tensor:
    return weight.detach().float().reshape(len(weight), -1, size)


def _scales(groups: torch.Tensor, kind: LowBitType, ratio: float = 1.0) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Scale and zero point of each group of the last axis. A group of zeros has scale 1."""
    if kind.kind == "uint":
        low, high = (groups.amin(-1) * ratio).clamp(max=0), (groups.amax(-1) * ratio).clamp(min=0)
        scale = _above_zero((high - low) / kind.max)
        return scale, (-low / scale).round()
    return _above_zero(groups.abs().amax(-1) * ratio / kind.max), None


def _above_zero(scale: torch.Tensor) -> torch.Tensor:
    return torch.where(scale > torch.finfo(scale.dtype).tiny, scale, 1.0)


def _clipped(
    groups: torch.Tensor, kind: LowBitType, importance: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The scales, of 76 shares of the range, with the least squared error, each weight's counted by its importance."""
    scale, zero = _scales(groups, kind)
    least = torch.full_like(scale, torch.inf)
    for ratio in _RATIOS:
        tried, point = _scales(groups, kind, ratio)
        error = _meant(_codes(groups, tried, point, kind), tried, point, kind) - groups
        cost = (error.square() * importance).sum(-1)
        better = cost < least
        least = torch.where(better, cost, least)
        scale = torch.where(better, tried, scale)
        if zero is not None and point is not None:
            zero = torch.where(better, point, zero)
    return scale, zero


def _offset(scale: torch.Tensor, zero: torch.Tensor | None) -> torch.Tensor | None:
    return None if zero is None else -scale * zero


def _codes(groups: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None, kind: LowBitType) -> torch.Tensor:
    scaled = groups / scale[..., None]
    if zero is not None:
        scaled = scaled + zero[..., None]
    return kind.encode(scaled)


def _meant(codes: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None, kind: LowBitType) -> torch.Tensor:
    values = kind.decode(codes)
    if zero is not None:
        values = values - zero[..., None]
    return values * scale[..., None]


def _inverse_factor(inputs: torch.Tensor, damp: float) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of the damped Hessian ``2 X'X``, in float64."""
    hessian = 2 * inputs.T @ inputs / len(inputs)
    dead = hessian.diagonal() == 0  # an input that is always zero: its weight does not matter
    hessian.diagonal()[dead] = 1.0
    hessian.diagonal().add_(damp * float(hessian.diagonal().mean()))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    return torch.linalg.cholesky(inverse, upper=True)
