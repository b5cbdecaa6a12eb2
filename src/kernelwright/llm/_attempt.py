"""What passes between the loop and whoever writes candidates: data, and one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..judge import Measurement, Verdict
from ..targets import Candidate
from ._features import Features

STAGES = ("answer", "compile", "correct", "fast")  # an attempt fails in one of them, or is accepted in the last


@dataclass(frozen=True)
class Draft:
    """What an author hands in: a candidate, or the sentence that says why there is none.

    ``text`` is what the author wrote of the candidate's source, without what was put around it.
    """

    candidate: Candidate | None
    features: Features = frozenset()
    fault: str = ""
    text: str = ""


@dataclass(frozen=True)
class Grade:
    """What became of a candidate: how far it got, why no further, and its ``cost`` (lower is better) if accepted."""

    stage: str
    reason: str = ""
    cost: float | None = None
    verdict: Verdict | None = None
    measurement: Measurement | None = None

    @property
    def accepted(self) -> bool:
        return self.cost is not None


@dataclass(frozen=True)
class Attempt:
    """One step of a search: what was asked for, what came, and what became of it."""

    step: str
    kind: str
    draft: Draft
    grade: Grade
    parents: tuple[str, ...] = ()  # steps
    island: int = 0

    @property
    def features(self) -> Features:
        return self.draft.features

    @property
    def cost(self) -> float:
        return self.grade.cost if self.grade.cost is not None else float("inf")


@dataclass(frozen=True)
class Context:
    """What is asked of an author: a beginning, a repair, something faster, or the best of two together.

    ``parents`` are what to change: none for a "begin", the failure for a "repair", one for an "improve", two for a
    "combine". ``features`` is what the result should have; ``history``, the last attempts and the fastest one.
    """

    kind: str
    step: str
    features: Features = frozenset()
    parents: tuple[Attempt, ...] = ()
    history: tuple[Attempt, ...] = ()


class Author(Protocol):
    """Writes candidates: a language model, or a walk over a space of choices. Trusted by nobody."""

    @property
    def luck(self) -> float:
        """How much of the difference between two candidates is not a matter of their features: 0 for none of it."""

    def beginnings(self) -> Sequence[Features]:
        """What to begin with: feature sets that need no parent."""

    def moves(self, parents: Sequence[Attempt]) -> Sequence[Features]:
        """What may be made of these: feature sets, one step away from one of them or a mixture of two."""

    def write(self, context: Context) -> Draft:
        """One draft for a context. A fault of the model's is a draft without a candidate, never an exception."""
