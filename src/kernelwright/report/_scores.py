"""Scores of a set of tasks: fast_p with the strict definition, and geometric means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kernelwright.report._record import RIVALS, Record

THRESHOLDS = (0.0, 0.8, 1.0, 1.5, 2.0)


def fast_p(records: Sequence[Record], p: float, rival: str = "eager") -> float:
    """Share of ALL tasks that are correct and more than ``p`` times as fast as the rival (strictly more).

    ``p = 0`` is the correct rate: a correct task counts even where the rival could not be timed. A task without a
    measurement against the rival never counts for ``p > 0``. Zero for no tasks.
    """
    if not records:
        return 0.0
    if p == 0:
        return sum(r.correct for r in records) / len(records)
    return sum(r.correct and (r.speedup[rival] or 0.0) > p for r in records) / len(records)


def geomean(records: Sequence[Record], rival: str = "eager") -> float | None:
    """Geometric mean of the speed-up over correct tasks that were measured against the rival; None without any."""
    ratios = [r.speedup[rival] for r in records if r.correct]
    logs = [math.log(ratio) for ratio in ratios if ratio is not None and ratio > 0]
    return math.exp(sum(logs) / len(logs)) if logs else None


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """The document's "summary": shares of all tasks (against eager) and geometric means against both rivals."""
    return {
        "correct": fast_p(records, 0.0),
        "fast_1": fast_p(records, 1.0),
        "fast_2": fast_p(records, 2.0),
        "geomean": {rival: geomean(records, rival) for rival in RIVALS},
    }
