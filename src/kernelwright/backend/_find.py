"""The search for one core: the archive first, then candidates judged and measured against the graph as it stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from ..archive import Archive
from ..errors import BuildFailed
from ..judge import Measurement, Rejected, Session, Verdict
from ..search import EAGER, Outcome, Trial
from ..search._memory import Memory
from ..targets import Candidate
from ..targets.cpu import build
from ..task import AtenGraph, Task, from_callable
from ._graph import Core
from ._propose import Proposer
from ._workers import session_for

_GLANCE = 0.5  # seconds of a candidate's measurement
_FINAL = {"quick": 1.0, "balanced": 2.0, "full": 4.0}
_CANDIDATES = {"quick": 2, "balanced": 4, "full": 8}

# A backward graph reads what its forward graph saved (masks, indices, statistics), which no other law of values gives.
_BACKWARD = ("given",)
# Laws that amplify rounding (offsets, outliers, large values) say something about one kernel; through the layers of a
# network they show how far its own rounding grows, in eager mode as well.
_FORWARD = ("given", "normal", "sparse", "small")


def task_of(core: Core, inputs: Sequence[torch.Tensor], name: str, backward: bool) -> Task:
    """The core as a task on the inputs of its first call. Its digest does not depend on their values."""
    task = from_callable(AtenGraph.of(core.graph), tuple(inputs), name=name)
    return replace(task, key=core.key, structures=_BACKWARD if backward else _FORWARD)


def find(
    core: Core, inputs: Sequence[torch.Tensor], name: str, *, backward: bool, effort: str, budget: float, store: Archive
) -> Outcome:
    """The fastest accepted candidate for the core, the core itself included."""
    task = task_of(core, inputs, name, backward)
    memory = Memory(store, replace(task, payload=b""), "cpu")  # the example values are the user's weights
    known = memory.recall()
    if known is not None and known.outcome is not None:
        return known.outcome
    with session_for(task) as session:
        search = _Search(task, session, memory, effort, budget)
        outcome = search.run(lambda: Proposer(core, inputs, name), known.candidate if known else None)
    if not outcome.candidates or any(trial.verdict.category != "build" for trial in outcome.candidates):
        memory.crown(outcome)  # but no baseline for good because a compiler failed once
    return outcome


class _Search:
    def __init__(self, task: Task, session: Session, memory: Memory, effort: str, budget: float) -> None:
        self.task, self.session, self.memory, self.effort, self.budget = task, session, memory, effort, budget
        self.start = time.perf_counter()
        self.trials: list[Trial] = []
        self.best: Trial | None = None

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.start

    def run(self, make: Callable[[], Proposer], seed: Candidate | None) -> Outcome:
        with ThreadPoolExecutor(max_workers=1) as pool:
            started = pool.submit(self.session.start)  # its workers start while this process captures and compiles
            proposer = make()
            if seed is not None and seed.source:
                started.result()
                self._try(seed)
            for candidate in proposer:
                fault = _build(candidate)
                started.result()
                proposer.feedback(self._try(candidate, fault))
                if len(self.trials) >= _CANDIDATES[self.effort] or self.elapsed > self.budget:
                    break
            started.result()
        return self._settle()

    def _try(self, candidate: Candidate, fault: str = "") -> float | None:
        verdict = Verdict("rejected", fault, "build") if fault else self.session.verify(candidate)
        measurement = None
        if verdict.accepted:
            try:
                measurement = self.session.measure(candidate, [EAGER], seconds=_GLANCE)
            except Rejected as rejected:
                verdict = rejected.verdict
        trial = Trial(candidate, verdict, measurement, self.elapsed)
        self.trials.append(trial)
        self.memory.record(trial)
        if measurement is None:
            return None
        if self.best is None or _gain(measurement) > _gain(self.best.measurement):
            self.best = trial
        return 1.0 / _gain(measurement)

    def _settle(self) -> Outcome:
        """The leader once more against the graph as it stands; what the user had wins a tie."""
        accepted = Verdict("accepted", "the reference itself")
        if self.best is not None:
            try:
                final = self.session.measure(self.best.candidate, [EAGER], seconds=_FINAL[self.effort])
            except Rejected as rejected:
                return self._baseline(f"{self.best.candidate.label} is not served: {rejected.verdict.reason}", accepted)
            if _gain(final) > 1.0:
                return self._outcome("won", self.best.candidate, self.best.verdict, final, "")
            reason = f"{self.best.candidate.label} is accepted but runs at {_gain(final):.2f}x eager."
            return self._baseline(reason, accepted)
        rejected_first = next((t.verdict.reason for t in self.trials), "No part of the graph could be lowered.")
        return self._baseline(rejected_first, accepted)

    def _baseline(self, reason: str, verdict: Verdict) -> Outcome:
        measurement = self.session.measure(EAGER, [], seconds=_GLANCE)
        return self._outcome("baseline", EAGER, verdict, measurement, reason)

    def _outcome(
        self, status: str, winner: Candidate, verdict: Verdict, measurement: Measurement, reason: str
    ) -> Outcome:
        return Outcome(
            self.task, status, winner, verdict, measurement, tuple(self.trials), self.elapsed, reason, False, None
        )


def _gain(measurement: Measurement | None) -> float:
    ratio = measurement.speedup.get(EAGER.label) if measurement else None
    return ratio.median if ratio else 0.0


def _build(candidate: Candidate) -> str:
    """Build into the cache; the fault as a sentence, empty if there is none."""
    try:
        if candidate.source:
            build(candidate.source)
    except BuildFailed as error:
        return str(error)
    return ""


__all__ = ["find", "task_of"]
