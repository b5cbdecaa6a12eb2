"""The loop: ask proposers, build, judge, measure, keep the best, remember everything; stop when the budget is spent.

Whatever happens, the answer is the fastest accepted candidate so far; the user's own code is a candidate like any
other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..archive import Archive
from ..errors import BuildFailed, KernelwrightError, ReferenceFailed, TaskError, Unsupported
from ..judge import Measurement, Ratio, Rejected, Session, Verdict
from ..targets import Candidate, check_target
from ..targets.cpu import build
from ..task import Cost, Task, load
from ._baselines import COMPILE, COMPILE_AUTOTUNE, EAGER
from ._memory import Memory
from ._outcome import Event, Outcome, Trial

if TYPE_CHECKING:
    from ._compiler import CompilerProposer

Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Effort:
    """How hard to look: candidates at most, seconds of a short and of the final measurement, the rivals to compare."""

    candidates: int
    glance: float
    final: float
    rivals: tuple[Candidate, ...]


EFFORTS = {
    "quick": Effort(1, 0.5, 1.5, (COMPILE,)),
    "balanced": Effort(9, 0.6, 3.0, (COMPILE, COMPILE_AUTOTUNE)),
    "full": Effort(1000, 1.0, 6.0, (COMPILE, COMPILE_AUTOTUNE)),
}


def generate_task(
    task: Task,
    *,
    target: str = "cpu",
    budget: float = 60.0,
    effort: str = "balanced",
    archive: Archive | None = None,
    lock: Path | None = None,
    on_event: Listener | None = None,
) -> Outcome:
    """Find the fastest accepted candidate for a task within ``budget`` seconds.

    A winner that the archive already holds for this machine is returned at once; one from another machine or toolchain
    is judged again first. ``lock`` pins the choice (by default
    ``kernelwright.lock`` in the working directory, if there is one). KeyboardInterrupt ends the search and
    returns the best so far. Raises ``TaskError`` when the reference cannot be used, ``TargetUnknown`` for a bad target.
    """
    check_target(target)
    if effort not in EFFORTS:
        raise KernelwrightError(f"Effort {effort!r} does not exist: choose one of {', '.join(EFFORTS)}.")
    memory = Memory(archive, task, target) if archive is not None else None
    search = _Search(task, target, budget, EFFORTS[effort], memory, on_event or (lambda event: None))
    known = memory.recall(lock) if memory is not None else None
    if known is not None and known.outcome is not None:
        return known.outcome
    if known is not None:
        search.note(f"The archive's winner is judged again, because {known.why}.")
        search.seed = known.candidate
    try:
        search.run()
    except KeyboardInterrupt:
        search.note("Interrupted: keeping the best so far.")
    finally:
        search.close()
    outcome = search.outcome()
    if memory is not None:
        memory.crown(outcome)
    return outcome


@dataclass
class _Search:
    """The state of one running search."""

    task: Task
    target: str
    budget: float
    effort: Effort
    memory: Memory | None
    on_event: Listener
    start: float = field(default_factory=time.perf_counter)
    trials: list[Trial] = field(default_factory=list)
    best: Trial | None = None
    final: Measurement | None = None
    reason: str = ""
    cost: Cost | None = None
    session: Session | None = None
    seed: Candidate | None = None  # a winner from elsewhere, to be judged first

    # ── telling ──

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.start

    def tell(self, kind: str, message: str, **data: Any) -> None:
        self.on_event(Event(kind, message, self.elapsed, self.budget, data))

    def note(self, message: str) -> None:
        self.tell("note", message)

    # ── the loop ──

    def run(self) -> None:
        with ThreadPoolExecutor(max_workers=2) as pool:
            self.session = Session(self.task)  # its workers start while this process captures and compiles
            warm = pool.submit(self.session.start)
            try:
                self.tell("stage", "capture")
                proposer, first = self._first_guess()
                if self.seed is not None and self.seed.source and self.seed.digest not in {c.digest for c in first}:
                    first.insert(0, self.seed)
                self.tell("stage", "compile")
                built = pool.submit(_build_all, first)
                warm.result()
                self.cost = self.session.cost
                self.tell("stage", "judge")
                self._try_all(proposer, first, built.result())
                while proposer and self._wants_more():
                    batch = proposer.propose(2)
                    if not batch:
                        break
                    self._try_all(proposer, batch, list(pool.map(_build_one, batch)))
            finally:
                warm.cancel()
        self._finish()

    def close(self) -> None:
        if self.session is not None:
            self.session.close()

    def _first_guess(self) -> tuple[CompilerProposer | None, list[Candidate]]:
        """What cannot be printed is served by its baseline, like what cannot be lowered."""
        try:
            proposer = self._proposer()
            return proposer, proposer.propose(1) if proposer else []
        except (Unsupported, ReferenceFailed) as error:
            self.reason = f"Nothing of the task could be lowered: {error}"
            self.note(self.reason)
            return None, []

    def _proposer(self) -> CompilerProposer | None:
        from ._compiler import CompilerProposer  # slow to import; an archived winner does not need it

        reference = load(self.task)
        example, title = reference.draw(0, "given"), f"{self.task.name}, by kernelwright"
        proposer = CompilerProposer(reference.call, example, self.task.dynamic, title=title)
        for text in proposer.prepared.program.notes:
            self.note(text)
        if not proposer.prepared.lowered:
            self.reason = "No part of the task could be lowered; every operation stays an ATen call."
            self.note(self.reason)
            return None
        return proposer

    def _wants_more(self) -> bool:
        reserve = self.effort.final + 12.0 * len(self.effort.rivals) if self.best else 0.0
        return len(self.trials) < self.effort.candidates and self.elapsed + reserve < self.budget

    def _try_all(self, proposer: CompilerProposer | None, batch: Sequence[Candidate], faults: Sequence[str]) -> None:
        for candidate, fault in zip(batch, faults, strict=True):
            self.tell("candidate", candidate.label, digest=candidate.digest, label=candidate.label, proposer="compiler")
            seconds = self._try(candidate, fault)
            if proposer:
                proposer.feedback(candidate, seconds)

    def _try(self, candidate: Candidate, fault: str) -> float | None:
        """Judge and glance at one candidate; its median time if it was accepted."""
        assert self.session is not None
        verdict = Verdict("rejected", fault, "build") if fault else self._judge(candidate)
        tag = {"digest": candidate.digest, "label": candidate.label}
        error = max((check.error for check in verdict.checks), default=None)
        self.tell("verdict", verdict.reason, **tag, status=verdict.status, reason=verdict.reason, error=error)
        measurement = None
        if verdict.accepted:
            try:
                measurement = self.session.measure(candidate, [EAGER], seconds=self.effort.glance)
            except Rejected as fault:
                verdict = fault.verdict
                self.tell("verdict", verdict.reason, **tag, status=verdict.status, reason=verdict.reason)
        if measurement is not None:
            speedup = {name: ratio.median for name, ratio in measurement.speedup.items()}
            self.tell("measured", candidate.label, **tag, seconds=measurement.seconds, speedup=speedup)
        trial = self._end_trial(candidate, verdict, measurement)
        if measurement is None:
            return None
        ratio = _ratio(measurement, EAGER)
        if self.best is None or self.best.measurement is None or ratio > _ratio(self.best.measurement, EAGER):
            self.best = trial
            self.tell("best", candidate.label, **tag, speedup={"eager": ratio})
        return measurement.seconds

    def _judge(self, candidate: Candidate) -> Verdict:
        assert self.session is not None
        known = self.memory.verdict(candidate) if self.memory is not None else None
        return known or self.session.verify(candidate)

    def _end_trial(self, candidate: Candidate, verdict: Verdict, measurement: Measurement | None) -> Trial:
        trial = Trial(candidate, verdict, measurement, self.elapsed)
        self.trials.append(trial)
        if self.memory is not None:
            self.memory.record(trial)
        return trial

    def _finish(self) -> None:
        """Measure the leader against every rival in one run, and let the fastest of all win."""
        assert self.session is not None
        rivals = [EAGER]
        if self.best is None:
            leader = EAGER
            verdict = Verdict("accepted", "the reference itself")
        else:
            leader, verdict = self.best.candidate, self.best.verdict
        self.tell("stage", "measure")
        for rival in self.effort.rivals:
            if self.elapsed > self.budget * (2.0 if len(rivals) == 1 else 1.0):
                self.note(f"No time left to compare with {rival.label}.")
                continue
            found = self._judge(rival)
            self._end_trial(rival, found, None)
            if found.accepted:
                rivals.append(rival)
            else:
                self.note(f"{rival.label} was left out: {found.reason}")
        try:
            others = [rival for rival in rivals if rival is not leader]
            measurement = self.session.measure(leader, others, seconds=self.effort.final)
        except Rejected as fault:
            self.reason = f"{leader.label} is not served: {fault.verdict.reason}"
            self.note(self.reason)
            leader, verdict = EAGER, Verdict("accepted", "the reference itself")
            measurement = self.session.measure(EAGER, [r for r in rivals if r is not EAGER], seconds=self.effort.final)
        for note in measurement.notes:
            self.note(note)
        self.final, champion = _settle(measurement, leader, rivals)
        self.best = Trial(champion, verdict, self.final, self.elapsed)
        self.trials.append(self.best)

    def outcome(self) -> Outcome:
        if self.best is None:
            reason = self.reason or "The search ended before anything was accepted."
            return self._outcome("failed", reason)
        if self.best.candidate.proposer == "baseline":
            rejected = [t for t in self.trials if t.verdict.status == "rejected"]
            reason = self.reason or (
                f"{self.best.candidate.label} is the fastest accepted candidate."
                if not rejected
                else f"{self.best.candidate.label} is served: {rejected[0].verdict.reason}"
            )
            return self._outcome("baseline", reason)
        return self._outcome("won", "")

    def _outcome(self, status: str, reason: str) -> Outcome:
        best = self.best
        return Outcome(
            task=self.task,
            status=status,
            winner=best.candidate if best else None,
            verdict=best.verdict if best else None,
            measurement=self.final or (best.measurement if best else None),
            candidates=tuple(self.trials),
            seconds=self.elapsed,
            reason=reason,
            from_archive=False,
            cost=self.cost,
        )


def _build_all(candidates: Sequence[Candidate]) -> list[str]:
    return [_build_one(candidate) for candidate in candidates]


def _build_one(candidate: Candidate) -> str:
    """Build into the cache; the fault as a sentence, empty if there is none."""
    try:
        if candidate.source:
            build(candidate.source)
    except BuildFailed as error:
        return str(error)
    return ""


def _ratio(measurement: Measurement, rival: Candidate) -> float:
    ratio = measurement.speedup.get(rival.label)
    return ratio.median if ratio else 0.0


def _settle(measurement: Measurement, leader: Candidate, rivals: Sequence[Candidate]) -> tuple[Measurement, Candidate]:
    """The champion of a final run, and its measurement under the names "eager" and "compile" (the better of its modes).

    A rival that is ahead by the median takes the title, noise or not: what the user had is the safer choice. Its
    figures are derived from the same run (ratios of ratios of one interleaved run).
    """
    ahead = {r.label: r for r in rivals if r.label in measurement.speedup and measurement.speedup[r.label].median < 1.0}
    champion = min(ahead.values(), key=lambda r: measurement.speedup[r.label].median, default=leader)
    times = {leader.label: measurement.seconds, **measurement.rivals}
    scale = {leader.label: Ratio(1.0, 1.0, 1.0), **measurement.speedup}
    unit = scale[champion.label].median
    modes = [r.label for r in rivals if r.target == "compile" and r.label in scale]
    if leader.target == "compile":
        modes.append(leader.label)
    speedup: dict[str, Ratio] = {}
    named: dict[str, float] = {}
    for name, label in (("eager", EAGER.label), ("compile", min(modes, key=lambda m: times[m], default=""))):
        if label in scale:
            one = Ratio(1.0, 1.0, 1.0)
            raw = scale[label]
            speedup[name] = one if label == champion.label else Ratio(raw.median / unit, raw.lo / unit, raw.hi / unit)
            named[name] = times[label]
    roofline = measurement.roofline
    if roofline is not None:
        roofline = roofline * times[leader.label] / times[champion.label]
    final = Measurement(
        times[champion.label], named, speedup, roofline, measurement.rounds, measurement.cold, measurement.notes
    )
    return final, champion


__all__ = ["EFFORTS", "Effort", "Listener", "TaskError", "generate_task"]
