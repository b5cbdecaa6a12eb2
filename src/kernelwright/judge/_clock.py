"""What a stopwatch reads: how calls are repeated within a sample, and what a sample took. One kind for each device."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Call = Callable[..., Any]
Arguments = tuple[Any, ...]

_SAMPLE_SECONDS = 200e-6  # shorter calls are repeated within a sample: the clock itself costs 50 ns
_MOST_REPEATS = 1000


@dataclass(frozen=True)
class Pace:
    """What is known before a measurement: the baseline's name and the seconds of one of its calls.

    ``once``: a second call would see what the first one changed, so a sample is one call.
    """

    baseline: str
    seconds: float
    once: bool


class Clock(Protocol):
    """Times samples of the contenders of one measurement after the other."""

    def begin(self, calls: Mapping[str, Call], work: Sequence[Arguments], pace: Pace) -> int:
        """A measurement begins; how many calls make a sample. From the baseline alone: no candidate may choose that."""

    def sample(self, name: str, call: Call, queue: Sequence[Arguments]) -> tuple[float, Any]:
        """Seconds of calling with each arguments of the queue in turn, and what the last call returned."""

    def end(self) -> tuple[list[str], bool]:
        """The measurement is over: sentences about how it was timed, and whether every call met cold caches."""


class HostClock:
    """For calls that have done their work when they return."""

    def begin(self, calls: Mapping[str, Call], work: Sequence[Arguments], pace: Pace) -> int:
        return 1 if pace.once else max(1, min(_MOST_REPEATS, int(_SAMPLE_SECONDS / max(pace.seconds, 1e-9))))

    def sample(self, name: str, call: Call, queue: Sequence[Arguments]) -> tuple[float, Any]:
        result = None
        with torch.no_grad():
            start = time.perf_counter_ns()
            for args in queue:
                result = call(*args)
            stop = time.perf_counter_ns()
        return (stop - start) * 1e-9, result

    def end(self) -> tuple[list[str], bool]:
        return [], False


__all__ = ["Arguments", "Call", "Clock", "HostClock", "Pace"]
