"""Our compiler as a proposer of kernels with gradients: two halves, one of which changes at a time."""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler import prepare_captured
from ..compiler.gradients import PREFIX, Halves
from ..targets import Candidate
from ._compiler import CompilerProposer


class GradientProposer:
    """The best guess for both halves, then what else there is for the forward one, then for the backward one.

    Each half is proposed as if it were a task of its own, and hears what came of the whole.
    """

    def __init__(self, halves: Halves, title: str) -> None:
        self._halves = halves
        forward = CompilerProposer(prepare_captured(halves.forward), title)
        backward = CompilerProposer(prepare_captured(halves.backward), f"{title}: gradients", prefix=PREFIX)
        self._proposers = (forward, backward)
        self._best: tuple[Candidate, Candidate] | None = None
        self._cost = float("inf")
        self._asked: dict[str, tuple[Candidate, Candidate]] = {}  # by the digest of what they make together

    @property
    def notes(self) -> Sequence[str]:
        return tuple(dict.fromkeys(note for proposer in self._proposers for note in proposer.notes))

    def propose(self, count: int) -> list[Candidate]:
        """At most ``count`` new candidates; none when there is nothing left to try."""
        if self._best is None:
            first = [candidate for proposer in self._proposers for candidate in proposer.propose(1)]
            if len(first) < len(self._proposers):
                return []
            self._best = (first[0], first[1])
            return [self._join(*self._best)]
        ahead, behind = self._best
        found = [self._join(candidate, behind) for candidate in self._proposers[0].propose(count)]
        return found or [self._join(ahead, candidate) for candidate in self._proposers[1].propose(count)]

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        """``cost`` is the time of an accepted candidate, None for a rejected one."""
        pair = self._asked.get(candidate.digest)
        if pair is None:  # of an earlier search
            return
        for proposer, half in zip(self._proposers, pair, strict=True):
            proposer.feedback(half, cost)
        if cost is not None and cost < self._cost:
            self._cost, self._best = cost, pair

    def _join(self, forward: Candidate, backward: Candidate) -> Candidate:
        made = self._halves.join(forward, backward)
        self._asked[made.digest] = (forward, backward)
        return made


__all__ = ["GradientProposer"]
