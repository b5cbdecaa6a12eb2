"""Joins kernels into one translation unit with C entries, and writes the plan that launches it.

Marks say where each kernel begins, so that a long unit can be compiled in parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...targets.cpu import ENTRIES_MARK, KERNEL_MARK
from ...targets.plan import Plan
from ..assembly import Segment, base, header, lay_out, make_plan, tensor_bytes
from ..program import Extern, Program, Tensor
from ._code import KernelCode
from ._share import share
from ._sizes import cpp_size

Step = KernelCode | Extern

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
    title: str = "",
    prefix: str = "",
    **rest: Any,
) -> Assembled:
    """Join kernels into a translation unit and its plan; the rest is for :func:`make_plan`."""
    layout = lay_out(program, share(steps), prefix)
    plan = make_plan(program, layout, sources=sources, **rest)
    functions = [f"{KERNEL_MARK}\n{k.source}" for segment in layout.segments for k in segment.kernels if k.source]
    callers = [_entry(program, segment) for segment in layout.segments]
    texts = [_header(title, program), *functions, f"{ENTRIES_MARK}\n" + "\n\n".join(callers)]
    return Assembled("\n\n".join(texts) + "\n" if callers else "", plan)


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _header(title: str, program: Program) -> str:
    headers = ("abi.h", "vec.h", "math.h", "reduce.h", "gemm.h")
    return "\n".join([*header(title, program, "//"), *(f"#include <kw/{h}>" for h in headers)])


def _entry(program: Program, segment: Segment[KernelCode]) -> str:
    names, places = segment.names, segment.places
    parameters = "void*, const kw::Argument* args, int32_t count, kw::Argument* result"
    lines = [f'extern "C" KW_EXPORT int __tvm_ffi_{segment.entry}({parameters}) {{']
    total = len(names) + segment.workspace
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
    if segment.workspace:
        lines.append(f"  char* workspace = kw::data(kw::tensor(args[{len(names)}]));")
    for name, offset in places.items():
        if name in program.tensors:
            ctype = _CTYPE[program.tensors[name].dtype]
            lines.append(f"  auto* {name} = reinterpret_cast<{ctype}*>(workspace + {cpp_size(offset)});")
    lines += _aliases(program, segment.kernels)
    for kernel in segment.kernels:
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


def _aliases(program: Program, kernels: Sequence[KernelCode]) -> list[str]:
    lines = []
    for name in program.tensors:
        if program.tensors[name].alias is not None and any(name in kernel.tensors for kernel in kernels):
            lines.append(f"  auto* {name} = {base(program, name)};")
    return lines
