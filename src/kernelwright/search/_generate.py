"""The search for a kernel of the user's task: our compiler proposes, ``torch.compile`` is among the rivals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..archive import Archive
from ..errors import KernelwrightError, Unsupported
from ..targets import check_target
from ..task import DynamicSize, Gradients, Task, load
from ._drive import Listener, Proposer, find
from ._effort import EFFORTS
from ._here import can_time, sessions_for
from ._outcome import Outcome
from ._proofs import with_proof

if TYPE_CHECKING:
    from ..compiler.capture import Captured
    from ..compiler.gradients import Halves
    from ._models import Models


def generate_task(
    task: Task,
    *,
    target: str = "cpu",
    budget: float = 60.0,
    effort: str = "balanced",
    archive: Archive | None = None,
    lock: Path | None = None,
    on_event: Listener | None = None,
    since: float | None = None,
    captured: Captured | Halves | None = None,
    models: Models | None = None,
) -> Outcome:
    """Find the fastest accepted candidate for a task within ``budget`` seconds.

    A winner that the archive already holds for this machine is returned at once, unless more effort is asked for than
    was spent on it; one from another machine or toolchain is judged again first. ``lock`` pins the choice (by default
    ``kernelwright.lock`` in the working directory, if there is one). KeyboardInterrupt ends the search and returns the
    best so far. ``since`` (``time.monotonic``): when the budget began to run. ``captured``: the task's graph, where the
    caller has it already. ``models``: ask language models, too, and search even where the archive has a winner; what
    they write is judged as strangers' is. For the target "triton" without a GPU nothing is timed: the outcome is
    "unmeasured" at best. Raises ``TaskError`` when the reference cannot be used, ``TargetUnknown`` for a bad target.
    """
    check_target(target)
    if effort not in EFFORTS:
        raise KernelwrightError(f"Effort {effort!r} does not exist: choose one of {', '.join(EFFORTS)}.")

    def propose() -> Proposer:
        return _proposer(task, target, captured)

    listener = on_event or (lambda event: None)
    if models is not None:
        from ._models import find_with_models

        return find_with_models(
            task, propose, models, EFFORTS[effort], budget,
            target=target, archive=archive, lock=lock, on_event=listener, since=since,
        )  # fmt: skip
    if not can_time(target):
        from ._unmeasured import prove

        return prove(
            task, propose, EFFORTS[effort], budget, target=target, archive=archive, on_event=listener, since=since
        )
    begun = time.monotonic() if since is None else since
    outcome = find(
        task,
        propose,
        EFFORTS[effort],
        budget,
        target=target,
        archive=archive,
        lock=lock,
        sessions=sessions_for(target),
        on_event=listener,
        since=begun,
    )
    return with_proof(outcome, archive, begun + budget)


def capture_task(
    call: Callable[..., Any], args: tuple[Any, ...], dynamic: Sequence[DynamicSize], asked: Gradients | None
) -> Captured | Halves:
    """The graph of which kernels are made; where gradients are asked for, its two halves."""
    from ..compiler import capture  # slow to import; an archived winner does not need it

    if asked is None:
        return capture(call, args, tuple(dynamic))
    if dynamic:
        raise Unsupported("kernels with gradients are made for fixed sizes.")
    from ..compiler.gradients import capture_gradients

    return capture_gradients(call, args, asked)


def _capture_loaded(task: Task) -> Captured | Halves:
    reference = load(task)
    args = reference.draw(0, "given")
    if reference.gradients is None:
        return capture_task(reference.call, args, task.dynamic, None)
    return capture_task(reference.gradients.inner, args[:-1], task.dynamic, reference.gradients.asked)


def _proposer(task: Task, target: str, captured: Captured | Halves | None) -> Proposer:
    from ..compiler import prepare_captured
    from ..compiler.gradients import Halves

    if captured is None:
        captured = _capture_loaded(task)
    if isinstance(captured, Halves):
        if target != "cpu":
            raise Unsupported(f"kernels with gradients are made for the target cpu, not for {target}.")
        from ._gradients import GradientProposer

        return GradientProposer(captured, f"{task.name}, by kernelwright")
    title = f"{task.name}, by kernelwright"
    if target == "cuda":
        from ._cuda import cuda_proposer

        return cuda_proposer(captured, title, timed=can_time(target))
    prepared = prepare_captured(captured)
    if target == "triton":
        if can_time(target):
            from ._device import TimedTriton

            return TimedTriton(prepared, title)
        from ._triton import TritonProposer

        return TritonProposer(prepared, title)
    from ._compiler import CompilerProposer

    return CompilerProposer(prepared, title)


__all__ = ["generate_task"]
