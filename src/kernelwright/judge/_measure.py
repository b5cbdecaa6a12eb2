"""How fast is a candidate? Paired ratios against its rivals from one interleaved run, with an interval."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..machine import GpuPeaks, Peaks, describe, find_device, gpu_peaks, peaks
from ..targets import Candidate
from ._candidate import candidate_to_json
from ._process import WorkerFault, WorkerLost
from ._protocol import Message
from ._verdict import Measurement, Ratio, Rejected, Verdict

if TYPE_CHECKING:
    from ._session import Session

_COLD_FACTOR = 3  # argument sets together exceed the last-level cache so many times
_MOST_SETS = 32
_WARM_SETS = 4
_COMPILE_SECONDS = 240.0
_RESAMPLES = 1000
_PHYSICS = 1.05


def measure(
    session: Session, candidate: Candidate, rivals: Sequence[Candidate], seconds: float, checked: int
) -> Measurement:
    """Time the candidate and its rivals together. Raises ``Rejected`` when the candidate fails."""
    notes: list[str] = []
    left = list(rivals)
    while True:
        ready = _Contest(session, candidate, left, notes)
        try:
            return ready.run(seconds, checked, notes)
        except _RivalLost as lost:  # its process is gone: begin again without it
            left.remove(lost.rival)
            notes.append(f"{lost.rival.label} was left out: {lost}.")


class _RivalLost(Exception):
    def __init__(self, rival: Candidate, reason: str) -> None:
        super().__init__(reason)
        self.rival = rival


class _Contest:
    def __init__(self, session: Session, candidate: Candidate, rivals: Sequence[Candidate], notes: list[str]) -> None:
        self.session, self.candidate, self.rivals = session, candidate, rivals

    def run(self, seconds: float, checked: int, notes: list[str]) -> Measurement:
        cold = share_sets(self.session)
        warm: dict[str, tuple[str, float]] = {}  # rival's label -> the worker's name for it, seconds of a call
        for rival in self.rivals:
            warm[rival.label] = self._prepare_rival(rival)
        mine = self._prepare_candidate()
        eager = next(
            (warm[r.label][1] for r in self.rivals if r.target == "eager"), self.session.facts["eager_seconds"]
        )
        message: Message = {"op": "measure", "names": [mine, *(name for name, _ in warm.values())]}
        message |= {"seconds": seconds, "seed": self.session.new_seed(), "call_seconds": eager}
        message["checked"] = checked
        message["consumes"] = bool(self.session.facts["changed_args"])
        try:
            limit = seconds + self.session.time_limit
            reply, descriptors = self.session.ask_candidate(message, seconds=limit)
        except WorkerFault as fault:
            raise Rejected(
                Verdict("rejected", f"While timed it raised {fault.kind}: {fault.text}.", "crash")
            ) from fault
        except WorkerLost as lost:
            reason = f"The candidate's process {lost.reason}, while it was timed."
            raise Rejected(Verdict("rejected", reason, lost.category)) from lost
        self._check_outputs(reply, descriptors)
        notes = [*notes, *reply["notes"]]
        cold = cold or bool(reply["flushed"])
        times = {name: np.asarray(values, dtype=np.float64) for name, values in reply["times"].items()}
        return self._summarise(times, mine, {label: name for label, (name, _) in warm.items()}, cold, notes)

    def _prepare_rival(self, rival: Candidate) -> tuple[str, float]:
        message = {"op": "contender", "candidate": _with_digest(rival), "baseline": True}
        limit = _COMPILE_SECONDS if rival.target == "compile" else self.session.time_limit
        try:
            reply, _ = self.session.ask_candidate(message, seconds=limit)
        except WorkerFault as fault:
            raise _RivalLost(rival, f"it raised {fault.kind}: {fault.text}") from fault
        except WorkerLost as lost:
            raise _RivalLost(rival, f"its process {lost.reason}") from lost
        return str(reply["name"]), float(reply["seconds"])

    def _prepare_candidate(self) -> str:
        message = {"op": "contender", "candidate": _with_digest(self.candidate), "baseline": False}
        limit = _COMPILE_SECONDS if self.candidate.target == "compile" else self.session.time_limit
        try:
            reply, _ = self.session.ask_candidate(message, seconds=limit)
        except WorkerFault as fault:
            raise Rejected(Verdict("rejected", f"Warming up it raised {fault.kind}: {fault.text}.", "crash")) from fault
        except WorkerLost as lost:
            reason = f"The candidate's process {lost.reason}, while it was warmed up."
            raise Rejected(Verdict("rejected", reason, lost.category)) from lost
        return str(reply["name"])

    def _check_outputs(self, reply: Message, descriptors: Sequence[int]) -> None:
        try:
            found, _ = self.session.ask_oracle({"op": "check_timed", "runs": reply["runs"]}, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if "category" in found:
            reason = f"A timed call gave a wrong result: {found['detail']}."
            raise Rejected(Verdict("rejected", reason, str(found["category"])))

    def _summarise(
        self, times: dict[str, np.ndarray], mine: str, rivals: dict[str, str], cold: bool, notes: Sequence[str]
    ) -> Measurement:
        own = float(np.median(times[mine]))
        roofline, found = roofline_fraction(self.session, own, cold)
        return Measurement(
            seconds=own,
            rivals={label: float(np.median(times[name])) for label, name in rivals.items()},
            speedup={label: paired_ratio(times[name], times[mine]) for label, name in rivals.items()},
            roofline=roofline,
            rounds=len(times[mine]),
            cold=cold,
            notes=(*notes, *found),
        )


def paired_ratio(rival: np.ndarray, own: np.ndarray, seed: int = 0) -> Ratio:
    """Median over rounds of rival time / own time, with a bootstrap interval (95 %)."""
    ratios = rival / own
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(ratios, (_RESAMPLES, len(ratios))), axis=1)
    lo, hi = np.quantile(medians, [0.025, 0.975])
    return Ratio(float(np.median(ratios)), float(lo), float(hi))


def count_sets(input_bytes: int, state_bytes: int, cache: int, room: int) -> tuple[int, bool]:
    """How many argument sets to rotate through, and whether the caches are cold then."""
    need = _COLD_FACTOR * cache
    if state_bytes > need:
        return _WARM_SETS, True
    sets = -(-need // max(input_bytes, 1))
    if sets <= _MOST_SETS and 2 * sets * input_bytes <= room:
        return max(sets, 2), True
    return (_WARM_SETS if 2 * _WARM_SETS * input_bytes <= room else 2), False


def share_sets(session: Session) -> bool:
    """Draw the sets once for a session; hand them to every new candidate process."""
    facts = session.facts
    if not session.timing:
        room = session.memory_limit // 4
        count, cold = count_sets(facts["input_bytes"], facts["state_bytes"], _last_level_cache(session.device), room)
        seeds = [session.new_seed() for _ in range(count)]
        message, descriptors = session.ask_oracle({"op": "timing_sets", "seeds": seeds})
        if session.timing_descriptor >= 0:
            os.close(session.timing_descriptor)
        session.timing, session.timing_descriptor = {**message, "cold": cold}, descriptors[0]
        session.timed_in = 0
    process = session.candidate_process
    if session.timed_in != process:
        session.ask_oracle({"op": "refresh_timing"})
        message = {"op": "timing_sets", "sets": session.timing["sets"]}
        session.ask_candidate(message, [session.timing_descriptor])
        session.timed_in = process
    return bool(session.timing["cold"])


def roofline_fraction(session: Session, seconds: float, cold: bool) -> tuple[float | None, list[str]]:
    """Fraction of the machine's bound that a call of so many seconds reaches, and a note where that needs a word.

    The bound of the bytes is that of the level they can come from: memory when the caches are cold, else the first
    cache that holds them. The reference's operations are no bound: algebra may do without them, and then only the bytes
    count. Nobody can do without the bytes.
    """
    cost, (best, levels) = session.cost, _ceilings(session.device)
    if cost.bytes <= 0 and cost.flops <= 0:
        return None, []
    memory = max(best.copy, best.read)
    bandwidth = next((rate for size, rate in levels if not cold and rate and cost.bytes <= size), memory)
    moved = cost.bytes / (bandwidth * 1e9) / seconds
    computed = cost.flops / best.flops(session.task.dtype) / seconds
    if max(moved, computed) <= _PHYSICS:
        return max(moved, computed), []
    if moved <= _PHYSICS:
        return moved, ["It does with fewer operations than the reference: the share of the roofline is of its bytes."]
    return moved, [f"Suspicious: the call is {moved:.2f} times as fast as the machine's measured peaks allow."]


def _ceilings(device: str) -> tuple[Peaks | GpuPeaks, tuple[tuple[int, float], ...]]:
    """Peaks of where candidates run; bytes and bandwidth of its caches, the inner ones first."""
    if device != "cpu":
        found = gpu_peaks()
        return found, ((found.cache, found.l2),)
    best, machine = peaks(), describe()
    return best, ((machine.l2 * machine.cores, best.l2), (machine.l3, best.l3))


def _last_level_cache(device: str) -> int:
    gpu = find_device() if device != "cpu" else None
    if gpu is not None:
        return gpu.cache
    machine = describe()
    return machine.l3 or machine.l2 * machine.cores


def _with_digest(candidate: Candidate) -> Message:
    return {**candidate_to_json(candidate), "digest": candidate.digest}
