"""Proposers: whatever makes candidates. Each gets every result back and keeps no files of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..compiler._pipeline import Kernel, Prepared, emit, prepare
from ..targets import Candidate
from ..task import DynamicSize

EAGER = Candidate("eager", "baseline", "", None, label="eager")
COMPILE = Candidate("compile", "baseline", "", None, label="torch.compile", schedule="default")
COMPILE_AUTOTUNE = Candidate(
    "compile", "baseline", "", None, label="torch.compile(max-autotune)", schedule="max-autotune"
)


class CompilerProposer:
    """Our compiler as a proposer: first its best guess, then coordinate descent over the kernels' schedules.

    One kernel's schedule changes at a time; the best choice so far is the centre. The order of kernels is the order of
    the estimated work, so that a small budget goes to what takes the time.
    """

    def __init__(
        self, call: Callable[..., Any], args: tuple[Any, ...], dynamic: tuple[DynamicSize, ...], *, title: str
    ) -> None:
        self.prepared: Prepared = prepare(call, args, dynamic)
        self._title = title
        self._best: dict[int, int] = {}
        self._best_seconds = float("inf")
        self._choices: dict[str, dict[int, int]] = {}
        self._queue = [
            (number, position)
            for number, kernel in enumerate(self.prepared.kernels)
            if isinstance(kernel, Kernel)
            for position in range(1, len(kernel.schedules))
        ]
        self._started = False

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

    def feedback(self, candidate: Candidate, seconds: float | None) -> None:
        """``seconds`` is the median time of an accepted candidate, None for a rejected one."""
        if seconds is not None and seconds < self._best_seconds:
            self._best_seconds = seconds
            self._best = self._choices.get(candidate.digest, self._best)

    def _emit(self, choice: dict[int, int]) -> Candidate:
        candidate = emit(self.prepared, choice, title=self._title)
        self._choices[candidate.digest] = choice
        return candidate
