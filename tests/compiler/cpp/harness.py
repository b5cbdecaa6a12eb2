"""Compiles generated kernels with g++ and runs them on torch tensors, without the rest of the project."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from kernelwright.compiler.cpp._code import KernelCode
from kernelwright.compiler.cpp.loops import LoopSchedule, emit_loops
from kernelwright.compiler.cpp.printer import store_type
from kernelwright.compiler.group import group
from kernelwright.compiler.program import Extern, Program, Tensor, contiguous

INCLUDE = Path(__file__).parents[3] / "src/kernelwright/targets/cpu/include"
FLAGS = "-O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=fast -std=c++20 -shared -fPIC -Wno-psabi"
_FOLDER = Path(tempfile.gettempdir()) / "kernelwright-test-kernels"


def compile_library(source: str, compiler: Sequence[str] = ("g++",)) -> ctypes.CDLL:
    """Build a shared object, once per content (headers included)."""
    digest = hashlib.sha256(source.encode())
    for header in sorted(INCLUDE.rglob("*.h")):
        digest.update(header.read_bytes())
    digest.update(" ".join(compiler).encode())
    target = _FOLDER / f"{digest.hexdigest()[:24]}.so"
    if not target.exists():
        _FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kernel.cpp"
            path.write_text(source)
            built = Path(folder) / "kernel.so"
            command = [*compiler, *FLAGS.split(), f"-I{INCLUDE}", str(path), "-o", str(built)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[:4000] + "\n" + source
            built.replace(target)
    return ctypes.CDLL(str(target), mode=ctypes.RTLD_GLOBAL)


def entry_source(kernels: Sequence[KernelCode], program: Program) -> str:
    """All kernels behind one ``extern "C"`` function per kernel, taking arrays of pointers and sizes."""
    text = ["#include <kw/vec.h>", "#include <kw/math.h>"]
    for kernel in kernels:
        text.append(kernel.source)
        arguments = [
            f"reinterpret_cast<{store_type(program.tensors[t].dtype)}*>(p[{i}])" for i, t in enumerate(kernel.tensors)
        ]
        arguments += [f"s[{i}]" for i, _ in enumerate(kernel.symbols)]
        if kernel.scratch != 0:
            arguments.append(f"static_cast<char*>(p[{len(kernel.tensors)}])")
        text.append(
            f'extern "C" void call_{kernel.name}(void** p, const int64_t* s) '
            f"{{ (void)p; (void)s; {kernel.name}({', '.join(arguments)}); }}"
        )
    return "\n".join(text)


class Runner:
    """A program built from its groups, ready to be called again and again."""

    def __init__(self, program: Program, schedule: LoopSchedule | None = None) -> None:
        self.program = program
        groups = group(program)
        assert not any(isinstance(g.statements[0], Extern) for g in groups)
        self.kernels = [emit_loops(program, g, f"k{i}", schedule) for i, g in enumerate(groups)]
        self.source = entry_source(self.kernels, program)
        self.library = compile_library(self.source)

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        symbols = {s.name: inputs[s.tensor].shape[s.dim] for s in self.program.symbols}
        memory = self.allocate(inputs, symbols)
        self.launch(memory, symbols)
        return {name: memory[name] for name in self.program.outputs}

    def allocate(self, inputs: Mapping[str, torch.Tensor], symbols: Mapping[str, int]) -> dict[str, torch.Tensor]:
        memory = dict(inputs)
        for tensor in self.program.tensors.values():
            if tensor.role != "input" and tensor.alias is None:
                shape = tuple(_size(s, symbols) for s in tensor.shape)
                memory[tensor.name] = poisoned(shape, tensor.dtype)
        return memory

    def launch(self, memory: Mapping[str, torch.Tensor], symbols: Mapping[str, int]) -> None:
        for kernel in self.kernels:
            pointers = [memory[t].data_ptr() for t in kernel.tensors]
            if kernel.scratch != 0:
                scratch = torch.empty(_size(kernel.scratch, symbols) + 64, dtype=torch.uint8)
                pointers.append((scratch.data_ptr() + 63) // 64 * 64)
            p = (ctypes.c_void_p * max(1, len(pointers)))(*pointers)
            s = (ctypes.c_int64 * max(1, len(kernel.symbols)))(*(symbols[n] for n in kernel.symbols))
            self.library[f"call_{kernel.name}"](p, s)


def poisoned(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """A result buffer whose every element is visibly wrong until written."""
    kind = getattr(torch, dtype)
    if kind.is_floating_point:
        return torch.full(shape, float("nan"), dtype=kind)
    return torch.full(shape, 1 if kind == torch.bool else 77, dtype=kind)


def _size(size: object, symbols: Mapping[str, int]) -> int:
    return size if isinstance(size, int) else int(size.subs(symbols))  # type: ignore[attr-defined]


def tensor(name: str, value: torch.Tensor | tuple[int, ...], role: str = "input", dtype: str = "float32") -> Tensor:
    """A program tensor like a torch tensor, or a contiguous one of a shape."""
    if isinstance(value, torch.Tensor):
        return Tensor(name, tuple(value.shape), str(value.dtype).split(".")[1], value.stride(), role)
    return Tensor(name, value, dtype, contiguous(value), role)


def program(tensors: Sequence[Tensor], statements: Sequence[object], symbols: Sequence[object] = ()) -> Program:
    """A program from its parts."""
    named = {t.name: t for t in tensors}
    inputs = tuple(t.name for t in tensors if t.role == "input" and t.alias is None)
    outputs = tuple(t.name for t in tensors if t.role == "output")
    return Program(named, inputs, outputs, tuple(statements), tuple(symbols))  # type: ignore[arg-type]
