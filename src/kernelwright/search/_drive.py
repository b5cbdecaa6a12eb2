"""The loop: ask a proposer, build, judge, measure, keep the best, remember everything; stop when the budget is spent.

There is one for everybody. A task of the command line and a graph of ``torch.compile`` differ in data alone: the task
(with the laws of values it is judged on), the proposer, the effort (with the rivals) and where sessions come from.
Whatever happens, the answer is the fastest accepted candidate so far, and the user's own code is a candidate as well.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..archive import Archive
from ..errors import BuildFailed, KernelwrightError, ReferenceFailed, Unsupported
from ..judge import Measurement, OutOfTime, Rejected, Session, Verdict
from ..targets import Candidate
from ..targets.cpu import build
from ..task import Cost, Task
from ._baselines import EAGER
from ._effort import Effort
from ._final import by_way_of, ratio_to, settle
from ._memory import Memory
from ._outcome import Event, Outcome, Trial

log = logging.getLogger("kernelwright")

Listener = Callable[[Event], None]
Sessions = Callable[[Task], AbstractContextManager[Session]]

_AT_ONCE = 2  # candidates that are compiled side by side
_LEADERS = 3  # so many of the fastest may fail in the final run before the user's own code is served
_BRIEFEST = 0.2  # seconds: a final measurement shorter than that says no more than the glance before it
_OVERHEAD = 1.5  # seconds around a measurement (drawing values, warming up, checking) until one was seen
# Seconds of a rival's compilation: starting a worker (importing torch) and capturing the task, on this machine and as
# busy as it is, are the same kind of work. Once one rival was compiled, its time is the measure.
_STARTS_OF_A_RIVAL = 2.0
_RIVAL_FACTORS = {"default": 1.0, "max-autotune": 1.6}
_NEXT_RIVAL = 1.5
_ACCEPTED = Verdict("accepted", "the reference itself")


class Proposer(Protocol):
    """What makes candidates. It gets every result back and keeps no files of its own."""

    @property
    def notes(self) -> Sequence[str]:
        """What is worth a line about the task: operations that stay ATen calls."""

    def propose(self, count: int) -> list[Candidate]:
        """At most ``count`` new candidates; none when there is nothing left to try."""

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        """``cost``: the candidate's time as a multiple of eager's in the same run; None when it was rejected."""


@runtime_checkable
class Learner(Proposer, Protocol):
    """A proposer that goes by more than times, and may have nothing to propose for reasons of its own."""

    @property
    def silence(self) -> str:
        """Why there was nothing to propose, as a sentence; "" when it is as with any other proposer."""

    def learn(self, trial: Trial) -> None:
        """All that is known of a candidate, before ``feedback`` on it."""


def find(
    task: Task,
    propose: Callable[[], Proposer],
    effort: Effort,
    budget: float,
    *,
    target: str = "cpu",
    archive: Archive | None = None,
    lock: Path | None = None,
    sessions: Sessions = Session,
    on_event: Listener = lambda event: None,
    since: float | None = None,
    anew: bool = False,
) -> Outcome:
    """The fastest accepted candidate for a task, the user's own code included, within ``budget`` seconds.

    What the archive holds is returned at once where :meth:`Memory.recall` finds it good enough, and is where the
    search begins otherwise. ``propose`` is called once, if there is a search; it may raise ``Unsupported`` or
    ``ReferenceFailed``, and the user's code is served then. KeyboardInterrupt ends the search and returns the best so
    far. ``since`` (``time.monotonic``) is when the budget began to run. ``anew``: search even where the archive has an
    answer. Raises ``TaskError`` when the reference cannot be used.
    """
    memory = Memory(archive, task, target) if archive is not None else None
    search = _Search(task, effort, budget, memory, on_event, time.monotonic() if since is None else since)
    known = memory.recall(effort.level, budget, lock) if memory is not None else None
    if known is not None and known.outcome is not None and not anew:
        return known.outcome
    if known is not None:
        why = known.why or "a new search was asked for"
        search.note(f"The archive's winner is where the search begins, because {why}.")
    interrupted = False
    try:
        with sessions(task) as session:
            search.run(session, propose, known.candidate if known is not None else None)
    except KeyboardInterrupt:
        interrupted = True
        search.note("Interrupted: keeping the best so far.")
    outcome = search.outcome()
    if memory is not None and search.is_worth_keeping(interrupted):
        memory.crown(outcome, effort.level, budget)
    return outcome


@dataclass
class _Search:
    """The state of one running search."""

    task: Task
    effort: Effort
    budget: float
    memory: Memory | None
    on_event: Listener
    start: float
    trials: list[Trial] = field(default_factory=list)
    best: Trial | None = None
    final: Measurement | None = None
    first_winner: float | None = None
    reason: str = ""
    cost: Cost | None = None
    unscored: str = ""
    overhead: float = _OVERHEAD
    startup: float = 0.0  # seconds that importing torch and forking a worker of the judge took
    capturing: float = 0.0
    compiling: float = 0.0  # seconds of the rival compiled last

    # ── telling ──

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    @property
    def left(self) -> float:
        return self.budget - self.elapsed

    def tell(self, kind: str, message: str, **data: Any) -> None:
        self.on_event(Event(kind, message, self.elapsed, self.budget, data))

    def note(self, message: str) -> None:
        self.tell("note", message)

    # ── the loop ──

    def run(self, session: Session, propose: Callable[[], Proposer], seed: Candidate | None) -> None:
        self.session = session
        session.deadline = self.start + self.budget
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            warm = pool.submit(self._warm)  # the workers start while this process captures and compiles
            try:
                self._explore(pool, warm, propose, seed)
            except OutOfTime:
                self.note("The budget is spent: the best so far is served.")
            except BaseException:
                session.close()  # ends what the pool waits for
                raise
        self._finish()

    def _warm(self) -> None:
        self.session.start()
        self.startup = self.session.start_seconds
        self.cost, self.unscored = self.session.cost, self.session.unscored
        self.session.prepare_timing()

    def _explore(
        self, pool: ThreadPoolExecutor, warm: Future[None], propose: Callable[[], Proposer], seed: Candidate | None
    ) -> None:
        self.tell("stage", "capture")
        proposer, batch = self._first_guess(propose)
        if seed is not None and seed.source and seed.digest not in {c.digest for c in batch}:
            batch.insert(0, seed)
        if self.left <= 0:
            raise OutOfTime
        self.tell("stage", "compile")
        built = list(pool.map(self._build, batch))
        warm.result()
        self.tell("stage", "judge")
        while batch:
            for candidate, result in zip(batch, built, strict=True):
                self.tell("candidate", candidate.label, **_tag(candidate), proposer=candidate.proposer)
                cost = self._try(candidate, *result)
                if isinstance(proposer, Learner):
                    proposer.learn(self.trials[-1])
                if proposer is not None:
                    proposer.feedback(candidate, cost)
            batch = self._next_batch(proposer) if proposer is not None and self._wants_more() else []
            built = list(pool.map(self._build, batch))

    def _next_batch(self, proposer: Proposer) -> list[Candidate]:
        """Other schedules may print the same text: what was tried is not tried again."""
        tried = {trial.candidate.digest for trial in self.trials}
        try:
            while batch := proposer.propose(_AT_ONCE):
                fresh = {candidate.digest: candidate for candidate in batch if candidate.digest not in tried}
                if fresh:
                    return list(fresh.values())
        except KernelwrightError:
            raise
        except Exception as error:
            self._our_fault(error)
        return []

    def _our_fault(self, error: Exception) -> str:
        text = f"kernelwright itself failed to propose a kernel ({type(error).__name__}: {error})."
        log.debug("The fault in full:", exc_info=error)
        self.note(text)
        return text

    def _first_guess(self, propose: Callable[[], Proposer]) -> tuple[Proposer | None, list[Candidate]]:
        """What cannot be printed is served by its baseline, like what cannot be lowered."""
        begin = time.monotonic()
        try:
            proposer = propose()
            for text in proposer.notes:
                self.note(text)
            first = proposer.propose(1)
        except (Unsupported, ReferenceFailed) as error:
            self.reason = f"Nothing of the task could be lowered: {error}"
            self.note(self.reason)
            return None, []
        except KernelwrightError:
            raise
        except Exception as error:  # a fault of ours must not cost users what they had
            self.reason = self._our_fault(error)
            return None, []
        finally:
            self.capturing = time.monotonic() - begin
        if not first:
            silence = proposer.silence if isinstance(proposer, Learner) else ""
            self.reason = silence or "No part of the task could be lowered; every operation stays an ATen call."
            self.note(self.reason)
            return None, []
        return proposer, first

    def _wants_more(self) -> bool:
        room = self.left - self._tail([])
        for need in map(self._estimate, self.effort.rivals):
            room -= need if need < room else 0.0
        return len(self.trials) < self.effort.candidates and room > 0

    def _build(self, candidate: Candidate) -> tuple[str, float | None]:
        """Build into the cache: the fault as a sentence (empty if there is none), and the compiler's seconds.

        What runs on a GPU is built by the first call there, in the judge's worker.
        """
        if not candidate.source or candidate.target != "cpu":
            return "", None
        try:
            return "", build(candidate.source, timeout=min(120.0, max(self.left, 0.1))).seconds or None
        except BuildFailed as error:
            if self.left <= 0:
                raise OutOfTime from error
            return str(error), None

    def _try(self, candidate: Candidate, fault: str, compiled: float | None) -> float | None:
        """Judge and glance at one candidate, beside the best so far; its time as a multiple of eager's if accepted."""
        verdict = Verdict("rejected", fault, "build") if fault else self._judge(candidate)
        self._tell_verdict(candidate, verdict)
        measurement = None
        begin = time.monotonic()
        if verdict.accepted:
            try:
                measurement = self._glance(candidate)
            except Rejected as rejected:
                verdict = rejected.verdict
                self._tell_verdict(candidate, verdict)
            except OutOfTime:
                self._end_trial(Trial(candidate, verdict, None, self.elapsed, compiled))
                raise
        trial = Trial(candidate, verdict, measurement, self.elapsed, compiled)
        self._end_trial(trial)
        if measurement is None:
            return None
        self.overhead = max(time.monotonic() - begin - self.effort.glance, 0.1)
        speedup = {name: ratio.median for name, ratio in measurement.speedup.items()}
        self.tell("measured", candidate.label, **_tag(candidate), seconds=measurement.seconds, speedup=speedup)
        ratio = ratio_to(measurement, EAGER)
        if ratio > 1.0 and self.first_winner is None:
            self.first_winner = trial.seconds
        if self.best is None or ratio > ratio_to(self.best.measurement, EAGER):
            self.best = trial
            self.tell("best", candidate.label, **_tag(candidate), speedup={"eager": ratio})
        return 1.0 / ratio if ratio else None

    def _glance(self, candidate: Candidate) -> Measurement:
        best = self.best.candidate if self.best is not None and self.best.candidate.label != candidate.label else None
        rivals = [EAGER] if best is None else [EAGER, best]
        measurement = self.session.measure(candidate, rivals, seconds=self.effort.glance, checked=1)
        if best is None or self.best is None:
            return measurement
        return by_way_of(measurement, best, ratio_to(self.best.measurement, EAGER))

    def _tell_verdict(self, candidate: Candidate, verdict: Verdict) -> None:
        error = max((check.error for check in verdict.checks), default=None)
        about = {"status": verdict.status, "reason": verdict.reason, "error": error}
        self.tell("verdict", verdict.reason, **_tag(candidate), **about)

    def _judge(self, candidate: Candidate) -> Verdict:
        known = self.memory.verdict(candidate) if self.memory is not None else None
        return known or self.session.verify(candidate)

    def _end_trial(self, trial: Trial) -> None:
        self.trials.append(trial)
        if self.memory is not None:
            self.memory.record(trial)

    # ── the end ──

    def _finish(self) -> None:
        """Measure the leader against every rival in one run, and let the fastest of all win."""
        verdicts = {EAGER.digest: _ACCEPTED, **self._rivals()}
        rivals = [rival for rival in (EAGER, *self.effort.rivals) if rival.digest in verdicts]
        self.tell("stage", "measure")
        try:
            leader, measurement = self._last_run(rivals)
        except OutOfTime:
            self.note("No time is left to measure once more what is served.")
            if self.best is None:
                self.best = Trial(EAGER, _ACCEPTED, None, self.elapsed)
                self.reason = self.reason or f"Nothing was judged within the budget of {self.budget:g} s."
            return
        for note in measurement.notes:
            self.note(note)
        self.final, champion = settle(measurement, leader.candidate, rivals)
        if champion is not leader.candidate and leader.candidate is not EAGER and not self.reason:
            pace = 1.0 / measurement.speedup[champion.label].median if champion.label in measurement.speedup else 0.0
            self.reason = f"{leader.candidate.label} is accepted, but {champion.label} is {pace:.2f} times as fast."
        verdict = verdicts.get(champion.digest, leader.verdict)
        self.best = Trial(champion, verdict, self.final, self.elapsed)
        self.trials.append(self.best)

    def _last_run(self, rivals: Sequence[Candidate]) -> tuple[Trial, Measurement]:
        """The fastest candidate that survives a measurement among the rivals; eager if none does."""
        accepted = {t.candidate.digest: t for t in self.trials if t.measurement is not None}
        fastest = sorted(accepted.values(), key=lambda t: -ratio_to(t.measurement, EAGER))[:_LEADERS]
        for leader in (*fastest, Trial(EAGER, _ACCEPTED, None, self.elapsed)):
            seconds = min(self.effort.final, self.left - self.overhead)
            if seconds < _BRIEFEST:
                raise OutOfTime
            others = [rival for rival in rivals if rival is not leader.candidate]
            try:
                return leader, self.session.measure(leader.candidate, others, seconds=seconds)
            except Rejected as fault:
                self.reason = f"{leader.candidate.label} is not served: {fault.verdict.reason}"
                self.note(self.reason)
                self.best = None
        raise OutOfTime

    def _rivals(self) -> dict[str, Verdict]:
        """Compile and judge each rival that can finish in what is left; say in one line which are left out, and why."""
        accepted: dict[str, Verdict] = {}
        for rival in self.effort.rivals:
            # One that overruns takes its process with it: a new one must be forked, and compile again what was ready.
            room = self.left - self._tail(list(accepted.values())) - self.session.restart_seconds
            need = self._estimate(rival)
            if need > room:
                has = f"{max(room, 0.0):.0f} s of the budget are left for it"
                self.note(f"{rival.label} was left out: it takes about {need:.0f} s, and {has}.")
                continue
            self.tell("stage", f"compiling {rival.label} to compare with")
            begin = time.monotonic()
            self.session.deadline = begin + room
            try:
                verdict = self._judge(rival)
            except OutOfTime:
                self.note(
                    f"{rival.label} was left out: it did not finish within {room:.0f} s, all that was left for it."
                )
                continue
            finally:
                self.session.deadline = self.start + self.budget
            self.compiling = time.monotonic() - begin
            self._end_trial(Trial(rival, verdict, None, self.elapsed))
            if verdict.accepted:
                accepted[rival.digest] = verdict
            else:
                self.note(f"{rival.label} was left out: {verdict.reason}")
        return accepted

    def _estimate(self, rival: Candidate) -> float:
        """Seconds until a rival is compiled and judged."""
        known = self.memory.verdict(rival) if self.memory is not None else None
        if known is not None:
            return known.seconds
        if self.compiling:
            return _NEXT_RIVAL * self.compiling
        return _RIVAL_FACTORS.get(rival.schedule, 1.0) * (_STARTS_OF_A_RIVAL * self.startup + self.capturing)

    def _tail(self, accepted: Sequence[Verdict]) -> float:
        """Seconds that the final measurement takes, among rivals that may have to be compiled for it once more."""
        return self.effort.final + self.overhead + sum(verdict.seconds for verdict in accepted)

    # ── the answer ──

    def is_worth_keeping(self, interrupted: bool) -> bool:
        """No baseline for good because nobody looked to the end, or because a compiler failed once."""
        if self.best is None or self.best.candidate.proposer != "baseline":
            return True
        tried = [t.verdict for t in self.trials if t.candidate.proposer != "baseline"]
        return not interrupted and (not tried or any(verdict.category != "build" for verdict in tried))

    def outcome(self) -> Outcome:
        best, status, reason = self.best, "won", ""
        if best is None:
            status, reason = "failed", self.reason or "The search ended before anything was accepted."
        elif best.candidate.proposer == "baseline":
            rejected = next((t.verdict.reason for t in self.trials if t.verdict.status == "rejected"), "")
            status = "baseline"
            reason = self.reason or f"{best.candidate.label} is served: {rejected or 'it is the fastest.'}"
        if best is not None and self.unscored:  # what is served was accepted, as anything would have been
            status, reason = "unscored", self.unscored
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
            first_winner_seconds=self.first_winner,
            searched=self.elapsed,
        )


def _tag(candidate: Candidate) -> dict[str, str]:
    return {"digest": candidate.digest, "label": candidate.label}
