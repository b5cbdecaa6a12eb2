"""The fixed part around what a model writes: a function's signature, and the entry that calls it by the judge's ABI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import Unsupported
from ..targets import Plan, TensorSpec
from ..targets.cpu import plain

_CPP = {
    "float64": "double",
    "float32": "float",
    "float16": "_Float16",
    "bfloat16": "uint16_t",
    "int64": "int64_t",
    "int32": "int32_t",
    "int16": "int16_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "bool": "bool",
}


@dataclass(frozen=True)
class Host:
    """``signature``: what a model must define, with a comment on each argument; ``wrap`` makes what it wrote whole."""

    signature: str
    wrap: Callable[[str], str]
    language: str
    entry: str  # what the text must mention


def host(target: str, plan: Plan) -> Host:
    """Raises ``Unsupported`` for a target that no prompt is written for, or a dtype without a name there."""
    if target == "cpu":
        return Host(_cpp_signature(plan), lambda text: _cpp_source(plan, text), "cpp", "kernel")
    if target == "triton":
        return Host(_triton_signature(plan), lambda text: text, "python", "main")
    raise Unsupported(f"language models are not asked for kernels of the target {target!r} yet.")


def _parts(plan: Plan) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """What is read and what is filled, in the order of the one entry's arguments."""
    return [each.spec for each in plan.inputs], list(plan.buffers)


def _cpp_signature(plan: Plan) -> str:
    read, filled = _parts(plan)
    lines = [f"const {_cpp_type(s)}* {s.name},  // {_describe(s)}" for s in read]
    lines += [f"{_cpp_type(s)}* {s.name},  // {_describe(s)}, to be filled" for s in filled]
    lines += [f"int64_t {s.name},  // any size from {s.lo} to {s.hi}" for s in plan.symbols]
    lines[-1] = lines[-1].replace(",", "", 1)
    return "\n".join(["void kernel(", *(f"    {line}" for line in lines), ")"])


def _cpp_source(plan: Plan, text: str) -> str:
    """The model's text first, so that lines in the compiler's messages are its own."""
    read, filled = _parts(plan)
    specs = [*read, *filled]
    pointers = [
        f"reinterpret_cast<{'const ' if k < len(read) else ''}{_cpp_type(s)}*>(kw::data(kw::tensor(kw_arguments[{k}])))"
        for k, s in enumerate(specs)
    ]
    sizes = [f"kw::tensor(kw_arguments[{s.input}])->shape[{s.dim}]" for s in plan.symbols]
    call = ",\n         ".join([*pointers, *sizes])
    entry = (
        "#include <kw/abi.h>\n"
        'extern "C" KW_EXPORT int __tvm_ffi_main(void*, const kw::Argument* kw_arguments, int32_t kw_count, '
        "kw::Argument* kw_result) {\n"
        f"  if (kw_count != {len(specs)}) return -1;\n"
        f"  kernel({call});\n"
        "  return kw::answer(kw_result, 0);\n}\n"
    )
    return plain(f"#include <stdint.h>\n#line 1\n{text}\n{entry}", "c++")


def _triton_signature(plan: Plan) -> str:
    read, filled = _parts(plan)
    lines = [f"    {s.name},  # {_describe(s)}" for s in read]
    lines += [f"    {s.name},  # {_describe(s)}, to be filled" for s in filled]
    return "\n".join(["def main(", *lines, "):"])


def _cpp_type(spec: TensorSpec) -> str:
    if spec.dtype not in _CPP:
        raise Unsupported(f"language models are not asked for kernels on {spec.dtype}.")
    return _CPP[spec.dtype]


def _describe(spec: TensorSpec) -> str:
    shape = " x ".join(map(str, spec.shape)) or "one element"
    note = " (its bits)" if spec.dtype == "bfloat16" else ""
    step, row_major = 1, True
    for size, stride in zip(reversed(spec.shape), reversed(spec.strides), strict=True):
        if not (isinstance(size, int) and isinstance(stride, int) and isinstance(step, int)):
            break
        row_major = row_major and (stride == step or size == 1)
        step *= max(size, 1)
    layout = "row-major" if row_major else f"strides {', '.join(map(str, spec.strides))} in elements"
    return f"{spec.dtype}{note}, {shape}, {layout}"
