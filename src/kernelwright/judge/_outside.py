"""Untrusted candidates are timed from outside: nothing in their process can bend the clock or finish the work late.

A round: the candidate's process is stopped, the oracle writes values nobody has seen, the clock starts, the process
runs on, answers where its results lie, and is stopped in that instant. The results are read out of its memory while it
stands still. Its rivals run in another process by the same steps, which also tells what the steps themselves cost.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BuildFailed, WallsMissing
from ..machine import describe, peaks
from ..targets import Candidate
from ._arena import Arena, Slot, arena_size, lay_out
from ._candidate import candidate_to_json
from ._process import Worker, WorkerFault, WorkerLost
from ._protocol import Message
from ._verdict import Measurement, Rejected, Verdict

if TYPE_CHECKING:
    from ._session import Session

_COMPILE_SECONDS = 240.0
_BUILDS = (
    "It compiles an extension while it is loaded, and behind walls no compiler runs: "
    "hand the extension in as a C++ source, or judge it with --unsafe if you trust it."
)
_BATCH_SECONDS = 2e-3  # calls that are shorter go several at once: the way to another process costs 0.1 ms
_MOST_CALLS = 16
_BATCH_BYTES = 64 << 20  # of inputs and outputs of one batch
_MIN_ROUNDS, _MAX_ROUNDS = 7, 400
_PROBE_ROUNDS = 3  # of a verification, which looks for work that is left behind
_SETTLE = 12e-3  # an answer is looked at again after so long
_SPIN = 0.3  # seconds of processor time: the threads of some pools look so long for more work before they sleep
_STARVED = 10  # times that it may take on a busy machine
_PHYSICS = 2.0  # so many times faster than memory can be: an error in the measurement is smaller
_CHECK_SHARE = 0.02  # of a trial's time for comparing one round's results
_NOISE = 0.05  # of a sample is at least left when the way is subtracted


def verify_untrusted(session: Session, candidate: Candidate) -> Verdict:
    """The verdict of :func:`verify`, in a watched process, and a look at what is left to do after an answer."""
    from ._verify import verify

    fault = _build(candidate)
    if fault:
        return fault
    watch = _Watch(session)
    verdict = verify(session, candidate)
    if not verdict.accepted:
        builds = candidate.target == "python" and "cpp_extension" in candidate.source
        if builds and not session.unsafe and not verdict.checks:  # it failed before its first call
            return replace(verdict, status="unjudged", reason=_BUILDS, category="walls")
        return verdict
    try:
        watch.compare()
        _Trial(session, candidate, ()).run(0.0, _PROBE_ROUNDS)
        watch.compare()
    except Rejected as rejected:
        return replace(verdict, status="rejected", reason=rejected.verdict.reason, category=rejected.verdict.category)
    return verdict


def measure_untrusted(
    session: Session, candidate: Candidate, rivals: Sequence[Candidate], seconds: float
) -> Measurement:
    """How fast, by the judge's clock. Raises ``Rejected`` as :func:`measure` does, and for tricks with time."""
    fault = _build(candidate)
    if fault:
        raise Rejected(fault)
    watch = _Watch(session)
    trial = _Trial(session, candidate, rivals)
    trial.run(seconds, _MAX_ROUNDS)
    watch.compare()
    return trial.summary()


def _build(candidate: Candidate) -> Verdict | None:
    """Sources are compiled here, where a compiler may run; behind the walls the result is found in the cache."""
    if candidate.target != "cpu":
        return None
    from ..targets.cpu import build

    try:
        build(candidate.source)
    except BuildFailed as error:
        return Verdict("rejected", f"{str(error).rstrip('.')}.", "build")
    return None


