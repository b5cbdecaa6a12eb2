"""Programs as Triton candidates, run in the interpreter, and the schedules that make each form of a kernel."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.utils import _pytree as pytree

from kernelwright.compiler.group import group
from kernelwright.compiler.interpret import interpret as evaluate
from kernelwright.compiler.program import Program
from kernelwright.compiler.triton._loops import emit_loops
from kernelwright.compiler.triton._module import assemble
from kernelwright.compiler.triton._schedule import TileSchedule
from kernelwright.targets import Candidate
from tests.triton_lab import interpret

SMALL = TileSchedule(points=64, elements=64)
PASSES = TileSchedule(points=32, elements=32, longest=1)  # no row fits registers
SHARED = TileSchedule(points=64, elements=256, longest=1, programs=1 << 14)  # and all rows that can be are shared out


def candidate(program: Program, schedule: TileSchedule | None = None) -> Candidate:
    """The candidate of a program, all its groups with one schedule."""
    steps = [emit_loops(program, each, f"k{n}", schedule) for n, each in enumerate(group(program))]
    sources = [("arg", n) for n, _ in enumerate(program.inputs)]
    treespec = pytree.treespec_dumps(pytree.tree_structure([0] * len(program.outputs)))
    made = assemble(program, steps, sources=sources, treespec=treespec)
    return Candidate("triton", "compiler", made.source, made.plan)


def check(
    program: Program,
    inputs: Mapping[str, torch.Tensor],
    schedule: TileSchedule | None = None,
    tolerance: float = 0.0,
) -> None:
    """A program's outputs must be what the interpreter of programs computes, in memory that was poisoned."""
    made = candidate(program, schedule)
    found = interpret(made, *(inputs[n] for n in program.inputs))
    wanted = evaluate(program, inputs)
    for name, got in zip(program.outputs, found, strict=True):
        assert got.dtype == wanted[name].dtype
        torch.testing.assert_close(
            got, wanted[name], rtol=tolerance, atol=tolerance * 1e-2, equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}\n{made.source}",
        )  # fmt: skip
