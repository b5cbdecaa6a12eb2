"""The stopwatch of a GPU: events on the device, a cold L2 cache, every stream waited for, clocks watched.

Two ways. Calls that keep the device busy for longer than the host needs to launch them are timed one by one between
two events, behind a write that fills the L2 cache and gives the host a head start. Where launching takes longer, events
would time the host: then a sample is a CUDA graph of many calls, each on other arguments, for every contender alike.
One whose calls cannot be captured (``torch.compile`` replays graphs of its own) is queued behind a device that sleeps.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import torch

from ._clock import Arguments, Call, Pace

_LAUNCH_BOUND = 0.7  # the baseline's seconds of launching over those between the events, from which graphs are timed
_SAMPLE_SECONDS = 300e-6  # a sample of graphs: events resolve half a microsecond
_MOST_CALLS = 256  # of one sample
_TRIES = 5
_WARM_CALLS = 3  # on a stream of its own, before it is captured
_UNSEEN = 50e-6  # seconds: streams that are busy for longer after the last event have hidden work
_HEAD_START = 1.5  # of the time that launching takes, for a device that sleeps until all is queued
_DRIFT = 0.05  # of the clock's rate, from which it is worth a sentence
_FILL = 256 << 20  # bytes at least that are written between samples


class Events(Protocol):
    """Two points on the device's own time line."""

    def begin(self) -> None: ...
    def end(self) -> None: ...
    def seconds(self) -> float:
        """Waits for the second point."""


