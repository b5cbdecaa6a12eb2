"""The search for one core: the loop of every search, with a proposer, efforts and laws of values of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from .. import search
from ..archive import Archive
from ..search import Effort, Outcome, device_of
from ..task import AtenGraph, Task, from_callable
from ._device import on_cpu
from ._graph import Core
from ._propose import Proposer
from ._workers import session_for

# Without rivals: torch.compile would compile the graph that it is about to hand over to another backend.
EFFORTS = {
    "quick": Effort(0, 2, 0.5, 1.0, ()),
    "balanced": Effort(1, 4, 0.5, 2.0, ()),
    "full": Effort(2, 8, 0.5, 4.0, ()),
}

# A backward graph reads what its forward graph saved (masks, indices, statistics), which no other law of values gives.
_BACKWARD = ("given",)
# Laws that amplify rounding (offsets, outliers, large values) say something about one kernel; through the layers of a
# network they show how far its own rounding grows, in eager mode as well.
_FORWARD = ("given", "normal", "sparse", "small")


def task_of(core: Core, inputs: Sequence[torch.Tensor], name: str, backward: bool) -> Task:
    """The core as a task on the inputs of its first call. Its digest does not depend on their values."""
    task = from_callable(AtenGraph.of(core.graph), tuple(inputs), name=name)
    return replace(task, key=core.key, structures=_BACKWARD if backward else _FORWARD)


def find(
    core: Core, inputs: Sequence[torch.Tensor], name: str, *,
    backward: bool, effort: str, budget: float, store: Archive, target: str = "cpu",
) -> Outcome:  # fmt: skip
    """The fastest accepted candidate for the core, the core itself included, on the device of the target."""
    plain, here = on_cpu(core, inputs)
    task = task_of(plain, here, name, backward)

    def propose() -> Proposer:
        return Proposer(plain, here, name, target)

    sessions = partial(session_for, device=device_of(target))
    return search.find(task, propose, EFFORTS[effort], budget, target=target, archive=store, sessions=sessions)


__all__ = ["EFFORTS", "find", "task_of"]
