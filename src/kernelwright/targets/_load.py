"""From a candidate to something that can be called like the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..errors import TargetUnknown
from .cpu import Allocate, Launcher, allocate, build
from .plan import Candidate

TARGETS = ("cpu",)  # what `--target` takes; "eager" and "compile" name the baselines


def check_target(name: str) -> str:
    """Return the name if it is a target, else raise ``TargetUnknown``."""
    if name not in TARGETS:
        raise TargetUnknown(f"Target {name!r} does not exist: choose one of {', '.join(TARGETS)}.")
    return name


def load(
    candidate: Candidate,
    reference: Callable[..., Any],
    state: Mapping[str, torch.Tensor],
    *,
    allocate: Allocate = allocate,
) -> Callable[..., Any]:
    """Make a candidate callable with the reference's positional arguments.

    ``reference`` is what the baselines run; ``state`` the parameters and buffers by qualified name. For the target
    "compile" the candidate's ``schedule`` is the mode of ``torch.compile`` ("default", "max-autotune").
    """
    if candidate.target == "eager":
        return reference
    if candidate.target == "compile":
        return torch.compile(reference, mode=candidate.schedule or "default", dynamic=False)
    check_target(candidate.target)
    if candidate.plan is None:
        raise ValueError("a candidate for the cpu target needs a plan")
    return Launcher(candidate.plan, build(candidate.source).library, state, allocate).call
