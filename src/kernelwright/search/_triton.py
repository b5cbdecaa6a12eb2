"""The Triton generator as a proposer where nothing is timed: its best guess, then one other schedule at a time."""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler import Prepared
from ..compiler.program import Extern
from ..compiler.triton import emit_triton, triton_kernels
from ..targets import Candidate


class TritonProposer:
    """What comes back is never a time, so no choice builds on another."""

    def __init__(self, prepared: Prepared, title: str) -> None:
        self._prepared, self._title = prepared, title
        pairs = [
            (number, position)
            for number, kernel in enumerate(triton_kernels(prepared))
            if not isinstance(kernel, Extern)
            for position in range(1, len(kernel.schedules))
        ]
        self._left: list[dict[int, int]] = [{}, *({n: p} for n, p in sorted(pairs, key=lambda pair: pair[1]))]

    @property
    def notes(self) -> Sequence[str]:
        return self._prepared.program.notes

    def propose(self, count: int) -> list[Candidate]:
        """At most ``count`` candidates; none when every schedule was tried, or nothing could be lowered."""
        if not self._prepared.lowered:
            return []
        chosen, self._left = self._left[:count], self._left[count:]
        return [emit_triton(self._prepared, choice, title=self._title) for choice in chosen]

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        """Nothing to learn from a verdict alone."""
