"""A generator as a proposer where nothing is timed: its best guess, then one other schedule at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ..compiler import Prepared
from ..compiler.program import Extern
from ..targets import Candidate
from ..targets.triton import BuildReport
from ._spills import Reports, settle


class Scheduled(Protocol):
    """What the kernels of every generator have."""

    @property
    def schedules(self) -> Sequence[object]: ...


class AheadProposer:
    """What comes back is never a time, so no choice builds on another.

    ``kernels`` are the generator's, in order, ``emit`` prints a choice of their schedules.
    """

    def __init__(
        self,
        prepared: Prepared,
        kernels: Sequence[Scheduled | Extern],
        emit: Callable[[Mapping[int, int]], Candidate],
    ) -> None:
        self._prepared, self._emit = prepared, emit
        pairs = [
            (number, position)
            for number, kernel in enumerate(kernels)
            if not isinstance(kernel, Extern)
            for position in range(1, len(kernel.schedules))
        ]
        self._schedules = {n: len(k.schedules) for n, k in enumerate(kernels) if not isinstance(k, Extern)}
        self._left: list[dict[int, int]] = [{}, *({n: p} for n, p in sorted(pairs, key=lambda pair: pair[1]))]

    @property
    def notes(self) -> Sequence[str]:
        return self._prepared.program.notes

    def propose(self, count: int) -> list[Candidate]:
        """At most ``count`` candidates; none when every schedule was tried, or nothing could be lowered."""
        if not self._prepared.lowered:
            return []
        chosen, self._left = self._left[:count], self._left[count:]
        return [self._emit(choice) for choice in chosen]

    def settle(self, candidate: Candidate, build: BuildReport, reports: Reports) -> tuple[Candidate, BuildReport]:
        """The first candidate, with other schedules for the kernels whose registers spill."""
        if not build.spills or candidate.digest != self._emit({}).digest:
            return candidate, build
        return settle(candidate, build, self._schedules, self._emit, reports)

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        """Nothing to learn from a verdict alone."""


__all__ = ["AheadProposer"]
