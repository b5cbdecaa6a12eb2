"""Joins kernels into one CUDA C++ source with its launch table: the candidate of the CUDA target.

Statements are grouped as for every other target. Products, convolutions and attention are left to ATen, whose libraries
are tuned for them; whatever stands between them is generated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...targets.plan import WORKSPACE, Candidate
from .._pipeline import Prepared, bindings
from ..assembly import Layout, header, lay_out, make_plan
from ..cpp._indices import static
from ..group import Group, group
from ..program import Extern, Program, Recur, condition
from ..triton._sizes import size_text
from ._code import CudaCode
from ._kernel import Around
from ._schedule import CudaSchedule
from .loops import emit_loops, loop_schedules

NOTATION = "How the kernels are launched: entry(tensors), then kernel<<<grid, block>>>(arguments)."


@dataclass(frozen=True)
class CudaKernel:
    """A group of statements, and the schedules worth trying, best guess first."""

    group: Group
    schedules: tuple[CudaSchedule, ...]


def cuda_kernels(prepared: Prepared) -> tuple[CudaKernel | Extern, ...]:
    """What :func:`emit_cuda` prints, in order: positions here are those of its ``choice``."""
    program = prepared.program
    found: list[CudaKernel | Extern] = []
    for each in group(program):
        first = each.statements[0]
        if isinstance(first, Extern):
            found.append(first)
        elif isinstance(first, Recur) or condition(first):
            found.append(CudaKernel(each, (CudaSchedule(),)))
        else:
            found.append(CudaKernel(each, tuple(loop_schedules(program, each))))
    return tuple(found)


def emit_cuda(
    prepared: Prepared,
    choice: Mapping[int, int] | None = None,
    *,
    kernels: Sequence[CudaKernel | Extern] | None = None,
    title: str = "",
) -> Candidate:
    """Print one candidate; ``choice`` maps positions in :func:`cuda_kernels` to positions among their schedules."""
    choice = choice or {}
    program = prepared.program
    steps: list[CudaCode | Extern] = []
    for number, kernel in enumerate(cuda_kernels(prepared) if kernels is None else kernels):
        if isinstance(kernel, Extern):
            steps.append(kernel)
        else:
            steps.append(_emit(program, kernel.group, f"k{number}", kernel.schedules[choice.get(number, 0)]))
    layout = lay_out(program, steps)
    label = "compiler" + "".join(f"/k{number}={position}" for number, position in sorted(choice.items()) if position)
    decided = {step.name: dict(step.schedule) for step in steps if isinstance(step, CudaCode)}
    return Candidate(
        target="cuda",
        proposer="compiler",
        source=module_source(program, layout, title),
        plan=make_plan(program, layout, **bindings(prepared.captured, program)),
        label=label,
        schedule=json.dumps(decided, sort_keys=True),
        notes=program.notes,
    )


def _emit(program: Program, found: Group, name: str, schedule: CudaSchedule) -> CudaCode:
    first = found.statements[0]
    if isinstance(first, Recur):
        return _recurrence(program, first, name, schedule)
    return emit_loops(program, found, name, schedule, Around({}, condition(first)))


def _recurrence(program: Program, recur: Recur, name: str, schedule: CudaSchedule) -> CudaCode:
    """Steps in order, each statement of a step a launch that is told which one: the stream makes them wait."""
    step = recur.step
    around = {step.name: static(step.size)}
    codes = [
        emit_loops(program, Group((s,), s.axes), f"{name}_{number}", schedule, Around(around, condition(s)))
        for number, s in enumerate(recur.body)
    ]
    turns = f"range({size_text(step.size)})"
    lines = [f"{code.name}_scratch = {name}_scratch" for code in codes if code.scratch != 0]
    lines.append(f"for {step.name} in {f'reversed({turns})' if recur.reverse else turns}")
    lines += [f"  {line}" for code in codes for line in code.launches]
    touched = tuple(n for n in program.tensors if any(n in code.touched for code in codes))
    scratch = max((int(code.scratch) for code in codes), default=0)
    source = "\n\n".join(code.source for code in codes)
    return replace(codes[0], name=name, source=source, launches=tuple(lines), touched=touched, scratch=scratch)


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def module_source(program: Program, layout: Layout[CudaCode], title: str) -> str:
    """The source; empty when every step is an ATen call."""
    if not layout.segments:
        return ""
    lines = [*header(title, program, "//"), "", "#include <kw/cuda.h>", "", f"// {NOTATION}"]
    for segment in layout.segments:
        tensors = [*segment.names, *([WORKSPACE] if segment.workspace else [])]
        lines.append(f"//@ {segment.entry}({', '.join(tensors)})")
        lines += [f"//@   {s.name} = {s.tensor}.shape[{s.dim}]" for s in program.symbols]
        for name, offset in segment.places.items():
            place = name if name in program.tensors else f"{name}_scratch"
            lines.append(f"//@   {place} = {WORKSPACE} + {size_text(offset)}")
        lines += [f"//@   {line}" for code in segment.kernels for line in code.launches]
    kernels = [code.source for segment in layout.segments for code in segment.kernels]
    return "\n\n".join(["\n".join(lines), *kernels]) + "\n"
