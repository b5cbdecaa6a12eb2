"""How wrong may an element be? A bound for each one, from the arithmetic that the reference itself implies.

For an output ``y`` (float64 oracle), the same reference run in its own precision (``eager``) and in float64 on inputs
and weights whose elements were perturbed by relative noise of size ``a`` (``perturbed``), an element may be off by

    eps_out * c |y|                    rounding of the stored result
  + eps (4 + 0.06 sqrt(n)) |y|         a chain of roundings, and partial sums of n terms in at least 16 lanes
  + 2 eps rms(y along its row)         cancellation that no consumer of the row can see
  + k max(|eager - y|)                 honest arithmetic is of the order of the reference's own error
  + 2 max(|perturbed - y|)             conditioning: a backward-stable algorithm solves a problem this near
  + the smallest normal number         flushing to zero

(the conditioning only where an answer would be wrong without it, for it costs runs of the reference),
where ``n`` is the longest reduction in the reference, ``a = 2 eps max(1, sqrt(n)/4)`` is the random walk of a
sequential sum (relative to one product), and the maxima run over blocks of 16 neighbours, for a single sample can be
small by chance (see :func:`_typical` for rows that are). ``eps`` is that of the arithmetic (float32 for the half
types), ``eps_out`` that of the stored dtype.

Missing terms, missing tails and tf32-like truncation exceed this by orders of magnitude: a product lost from a sum of
n terms shows as ~1 against ~1e-7 n, tf32 as ~5e-4 sqrt(n) against ~4e-7 n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

_BLOCK = 16
_TILE = 1 << 15  # elements: as many as torch hands to one thread, for to wake another costs more than it saves
_EAGER_FACTOR = {torch.float16: 3.0, torch.bfloat16: 3.0}
_EAGER_FACTOR_DEFAULT = 6.0
_LOOSE = 1e-2  # relative error where the reference itself overflows and so proves little


@dataclass(frozen=True)
class Expected:
    """The truth about one output tensor: ``value`` exact (float64, or integers), ``bound`` per element (None: exact).

    ``free`` marks elements about which the reference contradicts itself (float64 against its own precision, or a tie
    that noise of one rounding decides): there any of its own answers will do. ``finite``: nothing in any of the
    reference's answers is NaN or infinite, so that nothing is free.
    """

    value: torch.Tensor
    eager: torch.Tensor
    bound: torch.Tensor | None
    free: torch.Tensor | None
    finite: bool = False


@dataclass(frozen=True)
class Comparison:
    """``error`` in units of the bound (<= 1 passes), ``compared`` elements, and what failed."""

    error: float
    compared: int
    category: str = ""
    detail: str = ""


def work_eps(dtype: torch.dtype) -> float:
    """Rounding unit of the arithmetic for tensors stored as ``dtype``."""
    real = dtype.to_real() if dtype.is_complex else dtype
    return torch.finfo(torch.float64 if real == torch.float64 else torch.float32).eps


def amplitude(dtype: torch.dtype, length: int) -> float:
    """Relative size of the perturbation for :func:`expect`."""
    return 2.0 * work_eps(dtype) * max(1.0, 0.25 * math.sqrt(length))


def rounding_share(dtype: torch.dtype, length: int) -> float:
    """What rounding alone may do to an element, relative to it: a chain of them, partial sums, the stored dtype."""
    info = torch.finfo(dtype)
    return work_eps(dtype) * (4.0 + 0.06 * math.sqrt(length)) + (info.eps if info.bits < 32 else 0.0)


def expect(value: torch.Tensor, eager: torch.Tensor, perturbed: Sequence[torch.Tensor], length: int) -> Expected:
    """Bound of every element of an output; ``length`` is the longest reduction in the reference."""
    value, eager, perturbed = real_view(value), real_view(eager), [real_view(p) for p in perturbed]
    if not eager.is_floating_point():
        ties = value != eager
        for other in perturbed:
            ties |= value != other
        return Expected(value, eager, None, ties)
    value = value.double()
    finite = _all_finite(value, eager.dtype) and all(_all_finite(t, eager.dtype) for t in (eager, *perturbed))
    free = None if finite else _kind(value.to(eager.dtype)) != _kind(eager)
    if free is not None:
        for other in perturbed:
            free |= _kind(other.to(eager.dtype)) != _kind(value.to(eager.dtype))
    bound = torch.empty(value.shape, dtype=torch.float64)
    eps, info = work_eps(eager.dtype), torch.finfo(eager.dtype)
    relative = rounding_share(eager.dtype, length)
    factor = _EAGER_FACTOR.get(eager.dtype, _EAGER_FACTOR_DEFAULT)
    size = value if finite else torch.where(torch.isfinite(value.to(eager.dtype)), value, 0.0)
    floor = _row_rms(size).mul_(2.0 * eps).add_(info.tiny)
    for out, mine, its, low, exact, *others in tiles(bound, size, eager, floor, value, *perturbed):
        mine = mine.abs()
        own = _typical(_difference(its, exact), mine).mul_(factor)
        if others:
            own.add_(_typical(_spread(others, exact), mine), alpha=2.0)
        torch.add(own.add_(mine, alpha=relative), low, out=out)
    return Expected(value, eager, bound, free, finite)


def widen(expected: Expected, more: Sequence[torch.Tensor]) -> Expected:
    """The same truth with what further runs of the reference, each off by honest rounding, say about its bound."""
    value, eager = expected.value, expected.eager
    more = [real_view(m) for m in more]
    if expected.bound is None:
        ties = expected.free.clone() if expected.free is not None else torch.zeros_like(value, dtype=torch.bool)
        for other in more:
            ties |= value != other
        return Expected(value, eager, None, ties)
    finite = expected.finite and all(_all_finite(m, eager.dtype) for m in more)
    free = expected.free
    if not finite:
        stored = _kind(value.to(eager.dtype))
        free = free.clone() if free is not None else torch.zeros(value.shape, dtype=torch.bool)
        for other in more:
            free |= _kind(other.to(eager.dtype)) != stored
    bound = torch.empty_like(expected.bound)
    for out, old, exact, *others in tiles(bound, expected.bound, value, *more):
        size = exact.abs() if finite else exact.abs().nan_to_num_(nan=0.0, posinf=0.0)
        torch.maximum(old, _typical(_spread(others, exact), size).mul_(2.0), out=out)
    return Expected(value, eager, bound, free, finite)


def exceeds(expected: Expected, other: torch.Tensor, share: float) -> bool:
    """Is ``other``, a further float64 answer, anywhere off by more than a share of the bound?"""
    if expected.bound is None:
        return False
    pairs = tiles(expected.value, expected.bound, real_view(other))
    return any(bool((_difference(its, exact) > share * bound).any()) for exact, bound, its in pairs)


def compare(expected: Expected, got: torch.Tensor) -> Comparison:
    """Compare a candidate's output of the right shape and dtype with the truth."""
    if got.is_complex():
        got = torch.view_as_real(got)
    if expected.value.numel() == 0:
        return Comparison(0.0, 0)
    if expected.bound is None:
        return _compare_exact(expected, got)
    if expected.finite:
        worst = _worst(expected, got)
        if worst <= 1.0:
            return Comparison(worst, got.numel())
        wild = ~torch.isfinite(got)
        if bool(wild.any()):
            return Comparison(worst, got.numel(), "nan", _describe(wild, expected, got))
        error = _absolute(got, expected.value).div_(expected.bound)
        return Comparison(worst, got.numel(), "value", _describe(~(error <= 1.0), expected, got))
    value, stored = expected.value, expected.value.to(expected.eager.dtype)
    kind, want = _kind(got), _kind(stored)
    free = expected.free if expected.free is not None else torch.zeros_like(want, dtype=torch.bool)
    wrong_kind = (kind != want) & ~free
    if bool(wrong_kind.any()):
        return Comparison(math.inf, got.numel(), "nan", _describe(wrong_kind, expected, got))
    difference = _difference(got, value)
    # Where the reference disagrees with itself: either of its answers, no number after an overflow, or about right.
    allowed = torch.where(free, torch.maximum(expected.bound, _LOOSE * value.abs()), expected.bound)
    error = torch.where(want == 0, difference / allowed, 0.0)
    error = torch.where(free, _free_error(kind, want, _kind(expected.eager), error), error)
    worst = float(error.max())
    compared = int(got.numel() - int(free.sum()))
    if not worst <= 1.0:
        return Comparison(worst, compared, "value", _describe(~(error <= 1.0), expected, got, allowed))
    return Comparison(worst, compared)