class Device(Protocol):
    """What the clock asks of a GPU: all that a test has to stand in for."""

    def events(self) -> Events: ...
    def wait(self) -> None:
        """For everything on every stream."""

    def flush(self) -> None:
        """Leave nothing of the contenders in the L2 cache; returns at once, while the device still writes."""

    def sleep(self, seconds: float) -> None:
        """Keep the device from what is queued from now on; returns at once."""

    def capture(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """A graph of what ``run`` launches, and what it returned. Raises whatever is in the way."""

    def rate(self) -> float | None:
        """Megahertz of the multiprocessors now; None where nobody can tell."""


@dataclass(frozen=True)
class _Graph:
    """Calls that were captured: ``replay`` runs them all, ``result`` is what the last one wrote."""

    replay: Callable[[], None]
    result: Any


class DeviceClock:
    """A :class:`~._clock.Clock` for calls that return while the device still works."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._captured: dict[str, _Graph | None] = {}  # of the measurement that runs; None: queued instead
        self._alone: dict[str, float] = {}  # seconds of a call as it is made, where graphs are timed
        self._rates: list[float] = []

    def begin(self, calls: Mapping[str, Call], work: Sequence[Arguments], pace: Pace) -> int:
        self._captured, self._alone, self._rates = {}, {}, []
        self._look()
        launching, running = self._launch(calls[pace.baseline], work[0])
        if pace.once or launching < _LAUNCH_BOUND * running:
            return 1
        # Whole turns through the arguments: a graph holds its addresses, and always begins with the first.
        turns = max(1, round(_SAMPLE_SECONDS / max(running * len(work), 1e-7)))
        count = min(turns, max(1, _MOST_CALLS // len(work))) * len(work)
        queue = [work[k % len(work)] for k in range(count)]
        for name, call in calls.items():
            self._alone[name] = self._launch(call, work[0])[1]
            self._captured[name] = self._capture(call, queue)
        return count

    def sample(self, name: str, call: Call, queue: Sequence[Arguments]) -> tuple[float, Any]:
        self._look()
        graph = self._captured.get(name)
        with torch.no_grad():
            if graph is not None:
                return self._between(graph.replay)[0], graph.result
            if name in self._captured:
                self.device.wait()
                self.device.sleep(_HEAD_START * len(queue) * self._alone[name])
                return self._between(lambda: _call_all(call, queue), flush=False)
            return self._between(lambda: _call_all(call, queue))

    def end(self) -> tuple[list[str], bool]:
        notes, flushed = [*self._about_graphs(), *self._about_rates()], not self._captured
        self._captured, self._alone = {}, {}
        return notes, flushed

    def _between(self, run: Callable[[], Any], *, flush: bool = True) -> tuple[float, Any]:
        """Seconds on the device of what ``run`` launches, on whatever stream."""
        events = self.device.events()
        if flush:
            self.device.flush()
        events.begin()
        result = run()
        events.end()
        seconds = events.seconds()
        late = time.perf_counter()
        self.device.wait()
        unseen = time.perf_counter() - late
        return seconds + (unseen if unseen > _UNSEEN else 0.0), result

    def _launch(self, call: Call, args: Arguments) -> tuple[float, float]:
        """Seconds that the host needs to launch a call, and those between events around it."""
        launching, running = [], []
        with torch.no_grad():
            for _ in range(_TRIES):
                self.device.wait()
                events = self.device.events()
                self.device.flush()
                events.begin()
                start = time.perf_counter()
                call(*args)
                launching.append(time.perf_counter() - start)
                events.end()
                running.append(events.seconds())
        self.device.wait()
        return median(launching), median(running)

    def _capture(self, call: Call, queue: Sequence[Arguments]) -> _Graph | None:
        if getattr(call, "replays", False):
            return None
        try:
            with torch.no_grad():
                replay, result = self.device.capture(lambda: _call_all(call, queue))
                replay()  # once, as the first one uploads the graph
            self.device.wait()
        except Exception:  # whatever the call does that a graph cannot hold
            self.device.wait()
            return None
        return _Graph(replay, result)

    def _look(self) -> None:
        rate = self.device.rate()
        if rate is not None:
            self._rates.append(rate)

    def _about_graphs(self) -> list[str]:
        if not self._captured:
            return []
        alone = list(self._alone.values())
        others = ", ".join(f"{seconds * 1e6:.0f}" for seconds in alone[1:])
        against = f" against {others}" if others else ""
        return [
            "Launching takes longer than computing, so calls are timed in CUDA graphs; "
            f"called one by one it takes {alone[0] * 1e6:.0f} us{against}."
        ]

    def _about_rates(self) -> list[str]:
        if not self._rates:
            return ["The GPU's clock rate is unknown: nvidia-ml-py is not installed."]
        low, high = min(self._rates), max(self._rates)
        if high - low <= _DRIFT * high:
            return []
        return [f"The GPU's clock moved between {low:.0f} and {high:.0f} MHz while this was timed."]


def _call_all(call: Call, queue: Sequence[Arguments]) -> Any:
    result = None
    for args in queue:
        result = call(*args)
    return result


# ── the real thing ──


class CudaEvents:
    """Two events on the current stream."""

    def __init__(self) -> None:
        self._first, self._last = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def begin(self) -> None:
        self._first.record()

    def end(self) -> None:
        self._last.record()

    def seconds(self) -> float:
        self._last.synchronize()
        return float(self._first.elapsed_time(self._last)) * 1e-3


class CudaDevice:
    """The GPU that torch uses, as a :class:`Device`."""

    def __init__(self) -> None:
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        size = max(2 * int(getattr(properties, "L2_cache_size", 0)), _FILL)
        self._buffer = torch.empty(size // 4, dtype=torch.int32, device="cuda")
        self._has_rate = True
        self._cycles = 2e9  # a second, until the rate is known: too long a sleep costs little

    def events(self) -> Events:
        return CudaEvents()

    def wait(self) -> None:
        torch.cuda.synchronize()

    def flush(self) -> None:
        self._buffer.zero_()

    def sleep(self, seconds: float) -> None:
        torch.cuda._sleep(int(seconds * self._cycles))

    def capture(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_CALLS):
                run()
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # The outer block: where a capture fails, torch may leave the stream of the capture as the current one.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
            result = run()
        return graph.replay, result

    def rate(self) -> float | None:
        """As NVIDIA's management library tells it, if its bindings are installed."""
        if not self._has_rate:
            return None
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(torch.cuda.clock_rate())
        self._has_rate = False
        return None


__all__ = ["CudaDevice", "Device", "DeviceClock", "Events"]
