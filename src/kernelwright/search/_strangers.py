"""A session in which strangers are judged among our own: each behind walls in a process of its own, timed from outside.

What our compiler printed, and the user's own code, are judged as always. Ratios to eager say who is faster: strangers
never run in one process with anybody whom they could slow down.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..judge import Check, Measurement, Session, Verdict, read_labels
from ..llm import PROPOSER
from ..targets import Candidate
from ..task import Task


class MixedSession(Session):
    """Judges candidates of one task, those of language models as untrusted ones; they keep the same deadline."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._strangers = Session(task, untrusted=True)

    def verify(self, candidate: Candidate, recorded: Sequence[Check] = ()) -> Verdict:
        if candidate.proposer != PROPOSER:
            return super().verify(candidate, recorded)
        if not candidate.source:
            return Verdict("unjudged", next(iter(candidate.notes), ""), "answer")
        labels = read_labels(candidate)
        banned = next((label for label in labels if label.forbidden), None)
        if banned is not None:
            where = f" ({banned.detail})" if banned.detail else ""
            reason = f"Its source {banned.name}{where}, which no candidate may."
            return Verdict("rejected", reason, "rules", labels=labels)
        return self._other().verify(candidate, recorded)

    def measure(
        self, candidate: Candidate, rivals: Sequence[Candidate], *, seconds: float, checked: int = 3
    ) -> Measurement:
        own = [rival for rival in rivals if rival.proposer != PROPOSER]
        if candidate.proposer != PROPOSER:
            return super().measure(candidate, own, seconds=seconds, checked=checked)
        return self._other().measure(candidate, own, seconds=seconds, checked=checked)

    def close(self) -> None:
        super().close()
        self._strangers.close()

    def _other(self) -> Session:
        self._strangers.deadline = self.deadline
        return self._strangers
