"""Which way a reduction over pairs is computed: by a judged kernel in blocks of its box, or by PyTorch in blocks.

A kernel is looked for where a reduction is so large that the search pays within a few calls, and wherever
:func:`prepare` was called; it comes from the archive after the first time on a machine.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import torch

from ..archive import Archive
from ..errors import PairwiseInvalid
from ..kernels import SingleProposer
from ..kernels.pairwise import (
    MOST_DEPTH,
    MOST_POINTS,
    MOST_VALUES,
    Node,
    Reduction,
    blocked,
    candidate,
    cut,
    has_kernel,
    linearise,
    sizes,
)
from ..search import Effort, Kernel, find
from ..task import DynamicSize, from_callable

log = logging.getLogger("kernelwright")

Tensor = torch.Tensor
_WORTH = 1 << 24  # pairs of one call from which a search of some seconds is worth its time
_BUDGET = 90.0  # seconds for a reduction that this machine has not seen yet
_EFFORT = Effort(0, 1, 0.3, 0.7, ())  # one candidate beside the reference
_EXAMPLE = {"n": 1000, "m": 900, "r": 8}
_EXAMPLE_DEPTH = 16
_EXAMPLE_SIZE = 0.125  # of coordinates: distances of a thousand of them do not make every exponential underflow
_DISTINCT = ("given", "normal", "sorted", "small", "offset")  # where the best are not equals
_kernels: dict[tuple[Reduction, torch.dtype], Kernel] = {}
_lock = threading.Lock()
_watcher: ContextVar[Callable[[int, int], None] | None] = ContextVar("watcher", default=None)
_MANY = 1 << 17  # rows whose results are kept while the columns pass by


@contextmanager
def watching(callback: Callable[[int, int], None]) -> Iterator[None]:
    """Inside, ``callback(pairs done, pairs in all)`` is called after every block of a reduction over pairs.

    >>> from kernelwright.ops import gaussian
    >>> seen = []
    >>> with watching(lambda done, whole: seen.append(done / whole)):
    ...     total = gaussian(torch.randn(5000, 2), torch.randn(300, 2)).sum()
    >>> seen[-1]
    1.0
    """
    before = _watcher.set(callback)
    try:
        yield
    finally:
        _watcher.reset(before)


def run(
    reduction: Reduction, tensors: tuple[Tensor, ...], given: tuple[Tensor, ...], shape: tuple[int, int]
) -> tuple[Tensor, ...]:
    """The reduction, as :func:`kernelwright.kernels.pairwise.blocked` says it; without gradients.

    Blocks go column by column, for many rows at a time: points z that lie on a disk pass by once for all of these rows.
    """
    with torch.no_grad():
        if not min(shape):
            return blocked(reduction, tensors, given, shape)
        step = _Steps(reduction, _kernel(reduction, tensors, shape), _watcher.get(), shape[0] * shape[1])
        if _symmetric(reduction, tensors, given):
            both = replace(reduction, kind="both")
            return _half(step, replace(step, reduction=both, kernel=_kernel(both, tensors, shape)), tensors, given[0])
        parts = []
        for many in _even(shape[0], _MANY):
            found: list[tuple[Tensor, ...]] = []
            for cols in _even(shape[1], MOST_POINTS):
                for k, rows in enumerate(_even(many, MOST_POINTS)):
                    here = step.block(tensors, given, rows, cols)
                    if cols.start == 0:
                        found.append(here)
                    else:
                        found[k] = _join(reduction, found[k], here, cols.start)
            parts += found
        return parts[0] if len(parts) == 1 else tuple(torch.cat(part) for part in zip(*parts, strict=True))


def best(root: Node, shape: tuple[int, int], k: int, largest: bool) -> Tensor:
    """The columns ``[n, k]`` of the largest or smallest elements of each row, the best first."""
    program, tensors = linearise(root)
    return run(Reduction(program, "largest" if largest else "smallest", k), tensors, (), shape)[1]


def prepare(reduction: Reduction, tensors: tuple[Tensor, ...]) -> Kernel:
    """The kernel of a reduction on tensors like these: from this process, from the archive, or searched for now."""
    if not has_kernel(reduction) or tensors[0].device.type != "cpu":
        raise PairwiseInvalid("there is no kernel for this reduction; it needs points on the CPU, and k of at most 64.")
    key = (reduction, tensors[0].dtype)
    with _lock:
        if key not in _kernels:
            _kernels[key] = _search(reduction, tensors)
        return _kernels[key]


def _kernel(reduction: Reduction, tensors: tuple[Tensor, ...], shape: tuple[int, int]) -> Kernel | None:
    program = reduction.program
    if not has_kernel(reduction) or tensors[0].device.type != "cpu" or not min(shape):
        return None
    if not all(1 <= points.shape[1] <= MOST_DEPTH for points in tensors[: 2 * program.sets]):
        return None
    known = _kernels.get((reduction, tensors[0].dtype))
    if known is None and shape[0] * shape[1] >= _WORTH:
        known = prepare(reduction, tensors)
    return known


def _search(reduction: Reduction, tensors: tuple[Tensor, ...]) -> Kernel:
    dtype = tensors[0].dtype
    example = reduction.flat(*_example(reduction, tensors))
    name = f"pairs_{reduction.kind}"
    task = from_callable(reduction, example, name=name, dynamic=tuple(_dynamic(reduction)), gradients=False)
    structures = _DISTINCT if reduction.kind in ("largest", "smallest") else ()
    task = replace(task, key=f"{reduction!r} {dtype}", structures=structures)
    with Archive(None) as archive:
        outcome = find(task, lambda: SingleProposer(candidate(reduction, dtype)), _EFFORT, _BUDGET, archive=archive)
    log.info("%s: %s", name, outcome.reason or outcome.status)
    return Kernel(outcome, reduction, {})


def _dynamic(reduction: Reduction) -> Iterator[DynamicSize]:
    """Every axis of an input whose size is open."""
    program = reduction.program
    box = {symbol.name: (symbol.lo, symbol.hi) for symbol in sizes(reduction)}
    for slot in range(program.sets):
        for at, name in ((2 * slot, "n"), (2 * slot + 1, "m")):
            yield DynamicSize(at, 0, *box[name])
            yield DynamicSize(at, 1, *box[f"d{slot}"])
    first = 2 * program.sets
    for at in range(first, first + program.rows + program.cols):
        yield DynamicSize(at, 0, *box["n" if at < first + program.rows else "m"])
    at = first + program.rows + program.cols + bool(program.params)
    if reduction.kind in ("sum", "both"):
        yield DynamicSize(at, 0, *box["m"])
    if reduction.kind == "sum":
        yield DynamicSize(at, 1, *box["r"])
    if reduction.kind == "both":
        yield DynamicSize(at + 1, 0, *box["n"])


def _example(reduction: Reduction, tensors: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], *tuple[Tensor, ...]]:
    """Tensors of the right kinds; what their values are like (their sign) follows those of the call."""
    program, generator, dtype = reduction.program, torch.Generator().manual_seed(0), tensors[0].dtype
    n, m, r = _EXAMPLE["n"], _EXAMPLE["m"], _EXAMPLE["r"]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    made = []
    for at, given in enumerate(tensors):
        if at < 2 * program.sets:
            made.append(normal(m if at % 2 else n, _EXAMPLE_DEPTH + at // 2) * _EXAMPLE_SIZE)
        elif at < program.count - program.params:
            values = normal(n if at < 2 * program.sets + program.rows else m)
            made.append(values.abs() + 0.5 if bool((given >= 0).all()) else values)
        else:
            made.append(given.detach().clamp(-1, 1))
    if reduction.kind == "both":
        return tuple(made), normal(m, 1), normal(n, 1)
    return (tuple(made), normal(m, r)) if reduction.kind == "sum" else (tuple(made),)


@dataclass
class _Steps:
    """One reduction, block by block, by a kernel or (None) by PyTorch; ``watcher`` hears of each."""

    reduction: Reduction
    kernel: Kernel | None
    watcher: Callable[[int, int], None] | None
    whole: int
    done: int = 0

    def block(
        self, tensors: tuple[Tensor, ...], given: tuple[Tensor, ...], rows: slice, cols: slice
    ) -> tuple[Tensor, ...]:
        part = cut(self.reduction.program, tensors, rows, cols)
        sides = (cols, rows)  # v goes with the columns, and u with the rows
        held = tuple(tensor[side] for tensor, side in zip(given, sides, strict=False))
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        if self.kernel is None:
            found = blocked(self.reduction, part, held, shape)
        elif self.reduction.kind == "sum":
            pieces = [
                self.kernel(*self.reduction.flat(part, held[0][:, q])) for q in _even(held[0].shape[1], MOST_VALUES)
            ]
            found = (pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1),)
        else:
            out = self.kernel(*self.reduction.flat(part, *held))
            found = out if isinstance(out, tuple) else (out,)
        self.tell(shape[0] * shape[1])
        return found

    def tell(self, pairs: int) -> None:
        self.done += pairs
        if self.watcher is not None:
            self.watcher(self.done, self.whole)


def _symmetric(reduction: Reduction, tensors: tuple[Tensor, ...], given: tuple[Tensor, ...]) -> bool:
    """Whether the matrix is its own transpose, and the kind of reduction is one that gains by it."""
    program = reduction.program
    if reduction.kind != "sum" or given[0].shape[1] != 1 or program.rows or program.cols:
        return False
    sides = zip(tensors[: 2 * program.sets : 2], tensors[1 : 2 * program.sets : 2], strict=True)
    return len(tensors[0]) > MOST_POINTS and all(
        x.data_ptr() == z.data_ptr() and x.shape == z.shape and x.stride() == z.stride() for x, z in sides
    )


def _half(step: _Steps, both: _Steps, tensors: tuple[Tensor, ...], v: Tensor) -> tuple[Tensor, ...]:
    """The product of a symmetric matrix with one vector: every pair off the diagonal's blocks once."""
    out = torch.zeros_like(v, memory_format=torch.contiguous_format)
    ranges = _even(len(v), MOST_POINTS)
    for k, rows in enumerate(ranges):
        out[rows] += step.block(tensors, (v,), rows, rows)[0]
        both.done = step.done
        for cols in ranges[k + 1 :]:
            one, other = both.block(tensors, (v, v), rows, cols)
            out[rows] += one
            out[cols] += other
            both.tell((rows.stop - rows.start) * (cols.stop - cols.start))
        step.done = both.done
    return (out,)


def _even(whole: int | slice, most: int) -> list[slice]:
    """A range in as few parts of about the same size as there can be."""
    first, last = (0, whole) if isinstance(whole, int) else (whole.start, whole.stop)
    count = -(-(last - first) // most)
    return [slice(first + (last - first) * k // count, first + (last - first) * (k + 1) // count) for k in range(count)]


def _join(reduction: Reduction, found: tuple[Tensor, ...], here: tuple[Tensor, ...], start: int) -> tuple[Tensor, ...]:
    if reduction.kind == "sum":
        return (found[0] + here[0],)
    if reduction.kind == "logsumexp":
        return (torch.logaddexp(found[0], here[0]),)
    if reduction.kind == "dense":
        return (torch.cat([found[0], here[0]], 1),)
    values, places = torch.cat([found[0], here[0]], 1), torch.cat([found[1], here[1] + start], 1)
    values, order = values.topk(min(reduction.k, values.shape[1]), dim=1, largest=reduction.kind == "largest")
    return values, places.gather(1, order)
