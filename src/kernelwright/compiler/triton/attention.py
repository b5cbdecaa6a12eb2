"""Generates Triton for attention: a tile of query rows walks over the keys, and scores never become memory.

What stands between the two products is any chain along the keys (:mod:`._between`). A softmax is taken in one walk,
with a running maximum; other chains walk again for each reduction they wait for, which costs the first product once
more. Keys that a whole tile cannot see are passed over, unless their values are not finite: nothing times infinity is
NaN, and a small kernel finds that out beforehand.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

from ...machine import H200, Gpu
from ...targets.triton import register_bound
from ..attention import Attention
from ..contraction import product
from ..program import Program, Size
from ._code import TritonCode
from ._flash import BYTES, AttentionSchedule, Flash, operand_kind, sides, tile_side
from ._sizes import largest
from ._walks import attention_kernel

_LEAST = 16  # the least side of a tile
_WORKING = 40  # registers of a thread besides its parts of the tiles

# (bm, bn, warps, stages): on the matrix units, and by ordinary arithmetic
_MATRIX_TILES = (
    (128, 128, 8, 3), (128, 64, 8, 3), (128, 64, 4, 3), (64, 64, 4, 3), (64, 32, 4, 3), (32, 32, 4, 3), (16, 64, 4, 3),
    (16, 32, 4, 2),
)  # fmt: skip
_PLAIN_TILES = ((64, 64, 8, 2), (64, 32, 8, 2), (32, 32, 4, 2), (32, 16, 4, 2), (16, 32, 4, 2), (16, 16, 4, 2))


def attention_schedules(program: Program, match: Attention, gpu: Gpu = H200) -> list[AttentionSchedule]:
    """Schedules for a match, best guess first."""
    rows, keys = (largest(program, a.size) for a in (match.row, match.key))
    outer = largest(program, product(a.size for a in match.outer))
    kind = operand_kind(program, match.q, match.k, match.dtype)
    found: dict[AttentionSchedule, float] = {}
    for bm, bn, warps, stages in _MATRIX_TILES if BYTES[kind] == 2 else _PLAIN_TILES:
        made = AttentionSchedule(min(bm, tile_side(rows)), min(bn, tile_side(keys)), warps, stages)
        if _fits(made, match, kind, gpu):
            found.setdefault(made, _estimate(made, math.ceil(rows / made.bm) * outer, gpu))
    ranked = sorted(found, key=lambda s: found[s])[:4]
    return [*ranked, *([replace(ranked[0], precision="tf32x3")] if kind == "float32" else [])]


def emit_attention(
    program: Program, match: Attention, name: str, schedule: AttentionSchedule | None = None
) -> TritonCode:
    """The kernels of a match and their launcher."""
    schedule = schedule or attention_schedules(program, match)[0]
    made = Flash(program, match, schedule)
    printed = [made.finite(f"{name}_kernel_finite"), attention_kernel(made, f"{name}_kernel")]
    kernels = [kernel for kernel in printed if kernel is not None]
    scratch: Size = 4 * made.flags if made.skips else 0
    tensors = tuple(n for n in program.tensors if n in made.touched)
    lines = ["spoiled = workspace.view(torch.int32)"] if made.skips else []
    lines += [kernel.launch for kernel in kernels]
    parameters = ", ".join([*tensors, *made.numbers, *(["workspace"] if made.skips else [])])
    launcher = "\n".join([f"def {name}({parameters}):", *(f"    {line}" for line in lines)])
    source = "\n\n\n".join([*(kernel.source for kernel in kernels), launcher])
    return TritonCode(name, source, tensors, tuple(made.numbers), scratch, frozenset(made.helpers), asdict(schedule))


def _fits(schedule: AttentionSchedule, match: Attention, kind: str, gpu: Gpu) -> bool:
    """Can a multiprocessor hold it, with registers as what runs out first? Small tiles need only fit."""
    (depth, width), s = sides(match), schedule
    threads, words = s.warps * gpu.warp, 2 if kind == "float64" else 1
    tiles = s.bm * width + 2 * s.bm * s.bn + (s.bm * depth if BYTES[kind] > 2 else 0)
    registers = words * tiles // threads + _WORKING
    if (
        BYTES[kind] > 2
    ):  # ordinary arithmetic keeps operands in registers, too: a rule that the compiler's reports bear out
        registers += words * s.bn * (depth // _LEAST) ** 2 // 12
    shared = BYTES[kind] * (s.bm * depth + s.stages * s.bn * (depth + width))
    if shared > gpu.shared_block or registers > gpu.registers_thread:
        return s.bm * s.bn == _LEAST * _LEAST  # something must be left
    return s.bm * s.bn <= 64 * 64 or register_bound(gpu, threads, registers, shared)


def _estimate(schedule: AttentionSchedule, count: int, gpu: Gpu) -> float:
    """Relative time: waves of programs, each of which works on its rows and reads every key."""
    waves = math.ceil(count / gpu.sms)
    return waves * (schedule.bm + 16) * (1 + 8 / schedule.bn) * (1 + 0.5 / schedule.warps)


__all__ = ["AttentionSchedule", "attention_schedules", "emit_attention"]