class _Watch:
    """What the candidate's process looked like before the candidate was there."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.before = self._look()

    def compare(self) -> None:
        """Raises ``Rejected`` when something is not as it was."""
        now = self._look()
        changed = [name for name, value in self.before.items() if now.get(name) != value]
        if changed:
            raise _rejection("clock", f"it changed its process for all that follows ({', '.join(changed)})")

    def _look(self) -> Message:
        with _blamed("while its process was examined"):
            found, _ = self.session.ask_candidate({"op": "environment"})
        process = self.session.worker.process
        found["processors"] = sorted(os.sched_getaffinity(process))
        found["priority"] = os.getpriority(os.PRIO_PROCESS, process)
        return {k: v for k, v in found.items() if k != "serial"}


@dataclass
class _Contender:
    """One that takes part; ``times`` are seconds of whole samples."""

    candidate: Candidate
    name: str
    form: list[Message]  # what its results look like
    warm: float = 0.0  # seconds of a call by its own account: for rivals alone
    times: list[float] = field(default_factory=list)


class _Trial:
    """A candidate and its rivals, round after round."""

    def __init__(self, session: Session, candidate: Candidate, rivals: Sequence[Candidate]) -> None:
        self.session, self.candidate, self.rivals = session, candidate, rivals
        self.rng = random.Random(session.new_seed())
        self.empty: list[float] = []
        self.notes: list[str] = []
        self.verified = 0
        self.checking = 0.0
        facts = session.facts
        room = _BATCH_BYTES // max(facts["input_bytes"] + facts["output_bytes"], 1)
        alone = (
            facts["changed"] or facts["changed_args"] or not rivals
        )  # a second call would see what the first changed
        self.most = 1 if alone else int(min(max(room, 1), _MOST_CALLS))
        self.batch = 1
        self.arena: Arena | None = None  # room for results that are read out of the candidate's memory

    def run(self, seconds: float, most: int) -> None:
        """Raises ``Rejected`` when a timed call is wrong, late or faster than physics."""
        try:
            self._run_rounds(seconds, most)
        finally:
            for worker in (self.session.worker, self.session.rivals_worker):
                if worker.alive:
                    worker.resume()
            if self.arena is not None:
                self.arena.close()

    def _run_rounds(self, seconds: float, most: int) -> None:
        self._prepare()
        settled = set(self.rng.sample(range(_MIN_ROUNDS), 3)) if self.rivals else {0, 1}
        deadline, number = time.monotonic() + seconds, 0
        while number < min(most, _MIN_ROUNDS) or (number < most and time.monotonic() < deadline):
            with _blamed("while it was timed"):
                self._round(
                    settle=number in settled or (number > _MIN_ROUNDS and self.rng.random() < 0.05), budget=seconds
                )
            number += 1
        self._physics()

    def summary(self) -> Measurement:
        """Times without the way to the processes and back."""
        from ._measure import paired_ratio, roofline_fraction

        way = float(np.median(self.empty))
        found = {}
        for one in (self.mine, *self.others):
            raw = np.asarray(one.times)
            found[one.name] = np.maximum(raw - way, _NOISE * raw) / self.batch
        own = found[self.mine.name]
        fraction, notes = roofline_fraction(self.session, float(np.median(own)), cold=False)
        return Measurement(
            seconds=float(np.median(own)),
            rivals={o.candidate.label: float(np.median(found[o.name])) for o in self.others},
            speedup={o.candidate.label: paired_ratio(found[o.name], own) for o in self.others},
            roofline=fraction,
            rounds=len(own),
            cold=False,
            notes=(*self.notes, *notes),
        )

    # ── before the first round ──

    def _prepare(self) -> None:
        session, limit = self.session, self.session.time_limit
        message = {"op": "fresh_open", "count": self.most, "seed": session.new_seed()}
        layout, descriptors = session.ask_oracle(message)
        try:
            sets = {"op": "rounds_sets", "sets": layout["sets"]}
            self.others = self._invite_rivals(sets, descriptors[1]) if self.rivals else []
            if self.others:  # by the first rival, which is the user's own code: a candidate has no say in it
                self.batch = max(1, min(self.most, int(_BATCH_SECONDS / max(self.others[0].warm, 1e-7))))
            with _blamed("while it was warmed up"):
                session.ask_candidate(sets, [descriptors[0]])
                message = {"op": "rounds_add", "candidate": _with_digest(self.candidate)}
                reply, _ = session.ask_candidate(message, seconds=limit)
                self.mine = _Contender(self.candidate, self.candidate.digest, list(reply["runs"]))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._lay_out_outputs()

    def _invite_rivals(self, sets: Message, descriptor: int) -> list[_Contender]:
        """Rivals are trusted: they share one process, and one that fails there is left out."""
        found: list[_Contender] = []
        left = list(self.rivals)
        while True:
            self.session.ask_rivals(sets, [descriptor], seconds=self.session.time_limit)
            for rival in left:
                limit = _COMPILE_SECONDS if rival.target == "compile" else self.session.time_limit
                try:
                    message = {"op": "rounds_add", "candidate": _with_digest(rival)}
                    reply = self.session.ask_rivals(message, seconds=limit)
                    found.append(_Contender(rival, rival.digest, list(reply["runs"]), reply["seconds"]))
                except WorkerFault as fault:
                    self.notes.append(f"{rival.label} was left out: it raised {fault.kind}: {fault.text}.")
                except WorkerLost as lost:  # and everything loaded before it
                    self.notes.append(f"{rival.label} was left out: its process {lost.reason}.")
                    left = [r for r in left if r is not rival]
                    found = []
                    break
            else:
                return found

    def _lay_out_outputs(self) -> None:
        """Room for what is read out of the candidate's memory, as its results lie there."""
        run = self.mine.form[0]
        shapes = [
            (tuple(t["shape"]), tuple(s), t["dtype"]) for t, s in zip(run["tensors"], run["strides"], strict=True)
        ]
        import torch

        one = [(shape, strides, getattr(torch, dtype)) for shape, strides, dtype in shapes]
        size = sum(int(np.prod(shape)) * dtype.itemsize for shape, _, dtype in one)
        if size > 4 * self.session.facts["output_bytes"] + (1 << 20) or any(s < 0 for _, ss, _ in one for s in ss):
            raise _rejection("shape", "its results are larger than the reference's")
        self.slots = lay_out(one * self.batch)
        self.arena = Arena.create(arena_size(self.slots))

    # ── one round ──

    def _round(self, *, settle: bool, budget: float) -> None:
        session = self.session
        seeds = [session.new_seed() for _ in range(self.batch)]
        session.ask_candidate({"op": "rounds_stage"})
        session.worker.freeze()
        if self.others:
            session.ask_rivals({"op": "rounds_stage"}, seconds=session.time_limit)
            session.rivals_worker.freeze()
            self.empty.append(self._sample(session.rivals_worker, "", [])[0])
        session.ask_oracle({"op": "fresh_write", "seeds": seeds})
        order = [self.mine, *self.others]
        self.rng.shuffle(order)
        calls = list(range(self.batch))
        for one in order:
            worker = session.worker if one is self.mine else session.rivals_worker
            seconds, places = self._sample(worker, one.name, calls)
            one.times.append(seconds)
            if one is self.mine:
                self._judge(places, settle, budget)
            elif one is not order[-1]:
                session.ask_rivals({"op": "rounds_stage"}, seconds=session.time_limit)
                worker.freeze()

    def _sample(self, worker: Worker, name: str, calls: Sequence[int]) -> tuple[float, Any]:
        """Let it run on, ask, and stop it in the moment of its answer."""
        message = {"op": "rounds_go", "name": name, "calls": list(calls)}
        start = time.perf_counter()
        reply, _ = worker.request(message, seconds=self.session.time_limit)
        seconds = time.perf_counter() - start
        worker.freeze()
        return seconds, reply.get("at")

    def _judge(self, places: Any, settle: bool, budget: float) -> None:
        """Read what it left at the moment of its answer; then see whether it goes on working; then compare."""
        if not isinstance(places, list) or len(places) != self.batch:
            raise _rejection("crash", "its answer is garbage")
        chosen = sorted(
            self.rng.sample(range(self.batch), self._enough(budget))
        )  # it cannot know which: it stands still
        self._read(places, chosen)
        if settle:
            self._settle(places, chosen)
        reply, _ = self.session.ask_candidate({"op": "rounds_describe"})
        runs = reply.get("runs")
        if not isinstance(runs, list) or len(runs) != self.batch:
            raise _rejection("crash", "its answer is garbage")
        message = {"op": "fresh_check", "runs": [self._run(k, runs[k]) for k in chosen]}
        start = time.monotonic()
        found, _ = self.session.ask_oracle(message, [self._room.descriptor])
        self.checking += time.monotonic() - start
        self.verified += len(chosen)
        if "category" in found:
            raise _rejection(str(found["category"]), f"a timed call gave a wrong result: {found['detail']}")

    def _enough(self, budget: float) -> int:
        """How many calls of a round are compared: half, fewer where the truth about each takes long."""
        most = max(1, self.batch // 2)
        each = self.checking / self.verified if self.verified else 0.0
        return most if each * most <= _CHECK_SHARE * budget else max(1, int(_CHECK_SHARE * budget / each))

    def _run(self, k: int, run: Any) -> Message:
        form = self.mine.form[0]
        try:
            if run["strides"] != form["strides"] or [t["shape"] for t in run["tensors"]] != [
                t["shape"] for t in form["tensors"]
            ]:
                raise _rejection("unstable", "its results have another form when it is timed")
            allowed = self.session.facts["aliases"]
            if allowed is not None and any(a not in allowed for a in run["aliases"]):
                raise _rejection("guard", "a result shares memory with an argument")
            kept = {key: run[key] for key in ("tensors", "others", "tree", "aliases")}
        except (KeyError, TypeError):
            raise _rejection("crash", "its answer is garbage") from None
        return {**kept, "set": k, "slots": [s.to_json() for s in self._of(k)]}

    def _of(self, k: int) -> list[Slot]:
        per_call = len(self.slots) // self.batch
        return self.slots[k * per_call : (k + 1) * per_call]

    def _read(self, places: Any, chosen: Sequence[int]) -> None:
        """Copy results out of the stopped process."""
        try:
            memory = os.open(f"/proc/{self.session.worker.process}/mem", os.O_RDONLY)
        except OSError as error:
            raise WallsMissing(
                f"The judge may not read the memory of a process that it started ({error.strerror}); untrusted "
                "candidates are timed only where it may (kernel.yama.ptrace_scope at most 1)."
            ) from error
        try:
            for k in chosen:
                for slot, address in zip(self._of(k), places[k], strict=True):
                    target = self._room.view(slot)
                    if slot.bytes and os.preadv(memory, [target], int(address)) != slot.bytes:
                        raise _rejection("crash", "its results do not lie where it says")
        except (OSError, ValueError, TypeError, OverflowError):
            raise _rejection("crash", "its results do not lie where it says") from None
        finally:
            os.close(memory)

    @property
    def _room(self) -> Arena:
        assert self.arena is not None
        return self.arena

    def _settle(self, places: Any, chosen: Sequence[int]) -> None:
        """After an answer threads of a pool spin for a moment; whoever works on had not finished."""
        worker = self.session.worker
        answered = self._room.bytes.clone()
        worker.resume()
        start, used = time.monotonic(), _cpu_seconds(worker.process)
        spent, passed = 0.0, 0.0
        while passed < _SETTLE or (_working(worker.process) and spent < _SPIN and passed < _SPIN * _STARVED):
            time.sleep(_SETTLE / 4)
            spent, passed = _cpu_seconds(worker.process) - used, time.monotonic() - start
        worker.freeze()
        self._read(places, chosen)
        if not bool((answered == self._room.bytes).all()):
            raise _rejection("clock", "its result changed after it had answered")
        if spent >= _SPIN:
            raise _rejection("clock", f"it goes on working after its answer ({spent:.2f} s in {passed:.2f} s)")

    def _physics(self) -> None:
        """Reading the inputs and writing the outputs takes time, whatever the algorithm."""
        cost = self.session.cost
        if not self.empty or cost.bytes <= 0:
            return
        machine, best = describe(), peaks()
        levels = ((machine.l2 * machine.cores, best.l2), (machine.l3, best.l3))
        rate = next((r for size, r in levels if r and cost.bytes <= size), max(best.copy, best.read))
        least = cost.bytes / (rate * 1e9)
        fastest = (min(self.mine.times) - min(self.empty)) / self.batch
        if rate > 0 and fastest * _PHYSICS < least - float(np.ptp(self.empty)) / self.batch:
            raise _rejection(
                "clock",
                f"a call took {fastest * 1e6:.1f} us, but moving its {cost.bytes / 2**20:.1f} MiB "
                f"takes this machine {least * 1e6:.1f} us",
            )


def _cpu_seconds(process: int) -> float:
    """What all threads of another process have used, those that have ended included (Linux's clock of a process)."""
    return time.clock_gettime(~process << 3 | 2)


def _working(process: int) -> bool:
    """Does one of its threads run, or wait for a processor?"""
    for path in Path(f"/proc/{process}/task").glob("*/stat"):
        with suppress(OSError):
            if path.read_text().rpartition(") ")[2].startswith("R"):
                return True
    return False


@contextmanager
def _blamed(when: str) -> Iterator[None]:
    """Faults of the candidate's process are the candidate's."""
    try:
        yield
    except WorkerFault as fault:
        raise _rejection("crash", f"it raised {fault.kind}: {fault.text}, {when}") from fault
    except WorkerLost as lost:
        raise _rejection(lost.category, f"its process {lost.reason}, {when}") from lost


def _rejection(category: str, reason: str) -> Rejected:
    return Rejected(Verdict("rejected", f"{reason[0].upper()}{reason[1:]}.", category))


def _with_digest(candidate: Candidate) -> Message:
    return {**candidate_to_json(candidate), "digest": candidate.digest}