def _worst(expected: Expected, got: torch.Tensor) -> float:
    """The largest error in units of the bound; NaN when there is one."""
    assert expected.bound is not None
    worst = 0.0
    for exact, bound, mine in tiles(expected.value, expected.bound, got):
        error = float(_absolute(mine, exact).div_(bound).max())
        if not error <= worst:
            worst = error
        if error != error:
            break
    return worst


def _compare_exact(expected: Expected, got: torch.Tensor) -> Comparison:
    wrong = (got != expected.value) & (got != expected.eager)
    free = expected.free
    compared = got.numel() if free is None else int(got.numel() - int(free.sum()))
    if free is not None:
        wrong &= ~free
    if bool(wrong.any()):
        return Comparison(math.inf, compared, "value", _describe(wrong, expected, got))
    return Comparison(0.0, compared)


def _free_error(kind: torch.Tensor, want: torch.Tensor, eager: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """The error of numbers; none for a NaN or infinity where the reference has one or the other answer or overflows."""
    lenient = (kind != 0) | ((kind == eager) & (want != 0))
    return torch.where(lenient, 0.0, torch.where(want == 0, error, math.inf))


def _kind(x: torch.Tensor) -> torch.Tensor:
    """0 finite, 1 +inf, 2 -inf, 3 NaN."""
    kind = torch.isposinf(x).to(torch.int8)
    return kind + 2 * torch.isneginf(x).to(torch.int8) + 3 * torch.isnan(x).to(torch.int8)


def _difference(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """|x - value| in float64, 0 where either is not a number."""
    return _absolute(x, value).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


def _absolute(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """|x - value| in float64, in few passes: it is memory that this costs."""
    return torch.sub(x.double(), value).abs_() if x.dtype == torch.float64 else x.double().sub_(value).abs_()


def _spread(others: Sequence[torch.Tensor], exact: torch.Tensor) -> torch.Tensor:
    spread = _difference(others[0], exact)
    for other in others[1:]:
        torch.maximum(spread, _difference(other, exact), out=spread)
    return spread


def _typical(error: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """One sample of errors made reliable: the largest of a block of neighbours in the row, or, where the row was lucky
    (its elements share one rounding, as a scan's or a softmax's do), what is usual for that block in its 16 rows,
    relative to the block's size.
    """
    rows, columns = error.shape
    if columns < _BLOCK:  # a row says too little: blocks of 16 in memory order
        padded = -error.numel() % _BLOCK
        flat = [torch.nn.functional.pad(t.reshape(1, -1), (0, padded)).view(-1, _BLOCK) for t in (error, size)]
        return _typical(*flat).reshape(-1)[: error.numel()].view(error.shape)
    worst, largest = _block_max(error), _block_max(size)
    if rows > 2:
        ratio = worst / largest.clamp_min(torch.finfo(torch.float64).tiny)
        group = _BLOCK if rows % _BLOCK == 0 else rows
        usual = ratio.view(-1, group, ratio.shape[1]).median(1, keepdim=True).values
        worst = torch.maximum(worst, (usual * largest.view(-1, group, ratio.shape[1])).view(worst.shape))
    return worst.unsqueeze(-1).expand(*worst.shape, _BLOCK).reshape(rows, -1)[:, :columns].contiguous()


def _block_max(x: torch.Tensor) -> torch.Tensor:
    """(rows, columns) to (rows, blocks of 16 columns)."""
    if x.shape[1] % _BLOCK:
        x = torch.nn.functional.pad(x, (0, -x.shape[1] % _BLOCK))
    return x.view(x.shape[0], -1, _BLOCK).amax(-1)


def _row_rms(size: torch.Tensor) -> torch.Tensor:
    """One number for each row, or for all of a tensor whose rows are short; broadcasts against ``size``."""
    if size.dim() == 0 or size.numel() == 0:
        return size.abs()
    if size.shape[-1] < _BLOCK:
        return (torch.linalg.vector_norm(size) / math.sqrt(size.numel())).expand(*size.shape[:-1], 1).clone()
    return torch.linalg.vector_norm(size, dim=-1, keepdim=True) / math.sqrt(size.shape[-1])


def tiles(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Contiguous pieces of tensors of one shape (or of one column) that stay in a core's cache while they are used.

    Passes over whole tensors would go through memory, and each temporary would be paged in anew.
    """
    shape = tensors[0].shape
    columns = shape[-1] if shape else 1
    if tensors[0].numel() == 0:
        return
    flat = [t.reshape(-1, t.shape[-1] if t.dim() else 1) for t in tensors]
    rows = flat[0].shape[0]
    height = max(1, _TILE // max(columns, 1))
    height -= height % _BLOCK if height > _BLOCK else 0  # blocks of neighbours do not cross tiles
    for r in range(0, rows, height):
        for c in range(0, columns, columns if height > 1 else _TILE):
            end = columns if height > 1 else c + _TILE
            yield tuple(t[r : r + height] if t.shape[1] < columns else t[r : r + height, c:end] for t in flat)


def real_view(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def _all_finite(x: torch.Tensor, stored: torch.dtype) -> bool:
    """Would every element be finite as ``stored``? One pass, where isfinite makes temporaries."""
    if x.numel() == 0:
        return True
    low, high = torch.aminmax(x)
    return bool(high <= torch.finfo(stored).max) and bool(low >= torch.finfo(stored).min)


def _describe(wrong: torch.Tensor, expected: Expected, got: torch.Tensor, bound: torch.Tensor | None = None) -> str:
    bound = expected.bound if bound is None else bound
    flat = int(wrong.reshape(-1).to(torch.uint8).argmax())
    # By numpy: torch's own function imports a computer algebra system first, which takes longer than most checks.
    position = [int(i) for i in np.unravel_index(flat, tuple(wrong.shape))]
    have, want = got.reshape(-1)[flat].item(), expected.value.reshape(-1)[flat].item()
    allowed = "exactly" if bound is None else f"within {bound.reshape(-1)[flat].item():.3g} of"
    share = float(wrong.double().mean())
    return f"at {position} it is {have:.9g}, not {allowed} {want:.9g} ({share:.2%} of the elements are wrong)"
