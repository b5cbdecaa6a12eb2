"""A proposer for families that know one way to compute something, or a few."""

from __future__ import annotations

from collections.abc import Sequence

from ..targets.plan import Candidate


class SingleProposer:
    """Proposes its candidates, each once, and is done."""

    notes: Sequence[str] = ()

    def __init__(self, *candidates: Candidate) -> None:
        self._left = list(candidates)

    def propose(self, count: int) -> list[Candidate]:
        """At most ``count`` new candidates."""
        made = self._left[:count]
        del self._left[:count]
        return made

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        """Nothing follows from a result."""


__all__ = ["SingleProposer"]
