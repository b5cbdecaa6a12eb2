"""Generates Triton for contractions: products of matrices in any layout, batched, and convolutions of every kind.

One text for all (see :mod:`._product`); what differs is the schedule, cut by what a multiprocessor can hold.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

from ...machine import H200, Gpu
from ...targets.triton import register_bound
from ..contraction import Contraction, classify, is_contraction, product
from ..group import root
from ..program import Program, Reduce, Size
from ._code import TritonCode
from ._descriptors import described, fits_engine
from ._product import Product, ProductSchedule
from ._schedule import power
from ._sizes import largest

__all__ = ["ProductSchedule", "emit_contraction", "product_schedules", "suits_products"]

_LEAST = 16  # the least side of a tile that the matrix units multiply
_MOST_SPLIT = 16
_LEAST_DEPTH = 256  # of a sum that is shared out
_LARGE = 1 << 30  # multiply-adds from which the description of the operands pays
_WORKING = 32  # registers of a thread besides its part of the result
_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}

# (bm, bn, bk, warps, stages), the largest first: those on the matrix units, and those of ordinary arithmetic.
_MATRIX_TILES = (
    (128, 256, 64, 8, 3), (128, 128, 64, 8, 3), (128, 128, 32, 4, 4), (64, 128, 64, 4, 4), (128, 64, 64, 4, 4),
    (64, 64, 64, 4, 4), (32, 64, 64, 4, 4), (64, 32, 64, 4, 4), (32, 32, 64, 4, 4), (16, 64, 64, 4, 4),
    (64, 16, 64, 4, 4), (16, 16, 128, 4, 4),
)  # fmt: skip
_PLAIN_TILES = (
    (128, 64, 16, 8, 3), (64, 64, 16, 4, 3), (64, 32, 16, 4, 3), (32, 64, 16, 4, 3), (32, 32, 32, 4, 3),
    (16, 64, 32, 4, 3), (64, 16, 32, 4, 3), (16, 16, 32, 4, 3),
)  # fmt: skip


def suits_products(program: Program, statement: Reduce) -> bool:
    """Does :func:`emit_contraction` print a statement well?

    Padding must be with zeros, which add nothing to a sum. A product with a vector uses every number once: it is an
    ordinary reduction.
    """
    if not is_contraction(program, statement):
        return False
    parts = classify(program, statement)
    sides = [product(axis.size for axis in axes) for axes in (parts.m, parts.n)]
    return all(not load.fill for load in (parts.a, parts.b)) and 1 not in sides


def product_schedules(program: Program, statement: Reduce, gpu: Gpu = H200) -> list[ProductSchedule]:
    """Schedules for a contraction, best guess first."""
    parts = classify(program, statement)
    rows, columns, depth, batches = (
        largest(program, product(axis.size for axis in axes)) for axes in (parts.m, parts.n, parts.k, parts.batch)
    )
    kind = _kind(program, parts)
    table = _MATRIX_TILES if kind in ("bfloat16", "float16") else _PLAIN_TILES
    found: dict[ProductSchedule, float] = {}
    for bm, bn, bk, warps, stages in table:
        small = ProductSchedule(_side(bm, rows), _side(bn, columns), _side(bk, depth), warps, stages)
        if not _fits(small, kind, gpu):
            continue
        count = math.ceil(rows / small.bm) * math.ceil(columns / small.bn) * batches
        split = _split(small, count, depth, gpu)
        found.setdefault(replace(small, split=split), _estimate(small, count, split, depth, gpu))
    ranked = sorted(found, key=lambda s: found[s])[:6]
    if ranked[0].split > 1:
        ranked.append(replace(ranked[0], split=1))
    if kind == "float32":
        ranked.append(replace(ranked[0], precision="tf32x3"))
    return [ranked[0], *_fetching(program, parts, ranked[0], gpu), *ranked[1:]]


def _fetching(program: Program, parts: Contraction, best: ProductSchedule, gpu: Gpu) -> list[ProductSchedule]:
    """The best tiles fetched by the copy engine, also by programs that stay: for large products of plain matrices."""
    sizes = [largest(program, product(axis.size for axis in axes)) for axes in (parts.m, parts.n, parts.k)]
    matrices = described(program, parts)
    if matrices is None or math.prod(sizes) < _LARGE or best.split > 1:
        return []
    if not all(fits_engine(m.tile(n, best.bk)) for m, n in zip(matrices, (best.bm, best.bn), strict=True)):
        return []
    fetched = replace(best, engine=True)
    return [replace(fetched, persistent=gpu.sms), fetched]


def emit_contraction(
    program: Program, statement: Reduce, name: str, schedule: ProductSchedule | None = None
) -> TritonCode:
    """The kernels of a statement that satisfies :func:`suits_products`, and their launcher."""
    schedule = schedule or product_schedules(program, statement)[0]
    made = Product(program, statement, classify(program, statement), schedule)
    first = made.kernel(f"{name}_kernel")
    printed, lines = [first], [first.launch]
    scratch: Size = 0
    if schedule.split > 1:
        printed.append(made.gather(f"{name}_kernel_sums"))
        scratch = made.partial_elements * _BYTES[made.parts.dtype]
        lines = [f"partial = workspace.view(torch.{made.parts.dtype})", first.launch, printed[-1].launch]
    if made.described is not None:  # the engine fetches from aligned memory alone
        plain = Product(program, statement, made.parts, replace(schedule, engine=False), made.helpers)
        other = plain.kernel(f"{name}_kernel_unaligned")
        operands = dict.fromkeys(matrix.tensor for matrix in made.described)
        aligned = " and ".join(f"{tensor}.data_ptr() % 16 == 0" for tensor in operands)
        place = lines.index(first.launch)
        lines[place : place + 1] = [f"if {aligned}:", f"    {first.launch}", "else:", f"    {other.launch}"]
        printed.insert(1, other)
    touched = {root(program, x.tensor) for x in program.loads(statement)} | {made.target}
    tensors = tuple(n for n in program.tensors if n in touched)
    parameters = ", ".join([*tensors, *made.numbers, *(["workspace"] if schedule.split > 1 else [])])
    launcher = "\n".join([f"def {name}({parameters}):", *(f"    {line}" for line in lines)])
    source = "\n\n\n".join([*(kernel.source for kernel in printed), launcher])
    return TritonCode(name, source, tensors, tuple(made.numbers), scratch, frozenset(made.helpers), asdict(schedule))


def _kind(program: Program, parts: Contraction) -> str:
    kinds = {program.tensors[load.tensor].dtype for load in (parts.a, parts.b)}
    return kinds.pop() if len(kinds) == 1 and parts.dtype == "float32" else parts.dtype


def _side(block: int, size: int) -> int:
    """A side of a tile, no longer than what it covers."""
    return min(block, max(_LEAST, power(size)))


def _fits(schedule: ProductSchedule, kind: str, gpu: Gpu) -> bool:
    """Can a multiprocessor hold it, with registers as what runs out first? Small tiles need only fit."""
    threads = schedule.warps * gpu.warp
    words = 2 if kind == "float64" else 1
    registers = words * schedule.bm * schedule.bn // threads + _WORKING
    shared = schedule.stages * schedule.bk * (schedule.bm + schedule.bn) * _BYTES[kind]
    if shared > gpu.shared_block or registers > gpu.registers_thread:
        return False
    return schedule.bm * schedule.bn <= 64 * 64 or register_bound(gpu, threads, registers, shared)


def _split(schedule: ProductSchedule, count: int, depth: int, gpu: Gpu) -> int:
    """Programs that share a sum, where the tiles alone leave multiprocessors idle."""
    wanted = min(_MOST_SPLIT, gpu.sms // max(1, count), depth // _LEAST_DEPTH)
    return 1 << max(0, wanted.bit_length() - 1) if wanted > 1 else 1


def _estimate(schedule: ProductSchedule, count: int, split: int, depth: int, gpu: Gpu) -> float:
    """Relative time: waves of programs, each of which moves its operands; a split writes and reads sums besides."""
    waves = math.ceil(count * split / gpu.sms)
    work = schedule.bm * schedule.bn * depth / split
    traffic = (schedule.bm + schedule.bn) * depth / split
    return waves * (work / 64 + traffic) + (2 * split * schedule.bm * schedule.bn if split > 1 else 0)
