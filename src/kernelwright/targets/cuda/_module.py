"""From a candidate's source to its entries: emulated on the CPU, or launched on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...errors import BuildFailed, GpuMissing
from ..cpu import Allocate, Launcher, allocate
from ..plan import WORKSPACE, EntryCall, Plan
from ..triton._module import allocator
from ._build import build_cuda
from ._emulate import Emulator, build_emulated
from ._launches import Call, Entry, Pointer, read_launches

_VECTOR = 16  # bytes that one access may take: where a tensor begins must be a multiple


def load_cuda(
    source: str, plan: Plan, state: Mapping[str, torch.Tensor], allocate_: Allocate = allocate, *, emulated: bool
) -> Callable[..., Any]:
    """Make a candidate callable: ``emulated`` on CPU tensors, else on the GPU.

    Raises ``BuildFailed``, ``NotEmulated``, ``CudaMissing`` and ``GpuMissing``.
    """
    if emulated:
        return Launcher(plan, entries(source, plan, Emulator(source)), state, allocate_, blind=True).call
    if not torch.cuda.is_available():
        raise GpuMissing("A CUDA kernel runs on a GPU, and there is none here that torch can use.")
    from ._driver import Launches, architecture

    launch = Launches(build_cuda(source, architecture()).library)
    on_gpu = allocator("cuda") if allocate_ is allocate else allocate_
    return Launcher(plan, entries(source, plan, launch), state, on_gpu, blind=True, device="cuda").call


def build_for(source: str, device: str) -> None:
    """Build what :func:`load_cuda` needs to run a source on "cpu" or "cuda", so that it finds it in the cache.

    Raises what that raises.
    """
    if device == "cpu":
        build_emulated(source)
    else:
        from ._driver import architecture

        build_cuda(source, architecture())


def entries(source: str, plan: Plan, launch: Callable[[Call], None]) -> dict[str, Callable[..., None]]:
    """The function behind every entry of the plan. Raises ``BuildFailed`` for one that the source does not have."""
    table = read_launches(source)
    written = {WORKSPACE, *(spec.name for spec in plan.buffers)}
    found: dict[str, Callable[..., None]] = {}
    for step in plan.steps:
        if isinstance(step, EntryCall):
            if step.entry not in table:
                raise BuildFailed(f"The launch table has no entry {step.entry}, which its plan calls.")
            found[step.entry] = _entry(table[step.entry], tuple(name in written for name in step.args), launch)
    return found


def _entry(entry: Entry, written: tuple[bool, ...], launch: Callable[[Call], None]) -> Callable[..., None]:
    def run(*tensors: torch.Tensor) -> None:
        copies = [(tensor, _aligned(tensor)) if tensor.data_ptr() % _VECTOR else (tensor, tensor) for tensor in tensors]
        pointers = [Pointer(used.data_ptr(), tensor.element_size(), tuple(tensor.shape)) for tensor, used in copies]
        for call in entry.calls(pointers):
            launch(call)
        for (tensor, used), changed in zip(copies, written, strict=True):
            if changed and used is not tensor:
                _memory(tensor).copy_(used)

    return run


def _memory(tensor: torch.Tensor) -> torch.Tensor:
    """Everything from a tensor's first element to its last."""
    span = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.detach().as_strided((span if tensor.numel() else 0,), (1,))


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    """A copy that begins where vectors may: other places cost a copy, as other layouts do."""
    return _memory(tensor).clone()
