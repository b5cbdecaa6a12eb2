"""From a candidate to something that can be called like the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..errors import NotServable, TargetUnknown
from ._native import load_blind, load_native
from ._python import Construction, load_python
from ._trained import Trained
from .cpu import PLAIN_MARK, Allocate, Launcher, allocate, build
from .plan import Candidate

TARGETS = ("cpu", "triton", "cuda")  # what `--target` takes; "eager" and "compile" name the baselines

SUBMITTED = ("so", "python")  # what others hand in besides sources: judged, never served in the user's process


def check_target(name: str) -> str:
    """Return the name if it is a target, else raise ``TargetUnknown``."""
    if name not in TARGETS:
        raise TargetUnknown(f"Target {name!r} does not exist: choose one of {', '.join(TARGETS)}.")
    return name


def carries_gradients(candidate: Candidate) -> bool:
    """Whether results of a candidate can carry gradients: PyTorch's own can, and kernels with a backward half."""
    if candidate.plan is not None:
        return candidate.plan.backward is not None
    return candidate.target in ("eager", "compile", "python")


def load(
    candidate: Candidate,
    reference: Callable[..., Any],
    state: Mapping[str, torch.Tensor],
    *,
    allocate: Allocate = allocate,
    construction: Construction | None = None,
    interpreted: bool = False,
) -> Callable[..., Any]:
    """Make a candidate callable with the reference's positional arguments.

    ``reference`` is what the baselines run; ``state`` the parameters and buffers by qualified name. For the target
    "compile" the candidate's ``schedule`` is the mode of ``torch.compile`` ("default", "max-autotune").
    ``construction`` is known in the judge's worker alone, and with it the targets "python" and "so": elsewhere such a
    candidate raises ``NotServable``, for it would run whatever its author liked in the user's own process. The targets
    "triton" and "cuda" need a GPU, except in a process that may be given to ``interpreted`` kernels, as the judge's
    worker.
    """
    if candidate.target == "eager":
        return reference
    if candidate.target == "compile":
        return torch.compile(reference, mode=candidate.schedule or "default", dynamic=False)
    if candidate.target in SUBMITTED:
        return _load_submitted(candidate, reference, state, allocate, construction)
    check_target(candidate.target)
    if candidate.plan is None:
        raise ValueError(f"a candidate for the {candidate.target} target needs a plan")
    if candidate.target == "triton":
        from .triton import load_triton

        return load_triton(candidate.source, candidate.plan, state, allocate, interpreted=interpreted)
    if candidate.target == "cuda":
        from .cuda import load_cuda

        return load_cuda(candidate.source, candidate.plan, state, allocate, emulated=interpreted)
    library = build(candidate.source).library
    if candidate.source.startswith(PLAIN_MARK):
        return load_blind(library, candidate.plan, state, allocate)
    if candidate.plan.backward is not None:
        return Trained(candidate.plan, library, state, allocate)
    return Launcher(candidate.plan, library, state, allocate).call


def _load_submitted(
    candidate: Candidate,
    reference: Callable[..., Any],
    state: Mapping[str, torch.Tensor],
    allocate: Allocate,
    construction: Construction | None,
) -> Callable[..., Any]:
    if construction is None:
        raise NotServable(
            f"A candidate for the target {candidate.target!r} runs in the judge's worker only; "
            "what is served is generated source for one of the targets " + ", ".join(TARGETS) + "."
        )
    if candidate.target == "python":
        return load_python(candidate.source, reference, state, construction)
    if candidate.plan is None:
        raise ValueError("a shared object needs a plan")
    return load_native(candidate.source, candidate.plan, state, allocate)
