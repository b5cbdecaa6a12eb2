"""How hard to look: plain data, so that every user of the one loop says in it what is different about its searches."""

from __future__ import annotations

from dataclasses import dataclass

from ..targets import Candidate
from ._baselines import COMPILE, COMPILE_AUTOTUNE


@dataclass(frozen=True)
class Effort:
    """Candidates at most, seconds of a short and of the final measurement, and the rivals to compare besides eager.

    ``level`` orders efforts: what a search of one level found is not looked for again by one of the same or a lower.
    """

    level: int
    candidates: int
    glance: float
    final: float
    rivals: tuple[Candidate, ...]


EFFORTS = {
    "quick": Effort(0, 1, 0.5, 1.5, (COMPILE,)),
    "balanced": Effort(1, 9, 0.6, 3.0, (COMPILE, COMPILE_AUTOTUNE)),
    "full": Effort(2, 1000, 1.0, 6.0, (COMPILE, COMPILE_AUTOTUNE)),
}
