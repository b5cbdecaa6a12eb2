"""The search where nothing can be timed: candidates are compiled ahead of time and proven, and none becomes a winner.

The compiler's own figures decide instead of a clock: a candidate whose registers spill is passed over as long as others
are left to try. What is found is remembered as judged, so a machine that can time it need not judge it from scratch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from ..archive import Archive
from ..errors import ReferenceFailed, Unsupported
from ..judge import OutOfTime, Session, Verdict
from ..targets import Candidate
from ..targets.triton import BuildReport, predict
from ..task import Cost, Task
from ._ahead import AheadProposer
from ._drive import Listener, Proposer
from ._effort import Effort
from ._memory import Memory
from ._outcome import Event, Outcome, Trial, Unmeasured

Reports = Callable[[Sequence[Candidate]], list[BuildReport]]

_SLOW = "It was interpreted, which is slow: make the inputs smaller (--scale cpu)."


def prove(
    task: Task,
    propose: Callable[[], Proposer],
    effort: Effort,
    budget: float,
    *,
    target: str,
    archive: Archive | None = None,
    on_event: Listener = lambda event: None,
    since: float | None = None,
) -> Outcome:
    """The first candidate that is accepted and compiles without spills; failing that, the accepted one with the fewest.

    The outcome's status is "unmeasured" then, and its ``unmeasured`` holds candidate, verdict and build. Raises
    ``TritonMissing``, ``CudaMissing``, and ``TaskError`` when the reference cannot be used.
    """
    reports = compiles_ahead(target)
    memory = Memory(archive, task, target) if archive is not None else None
    start = time.monotonic() if since is None else since
    proof = _Proof(task, effort, budget, memory, on_event, start, reports)
    with Session(task) as session:
        session.deadline = proof.start + budget
        try:
            proof.run(session, propose)
        except OutOfTime:
            proof.reason = proof.reason or f"Nothing was judged within the budget of {budget:g} s."
        except KeyboardInterrupt:
            proof.reason = proof.reason or "Interrupted before anything was judged."
    return proof.outcome()


@dataclass
class _Proof:
    """The state of one running search."""

    task: Task
    effort: Effort
    budget: float
    memory: Memory | None
    on_event: Listener
    start: float
    reports: Reports
    trials: list[Trial] = field(default_factory=list)
    best: tuple[Candidate, Verdict, BuildReport] | None = None
    cost: Cost | None = None
    unscored: str = ""
    reason: str = ""

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def tell(self, kind: str, message: str, **data: Any) -> None:
        self.on_event(Event(kind, message, self.elapsed, self.budget, data))

    def run(self, session: Session, propose: Callable[[], Proposer]) -> None:
        with ThreadPoolExecutor(max_workers=1) as pool:
            warm = pool.submit(session.start)  # the workers start while this process captures and compiles
            try:
                self.tell("stage", "capture")
                proposer = self._proposer(propose)
                batch = proposer.propose(1) if proposer is not None else []
            finally:
                warm.result()
        self.cost, self.unscored = session.cost, session.unscored
        while proposer is not None and batch:
            for first, built in zip(batch, self.reports(batch), strict=True):
                candidate, build = first, built
                if isinstance(proposer, AheadProposer):
                    candidate, build = proposer.settle(first, built, self.reports)
                self._try(session, candidate, build)
                proposer.feedback(candidate, None)
            if len(self.trials) >= self.effort.candidates or (self.best is not None and self.best[2].spills == 0):
                return
            tried = {trial.candidate.digest for trial in self.trials}
            batch = [c for c in proposer.propose(1) if c.digest not in tried]

    def _proposer(self, propose: Callable[[], Proposer]) -> Proposer | None:
        try:
            proposer = propose()
        except (Unsupported, ReferenceFailed) as error:
            self.reason = f"Nothing of the task could be lowered: {error}"
            return None
        for text in proposer.notes:
            self.tell("note", text)
        return proposer

    def _try(self, session: Session, candidate: Candidate, build: BuildReport) -> None:
        tag = {"digest": candidate.digest, "label": candidate.label}
        self.tell("candidate", candidate.label, **tag, proposer=candidate.proposer)
        known = self.memory.verdict(candidate) if self.memory is not None else None
        if build.fault:
            verdict = Verdict("rejected", build.fault, "build")
        else:
            self.tell("stage", "judge")
            verdict = known or _patient(session.verify(candidate))
        error = max((check.error for check in verdict.checks), default=None)
        self.tell("verdict", verdict.reason, **tag, status=verdict.status, reason=verdict.reason, error=error)
        trial = Trial(candidate, verdict, None, self.elapsed, build.seconds)
        self.trials.append(trial)
        if self.memory is not None:
            self.memory.record(trial)
        if not verdict.accepted:
            self.reason = self.reason or verdict.reason
        elif self.best is None or build.spills < self.best[2].spills:
            self.best = candidate, verdict, build

    def outcome(self) -> Outcome:
        found = None
        if self.best is not None and self.cost is not None:
            candidate, verdict, build = self.best
            found = Unmeasured(candidate, verdict, build, predict(self.cost, self.task.dtype))
        status = "failed" if found is None else "unscored" if self.unscored else "unmeasured"
        return Outcome(
            task=self.task,
            status=status,
            winner=None,
            verdict=found.verdict if found is not None else None,
            measurement=None,
            candidates=tuple(self.trials),
            seconds=self.elapsed,
            reason=self.unscored or (self.reason or "No part of the task could be lowered." if found is None else ""),
            from_archive=False,
            cost=self.cost,
            searched=self.elapsed,
            unmeasured=found,
        )


def compiles_ahead(target: str) -> Reports:
    """What compiles candidates of a target ahead of time. Raises ``TritonMissing``, ``CudaMissing``."""
    if target == "cuda":
        from ..targets import cuda

        cuda.known_compiler()
        return cuda.reports
    from ..targets import triton

    triton.check_installed()
    return triton.reports


def _patient(verdict: Verdict) -> Verdict:
    """Being slow in an interpreter is no fault of a candidate's."""
    if verdict.category != "timeout":
        return verdict
    return replace(verdict, status="unjudged", reason=f"{verdict.reason} {_SLOW}")


__all__ = ["compiles_ahead", "prove"]
