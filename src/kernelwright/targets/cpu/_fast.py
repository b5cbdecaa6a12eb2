"""The short way to a kernel: one entry, fixed sizes; nothing between the call and the kernel but the allocation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..plan import WORKSPACE, EntryCall, Plan, TensorSpec
from ._memory import Allocate, maker


def fast_path(
    plan: Plan,
    module: Any,
    state: Mapping[str, torch.Tensor],
    treespec: pytree.TreeSpec | None,
    allocate: Allocate,
    idle: list[torch.Tensor],
) -> Callable[..., Any] | None:
    """A function of the positional tensors that returns the result, or None where the kernel refuses its inputs.

    None instead of a function when the plan needs the general path. ``idle`` holds workspaces between calls.
    """
    pack = packer(treespec)
    if not _is_simple(plan) or pack is None:
        return None
    step = plan.steps[0]
    assert isinstance(step, EntryCall)
    entry = module[step.entry]
    bound = [state[str(spec.source[1])] for spec in plan.inputs if spec.source[0] != "arg"]
    makers = [maker(allocate, *_form(spec)) for spec in plan.buffers]
    order = [[b.name for b in plan.buffers].index(str(name)) for name in plan.results]
    need = int(plan.workspace)
    if len(makers) == 1 and treespec is None and not need:
        return _single(entry, bound, makers[0])

    def run(*args: Any) -> Any:
        outputs = [make() for make in makers]
        if need:
            workspace = idle.pop() if idle else allocate((need,), (1,), torch.uint8)
            refused = entry(*args, *bound, *outputs, workspace)
            idle.append(workspace)
        else:
            refused = entry(*args, *bound, *outputs)
        return None if refused else pack([outputs[i] for i in order])

    return run


def _single(entry: Any, bound: list[torch.Tensor], make: Callable[[], torch.Tensor]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        output = make()
        return None if entry(*args, *bound, output) else output

    return run


def _is_simple(plan: Plan) -> bool:
    names = tuple(s.spec.name for s in plan.inputs) + tuple(b.name for b in plan.buffers)
    ordered = [s.source for s in plan.inputs if s.source[0] == "arg"]
    return (
        len(plan.steps) == 1
        and isinstance(plan.steps[0], EntryCall)
        and plan.steps[0].args == names + ((WORKSPACE,) if plan.workspace else ())
        and {b.name for b in plan.buffers} >= {r for r in plan.results if isinstance(r, str)}
        and all(isinstance(r, str) for r in plan.results)
        and ordered == [("arg", i) for i in range(len(ordered))]
        and all(s.source[0] == "arg" for s in plan.inputs[: len(ordered)])  # arguments first
        and not (plan.symbols or plan.mutations or plan.constants)
        and isinstance(plan.workspace, int)
    )


def packer(treespec: pytree.TreeSpec | None) -> Callable[[list[torch.Tensor]], Any] | None:
    """How the results become the return value; None for anything but one tensor or a flat tuple or list of them."""
    if treespec is None:
        return lambda outputs: outputs[0]
    flat = all(child.is_leaf() for child in treespec.children())
    if flat and treespec.type is tuple:
        return tuple
    return (lambda outputs: outputs) if flat and treespec.type is list else None


def _form(spec: TensorSpec) -> tuple[tuple[int, ...], tuple[int, ...], torch.dtype]:
    return _ints(spec.shape), _ints(spec.strides), getattr(torch, spec.dtype)


def _ints(texts: Sequence[int | str]) -> tuple[int, ...]:
    return tuple(int(t) for t in texts)
