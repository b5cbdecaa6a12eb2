"""Compiles what a candidate's launchers launch, without a GPU: ``python -m kernelwright.targets.triton._ahead``.

The launchers run as they would, on tensors without memory; in place of each launch, Triton compiles the kernel for the
arguments it was given. So signatures, constants and specialisations are those of the real launch, from Triton's own
code. Candidates come as lines of JSON, reports leave as lines of JSON; a compiler that dies takes this process alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ...errors import BuildFailed, KernelwrightError
from ...machine import H200, Gpu
from ..cpu import Launcher
from ..plan import Plan, SizeText, TensorSpec, plan_from_json
from ._module import allocator, launchers
from ._occupancy import blocks_per_sm, occupancy
from ._report import BuildReport, KernelBuild, to_json

_USAGE = re.compile(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


def compile_ahead(source: str, plan: Plan, gpu: Gpu = H200) -> BuildReport:
    """Compile every launch of one call. Raises ``BuildFailed`` with the compiler's message."""
    start = time.perf_counter()
    with _recording(gpu) as launches:
        _call(source, plan)
    used: dict[int, _Usage] = {}
    kernels = []
    for compiled, grid in launches:
        if id(compiled) not in used:
            used[id(compiled)] = _usage(compiled.asm["cubin"], compiled.metadata.name)
        kernels.append(_describe(compiled.metadata, grid, used[id(compiled)], gpu))
    return BuildReport(gpu.architecture, tuple(kernels), time.perf_counter() - start)


Launch = tuple[Any, tuple[int, ...]]  # triton's CompiledKernel and the grid
_Usage = tuple[int, int]  # registers, bytes of spills


class _Device:
    """Stands in for Triton's driver: a device that has an architecture and nothing else."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self._gpu.capability, self._gpu.warp)


@contextmanager
def _recording(gpu: Gpu) -> Iterator[list[Launch]]:
    """While this lasts, a launch compiles instead."""
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction, MockTensor

    launches: list[Launch] = []
    original = JITFunction.run

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        bound = {**dict(zip(self.arg_names, args, strict=False)), **kwargs}
        shape = grid(bound) if callable(grid) else grid
        mocks = [MockTensor(a.dtype, list(a.shape)) if isinstance(a, torch.Tensor) else a for a in args]
        named = {k: MockTensor(v.dtype, list(v.shape)) if isinstance(v, torch.Tensor) else v for k, v in kwargs.items()}
        compiled = original(self, *mocks, grid=grid, warmup=True, **named)
        launches.append((compiled, tuple(int(size) for size in shape)))
        return compiled

    driver.set_active(_Device(gpu))
    JITFunction.run = run
    try:
        yield launches
    finally:
        JITFunction.run = original
        if torch.cuda.is_available():  # there is a driver to go back to
            driver.reset_active()


def _call(source: str, plan: Plan) -> None:
    """One call of the plan on tensors without memory."""
    sizes = {symbol.name: symbol.hi for symbol in plan.symbols}
    given = {spec.source: _meta(spec.spec, sizes) for spec in plan.inputs if spec.source[0] != "literal"}
    state = {str(name): tensor for (kind, name), tensor in given.items() if kind == "state"}
    tensors = [tensor for (kind, _), tensor in sorted(given.items(), key=_position) if kind == "arg"]
    constants = dict(plan.constants)
    leaves: list[Any] = []
    while tensors or len(leaves) in constants:
        leaves.append(constants[len(leaves)] if len(leaves) in constants else tensors.pop(0))
    try:
        Launcher(plan, launchers(source, plan), state, allocator("meta"), blind=True, device="meta").call(*leaves)
    except KernelwrightError:
        raise
    except Exception as error:  # Triton's own classes of errors are many, and the text is what tells
        lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or ["no message"]
        raise BuildFailed(f"Triton rejects the source: {type(error).__name__}: {lines[-1][:300]}") from error


def _position(item: tuple[tuple[str, int | str], torch.Tensor]) -> tuple[str, int, str]:
    kind, where = item[0]
    return kind, where if isinstance(where, int) else 0, str(where)


def _meta(spec: TensorSpec, sizes: Mapping[str, int]) -> torch.Tensor:
    def number(text: SizeText) -> int:
        scope = {"__builtins__": {}, "Max": max, "max": max, "min": min}
        return text if isinstance(text, int) else int(eval(text, scope, dict(sizes)))

    shape, strides = tuple(map(number, spec.shape)), tuple(map(number, spec.strides))
    return torch.empty_strided(shape, strides, dtype=getattr(torch, spec.dtype), device="meta")


def _usage(cubin: bytes, name: str) -> _Usage:
    """What the machine code of a kernel uses, read off it."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        try:
            told = subprocess.run(
                [str(tool), "--dump-resource-usage", file.name], capture_output=True, text=True, timeout=60
            )
        except OSError as error:
            raise BuildFailed(f"This triton package lacks cuobjdump ({error.strerror}).") from error
    for function, registers, stack, _, local in _USAGE.findall(told.stdout):
        if function == name:
            return int(registers), int(stack) + int(local)
    raise BuildFailed(f"cuobjdump does not tell what the kernel {name} uses: {told.stderr.strip()[:200]}")


def _describe(metadata: Any, grid: tuple[int, ...], usage: _Usage, gpu: Gpu) -> KernelBuild:
    registers, spills = usage
    resources = (gpu, metadata.num_warps * gpu.warp, registers, int(metadata.shared))
    return KernelBuild(
        kernel=str(metadata.name),
        grid=grid,
        warps=metadata.num_warps,
        stages=metadata.num_stages,
        registers=registers,
        spills=spills,
        shared=int(metadata.shared),
        blocks=blocks_per_sm(*resources),
        occupancy=occupancy(*resources),
    )


def main() -> None:
    """Answer every line of standard input by one line; whatever else is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        data = json.loads(line)
        try:
            made = compile_ahead(data["source"], plan_from_json(data["plan"]))
        except KernelwrightError as error:
            made = BuildReport(H200.architecture, (), 0.0, str(error))
        print(to_json(made), file=answers, flush=True)


if __name__ == "__main__":
    main()
