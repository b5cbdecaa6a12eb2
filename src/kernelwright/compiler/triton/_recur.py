"""Recurrences: the launcher runs the steps in order, and what a step does is kernels that are told which one it is.

Steps wait for each other in the stream, so that a step reads what the one before wrote. Statements of a step that share
rows are one kernel; what they write stays in memory, since the next step may read it.
"""

from __future__ import annotations

from dataclasses import replace

from ..cpp._indices import static
from ..group import group
from ..program import Program, Recur, condition
from ._code import TritonCode
from ._kernel import Around
from ._loops import emit_loops
from ._schedule import TileSchedule
from ._sizes import size_text


def emit_recur(program: Program, recur: Recur, name: str, schedule: TileSchedule) -> TritonCode:
    """One launcher with a loop over the steps."""
    step = recur.step
    parts: list[TritonCode] = []
    for number, found in enumerate(group(replace(program, statements=recur.body))):
        around = Around({step.name: static(step.size)}, condition(found.statements[0]))
        parts.append(emit_loops(program, replace(found, local=()), f"{name}_{number}", schedule, around))
    tensors = tuple(n for n in program.tensors if any(n in part.tensors for part in parts))
    symbols = tuple(s.name for s in program.symbols)
    scratch = max((part.scratch for part in parts), default=0)
    parameters = ", ".join([*tensors, *symbols, *(["workspace"] if scratch else [])])
    turns = f"range({size_text(step.size)})"
    lines = [
        f"def {name}({parameters}):",
        f"    for {step.name} in {f'reversed({turns})' if recur.reverse else turns}:",
    ]
    for part in parts:
        given = [*part.tensors, *part.symbols, step.name, *(["workspace"] if part.scratch else [])]
        lines.append(f"        {part.name}({', '.join(given)})")
    source = "\n\n\n".join([*(part.source for part in parts), "\n".join(lines)])
    helpers = frozenset[str]().union(*(part.helpers for part in parts))
    whole = replace(parts[0], name=name, source=source, tensors=tensors, symbols=symbols)
    return replace(whole, scratch=scratch, helpers=helpers)
