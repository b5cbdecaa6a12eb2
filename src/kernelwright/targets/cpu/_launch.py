"""Launches a built candidate: binds inputs, allocates outputs, runs the steps, returns what the reference would."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import tvm_ffi
from torch.utils import _pytree as pytree

from ...errors import OutsideDomain
from ..plan import WORKSPACE, AtenCall, EntryCall, Literal, Plan, SizeText, TensorSpec
from ._memory import Allocate, allocate
from ._script import script

Entries = Mapping[str, Callable[..., Any]]


class Launcher:
    """A plan bound to its entries and its state; ``call`` it like the reference.

    ``entries`` is a shared object or functions by name. ``state`` holds the tensors behind the plan's ("state", name)
    inputs. Raises ``OutsideDomain`` for inputs the kernel was not made for; the caller decides what to do then.
    ``allocate`` is where output memory comes from; ``blind`` says that the entries do not check their arguments, as
    those of others do not; ``device`` is where all tensors lie.
    """

    def __init__(
        self,
        plan: Plan,
        entries: Path | Entries,
        state: Mapping[str, torch.Tensor],
        allocate: Allocate = allocate,
        *,
        blind: bool = False,
        device: str = "cpu",
    ) -> None:
        self.plan = plan
        self._allocate, self._device = allocate, _whole(device)
        self._module: Any = entries
        if isinstance(entries, Path):
            self._module = tvm_ffi.load_module(str(entries), keep_module_alive=True)
        literals = {literal.name: _tensor_of(literal).to(device) for literal in plan.literals}
        self._state = {**literals, **state}  # not detached: a parameter whose .data is replaced stays current
        self._arg_count = sum(1 for spec in plan.inputs if spec.source[0] == "arg")
        self._treespec = None if plan.treespec is None else pytree.treespec_loads(plan.treespec)
        self._idle_workspaces: list[torch.Tensor] = []  # popped while in use, so that threads never share one
        self._sizes = _SizeEvaluator(plan)
        about = (plan, self._module, self._state, self._treespec, allocate, self._idle_workspaces)
        quick = script(*about, _resolve, self._general, blind=blind, device=self._device)
        self._blind = blind
        if blind:  # now, not when it is called: a missing one is a fault of the library
            self._entries = [self._module[step.entry] for step in plan.steps if isinstance(step, EntryCall)]
        self.call: Callable[..., Any] = quick or self._general

    def _general(self, *args: Any) -> Any:
        tensors = self._bind(args)
        sizes = self._sizes.bind(tensors)
        if self._blind:
            self._look(tensors, sizes)
        named = {spec.spec.name: tensor for spec, tensor in zip(self.plan.inputs, tensors, strict=True)}
        for spec in self.plan.buffers:
            named[spec.name] = self._make(spec, sizes)
        workspace = self._borrow(sizes)
        if workspace is not None:
            named[WORKSPACE] = workspace
        try:
            for step in self.plan.steps:
                if isinstance(step, EntryCall):
                    self._call_entry(step, named)
                else:
                    self._call_aten(step, named, sizes)
        finally:
            if workspace is not None:
                self._idle_workspaces.append(workspace)
        for source, target in self.plan.mutations:
            self._state[target].detach().copy_(named[source])
        results = [r["value"] if isinstance(r, dict) else named[str(r)] for r in self.plan.results]
        return results[0] if self._treespec is None else pytree.tree_unflatten(results, self._treespec)

    def _bind(self, args: tuple[Any, ...]) -> list[torch.Tensor]:
        leaves = pytree.tree_leaves(args)
        for position, expected in self.plan.constants:
            if position >= len(leaves) or leaves[position] != expected:
                got = leaves[position] if position < len(leaves) else "nothing"
                raise OutsideDomain(f"Argument leaf {position} is {got}, but the kernel was made for {expected!r}.")
        given = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        if len(given) != self._arg_count:
            raise OutsideDomain(f"The kernel takes {self._arg_count} tensors, but {len(given)} were given.")
        elsewhere = next((tensor.device for tensor in given if tensor.device != self._device), None)
        if elsewhere is not None:
            raise OutsideDomain(f"A tensor is on {elsewhere}, but the kernel was made for {self._device}.")
        return [
            _as_specified(given[int(s.source[1])].detach(), s.spec)
            if s.source[0] == "arg"
            else self._state[str(s.source[1])]
            for s in self.plan.inputs
        ]

    def _look(self, tensors: Sequence[torch.Tensor], sizes: Mapping[str, int]) -> None:
        """What checked entries do themselves; layouts are right already."""
        for tensor, spec in zip(tensors, (i.spec for i in self.plan.inputs), strict=True):
            shape, dtype = self._sizes.all(spec.shape, sizes), getattr(torch, spec.dtype)
            if tuple(tensor.shape) != shape or tensor.dtype is not dtype or tensor.device != self._device:
                what = f"{tuple(tensor.shape)} {tensor.dtype} on {tensor.device}"
                raise OutsideDomain(f"A tensor is {what}, but the kernel takes {shape} {dtype} on the {self._device}.")

    def _make(self, spec: TensorSpec, sizes: Mapping[str, int]) -> torch.Tensor:
        shape, strides = self._sizes.all(spec.shape, sizes), self._sizes.all(spec.strides, sizes)
        return self._allocate(shape, strides, getattr(torch, spec.dtype))

    def _borrow(self, sizes: Mapping[str, int]) -> torch.Tensor | None:
        need = self._sizes.one(self.plan.workspace, sizes)
        if need == 0:
            return None
        while self._idle_workspaces:
            workspace = self._idle_workspaces.pop()
            if workspace.numel() >= need:
                return workspace
        return self._allocate((need,), (1,), torch.uint8)

    def _call_entry(self, step: EntryCall, named: Mapping[str, torch.Tensor]) -> None:
        refused = self._module[step.entry](*(named[name] for name in step.args))
        if refused:
            tensor = named[step.args[min(refused, len(step.args)) - 1]]
            what = f"{tuple(tensor.shape)} {tensor.dtype}"
            raise OutsideDomain(f"A tensor is {what}, outside the domain the kernel was verified for.")

    def _call_aten(self, step: AtenCall, named: dict[str, torch.Tensor], sizes: Mapping[str, int]) -> None:
        args = [self._decode(a, named, sizes) for a in step.args]
        kwargs = {k: self._decode(v, named, sizes) for k, v in step.kwargs}
        with torch.no_grad():
            result = _resolve(step.op)(*args, **kwargs)
        outputs = [result] if isinstance(result, torch.Tensor) else list(result)
        for name, tensor in zip(step.outputs, outputs, strict=True):
            if name:
                named[name] = tensor

    def _decode(self, value: Any, named: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> Any:
        if isinstance(value, dict):
            if "shape" in value:
                shape, strides = (self._sizes.all(value[key], sizes) for key in ("shape", "strides"))
                return named[value["tensor"]].as_strided(shape, strides)
            if "tensor" in value:
                return named[value["tensor"]]
            if "size" in value:
                return self._sizes.one(value["size"], sizes)
            if "dtype" in value or "memory_format" in value:
                return getattr(torch, value.get("dtype") or value["memory_format"])
            raise ValueError(f"unknown argument {value!r} in a plan")
        if isinstance(value, list | tuple):
            return [self._decode(v, named, sizes) for v in value]
        return value


class _SizeEvaluator:
    """Evaluates the plan's size texts; each text is compiled once."""

    def __init__(self, plan: Plan) -> None:
        self._symbols = plan.symbols
        self._code: dict[str, Any] = {}

    def bind(self, tensors: Sequence[torch.Tensor]) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for symbol in self._symbols:
            size = tensors[symbol.input].shape[symbol.dim]
            if not symbol.lo <= size <= symbol.hi:
                raise OutsideDomain(
                    f"Dimension {symbol.dim} of tensor {symbol.input} is {size}, "
                    f"but the kernel was verified for {symbol.lo} to {symbol.hi}."
                )
            sizes[symbol.name] = size
        return sizes

    def one(self, text: SizeText, sizes: Mapping[str, int]) -> int:
        if isinstance(text, int):
            return text
        code = self._code.get(text)
        if code is None:
            code = self._code[text] = compile(text, "<size>", "eval")
        return int(eval(code, {"__builtins__": {}, "Max": max, "max": max, "min": min, "math": math}, dict(sizes)))

    def all(self, texts: Sequence[SizeText], sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(self.one(text, sizes) for text in texts)


def _whole(device: str) -> torch.device:
    """With its number: kernels are launched on the GPU that is current now, and take no tensors of another one."""
    found = torch.device(device)
    return torch.device("cuda", torch.cuda.current_device()) if found.type == "cuda" and found.index is None else found


def _ints(texts: Sequence[SizeText]) -> tuple[int, ...]:
    return tuple(int(t) for t in texts)


def _tensor_of(literal: Literal) -> torch.Tensor:
    dtype = getattr(torch, literal.dtype)
    data = bytearray(base64.b64decode(literal.data))
    flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    return flat.reshape(literal.shape)


def _as_specified(tensor: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
    """Same values in the layout the kernel was made for: other strides cost a copy, not a refusal."""
    expected = spec.strides
    if len(expected) != tensor.dim() or any(isinstance(s, str) for s in expected):
        return tensor.contiguous() if _row_major(spec) else tensor
    if all(have == want or size == 1 for have, want, size in zip(tensor.stride(), expected, tensor.shape, strict=True)):
        return tensor
    copy = torch.empty_strided(tuple(tensor.shape), _ints(expected), dtype=tensor.dtype, device=tensor.device)
    return copy.copy_(tensor)


def _row_major(spec: TensorSpec) -> bool:
    return not spec.strides or spec.strides[-1] == 1


def _resolve(op: str) -> Callable[..., Any]:
    """ "aten.convolution.default" -> the operator."""
    target: Any = torch.ops
    for part in op.split("."):
        target = getattr(target, part)
    return target
