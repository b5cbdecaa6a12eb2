"""Joins kernels into one Python module with an entry for each segment of the plan: the candidate of the Triton target.

Statements are grouped as for the CPU. What runs step by step is a loop in the launcher; ATen calls stay ATen calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...targets.plan import Candidate, Plan
from .._pipeline import Prepared, bindings
from ..assembly import Layout, Segment, header, lay_out, make_plan, tensor_bytes
from ..attention import Attention, find_attention
from ..contraction import is_contraction
from ..group import Group, group
from ..program import Extern, Program, Recur, Reduce, condition
from ._code import TritonCode
from ._helpers import helper_texts
from ._kernel import Around
from ._loops import emit_loops, loop_schedules
from ._recur import emit_recur
from ._schedule import TileSchedule
from ._sizes import size_text
from .attention import AttentionSchedule, attention_schedules, emit_attention
from .contract import ProductSchedule, emit_contraction, product_schedules, suits_products


@dataclass(frozen=True)
class TritonKernel:
    """A group of statements, and the schedules worth trying, best guess first."""

    group: Group
    schedules: tuple[TileSchedule, ...] | tuple[ProductSchedule, ...] | tuple[AttentionSchedule, ...]
    attention: Attention | None = None


@dataclass(frozen=True)
class Assembled:
    """A module (empty when every step is an ATen call) and the plan that launches it."""

    source: str
    plan: Plan


def triton_kernels(prepared: Prepared) -> tuple[TritonKernel | Extern, ...]:
    """What :func:`emit_triton` prints, in order: positions here are those of its ``choice``."""
    program = prepared.program
    groups = group(program, lambda statement: is_contraction(program, statement))
    matches = {max(match.groups): match for match in find_attention(program, groups)}
    absorbed = {number for match in matches.values() for number in match.groups}
    found: list[TritonKernel | Extern] = []
    for number, each in enumerate(groups):
        if number in matches:  # where the last of its groups stood
            match = matches[number]
            found.append(TritonKernel(Group(match.statements), tuple(attention_schedules(program, match)), match))
        elif number not in absorbed:
            found.append(_kernel(program, each))
    return tuple(found)


def _kernel(program: Program, found: Group) -> TritonKernel | Extern:
    first = found.statements[0]
    if isinstance(first, Extern):
        return first
    alone = len(found.statements) == 1 and not condition(first)
    if alone and isinstance(first, Reduce) and suits_products(program, first):
        return TritonKernel(found, tuple(product_schedules(program, first)))
    if isinstance(first, Recur) or condition(first):
        return TritonKernel(found, (TileSchedule(),))
    return TritonKernel(found, tuple(loop_schedules(program, found)))


def emit_triton(
    prepared: Prepared,
    choice: Mapping[int, int] | None = None,
    *,
    kernels: Sequence[TritonKernel | Extern] | None = None,
    title: str = "",
) -> Candidate:
    """Print one candidate; ``choice`` maps positions in :func:`triton_kernels` to positions among their schedules."""
    choice = choice or {}
    program = prepared.program
    steps: list[TritonCode | Extern] = []
    for number, kernel in enumerate(triton_kernels(prepared) if kernels is None else kernels):
        if isinstance(kernel, Extern):
            steps.append(kernel)
        else:
            steps.append(_emit(program, kernel, f"k{number}", kernel.schedules[choice.get(number, 0)]))
    assembled = assemble(program, steps, title=title, **bindings(prepared.captured, program))
    schedules = {step.name: dict(step.schedule) for step in steps if isinstance(step, TritonCode)}
    label = "compiler" + "".join(f"/k{number}={position}" for number, position in sorted(choice.items()) if position)
    return Candidate(
        target="triton",
        proposer="compiler",
        source=assembled.source,
        plan=assembled.plan,
        label=label,
        schedule=json.dumps(schedules, sort_keys=True),
        notes=program.notes,
    )


def assemble(
    program: Program,
    steps: Sequence[TritonCode | Extern],
    *,
    sources: Sequence[tuple[str, int | str]],
    title: str = "",
    **rest: Any,
) -> Assembled:
    """Join launchers into a module and its plan; the rest is for :func:`make_plan`."""
    layout = lay_out(program, steps)
    return Assembled(_source(program, layout, title), make_plan(program, layout, sources=sources, **rest))


def _emit(
    program: Program, kernel: TritonKernel, name: str, schedule: TileSchedule | ProductSchedule | AttentionSchedule
) -> TritonCode:
    first = kernel.group.statements[0]
    if isinstance(schedule, AttentionSchedule):
        assert kernel.attention is not None
        return emit_attention(program, kernel.attention, name, schedule)
    if isinstance(schedule, ProductSchedule):
        assert isinstance(first, Reduce)
        return emit_contraction(program, first, name, schedule)
    if isinstance(first, Recur):
        return emit_recur(program, first, name, schedule)
    return emit_loops(program, kernel.group, name, schedule, Around({}, condition(first)))


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _source(program: Program, layout: Layout[TritonCode], title: str) -> str:
    """The module; empty when every step is an ATen call."""
    if not layout.segments:
        return ""
    codes = [code for segment in layout.segments for code in segment.kernels]
    helpers = helper_texts(frozenset().union(*(code.helpers for code in codes)))
    texts = [*helpers, *(code.source for code in codes), *(_entry(program, s) for s in layout.segments)]
    imports = ["import triton", "import triton.language as tl"]
    if any("libdevice." in text for text in texts):
        imports.append("from triton.language.extra.cuda import libdevice")
    if any("TensorDescriptor(" in text for text in texts):
        imports.append("from triton.tools.tensor_descriptor import TensorDescriptor")
    if any("torch." in text for text in texts):
        imports.insert(0, "import torch")
    head = "\n".join([*header(title, program, "#"), "", *imports])
    return "\n\n\n".join([head, *texts]) + "\n"


def _entry(program: Program, segment: Segment[TritonCode]) -> str:
    """The function that a step of the plan calls: temporaries are parts of the workspace."""
    parameters = [*segment.names, *(["workspace"] if segment.workspace else [])]
    lines = [f"def {segment.entry}({', '.join(parameters)}):"]
    used = {symbol for code in segment.kernels for symbol in code.symbols}
    lines += [f"{s.name} = {s.tensor}.shape[{s.dim}]" for s in program.symbols if s.name in used]
    for name, offset in segment.places.items():
        if name in program.tensors:
            tensor = program.tensors[name]
            end = size_text(offset + tensor_bytes(tensor))
            lines.append(f"{name} = workspace[{size_text(offset)}:{end}].view(torch.{tensor.dtype})")
    for code in segment.kernels:
        arguments = [*code.tensors, *code.symbols]
        if code.scratch != 0:
            begin = segment.places[code.name]
            arguments.append(f"workspace[{size_text(begin)}:{size_text(begin + code.scratch)}]")
        lines.append(f"{code.name}({', '.join(arguments)})")
    return "\n    ".join(lines)
