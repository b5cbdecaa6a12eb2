"""Prints everything that is not an ATen call: maps, reductions, scans, and the chains of them that share rows."""

from __future__ import annotations

from dataclasses import asdict, replace

from ..cpp._normal import Normal, normalise
from ..group import Group
from ..program import Axis, Index, Load, Program, Reduce, Size, Tensor, contiguous
from ..triton._parts import parts
from ..triton._reduce import held_dtype
from ._code import CudaCode
from ._kernel import Around, KernelText
from ._points import emit_crossed, emit_points
from ._rows import Share, emit_rows
from ._schedule import CudaSchedule, Form, form, schedules, shares

ALONE = Around({})


def loop_schedules(program: Program, group: Group) -> list[CudaSchedule]:
    """Schedules worth trying for a group, best guess first."""
    return schedules(parts(program, group))


def emit_loops(
    program: Program, group: Group, name: str, schedule: CudaSchedule | None = None, around: Around = ALONE
) -> CudaCode:
    """Print a group: a kernel for each of its parts, two where blocks share rows."""
    schedule = schedule or CudaSchedule()
    found = parts(program, group)
    printed: list[KernelText] = []
    scratch: list[tuple[Tensor, int]] = []
    for number, part in enumerate(found):
        own = f"{name}_kernel" if len(found) == 1 else f"{name}_kernel{number}"
        chosen = form(part, schedule)
        count, length = shares(part, schedule, chosen)
        if count == 1:
            printed.append(_kernel(part, own, chosen, around))
        else:
            printed += _shared_out(part, own, schedule, chosen, (count, length), around, scratch)
    made = {t.name for t, _ in scratch}
    tensors = {n for kernel in printed for n in kernel.tensors}
    touched = tuple(n for n in program.tensors if n in tensors and n not in made)
    offset, lines = 0, []
    for tensor, size in scratch:
        lines.append(f"{tensor.name} = {name}_scratch + {offset}")
        offset += size
    lines += [kernel.launch for kernel in printed]
    source = "\n\n".join(kernel.source for kernel in printed)
    return CudaCode(name, source, tuple(lines), touched, offset, asdict(schedule))


def _kernel(part: Normal, name: str, chosen: Form, around: Around) -> KernelText:
    if chosen.kind == "points":
        return emit_points(part, name, chosen, around)
    if chosen.kind == "crossed":
        return emit_crossed(part, name, chosen, around)
    return emit_rows(part, name, chosen, around)


def _shared_out(
    part: Normal,
    name: str,
    schedule: CudaSchedule,
    chosen: Form,
    share: tuple[int, int],
    around: Around,
    scratch: list[tuple[Tensor, int]],
) -> list[KernelText]:
    """Two kernels: each block of the first reduces a part of a row, the second what they leave, in a fixed order."""
    count, length = share
    tensors = dict(part.program.tensors)
    slot = Axis("part", count)
    partials: list[tuple[Tensor, tuple[Index, ...]]] = []
    whole: list[Reduce] = []
    for reduce in (s for s in part.statements if isinstance(s, Reduce)):
        dtype = held_dtype(reduce)
        shape: tuple[Size, ...] = (count, *(a.size for a in reduce.axes))
        tensor = Tensor(f"{name}_partial{len(partials)}", shape, dtype, contiguous(shape), "temp")
        tensors[tensor.name] = tensor
        scratch.append((tensor, _padded_bytes(tensor)))
        index = tuple(Index.axis(a.name) for a in (slot, *reduce.axes))
        partials.append((tensor, index))
        op = {"any": "max", "all": "min"}.get(reduce.op, reduce.op)
        whole.append(replace(reduce, raxes=(slot,), op=op, value=Load(tensor.name, index, dtype)))
    program = replace(part.program, tensors=tensors)
    first = emit_rows(
        replace(part, program=program),
        f"{name}_parts",
        replace(chosen, kind="passes"),
        around,
        Share(count, length, tuple(partials)),
    )
    rest = normalise(program, Group(tuple(whole), part.outer))
    return [first, _kernel(rest, name, form(rest, schedule), around)]


def _padded_bytes(tensor: Tensor) -> int:
    count = 8 if tensor.dtype in ("int64", "float64") else 4
    for size in tensor.shape:
        count *= int(size)
    return -(-count // 64) * 64
