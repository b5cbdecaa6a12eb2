"""Our compiler as a proposer: it makes candidates, gets every result back and keeps no files of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ..compiler import Kernel, Prepared, emit
from ..compiler.program import Scan
from ..targets import Candidate


class CompilerProposer:
    """Our compiler as a proposer: first its best guess, then coordinate descent over the kernels' schedules.

    One kernel's schedule changes at a time; the best choice so far is the centre. Kernels that do most of the work come
    first and those that do next to none are left alone, so that a small budget goes to what takes the time.
    """

    def __init__(self, prepared: Prepared, title: str) -> None:
        self.prepared = prepared
        self._title = title
        self._best: dict[int, int] = {}
        self._best_cost = float("inf")
        self._choices: dict[str, dict[int, int]] = {}
        self._queue = _by_work(self.prepared)
        self._started = False

    @property
    def notes(self) -> Sequence[str]:
        return self.prepared.program.notes

    def propose(self, count: int) -> list[Candidate]:
        """At most ``count`` new candidates; an empty list when the space is exhausted."""
        if not self.prepared.lowered:
            return []
        found: list[Candidate] = []
        if not self._started:
            self._started = True
            found.append(self._emit({}))
        while self._queue and len(found) < count:
            number, position = self._queue.pop(0)
            found.append(self._emit({**self._best, number: position}))
        return found

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        """``cost`` is the time of an accepted candidate, None for a rejected one."""
        if cost is not None and cost < self._best_cost:
            self._best_cost = cost
            self._best = self._choice_of(candidate)

    def _choice_of(self, candidate: Candidate) -> dict[int, int]:
        """The choice that makes a candidate, also one of an earlier search, whose label says it."""
        if candidate.digest not in self._choices:
            pairs = re.findall(r"/k(\d+)=(\d+)", candidate.label)
            choice = {int(kernel): int(position) for kernel, position in pairs}
            kernels = dict(enumerate(self.prepared.kernels))
            fits = all(isinstance(k := kernels.get(n), Kernel) and p < len(k.schedules) for n, p in choice.items())
            if not fits or self._emit(choice).digest != candidate.digest:
                return self._best
        return self._choices[candidate.digest]

    def _emit(self, choice: dict[int, int]) -> Candidate:
        candidate = emit(self.prepared, choice, title=self._title)
        self._choices[candidate.digest] = choice
        return candidate


_NEGLIGIBLE = 0.05  # of the work of all kernels together


def _by_work(prepared: Prepared) -> list[tuple[int, int]]:
    """(kernel, schedule) pairs to try: every kernel's second choice before any kernel's third, the heaviest first."""
    work = {n: _work(k) for n, k in enumerate(prepared.kernels) if isinstance(k, Kernel)}
    heavy = {n: w for n, w in work.items() if w >= _NEGLIGIBLE * sum(work.values())}
    pairs = [
        (number, position)
        for number, kernel in enumerate(prepared.kernels)
        if isinstance(kernel, Kernel) and number in heavy
        for position in range(1, len(kernel.schedules))
    ]
    return sorted(pairs, key=lambda pair: (pair[1], -heavy[pair[0]]))


def _work(kernel: Kernel) -> float:
    """Points of the iteration spaces of a kernel's statements; sizes that vary count as one."""
    total = 0.0
    for statement in kernel.group.statements:
        axes = [*getattr(statement, "axes", ()), *getattr(statement, "raxes", ())]
        if isinstance(statement, Scan):
            axes.append(statement.scan)
        total += math.prod(axis.size for axis in axes if isinstance(axis.size, int))
    return total
