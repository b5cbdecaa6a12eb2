"""Which way a reduction over pairs is computed: by a judged kernel in blocks of its box, or by PyTorch in blocks.

A kernel is looked for where a reduction is so large that the search pays within a few calls, and wherever
:func:`prepare` was called; it comes from the archive after the first time on a machine.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import torch

from ..archive import Archive
from ..errors import PairwiseInvalid
from ..kernels.pairwise import (
    MOST_DEPTH,
    MOST_POINTS,
    MOST_VALUES,
    Node,
    PairwiseProposer,
    Reduction,
    blocked,
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


def run(
    reduction: Reduction, tensors: tuple[Tensor, ...], v: Tensor | None, shape: tuple[int, int]
) -> tuple[Tensor, ...]:
    """The reduction, as :func:`kernelwright.kernels.pairwise.blocked` says it; without gradients."""
    with torch.no_grad():
        kernel = _kernel(reduction, tensors, shape)
        if kernel is None:
            return blocked(reduction, tensors, v, shape)
        parts = [_row_block(kernel, reduction, tensors, v, rows, shape[1]) for rows in _even(shape[0], MOST_POINTS)]
        return parts[0] if len(parts) == 1 else tuple(torch.cat(part) for part in zip(*parts, strict=True))


def best(root: Node, shape: tuple[int, int], k: int, largest: bool) -> Tensor:
    """The columns ``[n, k]`` of the largest or smallest elements of each row, the best first."""
    program, tensors = linearise(root)
    return run(Reduction(program, "largest" if largest else "smallest", k), tensors, None, shape)[1]


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
        outcome = find(task, lambda: PairwiseProposer(reduction, dtype), _EFFORT, _BUDGET, archive=archive)
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
    if reduction.kind == "sum":
        at = first + program.rows + program.cols + bool(program.params)
        yield DynamicSize(at, 0, *box["m"])
        yield DynamicSize(at, 1, *box["r"])


def _example(reduction: Reduction, tensors: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor | None]:
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
    return tuple(made), normal(m, r) if reduction.kind == "sum" else None


def _even(size: int, most: int) -> list[range]:
    """[0, size) in as few parts of about the same size as there can be."""
    count = -(-size // most)
    return [range(size * k // count, size * (k + 1) // count) for k in range(count)]


def _row_block(
    kernel: Kernel, reduction: Reduction, tensors: tuple[Tensor, ...], v: Tensor | None, rows: range, m: int
) -> tuple[Tensor, ...]:
    """The reduction for some rows, joined over blocks of columns."""
    found: tuple[Tensor, ...] | None = None
    for cols in _even(m, MOST_POINTS):
        part = cut(reduction.program, tensors, slice(rows.start, rows.stop), slice(cols.start, cols.stop))
        here = _call(kernel, reduction, part, None if v is None else v[cols.start : cols.stop])
        found = here if found is None else _join(reduction, found, here, cols.start)
    assert found is not None
    return found


def _call(kernel: Kernel, reduction: Reduction, tensors: tuple[Tensor, ...], v: Tensor | None) -> tuple[Tensor, ...]:
    if v is None:
        out = kernel(*reduction.flat(tensors, None))
        return out if isinstance(out, tuple) else (out,)
    parts = [kernel(*reduction.flat(tensors, v[:, q.start : q.stop])) for q in _even(v.shape[1], MOST_VALUES)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, 1),)


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
