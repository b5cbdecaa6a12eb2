"""What is searched for here when nobody says, and where it runs: the GPU of this machine, or its CPU.

Where there is no GPU, kernels for one are proven and compiled, and nothing more (:mod:`._unmeasured`).
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..judge import Session
from ..machine import find_device

GPU_TARGETS = ("triton", "cuda")


def device_of(target: str) -> str:
    """Where candidates of a target run when they are timed: "cuda" or "cpu"."""
    return "cuda" if target in GPU_TARGETS else "cpu"


def can_time(target: str) -> bool:
    """Whether the device that a target's candidates run on is here."""
    return device_of(target) == "cpu" or find_device() is not None


def sessions_for(target: str) -> Callable[..., Session]:
    """What makes the judge's sessions for candidates of a target."""
    if target == "cuda":
        from ._sanitized import SanitizedSession

        return partial(SanitizedSession, device=device_of(target))
    return partial(Session, device=device_of(target))


def target_here() -> str:
    """What a kernel is made for when nobody says: the GPU where one is here and triton is installed, else the CPU."""
    return "triton" if importlib.util.find_spec("triton") is not None and find_device() is not None else "cpu"


def target_for(tensors: Iterable[Any]) -> str:
    """What a kernel for such arguments is made for when nobody says: the device on which they lie."""
    on_gpu = any(isinstance(leaf, torch.Tensor) and leaf.device.type == "cuda" for leaf in pytree.tree_leaves(tensors))
    return "triton" if on_gpu else "cpu"


def on_cpu(call: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The callable and its arguments as a task has them: on the CPU, copied only if they lie elsewhere."""
    moved = pytree.tree_map_only(torch.Tensor, _to_cpu, inputs)
    if isinstance(call, torch.nn.Module) and any(t.device.type != "cpu" for t in (*call.parameters(), *call.buffers())):
        call = copy.deepcopy(call).to("cpu")
    return call, moved


def state_on(state: Mapping[str, torch.Tensor], device: str) -> Mapping[str, torch.Tensor]:
    """The state for a kernel that runs on a device: the user's own tensors, and copies of those that lie elsewhere."""
    return {name: t if t.device.type == device else t.detach().to(device) for name, t in state.items()}


def _to_cpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.device.type == "cpu" else tensor.detach().to("cpu").requires_grad_(tensor.requires_grad)


__all__ = ["GPU_TARGETS", "can_time", "device_of", "on_cpu", "sessions_for", "state_on", "target_for", "target_here"]
