"""Compiles generated kernels with g++ and runs them on torch tensors, without the rest of the project."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from kernelwright.compiler.cpp._code import KernelCode
from kernelwright.compiler.cpp.loops import LoopSchedule, emit_loops
from kernelwright.compiler.cpp.printer import store_type
from kernelwright.compiler.group import Group, group
from kernelwright.compiler.program import (
    Acc,
    Axis,
    Const,
    Expr,
    Extern,
    Index,
    Load,
    Map,
    Op,
    Program,
    Reduce,
    Scan,
    Store,
    Tensor,
    contiguous,
)

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
    text: list[str] = []
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


Schedules = Callable[[Program, Group], "LoopSchedule | None"]


class Unit:
    """Several programs built into one library (one compiler run), each from its groups."""

    def __init__(self, programs: Sequence[Program], schedule: Schedules | None = None) -> None:
        self.programs = list(programs)
        self.kernels: list[list[KernelCode]] = []
        for number, program in enumerate(self.programs):
            groups = group(program)
            assert not any(isinstance(g.statements[0], Extern) for g in groups)
            self.kernels.append(
                [
                    emit_loops(program, g, f"p{number}_k{i}", schedule(program, g) if schedule else None)
                    for i, g in enumerate(groups)
                ]
            )
        sources = [entry_source(k, p) for k, p in zip(self.kernels, self.programs, strict=True)]
        self.source = "\n".join(["#include <kw/vec.h>", "#include <kw/math.h>", *sources])
        self.library = compile_library(self.source)

    def run(self, number: int, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The outputs of one program, computed into poisoned memory."""
        program = self.programs[number]
        symbols = {s.name: inputs[s.tensor].shape[s.dim] for s in program.symbols}
        memory = self.allocate(number, inputs, symbols)
        for kernel in self.kernels[number]:
            launch(self.library, kernel, memory, symbols)
        return {name: memory[name] for name in program.outputs}

    def allocate(
        self, number: int, inputs: Mapping[str, torch.Tensor], symbols: Mapping[str, int]
    ) -> dict[str, torch.Tensor]:
        memory = dict(inputs)
        for tensor in self.programs[number].tensors.values():
            if tensor.role != "input" and tensor.alias is None:
                shape = tuple(_size(s, symbols) for s in tensor.shape)
                memory[tensor.name] = poisoned(shape, tensor.dtype)
        return memory


def launch(
    library: ctypes.CDLL, kernel: KernelCode, memory: Mapping[str, torch.Tensor], symbols: Mapping[str, int]
) -> None:
    """Call one kernel on memory that its caller owns."""
    pointers = [memory[t].data_ptr() for t in kernel.tensors]
    if kernel.scratch != 0:
        scratch = torch.empty(_size(kernel.scratch, symbols) + 64, dtype=torch.uint8)
        pointers.append((scratch.data_ptr() + 63) // 64 * 64)
    p = (ctypes.c_void_p * max(1, len(pointers)))(*pointers)
    s = (ctypes.c_int64 * max(1, len(kernel.symbols)))(*(symbols[n] for n in kernel.symbols))
    library[f"call_{kernel.name}"](p, s)


class Runner:
    """One program, ready to be called again and again."""

    def __init__(self, program: Program, schedule: LoopSchedule | None = None) -> None:
        self.program = program
        self.unit = Unit([program], (lambda _p, _g: schedule) if schedule else None)
        self.kernels, self.source = self.unit.kernels[0], self.unit.source

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return self.unit.run(0, inputs)

    def allocate(self, inputs: Mapping[str, torch.Tensor], symbols: Mapping[str, int]) -> dict[str, torch.Tensor]:
        return self.unit.allocate(0, inputs, symbols)

    def launch(self, memory: Mapping[str, torch.Tensor], symbols: Mapping[str, int]) -> None:
        for kernel in self.kernels:
            launch(self.unit.library, kernel, memory, symbols)


def poisoned(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """A result buffer whose every element is visibly wrong until written."""
    kind = getattr(torch, dtype)
    if kind.is_floating_point:
        return torch.full(shape, float("nan"), dtype=kind)
    return torch.full(shape, 1 if kind == torch.bool else 77, dtype=kind)


def _size(size: object, symbols: Mapping[str, int]) -> int:
    if isinstance(size, int):
        return size
    return int(size.subs({s: symbols[s.name] for s in size.free_symbols}))  # type: ignore[attr-defined]


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


# ── short hands for writing programs by hand ─────────────────────────────────────────────────────────────────────

I = Index.axis  # noqa: E741


def op(name: str, *args: Expr, dtype: str = "float32") -> Op:
    return Op(name, args, dtype)


def const(value: float, dtype: str = "float32") -> Const:
    return Const(value, dtype)


def load(name: str, *index: str | Index, fill: float | None = None, dtype: str = "float32") -> Load:
    """A load whose indices are axis names or indices."""
    return Load(name, tuple(I(i) if isinstance(i, str) else i for i in index), dtype, fill)


def at(name: str, *index: str | Index) -> Store:
    return Store(name, tuple(I(i) if isinstance(i, str) else i for i in index))


def computed(dtype: torch.dtype) -> str:
    """The dtype in which a storage dtype is computed."""
    name = str(dtype).split(".")[1]
    return "float32" if name in ("bfloat16", "float16") else name


def axes_like(value: torch.Tensor) -> tuple[Axis, ...]:
    return tuple(Axis(f"a{k}", size) for k, size in enumerate(value.shape))


def pointwise(value: torch.Tensor, expr: Callable[[Expr], Expr], dtype: str | None = None) -> Program:
    """``y = expr(x)`` for an input like ``value``."""
    axes = axes_like(value)
    names = [a.name for a in axes]
    result = expr(load("x", *names, dtype=computed(value.dtype)))
    out = tensor("y", tuple(value.shape), "output", dtype or result.dtype)
    return program([tensor("x", value), out], [Map(axes, result, at("y", *names))])


def reduction(value: torch.Tensor, dims: Sequence[int], name: str) -> Program:
    """``y = x.name(dims)`` for an input like ``value``."""
    axes = axes_like(value)
    names = [a.name for a in axes]
    rest = tuple(a for k, a in enumerate(axes) if k not in dims)
    raxes = tuple(axes[k] for k in dims)
    kind = computed(value.dtype)
    result = {"any": "bool", "all": "bool", "argmax": "int64", "argmin": "int64"}.get(name, kind)
    if name in ("sum", "prod") and "float" not in kind:
        result = "int64"
    stored = str(value.dtype).split(".")[1] if result == kind else result
    out = tensor("y", tuple(a.size for a in rest), "output", stored)  # type: ignore[arg-type]
    body = Reduce(rest, raxes, name, load("x", *names, dtype=kind), at("y", *(a.name for a in rest)), Acc(result))
    return program([tensor("x", value), out], [body])


def scanned(value: torch.Tensor, dim: int, name: str, reverse: bool = False, exclusive: bool = False) -> Program:
    """``y = cumulative name along dim`` for an input like ``value``."""
    axes = axes_like(value)
    names = [a.name for a in axes]
    kind = computed(value.dtype)
    stored = str(value.dtype).split(".")[1] if "float" in kind else "int64"
    out = tensor("y", tuple(value.shape), "output", stored)
    rest = tuple(a for k, a in enumerate(axes) if k != dim)
    body = Scan(rest, axes[dim], name, load("x", *names, dtype=kind), at("y", *names), reverse, exclusive)
    return program([tensor("x", value), out], [body])
