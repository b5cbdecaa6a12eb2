"""The search for a kernel of the user's task: our compiler proposes, ``torch.compile`` is among the rivals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..archive import Archive
from ..errors import KernelwrightError
from ..targets import check_target
from ..task import Task, load
from ._drive import Listener, Proposer, find
from ._effort import EFFORTS
from ._outcome import Outcome

if TYPE_CHECKING:
    from ..compiler.capture import Captured


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
    captured: Captured | None = None,
) -> Outcome:
    """Find the fastest accepted candidate for a task within ``budget`` seconds.

    A winner that the archive already holds for this machine is returned at once, unless more effort is asked for than
    was spent on it; one from another machine or toolchain is judged again first. ``lock`` pins the choice (by default
    ``kernelwright.lock`` in the working directory, if there is one). KeyboardInterrupt ends the search and returns the
    best so far. ``since`` (``time.monotonic``): when the budget began to run. ``captured``: the task's graph, where the
    caller has it already. For the target "triton" nothing is timed: the outcome is "unmeasured" at best. Raises
    ``TaskError`` when the reference cannot be used, ``TargetUnknown`` for a bad target.
    """
    check_target(target)
    if effort not in EFFORTS:
        raise KernelwrightError(f"Effort {effort!r} does not exist: choose one of {', '.join(EFFORTS)}.")

    def propose() -> Proposer:
        return _proposer(task, target, captured)

    listener = on_event or (lambda event: None)
    if target == "triton":
        from ._unmeasured import prove

        return prove(
            task, propose, EFFORTS[effort], budget, target=target, archive=archive, on_event=listener, since=since
        )
    return find(
        task,
        propose,
        EFFORTS[effort],
        budget,
        target=target,
        archive=archive,
        lock=lock,
        on_event=listener,
        since=since,
    )


def _proposer(task: Task, target: str, captured: Captured | None) -> Proposer:
    from ..compiler import capture, prepare_captured  # slow to import; an archived winner does not need it

    if captured is None:
        reference = load(task)
        captured = capture(reference.call, reference.draw(0, "given"), task.dynamic)
    prepared = prepare_captured(captured)
    title = f"{task.name}, by kernelwright"
    if target == "triton":
        from ._triton import TritonProposer

        return TritonProposer(prepared, title)
    from ._compiler import CompilerProposer

    return CompilerProposer(prepared, title)


__all__ = ["generate_task"]
