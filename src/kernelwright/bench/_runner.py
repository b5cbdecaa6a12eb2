"""Runs a suite task by task, remembers each result at once, and tells how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kernelwright.bench._isolate import WORKER, Limits, run_isolated
from kernelwright.bench._partial import Partial, Settings, key_of
from kernelwright.bench._suite import SuiteTask
from kernelwright.report import Record


@dataclass(frozen=True)
class Progress:
    """How far a run is. ``event`` is the running task's newest ({} at its start), ``record`` is set when it ended.

    ``eta`` is the expected number of seconds left: the mean of this run's finished tasks, the budget before any did.
    """

    task: SuiteTask
    done: int
    total: int
    eta: float
    event: dict[str, Any]
    record: Record | None = None
    resumed: bool = False


def run_suite(
    tasks: Sequence[SuiteTask],
    settings: Settings,
    limits: Limits,
    *,
    partial: Partial | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    command: Sequence[str] = WORKER,
    clock: Callable[[], float] = time.monotonic,
) -> list[Record]:
    """The records of all tasks, in their order. Results that ``partial`` already holds are not made again."""
    partial = partial or Partial(None)
    keys = [key_of(task, settings) for task in tasks]
    open_ = sum(partial.get(key) is None for key in keys)
    records: list[Record] = []
    spent: list[float] = []
    for task, key in zip(tasks, keys, strict=True):
        known = partial.get(key)
        if known is None:
            eta = open_ * _mean(spent, settings.budget)

            def tell(event: dict[str, Any], task: SuiteTask = task, eta: float = eta) -> None:
                on_progress(Progress(task, len(records), len(tasks), eta, event))

            tell({})
            start = clock()
            result = run_isolated(task, settings, limits, tell, command)
            spent.append(clock() - start)
            partial.add(key, result)
            open_ -= 1
        records.append(known or result)
        eta = open_ * _mean(spent, settings.budget)
        on_progress(Progress(task, len(records), len(tasks), eta, {}, records[-1], known is not None))
    return records


def _mean(seconds: Sequence[float], otherwise: float) -> float:
    return sum(seconds) / len(seconds) if seconds else otherwise
