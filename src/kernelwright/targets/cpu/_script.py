"""The quick way through a plan of fixed sizes: a Python function written for it.

Interpreting a plan costs more than a small kernel does, so it is printed once as straight-line Python: every argument
is a local variable, every buffer is made just before its first use and dropped after its last one, so that the
allocator can hand the same memory out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..plan import WORKSPACE, AtenCall, EntryCall, Plan, TensorSpec
from ._memory import Allocate, maker


def script(
    plan: Plan,
    module: Any,
    state: Mapping[str, torch.Tensor],
    treespec: pytree.TreeSpec | None,
    allocate: Allocate,
    idle: list[torch.Tensor],
    resolve: Callable[[str], Callable[..., Any]],
    general: Callable[..., Any],
    *,
    blind: bool = False,
    device: torch.device,
) -> Callable[..., Any] | None:
    """A function of the plan's tensor arguments that returns what the reference would.

    Other arguments than the plan's, and those that need gradients, go to ``general``, which copies them into the right
    layout or says what is wrong. The function's ``leaving_by(other)`` is the same with another way out.
    Instead of a function, None for a plan that needs the general path anyway. ``idle`` holds workspaces between calls.
    ``blind``: the entries do not look at what they are given, so it is done for them. ``device``: where tensors lie.
    """
    fixed = isinstance(plan.workspace, int) and not (plan.symbols or plan.mutations or plan.constants)
    arguments = [spec for spec in plan.inputs if spec.source[0] == "arg"]
    if not fixed or [spec.source[1] for spec in arguments] != list(range(len(arguments))):
        return None
    pack = _packer(treespec)
    if pack is None:
        return None
    return _Writer(plan, module, state, pack, allocate, idle, resolve, general).write(blind, device)


def _packer(treespec: pytree.TreeSpec | None) -> str | None:
    """The return value as Python text around the results; None for what is no tensor, flat tuple or flat list."""
    if treespec is None:
        return "{}"
    flat = all(child.is_leaf() for child in treespec.children())
    if flat and treespec.type is tuple:
        return "({},)" if treespec.children() else "()"
    return "[{}]" if flat and treespec.type is list else None


class _Writer:
    def __init__(
        self, plan: Plan, module: Any, state: Mapping[str, torch.Tensor], pack: str, allocate: Allocate,
        idle: list[torch.Tensor], resolve: Callable[[str], Callable[..., Any]], general: Callable[..., Any],
    ) -> None:  # fmt: skip
        self.plan, self.module, self.resolve, self.allocate, self.pack = plan, module, resolve, allocate, pack
        self.scope: dict[str, Any] = {
            "idle": idle, "general": general, "Tensor": torch.Tensor,
            "as_strided": torch.as_strided, "grad_enabled": torch.is_grad_enabled,
        }  # fmt: skip
        self.names = {WORKSPACE: "w"}
        self.lines: list[str] = []
        for spec in plan.inputs:
            name = self.names[spec.spec.name] = f"v{len(self.names)}"
            if spec.source[0] != "arg":
                self.scope[name] = state[str(spec.source[1])]

    def write(self, blind: bool, device: torch.device) -> Callable[..., Any]:
        plan = self.plan
        mixed = any(isinstance(step, AtenCall) for step in plan.steps)
        if mixed:
            self.lines.append("if grad_enabled(): return general(*args)")
        if mixed or blind:
            self.lines += self._checks(blind, device.index if device.type == "cuda" else -1)
        if plan.workspace:
            make = self._constant(maker(self.allocate, (int(plan.workspace),), (1,), torch.uint8))
            self.lines.append(f"w = idle.pop() if idle else {make}()")
        made: set[str] = set()
        buffers = {spec.name: spec for spec in plan.buffers}
        last = self._last_uses()
        for number, step in enumerate(plan.steps):
            for name in _names(step):
                if name in buffers and name not in made:
                    made.add(name)
                    make = self._constant(maker(self.allocate, *_form(buffers[name])))
                    self.lines.append(f"{self._name(name)} = {make}()")
            self._step(step)
            gone = [self._name(name) for name, final in last.items() if final == number]
            if gone:
                self.lines.append(f"del {', '.join(gone)}")
        if plan.workspace:
            self.lines.append("idle.append(w)")
        results = [self._constant(r["value"]) if isinstance(r, dict) else self._name(str(r)) for r in plan.results]
        self.lines.append(f"return {self.pack.format(', '.join(results))}")
        text = "def run(*args, **kwargs):\n" + "\n".join(f"    {line}" for line in [*self._bind(), *self.lines])
        exec(compile(text, "<kernelwright plan>", "exec"), self.scope)
        run = self.scope["run"]
        run.leaving_by = lambda other: FunctionType(run.__code__, {**self.scope, "general": other})
        found: Callable[..., Any] = run
        return found

    def _bind(self) -> list[str]:
        """Arguments as local variables; what is no tensor has no gradients to ask for."""
        names = [self.names[s.spec.name] for s in self.plan.inputs if s.source[0] == "arg"]
        wanted = " or ".join(f"{name}.requires_grad" for name in names)
        return [
            "if kwargs: return general(*args, **kwargs)",
            "try:",
            f"    [{''.join(f'{name}, ' for name in names)}] = args",
            *([f"    if grad_enabled() and ({wanted}): return general(*args)"] if names else []),
            "except (ValueError, AttributeError):",
            "    return general(*args)",
        ]

    def _step(self, step: EntryCall | AtenCall) -> None:
        if isinstance(step, EntryCall):
            entry = self._constant(self.module[step.entry])
            self.lines.append(f"if {entry}({', '.join(map(self._name, step.args))}): return general(*args)")
            return
        found = self.resolve(step.op)
        call = self._constant(getattr(found, "_op", found))  # without the Python layers of an operator's overload
        args = [self._value(a) for a in step.args] + [f"{key}={self._value(v)}" for key, v in step.kwargs]
        outputs = [self._name(name) if name else "_" for name in step.outputs]
        target = outputs[0] if len(outputs) == 1 and not self._is_many(found) else f"[{', '.join(outputs)}]"
        self.lines.append(f"{target} = {call}({', '.join(args)})")

    @staticmethod
    def _is_many(found: Any) -> bool:
        """Does the operator return several tensors, or a list of them?"""
        returns = found._schema.returns
        return len(returns) > 1 or "[]" in str(returns[0].type) or "List" in str(returns[0].type)

    def _checks(self, blind: bool, place: int) -> list[str]:
        """An ATen call must not meet what no entry has looked at: arguments are tensors, of the plan's form.

        ``place``: the number of the GPU on which they lie, -1 for the CPU.
        """
        seen = {name for step in self.plan.steps if isinstance(step, EntryCall) for name in step.args}
        seen = set() if blind else seen
        given = [self.names[spec.spec.name] for spec in self.plan.inputs if spec.source[0] == "arg"]
        lines = [f"if not isinstance({name}, Tensor): return general(*args)" for name in given]
        for spec in self.plan.inputs:
            if spec.source[0] == "arg" and spec.spec.name not in seen:
                name, (shape, strides, dtype) = self.names[spec.spec.name], _form(spec.spec)
                same = f"{name}.get_device() == {place} and {name}.shape == {shape} and {name}.stride() == {strides}"
                lines.append(f"if not ({same} and {name}.dtype is {self._constant(dtype)}): return general(*args)")
        return lines

    def _last_uses(self) -> dict[str, int]:
        """For tensors that are neither inputs nor results: the number of the last step that touches them."""
        kept = {spec.spec.name for spec in self.plan.inputs} | {str(r) for r in self.plan.results} | {WORKSPACE, ""}
        uses = {name: number for number, step in enumerate(self.plan.steps) for name in _names(step)}
        return {name: number for name, number in uses.items() if name not in kept}

    def _name(self, tensor: str) -> str:
        return self.names.setdefault(tensor, f"v{len(self.names)}")

    def _constant(self, value: Any) -> str:
        if value is None or isinstance(value, bool | int | str):
            return repr(value)
        name = f"c{len(self.scope)}"
        self.scope[name] = value
        return name

    def _value(self, value: Any) -> str:
        """An argument of an ATen call as a Python expression."""
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._value(v) for v in value)}]"
        if not isinstance(value, dict):
            return self._constant(value)
        if "shape" in value:
            return f"as_strided({self._name(value['tensor'])}, {tuple(value['shape'])}, {tuple(value['strides'])})"
        if "tensor" in value:
            return self._name(value["tensor"])
        if "size" in value:
            return str(int(value["size"]))
        return self._constant(getattr(torch, next(iter(value.values()))))  # a dtype or a memory format


def _names(step: EntryCall | AtenCall) -> list[str]:
    """Tensors that a step reads or writes."""
    if isinstance(step, EntryCall):
        return list(step.args)
    return [*_tensors([step.args, [v for _, v in step.kwargs]]), *step.outputs]


def _tensors(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [value["tensor"]] if "tensor" in value else []
    return [name for item in value for name in _tensors(item)] if isinstance(value, list | tuple) else []


def _form(spec: TensorSpec) -> tuple[tuple[int, ...], tuple[int, ...], torch.dtype]:
    return tuple(map(int, spec.shape)), tuple(map(int, spec.strides)), getattr(torch, spec.dtype)


__all__ = ["script"]
