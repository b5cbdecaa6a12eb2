"""Runs whole kernels whose indices are proved on memory whose neighbours are watched; a stray access ends the process.

Prints a line for each: its name, and whether it is right. See ``watched.py``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
import tvm_ffi
from watched import watched

from kernelwright.compiler import emit, prepare
from kernelwright.compiler.proof import prove
from kernelwright.targets.cpu import build
from kernelwright.targets.plan import WORKSPACE, EntryCall


def tensor(shape: tuple[int, ...], dtype: torch.dtype, at_end: bool) -> torch.Tensor:
    """Elements that no page follows, or precedes, filled with NaN."""
    count = torch.Size(shape).numel()
    width = torch.empty((), dtype=dtype).element_size()
    memory = (ctypes.c_char * (count * width)).from_address(watched(count * width, at_end))
    found = torch.frombuffer(memory, dtype=dtype, count=count)
    return found.fill_(float("nan") if dtype.is_floating_point else 0).view(shape)


def cases() -> Iterator[tuple[str, Callable[..., Any], tuple[torch.Tensor, ...]]]:
    def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x @ y

    for m, n, k in ((9, 48, 5), (31, 130, 400), (64, 65, 1024)):
        yield f"product {m} {n} {k}", product, (torch.randn(m, k), torch.randn(k, n))
        yield f"transposed {m} {n} {k}", lambda x, y: x @ y.t(), (torch.randn(m, k), torch.randn(n, k))
    yield "batches", product, (torch.randn(3, 13, 17), torch.randn(3, 17, 33))
    yield "double", product, (torch.randn(31, 40).double(), torch.randn(40, 130).double())
    for size, kernel in ((14, 3), (11, 1)):
        yield (
            f"convolution {size} {kernel}",
            lambda x, w, p=kernel // 2: F.conv2d(x, w, padding=p),
            (torch.randn(2, 40, size, size + 26), torch.randn(70, 40, kernel, kernel)),
        )
    yield "few results", product, (torch.randn(6, 9000), torch.randn(9000, 7))


def check(function: Callable[..., Any], inputs: tuple[torch.Tensor, ...]) -> str:
    candidate = emit(prepare(function, inputs))
    if not prove(candidate, 30.0).proved or candidate.plan is None:
        return "not proved"
    plan = candidate.plan
    module = tvm_ffi.load_module(str(build(candidate.source).library))
    for at_end in (True, False):
        named = {}
        for spec, value in zip(plan.inputs, inputs, strict=True):
            named[spec.spec.name] = tensor(tuple(value.shape), value.dtype, at_end).copy_(value)
        for buffer in plan.buffers:
            named[buffer.name] = tensor(tuple(map(int, buffer.shape)), getattr(torch, buffer.dtype), at_end)
        if plan.workspace:
            named[WORKSPACE] = tensor((int(plan.workspace),), torch.uint8, at_end)
        for step in plan.steps:
            assert isinstance(step, EntryCall)
            assert module[step.entry](*(named[a] for a in step.args)) == 0
        if not torch.allclose(named[str(plan.results[0])], function(*inputs), atol=1e-3, rtol=1e-3):
            return "wrong"
    return "right"


if __name__ == "__main__":
    torch.manual_seed(0)
    for name, function, inputs in cases():
        print(name, end=": ", flush=True)
        print(check(function, inputs), flush=True)
