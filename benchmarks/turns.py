"""Rivals take turns in short rounds, so that a busy machine slows all alike: what the benchmarks of kernels share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ROUND = 0.004  # seconds a rival's turn should last at least
LEAST_ROUNDS = 5
Call = Callable[[], Any]


def take_turns(calls: Mapping[str, Call], threads: int, seconds: float) -> dict[str, list[float]]:
    """Seconds per call by rival and round; the order turns from round to round.

    On one thread only its own processor time counts, so that other programs cost nobody anything.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    repeat = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        repeat[name] = max(1, min(1000, int(ROUND / max(1e-7, time.perf_counter() - start))))
    times: dict[str, list[float]] = {name: [] for name in calls}
    names, end = list(calls), time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[names[0]]) < LEAST_ROUNDS:
        names = names[1:] + names[:1]
        for name in names:
            call, count = calls[name], repeat[name]
            start = clock()
            for _ in range(count):
                call()
            times[name].append((clock() - start) / count)
    return times


def ratios(times: Mapping[str, Sequence[float]], own: str) -> dict[str, list[float]]:
    """Each rival's time over ours, round by round: [quartile, median, quartile]."""
    paired = {
        name: [t / o for t, o in zip(each, times[own], strict=True)] for name, each in times.items() if name != own
    }
    return {n: [round(x, 3) for x in statistics.quantiles(r, n=4, method="inclusive")] for n, r in paired.items()}


def shown(speedup: Mapping[str, Sequence[float]]) -> str:
    """The ratios as a line of a table."""
    return "  ".join(f"{name} {s[1]:.2f} [{s[0]:.2f}-{s[2]:.2f}]" for name, s in speedup.items())
