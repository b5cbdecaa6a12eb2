"""Shared by the compiler's tests: a program's value under the interpreter must be what PyTorch computes in float64."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.utils import _pytree as pytree

from kernelwright.compiler.capture import Captured, capture
from kernelwright.compiler.fuse import fuse
from kernelwright.compiler.interpret import interpret
from kernelwright.compiler.lower import lower
from kernelwright.compiler.program import Program


def bound(captured: Captured, program: Program, fn: Any, args: tuple[Any, ...]) -> dict[str, torch.Tensor]:
    """The program's inputs by name."""
    leaves = [leaf for leaf in pytree.tree_leaves(args) if isinstance(leaf, torch.Tensor)]
    state: dict[str, torch.Tensor] = {}
    if isinstance(fn, torch.nn.Module):
        state = dict(fn.named_parameters(remove_duplicate=False)) | dict(fn.named_buffers(remove_duplicate=False))
    values = {}
    for name, (kind, key) in zip(program.inputs, captured.sources, strict=True):
        values[name] = leaves[key] if kind == "arg" else state[key] if kind == "state" else captured.lifted[key]
    return values


def widened(value: Any) -> Any:
    """Floating point tensors in float64, with the same strides."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.to(torch.float64)
    return value


def eager(fn: Any, args: tuple[Any, ...]) -> tuple[list[torch.Tensor], Any]:
    """What PyTorch returns in float64, and the module it has left behind."""
    own = copy.deepcopy(fn).double() if isinstance(fn, torch.nn.Module) else fn
    with torch.no_grad():
        result = own(*pytree.tree_map(widened, args))
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)], own


def check(fn: Any, *args: Any, extern: bool = False, fn64: Any = None) -> Program:
    """Lower, fuse and interpret; compare with eager before and after fusion. Returns the fused program.

    Unless ``extern`` no operation may stay an ATen call.
    """
    captured = capture(fn, args)
    program = lower(captured)
    fused = fuse(program)
    expected, _ = eager(fn64 or fn, args)
    inputs = bound(captured, program, fn, args)
    for each in (program, fused):
        compare(each, interpret(each, inputs, torch.float64), expected)
    if not extern:
        assert program.notes == ()
    return fused


def compare(program: Program, result: dict[str, torch.Tensor], expected: list[torch.Tensor]) -> None:
    got = [result[name] for name in program.outputs[: len(expected)]]
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e, equal_nan=True, rtol=1e-7, atol=1e-9, check_dtype=not g.is_floating_point())
