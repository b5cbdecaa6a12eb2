"""Joins kernels into one translation unit with C entries, and writes the plan that launches it.

Consecutive generated kernels become one entry (a *segment*); ATen calls stand between segments. Temporaries that live
inside one segment share a workspace, placed by lifetime; those that cross a segment are buffers of the plan. Marks say
where each kernel begins, so that a long unit can be compiled in parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy

from ...targets.cpu import ENTRIES_MARK, KERNEL_MARK
from ...targets.plan import (
    WORKSPACE,
    AtenCall,
    EntryCall,
    InputSpec,
    Literal,
    Plan,
    SizeText,
    SymbolSpec,
    TensorSpec,
)
from ..program import Extern, Program, Size, Tensor
from ._code import KernelCode
from ._share import share
from ._sizes import cpp_size, python_size

Step = KernelCode | Extern

ITEMSIZE = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
_CTYPE = {
    "float64": "double", "float32": "float", "float16": "kw::f16", "bfloat16": "kw::bf16",
    "int64": "int64_t", "int32": "int32_t", "int16": "int16_t", "int8": "int8_t", "uint8": "uint8_t", "bool": "kw::b8",
}  # fmt: skip
_ABI_DTYPE = {
    "float64": "kFloat64", "float32": "kFloat32", "float16": "kFloat16", "bfloat16": "kBFloat16",
    "int64": "kInt64", "int32": "kInt32", "int16": "kInt16", "int8": "kInt8", "uint8": "kUInt8", "bool": "kBool",
}  # fmt: skip

HUGE_PAGE_BYTES = 4 << 20  # outputs of at least two huge pages are worth a madvise


@dataclass(frozen=True)
class Assembled:
    """A translation unit (empty when every step is an ATen call) and the plan that launches it."""

    source: str
    plan: Plan


def assemble(
    program: Program,
    steps: Sequence[Step],
    *,
    sources: Sequence[tuple[str, int | str]],
    results: tuple[object, ...] | None = None,
    treespec: str | None = None,
    mutations: tuple[tuple[str, str], ...] = (),
    constants: tuple[tuple[int, object], ...] = (),
    literals: tuple[Literal, ...] = (),
    title: str = "",
) -> Assembled:
    """``sources`` says where each program input comes from (see ``InputSpec``), in the program's input order.

    The rest goes into the plan as it is; ``results`` defaults to the program's outputs.
    """
    segments = _segments(share(steps))
    crossing = _crossing(program, segments)
    buffers = [program.tensors[n] for n in program.tensors if n in crossing]
    functions: list[str] = []
    callers: list[str] = []
    plan_steps: list[EntryCall | AtenCall] = []
    arena: SizeText = 0
    entries = 0
    for segment in segments:
        if isinstance(segment, Extern):
            plan_steps.append(_aten_call(program, segment))
            continue
        places, need = _place(program, segment, crossing)
        arena = _larger(arena, need)
        entry = f"run{entries}"
        entries += 1
        names = _entry_arguments(program, segment, crossing, everything=len(segments) == 1)
        functions += [f"{KERNEL_MARK}\n{kernel.source}" for kernel in segment if kernel.source]
        callers.append(_entry(program, entry, names, segment, places, bool(need != 0)))
        plan_steps.append(EntryCall(entry, (*names, WORKSPACE) if need != 0 else names))
    plan = Plan(
        inputs=tuple(
            InputSpec(source, _spec(program.tensors[name]))
            for source, name in zip(sources, program.inputs, strict=True)
        ),
        buffers=tuple(_spec(t) for t in buffers if not _made_by_extern(t.name, segments)),
        steps=tuple(plan_steps),
        results=program.outputs if results is None else results,
        treespec=treespec,
        symbols=tuple(SymbolSpec(s.name, program.inputs.index(s.tensor), s.dim, s.lo, s.hi) for s in program.symbols),
        workspace=arena,
        mutations=mutations,
        constants=constants,
        literals=literals,
    )
    texts = [_header(title, program), *functions, f"{ENTRIES_MARK}\n" + "\n\n".join(callers)]
    return Assembled("\n\n".join(texts) + "\n" if entries else "", plan)


# ── who lives where ──────────────────────────────────────────────────────────────────────────────────────────────


def base(program: Program, name: str) -> str:
    """The tensor whose memory ``name`` shares."""
    alias = program.tensors[name].alias
    return name if alias is None else base(program, alias)


def _segments(steps: Sequence[Step]) -> list[list[KernelCode] | Extern]:
    segments: list[list[KernelCode] | Extern] = []
    for step in steps:
        if isinstance(step, Extern):
            segments.append(step)
        elif segments and isinstance(segments[-1], list):
            segments[-1].append(step)
        else:
            segments.append([step])
    return segments


def _touched(program: Program, segment: list[KernelCode] | Extern) -> set[str]:
    if isinstance(segment, Extern):
        return {base(program, n) for n in (*_tensors_in(segment.args), *_tensors_in(segment.kwargs)) if n} | {
            n for n in segment.outputs if n
        }
    return {base(program, n) for kernel in segment for n in kernel.touched}


def _crossing(program: Program, segments: Sequence[list[KernelCode] | Extern]) -> set[str]:
    """Tensors that are neither inputs nor private to one generated segment."""
    found = {base(program, n) for n in program.outputs if program.tensors[base(program, n)].role != "input"}
    seen: dict[str, int] = {}
    for number, segment in enumerate(segments):
        for name in _touched(program, segment):
            if program.tensors[name].role == "input":
                continue
            if isinstance(segment, Extern) or seen.get(name, number) != number:
                found.add(name)
            seen.setdefault(name, number)
    return found


def _made_by_extern(name: str, segments: Sequence[list[KernelCode] | Extern]) -> bool:
    return any(isinstance(s, Extern) and name in s.outputs for s in segments)


def _tensors_in(value: object) -> list[str]:
    if isinstance(value, dict):
        return [str(value["tensor"])] if "tensor" in value else []
    if isinstance(value, list | tuple):
        return [name for item in value for name in _tensors_in(item)]
    return []


def _place(program: Program, segment: Sequence[KernelCode], crossing: set[str]) -> tuple[dict[str, Size], SizeText]:
    """Offsets in the workspace: of each private temporary, and of each kernel's scratch under the kernel's name."""
    lives: dict[str, tuple[int, int, Size]] = {}
    for number, kernel in enumerate(segment):
        for name in {base(program, n) for n in kernel.touched}:
            tensor = program.tensors[name]
            if tensor.role == "input" or name in crossing:
                continue
            first = lives[name][0] if name in lives else number
            lives[name] = (first, number, tensor_bytes(tensor))
        if kernel.scratch != 0:
            lives[kernel.name] = (number, number, kernel.scratch)
    if all(isinstance(size, int) for _, _, size in lives.values()):
        return _pack({n: (a, b, int(size)) for n, (a, b, size) in lives.items()})
    offset: Size = 0
    places: dict[str, Size] = {}
    for name, (_, _, size) in lives.items():
        places[name] = offset
        offset = offset + (size + 64 if isinstance(size, int) else sympy.Integer(64) * ((size + 127) // 64))
    return places, python_size(offset)


def _pack(lives: dict[str, tuple[int, int, int]]) -> tuple[dict[str, Size], int]:
    """First fit, largest first, in whole cache lines."""
    placed: list[tuple[int, int, int, int]] = []  # first, last, offset, end
    places: dict[str, Size] = {}
    for name, (first, last, size) in sorted(lives.items(), key=lambda item: (-item[1][2], item[0])):
        size = (size + 63) // 64 * 64
        offset = 0
        for _, _, start, end in sorted((p for p in placed if p[0] <= last and first <= p[1]), key=lambda p: p[2]):
            if offset + size <= start:
                break
            offset = max(offset, end)
        placed.append((first, last, offset, offset + size))
        places[name] = offset
    return places, max((p[3] for p in placed), default=0)


def tensor_bytes(tensor: Tensor) -> Size:
    """Bytes spanned by a contiguous tensor."""
    count: Size = ITEMSIZE[tensor.dtype]
    for size in tensor.shape:
        count = count * size
    return count


def _larger(a: SizeText, b: SizeText) -> SizeText:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return b if a == 0 else (a if b == 0 else f"Max({a}, {b})")


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _header(title: str, program: Program) -> str:
    lines = [f"// {title}" if title else "// Generated by kernelwright."]
    for name in (*program.inputs, *program.outputs):
        tensor = program.tensors[name]
        shape = ", ".join(str(s) for s in tensor.shape)
        lines.append(f"//   {tensor.role:6} {name}: {tensor.dtype}[{shape}]")
    headers = ("abi.h", "vec.h", "math.h", "reduce.h", "gemm.h")
    return "\n".join(lines) + "\n" + "\n".join(f"#include <kw/{h}>" for h in headers)


def _entry_arguments(
    program: Program, segment: Sequence[KernelCode], crossing: set[str], everything: bool
) -> tuple[str, ...]:
    touched = _touched(program, list(segment)) | {s.tensor for s in program.symbols}
    inputs = [n for n in program.inputs if everything or n in touched]
    buffers = [n for n in program.tensors if n in crossing and (everything or n in touched)]
    return (*inputs, *buffers)


def _entry(
    program: Program,
    entry: str,
    names: Sequence[str],
    segment: Sequence[KernelCode],
    places: dict[str, Size],
    workspace: bool,
) -> str:
    parameters = "void*, const kw::Argument* args, int32_t count, kw::Argument* result"
    lines = [f'extern "C" KW_EXPORT int __tvm_ffi_{entry}({parameters}) {{']
    total = len(names) + workspace
    lines.append(f"  if (count != {total}) return kw::answer(result, {total + 1});")
    position = {name: i for i, name in enumerate(names)}
    for symbol in program.symbols:
        lines += [
            f"  const int64_t {symbol.name} = kw::tensor(args[{position[symbol.tensor]}])->shape[{symbol.dim}];",
            f"  if ({symbol.name} < {symbol.lo} || {symbol.name} > {symbol.hi})"
            f" return kw::answer(result, {position[symbol.tensor] + 1});",
        ]
    for name in names:
        lines += _bind(program.tensors[name], position[name])
    if workspace:
        lines.append(f"  char* workspace = kw::data(kw::tensor(args[{len(names)}]));")
    for name, offset in places.items():
        if name in program.tensors:
            ctype = _CTYPE[program.tensors[name].dtype]
            lines.append(f"  auto* {name} = reinterpret_cast<{ctype}*>(workspace + {cpp_size(offset)});")
    lines += _aliases(program, segment)
    for kernel in segment:
        arguments = [*kernel.tensors, *kernel.symbols]
        if kernel.scratch != 0:
            arguments.append(f"workspace + {cpp_size(places[kernel.name])}")
        call = f"{kernel.function or kernel.name}({', '.join(arguments)});"
        lines.append(f"  if ({kernel.when}[0]) {call}" if kernel.when else f"  {call}")
    lines += ["  return kw::answer(result, 0);", "}"]
    return "\n".join(lines)


def _bind(tensor: Tensor, position: int) -> list[str]:
    """Check one argument and take its pointer; large outputs ask for huge pages before they are first touched."""
    name, dims = tensor.name, len(tensor.shape)
    shape = ", ".join(cpp_size(s) for s in tensor.shape) or "0"
    strides = ", ".join(cpp_size(s) for s in tensor.strides) or "0"
    lines = [
        f"  const int64_t {name}_shape[] = {{{shape}}}, {name}_strides[] = {{{strides}}};",
        f"  if (!kw::matches(kw::tensor(args[{position}]), kw::{_ABI_DTYPE[tensor.dtype]}, {dims}, {name}_shape, "
        f"{name}_strides)) return kw::answer(result, {position + 1});",
    ]
    ctype = _CTYPE[tensor.dtype]
    qualifier = "const " if tensor.role == "input" else ""
    lines.append(f"  auto* {name} = reinterpret_cast<{qualifier}{ctype}*>(kw::data(kw::tensor(args[{position}])));")
    size = tensor_bytes(tensor)
    if tensor.role != "input" and (not isinstance(size, int) or size >= HUGE_PAGE_BYTES):
        lines.append(f"  kw::advise_huge({name}, {cpp_size(size)});")
    return lines


def _aliases(program: Program, segment: Sequence[KernelCode]) -> list[str]:
    lines = []
    for name in program.tensors:
        if program.tensors[name].alias is not None and any(name in kernel.tensors for kernel in segment):
            lines.append(f"  auto* {name} = {base(program, name)};")
    return lines


# ── plan ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _spec(tensor: Tensor) -> TensorSpec:
    return TensorSpec(
        tensor.name,
        tuple(python_size(s) for s in tensor.shape),
        tensor.dtype,
        tuple(python_size(s) for s in tensor.strides),
    )


def _aten_call(program: Program, extern: Extern) -> AtenCall:
    args = tuple(_resolve_aliases(program, a) for a in extern.args)
    kwargs = tuple((k, _resolve_aliases(program, v)) for k, v in extern.kwargs)
    return AtenCall(extern.op, args, kwargs, extern.outputs)


def _resolve_aliases(program: Program, value: object) -> object:
    """An alias has no tensor of its own at run time: pass a view of its base."""
    if isinstance(value, dict) and "tensor" in value:
        tensor = program.tensors[str(value["tensor"])]
        if tensor.alias is None:
            return value
        return {
            "tensor": base(program, tensor.name),
            "shape": [python_size(s) for s in tensor.shape],
            "strides": [python_size(s) for s in tensor.strides],
        }
    if isinstance(value, list | tuple):
        return [_resolve_aliases(program, v) for v in value]
    return value
