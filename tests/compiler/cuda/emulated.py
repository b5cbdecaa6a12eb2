"""Programs as CUDA candidates, run in emulation against the interpreter of programs; many become one source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch.utils import _pytree as pytree

from kernelwright.compiler.assembly import lay_out, make_plan
from kernelwright.compiler.cuda._module import module_source
from kernelwright.compiler.cuda._schedule import CudaSchedule
from kernelwright.compiler.cuda.loops import emit_loops
from kernelwright.compiler.group import group
from kernelwright.compiler.interpret import interpret as evaluate
from kernelwright.compiler.program import Program
from kernelwright.targets.cpu import Launcher
from kernelwright.targets.cuda._emulate import Emulator
from kernelwright.targets.cuda._module import entries
from kernelwright.targets.plan import EntryCall, Plan

PLAIN = CudaSchedule(threads=64, vectors=False, items=1)
HELD = CudaSchedule(items=64)  # every row that can be is held by few threads
SHARED = CudaSchedule(threads=64, items=2, blocks=1 << 14)  # all rows that can be are shared out
SCHEDULES = (CudaSchedule(), PLAIN, HELD, SHARED)


@dataclass(frozen=True)
class Case:
    """A program with its inputs; results may differ by so much."""

    program: Program
    inputs: Mapping[str, torch.Tensor]
    tolerance: float = 0.0
    schedule: CudaSchedule | None = None


def candidate(program: Program, schedule: CudaSchedule | None = None, name: str = "k") -> tuple[str, Plan]:
    """The source and the plan of a program, all its groups with one schedule."""
    steps = [emit_loops(program, each, f"{name}{n}_", schedule) for n, each in enumerate(group(program))]
    sources = [("arg", n) for n, _ in enumerate(program.inputs)]
    treespec = pytree.treespec_dumps(pytree.tree_structure([0] * len(program.outputs)))
    layout = lay_out(program, steps)
    return module_source(program, layout, ""), make_plan(program, layout, sources=sources, treespec=treespec)


def check(*cases: Case) -> None:
    """Outputs must be what the interpreter of programs computes, in memory that was poisoned."""
    made: list[tuple[str, Plan]] = []
    for number, case in enumerate(cases):
        source, plan = candidate(case.program, case.schedule, f"p{number}_k")
        steps = tuple(replace(s, entry=f"p{number}_{s.entry}") for s in plan.steps if isinstance(s, EntryCall))
        made.append((source.replace("//@ run", f"//@ p{number}_run"), replace(plan, steps=steps)))
    whole = "\n".join(source for source, _ in made)
    emulator = Emulator(whole)
    for case, (source, plan) in zip(cases, made, strict=True):
        call = Launcher(plan, entries(whole, plan, emulator), {}, _poisoned, blind=True).call
        found = call(*(case.inputs[n] for n in case.program.inputs))
        wanted = evaluate(case.program, case.inputs)
        for name, got in zip(case.program.outputs, found, strict=True):
            assert got.dtype == wanted[name].dtype
            torch.testing.assert_close(
                got, wanted[name], rtol=case.tolerance, atol=case.tolerance * 1e-2, equal_nan=True,
                msg=lambda text, name=name, source=source: f"{name}: {text}\n{source}",
            )  # fmt: skip


def each_schedule(cases: Sequence[Case]) -> list[Case]:
    """Every case by every schedule."""
    return [replace(case, schedule=schedule) for case in cases for schedule in SCHEDULES]


def _poisoned(shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    found = torch.empty_strided(shape, strides, dtype=dtype)
    return found.fill_(float("nan") if dtype.is_floating_point else 1 if dtype == torch.bool else 77)
