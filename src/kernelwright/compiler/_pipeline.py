"""The compiler from end to end: capture, lower, fuse, group, schedule, print, assemble: pure functions."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import Unsupported
from ..targets.plan import Candidate, Literal
from ..task import DynamicSize
from .attention import Attention, find_attention
from .capture import Captured, capture, capture_graph
from .contraction import is_contraction
from .cpp._phases import emit_phases, phase_schedules
from .cpp._recurrent import emit_recurrent
from .cpp._recurrent import schedules as recurrent_schedules
from .cpp.attention import emit_attention
from .cpp.attention import schedules as attention_schedules
from .cpp.contract import emit_contraction
from .cpp.contract import schedules as contraction_schedules
from .cpp.loops import emit_loops
from .cpp.loops import schedules as loop_schedules
from .cpp.module import Step, assemble
from .fuse import fuse
from .group import Group, group, reads
from .lower import lower
from .phases import Phases, find_phases
from .program import Extern, Load, Map, Program, Recur, Reduce, condition
from .recurrence import Recurrence, recognise
from .reroll import reroll


@dataclass(frozen=True)
class Kernel:
    """One kernel to be: its statements, and the schedules worth trying, best guess first."""

    group: Group
    contraction: bool
    schedules: tuple[Any, ...]
    attention: Attention | None = None
    recurrence: Recurrence | None = None
    phases: Phases | None = None


@dataclass(frozen=True)
class Prepared:
    """A task taken as far as decisions are not needed: :func:`emit` turns choices of schedules into candidates."""

    captured: Captured
    program: Program
    kernels: tuple[Kernel | Extern, ...]

    @property
    def lowered(self) -> bool:
        """Is there anything for us to generate?"""
        return any(isinstance(kernel, Kernel) for kernel in self.kernels)


def prepare(fn: Callable[..., Any], args: tuple[Any, ...], dynamic: tuple[DynamicSize, ...] = ()) -> Prepared:
    """Capture a function or module on example arguments and lower it. Runs the user's code, but computes nothing."""
    return prepare_captured(capture(fn, args, dynamic))


def prepare_graph(module: torch.fx.GraphModule, example_inputs: Sequence[Any]) -> Prepared:
    """The same for a graph of ATen operations that AOTAutograd has already made."""
    return prepare_captured(capture_graph(module, tuple(example_inputs)))


def prepare_captured(captured: Captured, keep: frozenset[str] = frozenset()) -> Prepared:
    """Lower, fuse and group a captured graph; ``keep`` names operations that are to stay ATen calls."""
    program = _hand_out(_looped(fuse(lower(captured, keep))), frozenset(output for output, _ in captured.mutations))
    groups = group(program, lambda statement: is_contraction(program, statement))
    return Prepared(captured, program, _kernels(program, groups))


def _looped(program: Program) -> Program:
    """Unrolled recurrences as loops; what is left around them fuses anew."""
    rolled = reroll(program)
    return program if rolled is program else fuse(rolled)


def emit(
    prepared: Prepared, choice: Mapping[int, int] | None = None, *, title: str = "", prefix: str = ""
) -> Candidate:
    """Print one candidate; ``choice`` maps positions in ``prepared.kernels`` to positions among their schedules.

    ``prefix`` begins the names of kernels and entries, for sources that are to be joined.
    """
    choice = choice or {}
    captured, program = prepared.captured, prepared.program
    steps: list[Step] = []
    decisions = {}
    for number, kernel in enumerate(prepared.kernels):
        if isinstance(kernel, Extern):
            steps.append(kernel)
            continue
        schedule = kernel.schedules[choice.get(number, 0)] if kernel.schedules else None
        name = f"{prefix}k{number}"
        decisions[name] = asdict(schedule) if schedule is not None else {}
        first = kernel.group.statements[0]
        if kernel.attention is not None:
            code = emit_attention(program, kernel.attention, name, schedule)
        elif kernel.recurrence is not None:
            code = emit_recurrent(program, kernel.recurrence, name, schedule)
        elif kernel.phases is not None:
            code = emit_phases(program, kernel.phases, name, schedule)
        elif kernel.contraction and isinstance(first, Reduce):
            code = emit_contraction(program, first, name, schedule)
        else:
            code = emit_loops(program, kernel.group, name, schedule)
        steps.append(replace(code, when=condition(first)))
    assembled = assemble(program, steps, title=title, prefix=prefix, **bindings(captured, program))
    label = "compiler" + "".join(f"/k{number}={position}" for number, position in sorted(choice.items()) if position)
    return Candidate(
        target="cpu",
        proposer="compiler",
        source=assembled.source,
        plan=assembled.plan,
        label=label,
        schedule=json.dumps(decisions, sort_keys=True, default=str),
        notes=program.notes,
    )


