"""Reductions over pairs in plain PyTorch, a block of the matrix at a time: the slow way that is always right.

It serves whatever no kernel was prepared for, and it is what a kernel must agree with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from ._program import Program, dense

Tensor = torch.Tensor
KINDS = ("sum", "both", "logsumexp", "largest", "smallest", "dense")
"""Along a row: weighted sums, the log of the sum of exponentials, the k largest or smallest. "both": products of the
matrix and of its transpose with one vector each; "dense": the matrix itself."""

_HELD = 1 << 21  # pairs of a block: what is held of the matrix at a time


@dataclass(frozen=True)
class Reduction:
    """What is to be done with a formula: ``kind`` of :data:`KINDS`, ``k`` for the largest and the smallest."""

    program: Program
    kind: str
    k: int = 1

    def __call__(self, *flat: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The reference of a kernel: the formula's tensors, its parameters as one vector, and for a sum ``v``."""
        count = {"sum": 1, "both": 2}.get(self.kind, 0)
        tensors, given = flat[: len(flat) - count], flat[len(flat) - count :]
        if self.program.params:
            tensors = (*tensors[:-1], *tensors[-1].unbind())
        found = blocked(self, tensors, given, self.program.shape(tensors))
        return found[0] if len(found) == 1 else found

    def flat(self, tensors: tuple[Tensor, ...], *given: Tensor) -> tuple[Tensor, ...]:
        """What :meth:`__call__` takes."""
        first = self.program.count - self.program.params
        params = (torch.stack(tensors[first:]),) if self.program.params else ()
        return (*tensors[:first], *params, *given)


def blocked(
    reduction: Reduction,
    tensors: tuple[Tensor, ...],
    given: tuple[Tensor, ...],
    shape: tuple[int, int],
    held: int = _HELD,
) -> tuple[Tensor, ...]:
    """The reduction of the matrix of ``shape`` that the formula of ``tensors`` means; at most ``held`` pairs at once.

    "sum" is given v ``[m, r]`` and gives ``[n, r]``; "both" is given v ``[m, 1]`` and u ``[n, 1]`` and gives K v and
    K^T u; "logsumexp" gives ``[n]``; "largest" and "smallest" give values and columns (int64), both ``[n, k]``, the
    best first (NaN counts as large); "dense" gives ``[n, m]``.
    """
    n, m = shape
    if reduction.kind == "both":
        return _both(reduction, tensors, given, shape)
    v = given[0] if given else None
    wide = min(m, held)
    parts = []
    for rows in _ranges(n, max(1, held // max(wide, 1))) if n else [range(0)]:
        pieces = ((cols, _block(reduction.program, tensors, rows, cols)) for cols in _ranges(m, wide))
        parts.append(_REDUCE[reduction.kind](reduction, pieces, v, tensors[0], len(rows)))
    return parts[0] if len(parts) == 1 else tuple(torch.cat(part) for part in zip(*parts, strict=True))


def _both(
    reduction: Reduction, tensors: tuple[Tensor, ...], given: tuple[Tensor, ...], shape: tuple[int, int]
) -> tuple[Tensor, ...]:
    n, m = shape
    v, u = given
    out, back = tensors[0].new_zeros(n, 1), tensors[0].new_zeros(m, 1)
    for rows in _ranges(n, max(1, _HELD // max(m, 1))):
        block = _block(reduction.program, tensors, rows, range(m))
        out[rows.start : rows.stop] = block @ v
        back += block.mT @ u[rows.start : rows.stop]
    return out, back


def _ranges(size: int, step: int) -> Iterator[range]:
    return (range(at, min(at + step, size)) for at in range(0, size, max(step, 1)))


def cut(program: Program, tensors: tuple[Tensor, ...], rows: slice, cols: slice) -> tuple[Tensor, ...]:
    """The tensors of a part of the matrix."""
    points = [tensor[cols if at % 2 else rows] for at, tensor in enumerate(tensors[: 2 * program.sets])]
    first, second = 2 * program.sets + program.rows, 2 * program.sets + program.rows + program.cols
    left = [tensor[rows] for tensor in tensors[2 * program.sets : first]]
    right = [tensor[cols] for tensor in tensors[first:second]]
    return (*points, *left, *right, *tensors[second:])


def _block(program: Program, tensors: tuple[Tensor, ...], rows: range, cols: range) -> Tensor:
    part = cut(program, tensors, slice(rows.start, rows.stop), slice(cols.start, cols.stop))
    return dense(program.bind(part)[-1]).expand(len(rows), len(cols))


_Pieces = Iterator[tuple[range, Tensor]]


def _sum(_: Reduction, pieces: _Pieces, v: Tensor | None, like: Tensor, rows: int) -> tuple[Tensor, ...]:
    assert v is not None
    total = like.new_zeros(rows, v.shape[1])
    for cols, block in pieces:
        total = total + block @ v[cols.start : cols.stop]
    return (total,)


def _logsumexp(_: Reduction, pieces: _Pieces, __: Tensor | None, like: Tensor, rows: int) -> tuple[Tensor, ...]:
    total = like.new_full((rows,), -torch.inf)
    for _cols, block in pieces:
        total = torch.logaddexp(total, block.logsumexp(1))
    return (total,)


def _dense(_: Reduction, pieces: _Pieces, __: Tensor | None, like: Tensor, rows: int) -> tuple[Tensor, ...]:
    blocks = [block for _cols, block in pieces]
    return (torch.cat(blocks, 1) if blocks else like.new_empty(rows, 0),)


def _best(reduction: Reduction, pieces: _Pieces, _: Tensor | None, like: Tensor, rows: int) -> tuple[Tensor, ...]:
    values, places = like.new_empty(rows, 0), torch.empty(rows, 0, dtype=torch.int64, device=like.device)
    for cols, block in pieces:
        here = torch.arange(cols.start, cols.stop, device=like.device).expand(rows, -1)
        values, places = torch.cat([values, block], 1), torch.cat([places, here], 1)
        values, order = values.topk(min(reduction.k, values.shape[1]), dim=1, largest=reduction.kind == "largest")
        places = places.gather(1, order)
    return values, places


_REDUCE: dict[str, Callable[[Reduction, _Pieces, Tensor | None, Tensor, int], tuple[Tensor, ...]]] = {
    "sum": _sum,
    "logsumexp": _logsumexp,
    "largest": _best,
    "smallest": _best,
    "dense": _dense,
}
