"""The GPU's side of the judge without a GPU: its memory mirrored on the CPU, its clock on a device that is played."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from kernelwright.judge._arena import PATTERN, Arena, Slot, arena_size, lay_out
from kernelwright.judge._candidate import candidate_to_json
from kernelwright.judge._clock import HostClock, Pace
from kernelwright.judge._device import DeviceHost, Mirror, host_for
from kernelwright.judge._device_clock import DeviceClock
from kernelwright.judge._oracle import Oracle
from kernelwright.judge._timing import Stopwatch
from kernelwright.targets import Candidate

from .kernels import EAGER, HONEST, make, make_task

# ── memory ──


class Pair:
    """An oracle and a host whose device is a second copy of everything, in this process."""

    def __init__(self) -> None:
        task = make_task()
        self.oracle, self.host = Oracle(1 << 30), DeviceHost("cpu")
        facts, (descriptor,) = self.oracle.open(task, 1)
        self.host.open(task, facts["state"], facts["changed"], os.dup(descriptor))

    def judge(self, candidate: Candidate, layout: str = "same") -> dict[str, Any]:
        self.host.load(candidate_to_json(candidate))
        case, descriptors = self.oracle.prepare([(3, "given")], [0, 0], {}, layout)
        reply = self.host.run({**case, "guard": candidate.source != ""}, descriptors)
        assert reply["intact"]
        return self.oracle.check(reply)


@pytest.fixture(scope="module")
def pair(home: None) -> Pair:
    return Pair()


@pytest.mark.parametrize("layout", ["same", "shifted", "strided"])
def test_what_is_right_on_the_device_is_right_for_the_oracle(pair: Pair, layout: str):
    assert pair.judge(HONEST, layout)["error"] <= 1.0
    assert pair.judge(EAGER, layout)["error"] <= 1.0


@pytest.mark.parametrize(
    ("before", "category"),
    [("x[7] += 1.f;", "input-mutated"), ("x[-3] = 1.f;", "guard"), ("x[total + 1] = 1.f;", "guard")],
)
def test_what_a_kernel_writes_where_it_must_not_comes_back_to_the_oracle(pair: Pair, before: str, category: str):
    assert pair.judge(make(after=before))["category"] == category


def test_a_wrong_value_and_an_unwritten_one_are_found(pair: Pair):
    assert pair.judge(make(bias="b[(i + 1) % n]"))["category"] == "value"
    assert pair.judge(make(end="total - 1"))["category"] == "nan"


def test_a_mirror_holds_the_bytes_between_tensors_too():
    slots = lay_out([((3, 5), (7, 1), torch.float32), ((0,), (1,), torch.float32)], shift=1)
    arena = Arena.create(arena_size(slots))
    arena.fill_pattern()
    arena.tensor(slots[0]).copy_(torch.arange(15.0).reshape(3, 5))
    mirror = Mirror(arena, "cpu")
    tensor = mirror.tensor(slots[0])
    assert tensor.data_ptr() != arena.tensor(slots[0]).data_ptr()
    assert tensor.stride() == (7, 1)
    assert torch.equal(tensor, arena.tensor(slots[0]))
    assert mirror.guards_intact(slots)
    arena.tensor(slots[0])[1, 1] = 99.0
    mirror.take_one(tensor)
    assert tensor[1, 1] == 99.0
    mirror.bytes[0] = 0
    mirror.give_back()
    assert arena.bytes[0] == 0 != PATTERN
    arena.close()


def test_the_cpu_has_the_plain_host():
    assert type(host_for("cpu")).__name__ == "CandidateHost"
    assert isinstance(host_for("cpu").clock, HostClock)


# ── time ──


class Played:
    """A device with a time line of its own: launching moves the host's clock, and each call says what it runs for."""

    def __init__(self, *, rates: list[float] | None = None, capturable: bool = True) -> None:
        self.line = 0.0
        self.flushed = self.slept = self.waited = self.graphs = 0
        self.rates, self.capturable = rates, capturable

    def kernel(self, seconds: float, launching: float = 0.0) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if launching:
                spin(launching)
            self.line += seconds
            return args

        return call

    def events(self) -> _PlayedEvents:
        return _PlayedEvents(self)

    def wait(self) -> None:
        self.waited += 1

    def flush(self) -> None:
        self.flushed += 1

    def sleep(self, seconds: float) -> None:
        self.slept += 1

    def capture(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        if not self.capturable:
            raise RuntimeError("operation not permitted when stream is capturing")
        before = self.line
        result = run()
        length = self.line - before
        self.graphs += 1

        def replay() -> None:
            self.line += length

        return replay, result

    def rate(self) -> float | None:
        return self.rates.pop(0) if self.rates else None


class _PlayedEvents:
    def __init__(self, device: Played) -> None:
        self.device = device

    def begin(self) -> None:
        self.first = self.device.line

    def end(self) -> None:
        self.last = self.device.line

    def seconds(self) -> float:
        return self.last - self.first


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


WORK = [(torch.tensor(float(k)),) for k in range(4)]


def run(device: Played, calls: dict[str, Callable[..., Any]], *, once: bool = False) -> tuple[dict[str, float], Any]:
    clock = DeviceClock(device)
    count = clock.begin(calls, WORK, Pace("rival", 1e-6, once))
    queue = [WORK[k % len(WORK)] for k in range(count)]
    found = {name: clock.sample(name, call, queue) for name, call in calls.items()}
    return {name: seconds / count for name, (seconds, _) in found.items()}, (count, found, clock.end())


def test_long_calls_are_timed_one_by_one_behind_a_flush():
    device = Played(rates=[1980.0] * 9)
    times, (count, _, (notes, flushed)) = run(device, {"own": device.kernel(5e-3), "rival": device.kernel(10e-3)})
    assert count == 1
    assert times == pytest.approx({"own": 5e-3, "rival": 10e-3})
    assert device.graphs == device.slept == 0
    assert device.flushed >= 2
    assert device.waited >= 2  # for every stream
    assert flushed
    assert notes == []


def test_calls_that_take_longer_to_launch_are_timed_in_graphs_for_all_alike():
    device = Played()
    calls = {"own": device.kernel(2e-6, launching=2e-4), "rival": device.kernel(6e-6, launching=1e-4)}
    times, (count, found, (notes, flushed)) = run(device, calls)
    assert count % len(WORK) == 0
    assert device.graphs == 2
    assert times == pytest.approx({"own": 2e-6, "rival": 6e-6})
    assert found["own"][1][0] is WORK[(count - 1) % len(WORK)][0]  # what the last call of the graph returned
    assert not flushed
    assert "CUDA graphs" in notes[0]
    assert "unknown" in notes[1]


def test_what_cannot_be_captured_is_queued_behind_a_device_that_sleeps():
    device = Played(capturable=False)
    calls = {"own": device.kernel(2e-6, launching=1e-4), "rival": device.kernel(6e-6, launching=1e-4)}
    times, _ = run(device, calls)
    assert device.slept == 2
    assert times == pytest.approx({"own": 2e-6, "rival": 6e-6})


def test_a_call_that_changes_its_state_is_never_repeated_in_a_sample():
    device = Played()
    _, (count, _, _) = run(device, {"own": device.kernel(1e-6, 1e-4), "rival": device.kernel(1e-6, 1e-4)}, once=True)
    assert count == 1
    assert device.graphs == 0


def test_work_on_a_stream_that_no_event_saw_is_counted():
    class Busy(Played):
        def wait(self) -> None:
            spin(2e-3)

    device = Busy()
    seconds, _ = DeviceClock(device).sample("own", device.kernel(1e-3), [WORK[0]])
    assert seconds > 2.9e-3


def test_a_clock_that_moves_is_worth_a_sentence():
    device = Played(rates=[1980.0, 1500.0, 1980.0])
    _, (_, _, (notes, _)) = run(device, {"own": device.kernel(5e-3), "rival": device.kernel(5e-3)})
    assert notes == ["The GPU's clock moved between 1500 and 1980 MHz while this was timed."]


def test_the_stopwatch_takes_whatever_clock_its_host_has(pair: Pair):
    """Values move on the device's copies from round to round, and outputs of timed calls are handed over."""

    class Steady(Played):
        def events(self) -> _PlayedEvents:
            found = _PlayedEvents(self)
            found.seconds = lambda: 3e-3  # type: ignore[method-assign]
            return found

    host = pair.host
    host.clock = DeviceClock(Steady(rates=[1980.0] * 999))
    watch = Stopwatch(host)
    sets, (descriptor,) = pair.oracle.timing_sets([5, 6, 7])
    watch.take_sets(sets["sets"], os.dup(descriptor))
    baseline = watch.add({**candidate_to_json(EAGER), "digest": EAGER.digest}, True)["name"]
    own = watch.add({**candidate_to_json(HONEST), "digest": HONEST.digest}, False)["name"]
    request = {"names": [own, baseline], "seed": 4, "seconds": 0.05, "call_seconds": 1.0, "consumes": False}
    reply, (shared,) = watch.measure({**request, "checked": 2})
    assert set(reply["times"]) == {own, baseline}
    assert reply["times"][own] == pytest.approx([3e-3] * len(reply["times"][own]))
    assert reply["flushed"]
    arena = Arena.attach(os.dup(shared), [Slot.from_json(s) for one in reply["runs"] for s in one["slots"]])
    found = pair.oracle.check_timed(reply["runs"], arena)
    assert found["runs"] == 2
    assert found["error"] <= 1.0