def bindings(captured: Captured, program: Program) -> dict[str, Any]:
    """What a plan takes over from the capture: where inputs come from, what is returned, and in which shape."""
    return {
        "sources": tuple(("literal", name) if kind == "constant" else (kind, name) for kind, name in captured.sources),
        "results": tuple(program.outputs[r] if isinstance(r, int) else {"value": r.value} for r in captured.results),
        "treespec": None if _is_leaf(captured.treespec) else captured.treespec,
        "mutations": captured.mutations,
        "constants": captured.constants,
        "literals": tuple(_literal(name, tensor) for name, tensor in captured.lifted.items()),
    }


def _hand_out(program: Program, bound: frozenset[str]) -> Program:
    """Return what an ATen call made as it is, not a copy of it; outputs in ``bound`` keep their names."""
    made = {n for s in program.statements if isinstance(s, Extern) and not _is_view(s.op) for n in s.outputs if n}
    readers: dict[str, int] = {}
    for statement in program.statements:
        for name in reads(program, statement):
            readers[name] = readers.get(name, 0) + 1
    names: dict[str, str] = {}
    for statement in program.statements:
        if not isinstance(statement, Map) or not isinstance(statement.value, Load):
            continue
        target, source = program.tensors[statement.store.tensor], program.tensors[statement.value.tensor]
        if (
            target.role == "output"
            and target.name not in (*names, *bound)
            and not readers.get(target.name)
            and source.name in made - set(names.values())
            and (source.shape, source.dtype, source.strides) == (target.shape, target.dtype, target.strides)
            and statement.value.index == statement.store.index
            and statement.value.fill is None
        ):
            names[target.name] = source.name
    kept = tuple(s for s in program.statements if not (isinstance(s, Map) and s.store.tensor in names))
    tensors = {name: tensor for name, tensor in program.tensors.items() if name not in names}
    outputs = tuple(names.get(name, name) for name in program.outputs)
    return replace(program, statements=kept, tensors=tensors, outputs=outputs)


def _is_view(op: str) -> bool:
    found = torch.ops
    for part in op.split("."):
        found = getattr(found, part)
    return bool(getattr(found, "is_view", False))


def _kernels(program: Program, groups: Sequence[Group]) -> tuple[Kernel | Extern, ...]:
    """One kernel per group; those of an attention or a transposed convolution become one, where the last stood."""
    found_all: list[Attention | Phases] = [*find_attention(program, groups), *find_phases(program, groups)]
    matches = {max(found.groups): found for found in found_all}
    absorbed = {number for found in matches.values() for number in found.groups}
    kernels: list[Kernel | Extern] = []
    for number, each in enumerate(groups):
        if number in matches:
            kernels.append(_joined(program, matches[number]))
        elif number not in absorbed:
            kernels.append(_kernel(program, each))
    return tuple(kernels)


def _joined(program: Program, found: Attention | Phases) -> Kernel:
    statements = Group(tuple(found.statements))
    if isinstance(found, Phases):
        return Kernel(statements, True, tuple(phase_schedules(found)), phases=found)
    return Kernel(statements, False, tuple(attention_schedules(program, found)), found)


def _kernel(program: Program, found: Group) -> Kernel | Extern:
    first = found.statements[0]
    if isinstance(first, Extern):
        return first
    if isinstance(first, Recur):
        recurrence = recognise(program, first)
        if recurrence is None:
            raise Unsupported("the compiler made a recurrence that it cannot print.")
        return Kernel(found, False, tuple(recurrent_schedules(program, recurrence)), recurrence=recurrence)
    most = 1 if condition(first) else None  # what is computed only in rare cases is not worth measuring
    if isinstance(first, Reduce) and len(found.statements) == 1 and is_contraction(program, first):
        return Kernel(found, True, tuple(contraction_schedules(program, first)[:most]))
    return Kernel(found, False, tuple(loop_schedules(program, found)[:most]))


def _is_leaf(treespec: str | None) -> bool:
    return treespec is None or pytree.treespec_loads(treespec).is_leaf()


def _literal(name: str, tensor: torch.Tensor) -> Literal:
    data = tensor.detach().contiguous().view(-1).view(torch.uint8) if tensor.numel() else torch.empty(0)
    text = base64.b64encode(data.numpy().tobytes()).decode()
    return Literal(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), text)
